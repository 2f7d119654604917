// The view of one action, with everything that is known of it.

import * as api from "./api.js";
import { chart } from "./chart.js";
import { $, attribute, command, h, keep, show, text } from "./dom.js";
import { endText, endWord, paintGauge, paintKeys, paintStatus } from "./row.js";
import {
  Status, active, askedText, capital, elapsed, heardText, leftText, localTime, nameOf, notProvenDead, ongoing, plain, plainLines, runnerText,
  shellQuote, stateText, statusNames, waitsText, whyNotCancel, whyNotDismiss,
} from "./text.js";

// drawEvery is the shortest time between two drawings of the chart, in milliseconds: less than a tick.
const drawEvery = 900;

export class Detail {
  constructor(model) {
    this.model = model;
    this.root = $("#action-view");
    this.parts = {};
    for (const part of this.root.querySelectorAll("[data-part]")) this.parts[part.dataset.part] = part;
  }

  // open shows an action, or none if id is undefined. An action that ended before the page was loaded is unknown.
  open(id) {
    this.id = id;
    this.entry = undefined;
    this.drawnAt = 0;
    this.drawnStatus = undefined;
    this.parts.chart.replaceChildren();
    show(this.root, id !== undefined);
    this.tick(api.now(), false);
  }

  // changed notes a change, to be painted.
  changed(entry) {
    if (entry.id === this.id) this.dirty = true;
  }

  // paint shows what has changed; tick also shows what changes with time alone.
  paint(now, stale) {
    if (this.dirty || this.stale !== stale) this.tick(now, stale);
  }

  tick(now, stale) {
    if (this.id === undefined) return;
    const { parts } = this;
    this.dirty = false;
    this.stale = stale;
    this.entry = this.model.get(this.id) ?? this.entry; // an ended action stays while it is shown
    show(parts.known, this.entry !== undefined);
    show(parts.unknown, this.entry === undefined && this.model.known);
    if (!this.entry) return text(parts.title, this.model.known ? "No such ongoing action" : "…");
    const { entry } = this, a = entry.action;
    text(parts.title, nameOf(a));
    paintStatus(parts.status, a.status, endWord[entry.how]);
    paintGauge(parts.gauge, a, `Progress of ${nameOf(a)}`);
    parts.gauge.dataset.status = statusNames[a.status];
    const left = stale || !active(a.status) ? undefined : entry.estimate.left(performance.now());
    text(parts.left, left === undefined ? "" : `${leftText(left)} left`);
    text(parts.state, endText(entry));
    show(parts.state, parts.state.textContent !== "");
    text(parts.description, plainLines(a.description));
    show(parts.description, a.description !== "");
    this.#paintButtons(a, now);
    this.#paintFacts(entry, now, stale);
    const at = performance.now();
    if (at - this.drawnAt >= drawEvery || this.drawnStatus !== a.status) {
      this.drawnAt = at;
      this.drawnStatus = a.status;
      this.#paintHistory(entry, now);
      this.#paintCommands(a);
    }
  }

  #paintButtons(a, now) {
    const reasons = { dismiss: whyNotDismiss(a), cancel: whyNotCancel(a, now) };
    for (const [name, why] of Object.entries(reasons)) {
      attribute(this.parts[name], "aria-disabled", why ? "true" : undefined);
      text(this.parts[`${name}Why`], why);
    }
    show(this.parts.cancelWhy, reasons.cancel !== reasons.dismiss); // shown once, read aloud for both buttons
    show(this.parts.warning, a.status === Status.failed && notProvenDead(a));
  }

  #paintFacts(entry, now, stale) {
    const a = entry.action, when = (ms) => localTime(ms, { date: true });
    const seen = entry.how !== "unseen";
    let last = "Last change";
    if (a.status === Status.failed) last = "Failed";
    else if (!ongoing(a.status) && seen) last = "Ended";
    const heard = active(a.status) && !stale ? heardText(entry, now).replace("heard ", "") : "";
    const facts = [
      [active(a.status) ? "Running for" : "Ran for", seen ? elapsed(a, now) : ""],
      ["Created", when(a.created_at)],
      ["Started", a.started_at ? when(a.started_at) : "not yet"],
      [last, when(a.updated_at)],
      ["Operation", plain(a.operation ?? "")],
      ["Started by", plain(a.started_by ?? "")],
      ["Attempt", a.attempt === undefined ? "" : String(a.attempt)],
      ["Runner", runnerText(a.runner) || "none yet"],
      ["Last heard", a.runner ? [when(entry.heardAt), heard].filter(Boolean).join(", ") : ""],
      ["Waits for", waitsText(a)],
      ["Asked to pause", active(a.status) && a.paused_by ? `by ${plain(a.paused_by)}` : ""],
      ["Can't be cancelled", active(a.status) ? plain(a.no_cancel ?? "") : ""],
      ["Asked to stop", a.cancel_requested_at ? askedText(a, { date: true }) : ""],
      ["Exit code", a.exit_code === undefined ? "" : String(a.exit_code)],
      ["Seq", String(a.seq)],
    ];
    const list = this.parts.facts;
    facts.forEach(([name, value], i) => { // reuses the elements
      const fact = list.children[i] ?? list.appendChild(h("div", {}, h("dt"), h("dd", { dir: "auto" })));
      text(fact.firstElementChild, name);
      text(fact.lastElementChild, value);
      show(fact, value !== "");
    });
    paintKeys(this.parts.keys, a.keys);
    show(this.parts.noKeys, a.keys.length === 0);
  }

  #paintHistory(entry, now) {
    const a = entry.action, until = active(a.status) ? Math.max(now, a.updated_at) : a.updated_at;
    const { chart: place } = this.parts;
    const opened = now - performance.now(); // the page has not seen what was before
    const samples = entry.samples.map((sample, i) => (i === 0 ? { ...sample, at: Math.max(sample.at, opened) } : sample));
    if (until - samples[0].at < 1000) place.replaceChildren(); // nothing to show yet
    else chart(place, samples, until, Math.max(place.clientWidth, 200), 160);
    keep(this.parts.events, entry.events.toReversed(), ({ at, status, state }) => h("li", {},
      h("time", { datetime: new Date(at).toISOString() }, localTime(at)),
      h("span", { "data-status": statusNames[status], class: "word" }, capital(statusNames[status])),
      h("span", { class: "soft", dir: "auto" }, stateText(state))));
  }

  #paintCommands(a) {
    const server = shellQuote(api.base.href.replace(/\/$/, ""));
    const lines = [`kapi watch --server ${server} ${a.id}`];
    let route = "";
    if (a.status === Status.failed) route = "dismiss";
    else if (active(a.status)) route = "cancel";
    if (route) {
      lines.push(`kapi ${route} --server ${server} ${a.id}`,
        `curl -X POST -H "Authorization: Bearer $KAPI_TOKEN" ${shellQuote(`${api.base.href}v4/kapi/actions/${a.id}/${route}`)}`);
    } else lines.length = 0;
    const { commands, id } = this.parts;
    if (commands.dataset.lines === `${a.id} ${lines}`) return;
    commands.dataset.lines = `${a.id} ${lines}`;
    commands.replaceChildren(...lines.map(command));
    id.replaceChildren(command(a.id));
    show(commands.parentElement, lines.length > 0);
  }
}
