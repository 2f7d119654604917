// One action as the list shows it. A row is made once, and changes in place.

import { attribute, h, shape, show, stamp, text } from "./dom.js";
import {
  Status, active, ageText, capital, elapsed, leftText, percent, percentText, plain, runnerText, second, stateText, statusNames, whyNotCancel,
} from "./text.js";

// paintStatus sets the word, the shape and, by a class, the colour of a status.
export function paintStatus(element, status, word = statusNames[status]) {
  const name = statusNames[status];
  if (element.dataset.status !== name) {
    element.dataset.status = name;
    element.replaceChildren(shape(name), h("span", {}, ""));
  }
  text(element.lastElementChild, capital(word));
}

// endWord says how an entry has ended.
export const endWord = { completed: "completed", aborted: "aborted", unseen: "ended" };

// paintKeys lists the keys.
export function paintKeys(list, keys) {
  const wanted = keys.join(" "); // no key has a space in it
  if (list.dataset.keys === wanted) return;
  list.dataset.keys = wanted;
  list.replaceChildren(...keys.map((key) => h("li", {}, shape("key"), h("bdi", {}, plain(key)))));
  show(list, keys.length > 0);
}

// paintGauge moves a bar: to how far it is, or to and fro while nobody knows.
export function paintGauge(gauge, a, label) {
  const bar = gauge.querySelector(".bar"), known = a.progress !== undefined;
  const moving = active(a.status) && a.status !== Status.pending;
  show(gauge, known || moving);
  bar.classList.toggle("unknown", !known);
  attribute(bar, "aria-valuenow", known ? String(percent(a.progress)) : undefined);
  attribute(bar, "aria-valuetext", known ? percentText(a.progress) : "not known");
  attribute(bar, "aria-label", label);
  if (bar.progress !== a.progress) {
    bar.progress = a.progress;
    bar.firstElementChild.style.transform = known ? `scaleX(${a.progress})` : "";
  }
  text(gauge.querySelector(".percent"), percentText(a.progress));
}

// heardText is calm about what is as it should be: a runner is heard every few seconds.
export function heardText(entry, now, stale) {
  if (stale || !entry.action.runner || !active(entry.action.status)) return "";
  const quiet = now - entry.heardAt;
  return quiet < 20 * second ? "heard just now" : `heard ${ageText(quiet)} ago`;
}

export class Row {
  constructor(entry, watch) {
    this.entry = entry;
    this.near = true; // to what is seen; until the observer says otherwise
    this.at = -1; // among its siblings
    const element = (this.element = stamp("row"));
    element.row = this;
    this.parts = {};
    for (const part of element.querySelectorAll("[data-part]")) this.parts[part.dataset.part] = part;
    const title = plain(entry.action.title), { link, description } = this.parts;
    text(link, title);
    link.id = `title-${entry.id}`;
    link.href = `#/actions/${entry.id}`; // an id is safe in an address
    text(description, plain(entry.action.description));
    show(description, entry.action.description !== "");
    watch.observe(element);
  }

  paint(now, performanceNow, stale) {
    const { entry, parts } = this, a = entry.action;
    paintStatus(parts.status, entry.how === "unseen" && entry.ended ? Status.aborted : a.status,
      entry.ended ? endWord[entry.how] : undefined);
    if (this.element.dataset.status !== parts.status.dataset.status) this.element.dataset.status = parts.status.dataset.status;
    this.element.classList.toggle("ended", entry.ended);
    paintGauge(parts.gauge, a, `Progress of ${plain(a.title)}`);
    const state = entry.ended && entry.how === "unseen" ? "It ended while this page was not connected." : stateText(a.state);
    text(parts.state, state);
    show(parts.state, state !== "");
    text(parts.runner, runnerText(a.runner));
    show(parts.runner.parentElement, a.runner !== undefined);
    paintKeys(parts.keys, a.keys);
    this.#paintButton(now);
    this.tick(now, performanceNow, stale);
  }

  // tick sets what changes by itself.
  tick(now, performanceNow, stale) {
    const { entry, parts } = this, a = entry.action;
    text(parts.elapsed, `${active(a.status) ? "" : "after "}${elapsed(a, now)}`);
    text(parts.goes, a.status === Status.pending ? "waits for" : active(a.status) ? "goes for" : "");
    const left = stale || !active(a.status) ? undefined : entry.estimate.left(performanceNow);
    text(parts.left, left === undefined ? "" : `${leftText(left)} left`);
    const since = a.status === Status.failed ? `failed ${ageText(now - a.updated_at)} ago` : heardText(entry, now, stale);
    text(parts.heard, since);
    show(parts.heard, since !== "");
  }

  // What can be done is one button: to dismiss what has failed, to cancel what has not.
  #paintButton(now) {
    const { act, note } = this.parts, a = this.entry.action, failed = a.status === Status.failed;
    const why = failed ? "" : whyNotCancel(a, now), title = plain(a.title);
    show(act, !this.entry.ended);
    text(act, failed ? "Dismiss…" : "Cancel…");
    act.dataset.do = failed ? "dismiss" : "cancel";
    // Not the attribute disabled: one can go there with the keyboard, and be told why.
    attribute(act, "aria-disabled", why ? "true" : undefined);
    attribute(act, "aria-label", `${failed ? "Dismiss" : "Cancel"} ${title}${why ? `: ${why}` : ""}`);
    attribute(act, "title", why || undefined);
    const shown = this.entry.ended ? "" : why;
    text(note, shown);
    show(note, shown !== "");
  }
}

// endedItem is a line of the strip of what has just ended.
export function endedItem({ action, how, at }, now, localTime) {
  const status = h("span", { class: "status small" });
  paintStatus(status, how === "unseen" ? Status.aborted : action.status, endWord[how]);
  const facts = how === "unseen" ? ["while this page was not connected"] : [`at ${localTime(at, { now })}`, `after ${elapsed(action, now)}`];
  if (action.exit_code !== undefined) facts.push(`exit code ${action.exit_code}`);
  const item = h("li", {}, status,
    h("span", { class: "title", dir: "auto" }, plain(action.title)),
    h("span", { class: "soft" }, facts.join(" · ")));
  const state = stateText(action.state);
  if (state) item.append(h("span", { class: "soft state", dir: "auto" }, state));
  return item;
}
