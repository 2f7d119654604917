// One action in the list. A row is made once and updated in place.

import { attribute, h, shape, show, stamp, text } from "./dom.js";
import {
  Status, active, ageText, capital, elapsed, heardText, leftText, localTime, nameOf, ongoing, percentText, plain, runnerText, stateText,
  statusNames, whyNotCancel,
} from "./text.js";

// paintStatus sets the word, the icon and, by an attribute, the colour of a status.
export function paintStatus(element, status, word = statusNames[status]) {
  const name = statusNames[status];
  if (element.dataset.status !== name) {
    element.dataset.status = name;
    element.replaceChildren(shape(name), h("span", {}, ""));
  }
  text(element.lastElementChild, capital(word));
}

// endWord has the word for how an entry ended.
export const endWord = { completed: "completed", aborted: "aborted", unseen: "ended" };

// paintKeys lists the keys.
export function paintKeys(list, keys) {
  const wanted = keys.join(" "); // no key has a space in it
  if (list.dataset.keys === wanted) return;
  list.dataset.keys = wanted;
  list.replaceChildren(...keys.map((key) => h("li", {}, shape("key"), h("bdi", {}, plain(key)))));
  show(list, keys.length > 0);
}

// paintGauge sets the progress bar, or has it move back and forth while the progress is unknown. A completed
// action keeps the space of the bar.
export function paintGauge(gauge, a, label) {
  const bar = gauge.querySelector(".bar"), known = a.progress !== undefined;
  const moving = active(a.status) && a.status !== Status.pending;
  show(gauge, known || moving || a.status === Status.completed);
  gauge.classList.toggle("blank", !known && !moving);
  bar.classList.toggle("unknown", !known);
  attribute(bar, "aria-valuenow", known ? percentText(a.progress).slice(0, -1) : undefined);
  attribute(bar, "aria-valuetext", known ? percentText(a.progress) : "not known");
  attribute(bar, "aria-label", label);
  if (bar.progress !== a.progress) {
    // Animating a step that is hardly visible would only cost frames.
    const small = known && Math.abs(a.progress - bar.progress) < 0.004;
    bar.firstElementChild.style.transition = small ? "none" : "";
    bar.progress = a.progress;
    bar.firstElementChild.style.transform = known ? `translateX(${100 * (a.progress - 1)}%)` : "";
  }
  text(gauge.querySelector(".percent"), percentText(a.progress));
}

// endText returns the state of an action, or the text for an ending that the page has not seen.
export const endText = ({ how, action }) => (how === "unseen" ? "It ended while this page was not connected." : stateText(action.state));

export class Row {
  constructor(entry, watch) {
    this.entry = entry;
    this.at = -1; // among its siblings
    const link = (this.link = h("a", { id: `title-${entry.id}`, href: `#/actions/${entry.id}`, dir: "auto" }, nameOf(entry.action))); // an id is URL-safe
    this.heading = h("h2", {}, link);
    this.element = h("li", { class: "row" });
    this.element.row = this;
    this.fold();
    watch.observe(this.element);
  }

  // fold leaves only the title in the document, with the height that the row had. Elements in the document
  // cost time in every frame, visible or not.
  fold(height) {
    this.near = false; // to the visible part
    this.element.classList.add("folded");
    this.element.style.blockSize = height ? `${height}px` : "";
    this.element.replaceChildren(this.heading);
  }

  // unfold puts the whole row into the document, to be painted.
  unfold() {
    if (!this.card) this.#make();
    const focused = this.link === document.activeElement;
    this.near = true;
    this.element.classList.remove("folded");
    this.element.style.blockSize = "";
    this.parts.status.after(this.heading);
    this.element.replaceChildren(this.card);
    if (focused) this.link.focus({ preventScroll: true }); // a moved element loses the focus
  }

  // mark gives the row the colour of its status, folded or not.
  mark() {
    const name = statusNames[this.entry.action.status];
    if (this.element.dataset.status !== name) this.element.dataset.status = name;
  }

