// When the runners were last heard of: that is no change, so nobody tells, and the page has to ask.

import * as api from "./api.js";
import { active, second } from "./text.js";

// atOnce is how many actions are asked about at a time, again how long an answer is good for.
const atOnce = 4, again = 10 * second;

export class Hearing {
  constructor(model) {
    this.model = model;
    this.asked = new Map(); // id -> performance.now()
  }

  // tick is called every second with what is seen. Those are asked about first that never were, or
  // the longest ago.
  async tick(entries) {
    if (this.busy || document.hidden) return;
    const at = performance.now();
    const asked = ({ id }) => this.asked.get(id) ?? -Infinity;
    const old = (entry) => entry.action.runner && active(entry.action.status) &&
      api.now() - entry.checkedAt >= again && at - asked(entry) >= again;
    const next = entries.filter(old).sort((a, b) => asked(a) - asked(b) || 0).slice(0, atOnce);
    this.busy = true;
    await Promise.all(next.map((entry) => this.#ask(entry.id, at)));
    this.busy = false;
  }

  async #ask(id, at) {
    this.asked.delete(id); // so that the oldest come first
    this.asked.set(id, at);
    if (this.asked.size > 500) this.asked.delete(this.asked.keys().next().value);
    try {
      const { runner } = await api.get(id);
      this.model.heard(id, runner?.heard_at, api.now());
    } catch { // the list tells what became of it, the gateway whether the server is there
    }
  }
}
