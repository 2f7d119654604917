// Texts as people read them. All of this is the terminal's way too (cmd/kapi/text.go, rows.go).

export const second = 1000, minute = 60 * second, hour = 60 * minute;
const day = 24 * hour;

export const Status = { pending: 0, running: 1, impacted: 2, failed: 3, aborted: 4, completed: 5 };
export const statusNames = Object.keys(Status);

// urgency is the order of the list, the first on top.
export const urgency = [Status.failed, Status.impacted, Status.running, Status.pending];

export const ongoing = (status) => status <= Status.failed;
export const active = (status) => status <= Status.impacted;

export const capital = (word) => word[0].toUpperCase() + word.slice(1);

// What ends lines, turns text around or takes no room is written out: no name can make the text
// around it look different, nor itself look like another. The joiners U+200C and U+200D stay: emoji
// and some languages are made with them.
const unsafe = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const written = (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0");

// plain makes any text safe to show on one line. Unlike the terminal it shows what parts words as
// a space, because a browser breaks lines where it has to anyway.
export function plain(text) {
  return text.replace(/[\t\r\n]+/g, " ").replace(unsafe, written);
}

// plainLines does the same and keeps its lines.
export function plainLines(text) {
  return text.replace(/\r\n?/g, "\n").replace(unsafe, (c) => (c === "\n" || c === "\t" ? c : written(c)));
}

// nameOf is the title of an action, or what stands for one that can't be seen.
export const nameOf = (a) => (/[^\s\u200c\u200d]/.test(a.title) ? plain(a.title) : "(no title)");

// ageText is a time that has passed, in its one or two largest units.
export function ageText(ms) {
  const two = (n) => String(n).padStart(2, "0");
  const whole = (unit, of = Infinity) => Math.floor(ms / unit) % of;
  if (ms < 0) return "0s"; // the clocks of two machines differ
  if (ms < minute) return `${whole(second)}s`;
  if (ms < hour) return `${whole(minute)}m${two(whole(second, 60))}s`;
  if (ms < day) return `${whole(hour)}h${two(whole(minute, 60))}m`;
  return `${whole(day)}d${two(whole(hour, 24))}h`;
}

// leftText is as coarse as an estimate is.
export function leftText(ms) {
  if (ms > 9 * day) return `${Math.ceil(ms / day)}d`;
  let unit = hour;
  if (ms <= minute) unit = 5 * second;
  else if (ms <= 10 * minute - 10 * second) unit = 10 * second;
  else if (ms <= hour) unit = minute;
  else if (ms <= day) unit = 5 * minute;
  const text = ageText(Math.ceil(ms / unit) * unit);
  if (unit === minute) return text.replace(/00s$/, "");
  return unit === hour ? text.replace(/00h$/, "") : text;
}

// percentText is empty while the progress is unknown. Only 1 is 100%: 99.9% is not done.
export function percentText(progress) {
  return progress === undefined ? "" : `${percent(progress)}%`;
}

// heardText says when the runner of an entry was last heard of, as far as that is known: it is calm
// about what is as it should be, a runner that is heard every few seconds, and says nothing of
// what was not asked for a while.
export function heardText({ action, heardAt, checkedAt }, now) {
  if (!action.runner || !ongoing(action.status)) return "";
  if (!active(action.status)) return `last heard ${localTime(heardAt, { now })}`;
  if (now - checkedAt >= minute) return "";
  return checkedAt - heardAt < 20 * second ? "heard just now" : `heard ${ageText(now - heardAt)} ago`;
}

const percent = (progress) => Math.floor(progress * 100 + 1e-9);

const zone = new Intl.DateTimeFormat("en", { timeZoneName: "short" });

// localTime is a moment in the reader's time, with its zone; the date only if it isn't today.
export function localTime(ms, { date = false, now = Date.now() } = {}) {
  const t = new Date(ms), today = new Date(now);
  const two = (n) => String(n).padStart(2, "0");
  const name = zone.formatToParts(t).find((part) => part.type === "timeZoneName")?.value ?? "";
  const clock = `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())} ${name}`;
  if (!date && t.toDateString() === today.toDateString()) return clock;
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${clock}`;
}

const moment = /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g;

// stateText shows an action's state: kapi writes times in it in UTC.
export function stateText(state) {
  if (!state) return "";
  return plain(state.replace(moment, (text) => {
    const ms = Date.parse(text);
    return Number.isNaN(ms) ? text : localTime(ms);
  }));
}

export function runnerText(runner) {
  if (!runner) return "";
  // Of one that reports over REST nobody knows the process.
  return runner.pid ? `${plain(runner.host)}, process ${runner.pid}` : plain(runner.host);
}

// notProvenDead: it failed without proof that its work has ended.
export const notProvenDead = (a) => a.not_proven_dead === true;

// askedText says when an action was asked to stop, and by whom.
export function askedText(a, options) {
  const by = a.cancelled_by ? `, by ${plain(a.cancelled_by)}` : "";
  return localTime(a.cancel_requested_at, options) + by;
}

// waitsText names what a pending action waits for.
export function waitsText(a) {
  const w = a.waits_for;
  if (!w) return "";
  if (!w.action) return `key ${plain(w.key)}`;
  return `${nameOf(w)} (${plain(w.action)})${w.key ? `, for key ${plain(w.key)}` : ""}`;
}

// startOf is since when it has been going.
const startOf = (a) => a.started_at ?? a.created_at;

// elapsed is how long it has been going, or went until it failed or ended.
export function elapsed(a, now) {
  return ageText((active(a.status) ? now : a.updated_at) - startOf(a));
}

// shellQuote makes a word that a POSIX shell takes as it is.
export function shellQuote(word) {
  return /^[a-zA-Z0-9\-_./:@%+=,]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

// why an action can't be dismissed, or cancelled; "" if it can.
export function whyNotDismiss(a) {
  if (!ongoing(a.status)) return "It has ended.";
  return a.status === Status.failed ? "" : "Only what has failed can be dismissed.";
}

export function whyNotCancel(a, now) {
  if (!ongoing(a.status)) return "It has ended.";
  if (a.status === Status.failed) return "It has failed already, and can only be dismissed.";
  return a.cancel_requested_at ? `It was asked to stop at ${askedText(a, { now })}.` : "";
}
