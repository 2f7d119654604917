// Shows whether the page is live, and if not, since when.

import * as api from "./api.js";
import { $, show, text } from "./dom.js";
import { localTime } from "./text.js";

// patience is how long the connection may be lost before the page says so, in milliseconds.
const patience = 800;

export class Banner {
  // change is called when stale changes, announce with text for screen readers.
  constructor({ change, announce }) {
    this.change = change;
    this.announce = announce;
    this.stale = false;
  }

  // live notes whether the page gets all changes. If not, heardAt is when the server last sent something.
  live(yes, heardAt) {
    if (this.connected === yes) return;
    this.connected = yes;
    clearTimeout(this.timer);
    if (yes) {
      this.unfit = false;
      return this.#set(false);
    }
    this.since = heardAt || Date.now();
    this.timer = setTimeout(() => this.#set(true), patience);
  }

  // outdated notes that the page gets no more changes until it is loaded again.
  outdated(heardAt) {
    this.live(false, heardAt);
    clearTimeout(this.timer);
    this.unfit = true;
    this.#set(true);
  }

  #set(stale) {
    if (this.stale !== stale) this.announce(stale ? `Not connected since ${localTime(this.since)}` : "Connected again");
    this.stale = stale;
    document.documentElement.classList.toggle("is-stale", stale);
    text($("#live-text"), stale ? "Not connected" : "Live");
    show($("#stale"), stale);
    this.tick(api.now());
    this.change();
  }

  tick(now) {
    if (!this.stale) return;
    text($("#stale-text"), this.unfit ? "The server is of another version than this page. Load it again." :
      `Not connected to the server. What you see is as of ${localTime(this.since, { now })}; it is updated as soon as the server is back.`);
  }
}
