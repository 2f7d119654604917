// The filter by text and status. It is part of the address, so that it can be shared.

import { $, h, shape, text } from "./dom.js";
import { capital, statusNames, urgency } from "./text.js";

export class Filter {
  // change is called with the filter: words in lower case, and statuses. No statuses means all.
  constructor(model, change) {
    this.model = model;
    this.change = change;
    this.input = $("#filter-text");
    this.statuses = new Set();
    this.buttons = new Map(urgency.map((status) => [status, this.#button(status)]));
    $("#filter-statuses").append(...this.buttons.values());
    this.input.addEventListener("input", () => this.#changed());
    $("#filter-clear").addEventListener("click", () => {
      this.input.value = "";
      this.statuses.clear();
      this.#changed();
      this.input.focus();
    });
  }

  #button(status) {
    const name = statusNames[status];
    const button = h("button", { type: "button", class: "chip", "data-status": name, "aria-pressed": "false" },
      shape(name), h("span", {}, capital(name)), h("span", { class: "count" }, "0"));
    button.addEventListener("click", () => {
      if (!this.statuses.delete(status)) this.statuses.add(status);
      this.#changed();
    });
    return button;
  }

  // read reads the filter from the address.
  read() {
    const given = new URLSearchParams(location.hash.split("?")[1] ?? "");
    if (this.input.value.trim() !== (given.get("q") ?? "")) this.input.value = given.get("q") ?? "";
    const names = (given.get("status") ?? "").split(",");
    this.statuses = new Set(urgency.filter((status) => names.includes(statusNames[status])));
    $("#action-view .back").href = location.hash || "#/"; // the link back keeps the filter
    this.#tell();
  }

  #changed() {
    const given = new URLSearchParams();
    if (this.input.value.trim()) given.set("q", this.input.value.trim());
    if (this.statuses.size > 0) given.set("status", [...this.statuses].map((status) => statusNames[status]).join(","));
    const query = given.toString().replaceAll("%2C", ",");
    history.replaceState(null, "", query ? `#/?${query}` : "#/");
    this.read();
  }

  #tell() {
    for (const [status, button] of this.buttons) button.setAttribute("aria-pressed", String(this.statuses.has(status)));
    const words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    this.change({ words, statuses: this.statuses });
  }

  paint() {
    for (const [status, button] of this.buttons) {
      const count = this.model.counts[status];
      text(button.lastElementChild, String(count));
      button.classList.toggle("none", count === 0);
    }
  }
}
