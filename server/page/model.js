// What the page knows: the ongoing actions, as the list and the gateway tell of them, and the
// endings it has seen. Nothing here knows how it is shown.

import { Estimate } from "./estimate.js";
import { Status, active, ongoing, urgency } from "./text.js";

// lingers is for how long the ending of an action is shown in its place, in milliseconds.
const lingers = 6000;
// keptEndings is how many the strip keeps: kapi itself keeps none.
const keptEndings = 50;
// unseenAfter is for how long the gateway may still tell how something ended that the list lacks.
const unseenAfter = 2000;
// rememberedEndings bounds the ids that an older list must not bring back.
const rememberedEndings = 5000;
// maxSamples and maxEvents bound the history of one action.
const maxSamples = 240, maxEvents = 60;

// eventsApart is the least time between two events of one status, but for the newest.
const eventsApart = 5000;

// An Entry is an action, with what the page has seen of it.
class Entry {
  constructor(action) {
    this.id = action.id;
    this.estimate = new Estimate();
    this.samples = []; // {at, progress, status}, at being the time of the change
    this.events = []; // {at, status, state}
    this.step = 0; // the least time between two samples
    this.endedAt = 0; // performance.now() of its ending
    this.heardAt = 0; // of its runner; newer than in the action, if it was asked for
    this.checkedAt = 0; // when heardAt was last known to be current: that it grows is no change
  }

  take(action, now) {
    this.action = action;
    if (ongoing(action.status)) this.rank = urgency.indexOf(action.status); // an ending stays where it was
    this.heard(action.runner?.heard_at ?? 0, action.runner?.heard_at ?? 0);
    this.estimate.observe(now, active(action.status) ? action.progress : undefined);
    this.search = undefined;
    this.#sample(action);
    const last = this.events.at(-1);
    if (!last || last.status !== action.status || last.state !== action.state) {
      const before = this.events.at(-2);
      if (before && last.status === action.status && last.at - before.at < eventsApart) this.events.pop();
      this.events.push({ at: action.updated_at, status: action.status, state: action.state });
      if (this.events.length > maxEvents) this.events.splice(1, 1); // the first says when it began
    }
  }

  // heard takes note of when the runner was last heard, as it was known at a moment.
  heard(at, checkedAt) {
    this.heardAt = Math.max(this.heardAt, at);
    this.checkedAt = Math.max(this.checkedAt, checkedAt);
  }

  #sample({ updated_at: at, progress, status }) {
    const last = this.samples.at(-1), before = this.samples.at(-2);
    if (last && before && last.status === status && before.status === status && at - before.at < this.step) this.samples.pop();
    this.samples.push({ at, progress, status });
    if (this.samples.length < maxSamples) return;
    this.step = 2 * Math.max(this.step, (at - this.samples[0].at) / maxSamples);
    const thinned = this.samples.filter((s, i, all) => i === 0 || i === all.length - 1 || i % 2 === 0 || s.status !== all[i - 1].status);
    this.samples = thinned.length < maxSamples ? thinned : thinned.slice(-maxSamples / 2);
  }

  get ended() {
    return this.endedAt > 0;
  }

  // fits reports whether its status is one of those, none being all, and all words are somewhere in
  // what it says of itself.
  fits({ words, statuses }) {
    if (statuses.size > 0 && !statuses.has(urgency[this.rank])) return false;
    if (words.length === 0) return true;
    const a = this.action;
    this.search ??= [a.title, a.description, a.state ?? "", ...a.keys, a.runner?.host ?? "", a.id].join("\n").toLowerCase();
    return words.every((word) => this.search.includes(word));
  }
}

export class Model {
  // on has changed(entry), for every change, and news(entry, what), for what is news: "failed",
  // "impacted", "recovered", "completed", "aborted", or "unseen" for an ending that was missed.
  constructor(on) {
    this.on = on;
    this.epoch = "";
    this.entries = new Map();
    this.endings = []; // newest first: {action, how, at}
    this.counts = [0, 0, 0, 0];
    this.known = false; // there was a list
    this.gone = new Map(); // id -> seq of what has ended
    this.missing = new Map(); // id -> {seq, at} of what a list lacks
  }

  get(id) {
    return this.entries.get(id);
  }