  #make() {
    this.card = stamp("row");
    this.parts = {};
    for (const part of this.card.querySelectorAll("[data-part]")) this.parts[part.dataset.part] = part;
    const { description } = this.parts, words = this.entry.action.description;
    text(description, plain(words));
    show(description, words !== "");
  }

  paint(now, performanceNow, stale) {
    const { entry, parts } = this, a = entry.action;
    paintStatus(parts.status, a.status, endWord[entry.how]);
    this.mark();
    this.element.classList.toggle("ended", entry.ended);
    paintGauge(parts.gauge, a, `Progress of ${nameOf(a)}`);
    const state = endText(entry), calm = a.status <= Status.running || a.status === Status.completed;
    text(parts.state, state);
    show(parts.state.parentElement, calm || state !== ""); // a line that comes and goes would move everything below
    text(parts.runner, runnerText(a.runner));
    show(parts.runner.parentElement, a.runner !== undefined);
    paintKeys(parts.keys, a.keys);
    this.#paintButton(now);
    this.tick(now, performanceNow, stale);
  }

  // tick updates what changes with time alone.
  tick(now, performanceNow, stale) {
    const { entry, parts } = this, a = entry.action;
    text(parts.elapsed, entry.how === "unseen" ? "" : `${active(a.status) ? "" : "after "}${elapsed(a, now)}`);
    text(parts.goes, a.status === Status.pending ? "waiting for" : active(a.status) ? "running for" : "");
    const left = stale || !active(a.status) ? undefined : entry.estimate.left(performanceNow);
    text(parts.left, left === undefined ? "" : `${leftText(left)} left`);
    const failed = a.status === Status.failed ? `failed ${ageText(now - a.updated_at)} ago` : "";
    text(parts.heard, [failed, stale && !failed ? "" : heardText(entry, now)].filter(Boolean).join(", "));
    show(parts.heard, ongoing(a.status) && (failed !== "" || a.runner !== undefined));
  }

  // willNote returns whether the row has to say why its button is disabled.
  willNote() {
    const { ended, action } = this.entry;
    return !ended && active(action.status) && (action.cancel_requested_at !== undefined || action.no_cancel !== undefined);
  }

  // There is one button: to dismiss a failed action, to cancel any other.
  #paintButton(now) {
    const { act, note } = this.parts, a = this.entry.action, failed = a.status === Status.failed;
    const why = failed ? "" : whyNotCancel(a, now), title = nameOf(a);
    act.classList.toggle("gone", this.entry.ended); // its space stays
    text(act, failed ? "Dismiss…" : "Cancel…");
    act.dataset.do = failed ? "dismiss" : "cancel";
    // aria-disabled instead of disabled, so that the button can have the focus and its reason is read aloud.
    attribute(act, "aria-disabled", why ? "true" : undefined);
    attribute(act, "aria-label", `${failed ? "Dismiss" : "Cancel"} ${title}${why ? `: ${why}` : ""}`);
    attribute(act, "title", why || undefined);
    this.noted = this.willNote();
    text(note, this.noted ? why : "");
    show(note, this.noted);
  }
}

// endedItem returns a line of "Just ended".
export function endedItem({ action, how, at }, now) {
  const status = h("span", { class: "status small" });
  paintStatus(status, action.status, endWord[how]);
  const facts = how === "unseen" ? ["while this page was not connected"] : [`at ${localTime(at, { now })}`, `after ${elapsed(action, now)}`];
  if (action.exit_code !== undefined) facts.push(`exit code ${action.exit_code}`);
  const item = h("li", {}, status,
    h("span", { class: "title", dir: "auto" }, nameOf(action)),
    h("span", { class: "soft" }, facts.join(" · ")));
  const state = how === "unseen" ? "" : stateText(action.state);
  if (state) item.append(h("span", { class: "soft state", dir: "auto" }, state));
  return item;
}
