// Asks when runners were last heard. A sign of life is not a change, so the gateway doesn't send it.

import * as api from "./api.js";
import { active, second } from "./text.js";

// atOnce is how many actions are asked about at a time; again is how long an answer stays current.
const atOnce = 4, again = 10 * second;

export class Hearing {
  constructor(model) {
    this.model = model;
    this.asked = new Map(); // id -> performance.now()
  }

  // tick is called every second with the visible entries. It asks first about entries that it has never
  // asked about, then about those that it asked about longest ago.
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
    } catch { // the list and the gateway show what happened
    }
  }
}
