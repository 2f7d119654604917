// What the page knows: the ongoing actions, from the list and the gateway, and the endings that it has
// seen. Nothing here depends on how they are shown.

import { Estimate } from "./estimate.js";
import { Status, active, ongoing, urgency } from "./text.js";

// lingers is how long an ended action stays in the list, in milliseconds.
const lingers = 6000;
// keptEndings is how many endings are shown under "Just ended".
const keptEndings = 50;
// unseenAfter is how long the page waits for the gateway to say how an action ended that the list lacks.
const unseenAfter = 2000;
// rememberedEndings bounds how many ids are kept so that an older list doesn't bring them back.
const rememberedEndings = 5000;
// maxSamples and maxEvents bound the history of one action.
const maxSamples = 240, maxEvents = 60;

// eventsApart is the least time between two events of one status, except the newest.
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
    this.heardAt = 0; // when its runner was last heard; newer than in the action if it was asked for
    this.checkedAt = 0; // when heardAt was last known to be current, as no change announces it
  }

  take(action, now) {
    this.action = action;
    if (ongoing(action.status)) this.rank = urgency.indexOf(action.status); // an ended action keeps its place
    this.heard(action.runner?.heard_at ?? 0, action.runner?.heard_at ?? 0);
    this.estimate.observe(now, active(action.status) ? action.progress : undefined);
    this.search = undefined;
    this.#sample(action);
    const last = this.events.at(-1);
    if (!last || last.status !== action.status || last.state !== action.state) {
      const before = this.events.at(-2);
      if (before && last.status === action.status && last.at - before.at < eventsApart) this.events.pop();
      this.events.push({ at: action.updated_at, status: action.status, state: action.state });
      if (this.events.length > maxEvents) this.events.splice(1, 1); // the first event, which has the start, stays
    }
  }

  // heard notes when the runner was last heard, as known at checkedAt.
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

  // fits returns whether the action has one of the statuses (none means any) and its texts contain all words.
  fits({ words, statuses }) {
    if (statuses.size > 0 && !statuses.has(urgency[this.rank])) return false;
    if (words.length === 0) return true;
    const a = this.action;
    this.search ??= [a.title, a.description, a.state ?? "", ...a.keys, a.runner?.host ?? "", a.id].join("\n").toLowerCase();
    return words.every((word) => this.search.includes(word));
  }
}

export class Model {
  // on has the callbacks changed(entry), for every change, and news(entry, what), where what is "failed",
  // "impacted", "recovered", "completed", "aborted", or "unseen" for an ending that was missed.
  constructor(on) {
    this.on = on;
    this.epoch = "";
    this.entries = new Map();
    this.endings = []; // newest first: {action, how, at}
    this.counts = [0, 0, 0, 0];
    this.known = false; // true once there was a list
    this.gone = new Map(); // id -> seq of ended actions
    this.missing = new Map(); // id -> {seq, at} of actions that a list lacks
  }

  get(id) {
    return this.entries.get(id);
  }

  get total() {
    return this.counts.reduce((sum, n) => sum + n, 0);
  }

  // list takes a list of all ongoing actions as of seq. Known actions that it lacks have ended, unless they
  // changed after seq. The gateway may still say how they ended.
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

  // enter notes the epoch of what comes next. In another epoch, earlier seqs mean nothing.
  enter(epoch) {
    if (!epoch) return; // a proxy removed the header
    if (this.epoch && epoch !== this.epoch) {
      this.gone.clear();
      for (const entry of this.entries.values()) entry.action = { ...entry.action, seq: 0 };
    }
    this.epoch = epoch;
  }

  // update takes an action if it is newer than the known one.
  update(action, now = performance.now()) {
    let entry = this.entries.get(action.id);
    if (action.seq <= (entry?.action.seq ?? this.gone.get(action.id) ?? -1)) return;
    const before = entry?.action;
    if (!ongoing(action.status)) {
      return this.#end(entry, action, action.status === Status.completed ? "completed" : "aborted");
    }
    if (!entry) this.entries.set(action.id, (entry = new Entry(action)));
    if (entry.ended) { // it was thought to have ended
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

  // heard notes when a runner was last heard, as known now, by the server's clock.
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
    const others = this.endings.filter((e) => e.action.id !== action.id); // the real ending of an unseen one may come late
    this.endings = [{ action, how, at }, ...others].slice(0, keptEndings);
    if (entry && !entry.ended) this.counts[entry.action.status]--;
    entry ??= new Entry(action); // it began and ended unseen
    entry.how = how;
    entry.endedAt = performance.now();
    if (how === "unseen") entry.action = action;
    else entry.take(action, entry.endedAt);
    this.on.changed(entry);
    this.on.news(entry, how);
  }

  // settle ends actions that a list lacked, if the gateway has not said how they ended.
  settle(now) {
    for (const [id, { seq, at }] of this.missing) {
      const entry = this.entries.get(id);
      const over = !entry || entry.ended || entry.action.seq !== seq;
      if (!over && now - at < unseenAfter) continue;
      this.missing.delete(id);
      // How it ended is unknown. Aborted makes it neither running nor cancellable.
      if (!over) this.#end(entry, { ...entry.action, status: Status.aborted }, "unseen");
    }
  }

  // sweep removes actions that have been shown as ended for long enough, except the one with the id kept.
  // It returns whether there were any.
  sweep(now, kept) {
    let any = false;
    for (const entry of this.entries.values()) {
      if (!entry.ended || entry.id === kept || now - entry.endedAt < lingers) continue;
      this.entries.delete(entry.id);
      any = true;
    }
    return any;
  }

  // first returns the first entries that fit a filter, at most as many as most, in the order of the list, and how
  // many fit it. So of many entries, most are only counted.
  first(filter, most) {
    const entries = [];
    let matching = 0;
    for (const entry of this.entries.values()) {
      if (!entry.fits(filter)) continue;
      matching++;
      if (entries.length === most && (most === 0 || order(entries[most - 1], entry) < 0)) continue;
      let low = 0, high = entries.length;
      if (high > 0 && order(entries[high - 1], entry) < 0) low = high; // they mostly come in order
      while (low < high) {
        const middle = (low + high) >> 1;
        if (order(entries[middle], entry) < 0) low = middle + 1;
        else high = middle;
      }
      entries.splice(low, 0, entry);
      if (entries.length > most) entries.pop();
    }
    return { entries, matching };
  }
}

// order compares two entries by their places in the list.
export function order(a, b) {
  return a.rank - b.rank || a.action.created_at - b.action.created_at || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}
