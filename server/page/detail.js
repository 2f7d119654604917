// One action's page: all that is known of it.

import * as api from "./api.js";
import { chart } from "./chart.js";
import { $, attribute, command, h, show, text } from "./dom.js";
import { endWord, heardText, paintGauge, paintKeys, paintStatus } from "./row.js";
import {
  Status, active, capital, elapsed, leftText, localTime, notProvenDead, ongoing, plain, plainLines, runnerText, second,
  shellQuote, stateText, statusNames, whyNotCancel, whyNotDismiss,
} from "./text.js";

// drawEvery is how often the chart is drawn at most, in milliseconds.
const drawEvery = 1000;

export class Detail {
  constructor(model, wake) {
    this.model = model;
    this.wake = wake;
    this.root = $("#action-view");
    this.parts = {};
    for (const part of this.root.querySelectorAll("[data-part]")) this.parts[part.dataset.part] = part;
  }

  // open shows an action, undefined for none. One that ended before the page came is not known.
  open(id) {
    this.id = id;
    this.entry = undefined;
    this.drawnAt = 0;
    this.told = undefined;
    show(this.root, id !== undefined);
    if (id !== undefined) this.paint(api.now(), false);
  }

  paint(now, stale) {
    if (this.id === undefined) return;
    const { parts } = this;
    this.entry = this.model.get(this.id) ?? this.entry; // an ending stays as long as somebody looks
    show(parts.known, this.entry !== undefined);
    show(parts.unknown, this.entry === undefined && this.model.known);
    if (!this.entry) return text(parts.title, this.model.known ? "Not going on" : "…");
    const { entry } = this, a = entry.action;
    text(parts.title, plain(a.title));
    paintStatus(parts.status, a.status, entry.ended ? endWord[entry.how] : undefined);
    paintGauge(parts.gauge, a, `Progress of ${plain(a.title)}`);
    parts.gauge.dataset.status = statusNames[a.status];
    const left = stale || !active(a.status) ? undefined : entry.estimate.left(performance.now());
    text(parts.left, left === undefined ? "" : `${leftText(left)} left`);
    text(parts.state, entry.how === "unseen" ? "It ended while this page was not connected." : stateText(a.state));
    show(parts.state, parts.state.textContent !== "");
    text(parts.description, plainLines(a.description));
    show(parts.description, a.description !== "");
    this.#paintButtons(a, now);
    this.#paintFacts(entry, now, stale);
    const at = performance.now();
    if (at - this.drawnAt >= drawEvery || this.told !== a.status) {
      this.drawnAt = at;
      this.told = a.status;
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
    show(this.parts.cancelWhy, reasons.cancel !== reasons.dismiss); // seen once, heard with both
    show(this.parts.warning, a.status === Status.failed && notProvenDead(a));
  }

  #paintFacts(entry, now, stale) {
    const a = entry.action, when = (ms) => localTime(ms, { date: true });
    const facts = [
      [active(a.status) ? "Going for" : "Went for", elapsed(a, now)],
      ["Created", when(a.created_at)],
      ["Started", a.started_at ? when(a.started_at) : "not yet"],
      [ongoing(a.status) ? (a.status === Status.failed ? "Failed" : "Last change") : "Ended", when(a.updated_at)],
      ["Runner", runnerText(a.runner) || "none yet"],
      ["Last heard", a.runner ? this.#heard(entry, now, stale) : ""],
      ["Asked to stop", a.cancel_requested_at ? when(a.cancel_requested_at) : ""],
      ["Exit code", a.exit_code === undefined ? "" : String(a.exit_code)],
      ["Id", a.id],
      ["Seq", String(a.seq)],
    ];
    const list = this.parts.facts;
    for (const [name, value] of facts) {
      let fact = list.querySelector(`[data-name="${name}"]`);
      if (!fact) list.append((fact = h("div", { "data-name": name }, h("dt", {}, name), h("dd", { dir: "auto" }, ""))));
      text(fact.lastElementChild, value);
      show(fact, value !== "");
    }
    for (const fact of list.children) { // a name that no longer fits
      if (!facts.some(([name]) => name === fact.dataset.name)) fact.hidden = true;
    }
    paintKeys(this.parts.keys, a.keys);
    show(this.parts.noKeys, a.keys.length === 0);
  }

  #heard(entry, now, stale) {
    return [localTime(entry.heardAt, { date: true }), heardText(entry, now, stale).replace("heard ", "")].filter(Boolean).join(", ");
  }

  #paintHistory(entry, now) {
    const a = entry.action, until = active(a.status) ? Math.max(now, a.updated_at) : a.updated_at;
    const { chart: place } = this.parts;
    if (until - entry.samples[0].at < 1000) place.replaceChildren(); // nothing to be seen yet
    else place.replaceChildren(chart(entry.samples, until, Math.max(place.clientWidth, 200), 160));
    const events = entry.events.map(({ at, status, state }) => h("li", {},
      h("time", { datetime: new Date(at).toISOString() }, localTime(at)),
      h("span", { "data-status": statusNames[status], class: "word" }, capital(statusNames[status])),
      h("span", { class: "soft", dir: "auto" }, stateText(state))));
    this.parts.events.replaceChildren(...events.reverse());
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
    if (this.parts.commands.dataset.lines === lines.join("\n")) return;
    this.parts.commands.dataset.lines = lines.join("\n");
    this.parts.commands.replaceChildren(...lines.map(command));
    show(this.parts.commands.parentElement, lines.length > 0);
  }
}

// Hearing asks when the runners were last heard of what is seen: that is no change, so nobody
// tells. It asks for one action a second at most.
export class Hearing {
  constructor(model) {
    this.model = model;
    this.asked = new Map(); // id -> performance.now()
  }

  async tick(entries) {
    if (this.busy || document.hidden) return;
    const at = performance.now();
    let next, longest = 10 * second;
    for (const entry of entries) {
      const a = entry.action;
      if (!a.runner || !active(a.status) || api.now() - entry.heardAt < 10 * second) continue;
      const since = at - (this.asked.get(entry.id) ?? -Infinity);
      if (since > longest) [next, longest] = [entry, since];
    }
    if (!next) return;
    this.asked.delete(next.id);
    this.asked.set(next.id, at);
    if (this.asked.size > 500) this.asked.delete(this.asked.keys().next().value);
    this.busy = true;
    try {
      const action = await api.get(next.id);
      this.model.heard(action.id, action.runner?.heard_at);
    } catch { // the list tells what became of it, the gateway whether the server is there
    } finally {
      this.busy = false;
    }
  }
}
