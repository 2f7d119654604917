// Texts for people, by the same rules as in the terminal (cmd/kapi/text.go, rows.go).

export const second = 1000, minute = 60 * second, hour = 60 * minute;
const day = 24 * hour;

export const Status = { pending: 0, running: 1, impacted: 2, failed: 3, aborted: 4, completed: 5 };
export const statusNames = Object.keys(Status);

// urgency is the order of statuses in the list, the first at the top.
export const urgency = [Status.failed, Status.impacted, Status.running, Status.pending];

export const ongoing = (status) => status <= Status.failed;
export const active = (status) => status <= Status.impacted;

export const capital = (word) => word[0].toUpperCase() + word.slice(1);

// Characters that end lines, change the direction of text or are invisible are escaped, so that no name
// can change how the text around it looks, or look like another name. The joiners U+200C and U+200D
// stay, because emoji and some languages need them.
const unsafe = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const written = (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0");

// plain makes any text safe to show on one line. Unlike the terminal it replaces tabs and line breaks by
// spaces, because a browser wraps lines anyway.
export function plain(text) {
  return text.replace(/[\t\r\n]+/g, " ").replace(unsafe, written);
}

// plainLines does the same but keeps line breaks.
export function plainLines(text) {
  return text.replace(/\r\n?/g, "\n").replace(unsafe, (c) => (c === "\n" || c === "\t" ? c : written(c)));
}

// nameOf returns the title of an action, or a placeholder for an invisible one.
export const nameOf = (a) => (/[^\s\u200c\u200d]/.test(a.title) ? plain(a.title) : "(no title)");

// ageText returns a duration in its one or two largest units.
export function ageText(ms) {
  const two = (n) => String(n).padStart(2, "0");
  const whole = (unit, of = Infinity) => Math.floor(ms / unit) % of;
  if (ms < 0) return "0s"; // the clocks of two machines differ
  if (ms < minute) return `${whole(second)}s`;
  if (ms < hour) return `${whole(minute)}m${two(whole(second, 60))}s`;
  if (ms < day) return `${whole(hour)}h${two(whole(minute, 60))}m`;
  return `${whole(day)}d${two(whole(hour, 24))}h`;
}

// leftText returns a remaining time, rounded up because it is only an estimate.
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

// percentText returns "" while the progress is unknown. It rounds down, so that only 1 is 100%.
export function percentText(progress) {
  return progress === undefined ? "" : `${percent(progress)}%`;
}

// heardText says when the runner of an entry was last heard. It is "heard just now" for a runner that is
// heard every few seconds, and "" if the page has not asked for a minute.
export function heardText({ action, heardAt, checkedAt }, now) {
  if (!action.runner || !ongoing(action.status)) return "";
  if (!active(action.status)) return `last heard ${localTime(heardAt, { now })}`;
  if (now - checkedAt >= minute) return "";
  return checkedAt - heardAt < 20 * second ? "heard just now" : `heard ${ageText(now - heardAt)} ago`;
}

const percent = (progress) => Math.floor(progress * 100 + 1e-9);

const zone = new Intl.DateTimeFormat("en", { timeZoneName: "short" });

// localTime returns a time in the reader's time zone, which it names. It has the date unless that is today.
export function localTime(ms, { date = false, now = Date.now() } = {}) {
  const t = new Date(ms), today = new Date(now);
  const two = (n) => String(n).padStart(2, "0");
  const name = zone.formatToParts(t).find((part) => part.type === "timeZoneName")?.value ?? "";
  const clock = `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())} ${name}`;
  if (!date && t.toDateString() === today.toDateString()) return clock;
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${clock}`;
}

const moment = /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g;

// stateText returns an action's state with local times; kapi writes them in UTC.
export function stateText(state) {
  if (!state) return "";
  return plain(state.replace(moment, (text) => {
    const ms = Date.parse(text);
    return Number.isNaN(ms) ? text : localTime(ms);
  }));
}

export function runnerText(runner) {
  if (!runner) return "";
  // The process of a runner that reports over REST is not known.
  return runner.pid ? `${plain(runner.host)}, process ${runner.pid}` : plain(runner.host);
}

// notProvenDead returns whether an action failed without proof that its work has ended.
export const notProvenDead = (a) => a.not_proven_dead === true;

// askedText returns when an action was asked to stop, and by whom.
export function askedText(a, options) {
  const by = a.cancelled_by ? `, by ${plain(a.cancelled_by)}` : "";
  return localTime(a.cancel_requested_at, options) + by;
}

// waitsText names what a pending action waits for.
export function waitsText(a) {
  const w = a.waits_for;
  if (!w) return "";
  if (!w.action) return w.operation ? `a program that offers ${plain(w.operation)}` : `key ${plain(w.key)}`;
  let what = "";
  if (w.operation) what = `, for a turn of ${plain(w.operation)}`;
  else if (w.key) what = `, for key ${plain(w.key)}`;
  return `${nameOf(w)} (${plain(w.action)})${what}`;
}

// startOf returns when an action began to run or, before that, was created.
const startOf = (a) => a.started_at ?? a.created_at;

// elapsed returns how long an action has been running, or ran until it failed or ended.
export function elapsed(a, now) {
  return ageText((active(a.status) ? now : a.updated_at) - startOf(a));
}

// shellQuote quotes a word for a POSIX shell.
export function shellQuote(word) {
  return /^[a-zA-Z0-9\-_./:@%+=,]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

// whyNotDismiss returns why an action can't be dismissed, "" if it can. whyNotCancel does the same for
// cancelling.
export function whyNotDismiss(a) {
  if (!ongoing(a.status)) return "It has ended.";
  return a.status === Status.failed ? "" : "Only a failed action can be dismissed.";
}

export function whyNotCancel(a, now) {
  if (!ongoing(a.status)) return "It has ended.";
  if (a.status === Status.failed) return "It has failed already, and can only be dismissed.";
  if (a.cancel_requested_at) return `It was asked to stop at ${askedText(a, { now })}.`;
  return a.no_cancel ? `It can't be cancelled now: ${plain(a.no_cancel)}` : "";
}
