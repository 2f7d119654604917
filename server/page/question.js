// The dialogs before an action is dismissed or cancelled. They name it, say what will happen, and show the
// result or the server's refusal.

import * as api from "./api.js";
import { $, attribute, h, show, text } from "./dom.js";
import { paintKeys } from "./row.js";
import { Status, ageText, nameOf, notProvenDead, runnerText, stateText, whyNotCancel, whyNotDismiss } from "./text.js";

const kinds = {
  dismiss: {
    title: (name) => ["Dismiss ", name, "?"], yes: "Dismiss", no: "Keep it", doing: "Dismissing…", done: "Dismissed",
    why: whyNotDismiss, run: (id) => api.dismiss(id),
  },
  cancel: {
    title: (name) => ["Ask ", name, " to stop?"], yes: "Ask it to stop", no: "Let it run", doing: "Asking…", done: "Asked to stop:",
    why: (a) => whyNotCancel(a, api.now()), run: (id) => api.cancel(id),
  },
};

export class Question {
  // after is called with the id of an action that was dismissed or cancelled, announce with text for screen
  // readers.
  constructor(model, { after, announce }) {
    this.model = model;
    this.after = after;
    this.announce = announce;
    this.dialog = $("#question");
    this.parts = {};
    for (const part of this.dialog.querySelectorAll("[data-part]")) this.parts[part.dataset.part] = part;
    this.parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#answer();
    });
    this.parts.no.addEventListener("click", () => {
      if (!this.busy) this.dialog.close();
    });
    this.dialog.addEventListener("close", () => {
      if (!this.dialog.open) this.entry = undefined; // the event may come after the next dialog was opened
    });
    // A click outside of the dialog closes it.
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog && !this.busy) this.dialog.close();
    });
    this.dialog.addEventListener("cancel", (event) => {
      if (this.busy) event.preventDefault(); // the request is being sent
    });
  }

  ask(kind, entry) {
    const { parts } = this, how = kinds[kind], a = entry.action;
    this.kind = kind;
    this.entry = entry;
    parts.title.replaceChildren(...how.title(nameOf(a)).map((piece, i) =>
      i === 1 ? h("bdi", {}, `“${piece}”`) : piece));
    parts.body.replaceChildren(...(kind === "dismiss" ? aboutDismissal(a) : aboutCancelling(a)));
    const freed = kind === "dismiss" ? a.keys : [];
    paintKeys(parts.keys, freed);
    text(parts.no, how.no);
    parts.yes.className = kind === "dismiss" ? "danger" : "primary";
    const warned = kind === "dismiss" && notProvenDead(a);
    show(parts.warning, warned);
    if (warned) text(parts.warningWhere, a.runner ? `Look on ${runnerText(a.runner)} first.` : "Look first.");
    show(parts.error, false);
    this.#setBusy(false);
    this.refresh();
    this.dialog.showModal();
    (warned ? parts.no : parts.yes).focus({ preventScroll: true });
    this.dialog.scrollTop = 0; // a long dialog is shown from its start
  }

  // refresh updates the dialog when its action has changed.
  refresh() {
    if (!this.entry || this.busy) return;
    const why = kinds[this.kind].why(this.entry.action);
    if (why && document.activeElement === this.parts.yes) this.parts.no.focus(); // a disabled button would lose the focus
    this.parts.yes.disabled = why !== "";
    show(this.parts.moot, why !== "");
    text(this.parts.moot, why && `There is nothing left to do. ${why}`);
  }

  #setBusy(busy) {
    this.busy = busy;
    const { yes, no } = this.parts, how = kinds[this.kind];
    for (const button of [yes, no]) attribute(button, "aria-disabled", busy ? "true" : undefined); // which keeps the focus
    text(yes, busy ? how.doing : how.yes);
    this.dialog.setAttribute("aria-busy", String(busy));
  }

  async #answer() {
    const { entry, kind, parts } = this, how = kinds[kind];
    if (!entry || this.busy || parts.yes.disabled) return;
    const gone = () => this.entry !== entry; // some browsers let Escape close a busy dialog
    this.#setBusy(true);
    show(parts.error, false);
    try {
      const action = await how.run(entry.id);
      if (kind === "cancel") this.model.update(action);
      this.announce(`${how.done} ${nameOf(entry.action)}`);
      if (!gone()) {
        this.busy = false;
        this.dialog.close();
      }
      this.after(entry.id);
    } catch (error) {
      if (gone()) return this.announce(`${nameOf(entry.action)}: ${explain(error)}`);
      this.#setBusy(false);
      text(parts.error, explain(error));
      show(parts.error, true);
      this.refresh();
      (parts.yes.disabled ? parts.no : parts.yes).focus();
      if (error.status === 401 || error.status === 404) this.after(entry.id, error);
    }
  }
}

function explain(error) {
  if (error.status === 404) return "It is no longer listed: it has ended, or somebody else has dismissed it.";
  if (error.status === 429) return `Too many requests: try again in ${Math.ceil(error.retryAfter ?? 1)} s.`;
  return `That did not work: ${error.message}`;
}

function aboutDismissal(a) {
  const said = [h("p", {}, `It failed ${ageText(api.now() - a.updated_at)} ago. Dismissing it removes it from the list.`)];
  if (a.state) said.push(h("p", { class: "quote", dir: "auto" }, stateText(a.state)));
  const keys = a.keys.length;
  said.push(h("p", {}, keys === 0 ? "It holds no keys." :
    `${keys === 1 ? "This key becomes" : "These keys become"} free, so that the same work can be started again:`));
  return said;
}

function aboutCancelling(a) {
  if (a.status === Status.pending) {
    return [h("p", {}, "It has not begun. If it is waiting for its turn, it gives up and leaves the list.")];
  }
  const who = a.runner ? `Its runner (${runnerText(a.runner)})` : "Its runner";
  const said = [h("p", {}, `${who} is asked to stop. Once it has, the action is shown as failed.`)];
  if (a.keys.length > 0) said.push(h("p", {}, "It keeps its keys until it is dismissed, unless it was started with release on failure."));
  return said;
}