  get total() {
    return this.counts.reduce((sum, n) => sum + n, 0);
  }

  // list takes a list of all that is ongoing. What is known and not in it has ended, unless it
  // began after seq, the change that the list is of. How, the gateway may be about to tell.
  list(actions, epoch, seq) {
    this.enter(epoch);
    const listed = new Set();
    for (const action of actions) {
      listed.add(action.id);
      this.update(action);
    }
    for (const { id, ended, action } of this.entries.values()) {
      if (!ended && !listed.has(id) && action.seq <= seq) this.missing.set(id, { seq: action.seq, at: performance.now() });
    }
    this.known = true;
  }

  // enter takes note of the history that what comes next is of. In another one the numbers of this
  // mean nothing.
  enter(epoch) {
    if (!epoch) return; // something between took it away
    if (this.epoch && epoch !== this.epoch) {
      this.gone.clear();
      for (const entry of this.entries.values()) entry.action = { ...entry.action, seq: 0 };
    }
    this.epoch = epoch;
  }

  // update takes an action, if it is newer than what is known of it.
  update(action, now = performance.now()) {
    let entry = this.entries.get(action.id);
    if (action.seq <= (entry?.action.seq ?? this.gone.get(action.id) ?? -1)) return;
    const before = entry?.action;
    if (!ongoing(action.status)) {
      return this.#end(entry, action, action.status === Status.completed ? "completed" : "aborted");
    }
    if (!entry) this.entries.set(action.id, (entry = new Entry(action)));
    if (entry.ended) { // or was thought to have
      entry.endedAt = 0;
      entry.how = undefined;
    } else if (before) {
      this.counts[before.status]--;
    }
    this.counts[action.status]++;
    entry.take(action, now);
    this.on.changed(entry);
    if (this.known && before?.status !== action.status) this.#tell(entry, before);
  }

  #tell(entry, before) {
    const { status } = entry.action;
    if (status === Status.failed) this.on.news(entry, "failed");
    else if (status === Status.impacted) this.on.news(entry, "impacted");
    else if (before?.status === Status.impacted) this.on.news(entry, "recovered");
  }

  // heard takes note of when a runner was last heard, as it is known now, by the server's clock.
  heard(id, at, now) {
    const entry = this.entries.get(id);
    if (!entry || !at) return;
    entry.heard(at, now);
    this.on.changed(entry);
  }

  #end(entry, action, how) {
    this.gone.set(action.id, action.seq);
    if (this.gone.size > rememberedEndings) this.gone.delete(this.gone.keys().next().value);
    const at = how === "unseen" ? 0 : action.updated_at;
    const others = this.endings.filter((e) => e.action.id !== action.id); // it may be told late how it was
    this.endings = [{ action, how, at }, ...others].slice(0, keptEndings);
    if (entry && !entry.ended) this.counts[entry.action.status]--;
    entry ??= new Entry(action); // it began and ended while nobody looked
    entry.how = how;
    entry.endedAt = performance.now();
    if (how === "unseen") entry.action = action;
    else entry.take(action, entry.endedAt);
    this.on.changed(entry);
    this.on.news(entry, how);
  }

  // settle gives up on what the gateway did not tell of.
  settle(now) {
    for (const [id, { seq, at }] of this.missing) {
      const entry = this.entries.get(id);
      const over = !entry || entry.ended || entry.action.seq !== seq;
      if (!over && now - at < unseenAfter) continue;
      this.missing.delete(id);
      // However it ended, it is over: it neither runs nor can be cancelled.
      if (!over) this.#end(entry, { ...entry.action, status: Status.aborted }, "unseen");
    }
  }

  // sweep forgets what has been shown as ended for long enough, but for kept, an id. It returns
  // whether there was any.
  sweep(now, kept) {
    let any = false;
    for (const entry of this.entries.values()) {
      if (!entry.ended || entry.id === kept || now - entry.endedAt < lingers) continue;
      this.entries.delete(entry.id);
      any = true;
    }
    return any;
  }

  // sorted returns the entries that fit a filter, in the order of the list.
  sorted(filter) {
    const all = [...this.entries.values()].filter((entry) => entry.fits(filter));
    return all.sort((a, b) =>
      a.rank - b.rank || a.action.created_at - b.action.created_at || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  }
}
