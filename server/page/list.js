// The list of ongoing actions: rows by id. Rows far from the visible part have only a title. The document
// is changed only in paint, once a frame, and when rows are scrolled near.

import { $, glide } from "./dom.js";
import { order } from "./model.js";
import { Row } from "./row.js";

// budget is how long new rows may be made in one frame, in milliseconds. The rest follow in the next.
const budget = 6;
// margin is how far from the visible part a row still counts as near, in window heights.
const margin = 0.5;

// maxRows is how many rows are shown. With more, each change of their order would take too long.
const maxRows = 1200;

export class List {
  constructor(model, wake) {
    this.model = model;
    this.wake = wake; // asks for a frame
    this.root = $("#list");
    this.rows = new Map();
    this.dirty = new Set(); // entries that changed
    this.unordered = true;
    this.filter = { words: [], statuses: new Set() };
    this.filled = false; // true once all was shown; later rows are new
    this.matching = 0; // how many actions fit the filter
    this.left = 0; // how many of them have no row, because there are too many
    this.last = undefined; // the entry of the last row, if any are left out
    this.watch = new IntersectionObserver((seen) => this.#seen(seen), { rootMargin: `${100 * margin}% 0%` });
  }

  // changed notes a change, to be painted.
  changed(entry) {
    this.dirty.add(entry);
    const row = this.rows.get(entry.id);
    const fits = entry.fits(this.filter) && (Boolean(row) || !this.last || order(entry, this.last) < 0);
    // With a filter, a change may add or remove a row. A note makes a row higher.
    if (Boolean(row) !== fits || row && (row.rank !== entry.rank || row.near && row.noted !== row.willNote())) this.unordered = true;
  }

  setFilter(filter) {
    this.filter = filter;
    this.unordered = true;
  }

  // reorder has the next paint place all rows again, and remove those that are no longer shown.
  reorder() {
    this.unordered = true;
  }

  paint(now, stale) {
    Object.assign(this, { now, stale });
    const started = performance.now();
    let complete = true;
    // Painting may change the height of rows, so positions are measured before.
    const before = this.unordered && this.filled ? this.#where() : new Map();
    for (const entry of this.dirty) {
      const row = this.rows.get(entry.id);
      if (row?.near && row.entry === entry) row.paint(now, started, stale);
    }
    this.dirty.clear();
    if (this.unordered) {
      const { entries: wanted, matching } = this.model.first(this.filter, maxRows);
      this.matching = matching;
      this.left = matching - wanted.length;
      this.last = this.left > 0 ? wanted.at(-1) : undefined;
      complete = this.#place(wanted, before, started);
      this.unordered = !complete;
    }
    if (!complete) this.wake();
    else if (this.model.known) this.filled = true;
  }

  // tick is called every second.
  tick(now, stale) {
    Object.assign(this, { now, stale });
    const at = performance.now();
    for (const row of this.rows.values()) if (row.near) row.tick(now, at, stale);
  }

  // #seen unfolds rows that have come near, and folds those that have gone far, except one with the focus.
  #seen(changes) {
    const last = [...new Map(changes.map((change) => [change.target, change])).values()]; // the last change of each row
    const fresh = last.filter(({ isIntersecting, target }) => isIntersecting && !target.row.near).map(({ target }) => target);
    // Positions are measured now, since the list may have been scrolled in the meantime. Only rows that begin
    // above the window matter: unfolding them moves what is visible.
    const above = fresh.map((element) => [element, element.getBoundingClientRect()]).filter(([, place]) => place.top < 0);
    for (const { target, isIntersecting, boundingClientRect: place } of last) {
      const { row } = target;
      if (!isIntersecting && row.near && target.isConnected && !target.contains(document.activeElement)) row.fold(place.height);
    }
    for (const { row } of fresh) this.#unfold(row);
    // The visible part stays where it is, however much the rows above it have grown.
    const grown = above.reduce((sum, [element, place]) => sum + element.getBoundingClientRect().height - place.height, 0);
    if (grown !== 0) scrollBy({ top: grown, behavior: "instant" });
  }

  #unfold(row) {
    row.unfold();
    row.paint(this.now, performance.now(), this.stale);
  }

  // forget drops changes of entries that will never be painted. In a hidden tab they would accumulate.
  forget() {
    for (const entry of this.dirty) {
      if (this.model.get(entry.id) !== entry) this.dirty.delete(entry);
    }
  }

  // near returns the entries of the rows near the visible part.
  near() {
    return [...this.rows.values()].filter((row) => row.near).map((row) => row.entry);
  }

  // #place gives the document the wanted rows in this order, and animates those that moved. It returns
  // whether all rows could be made.
  #place(wanted, before, started) {
    const rows = [], fresh = [];
    let complete = true;
    for (const entry of wanted) {
      let row = this.rows.get(entry.id);
      if (!row) {
        if (fresh.length > 0 && performance.now() - started > budget) { // at least one row is made, however slow the machine
          complete = false;
          break;
        }
        row = new Row(entry, this.watch);
        this.rows.set(entry.id, row);
        fresh.push(row);
      }
      row.rank = entry.rank;
      row.mark();
      rows.push(row);
    }
    const lost = this.#remove(new Set(rows), wanted, complete);
    this.#sort(rows);
    this.#unfoldMoved(rows);
    if (lost >= 0) (rows[Math.min(lost, rows.length - 1)]?.link ?? $("#list-title")).focus();
    if (this.filled) this.#glide(before, fresh);
    return complete;
  }

  // #remove removes unwanted rows. It returns the position of a removed row that had the focus, or -1.
  #remove(keep, wanted, complete) {
    const ids = complete ? undefined : new Set(wanted.map((entry) => entry.id));
    let had = -1;
    for (const [id, row] of this.rows) {
      if (keep.has(row) || ids?.has(id)) continue;
      if (row.element.contains(document.activeElement)) had = row.at;
      this.rows.delete(id);
      this.watch.unobserve(row.element);
      row.element.remove();
    }
    return had;
  }

  // #sort moves as few rows as possible: a longest sequence that is in order already stays.
  #sort(rows) {
    let at = 0;
    for (const element of this.root.children) element.row.at = at++;
    const stay = longestRise(rows.map((row) => (row.element.parentNode ? row.at : -1)));
    const focused = document.activeElement;
    let next = null;
    for (let i = rows.length - 1; i >= 0; i--) {
      const row = rows[i];
      row.at = i;
      row.moved = !stay.has(i);
      if (row.moved) this.root.insertBefore(row.element, next);
      next = row.element;
    }
    // An element in a moved row loses the focus.
    if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
  }

  // #unfoldMoved unfolds rows that are new or moved and near now, without waiting for the observer.
  #unfoldMoved(rows) {
    const far = margin * innerHeight;
    let near = rows.filter((row) => row.moved && !row.near);
    near = near.filter((row) => {
      const { top, bottom } = row.element.getBoundingClientRect();
      return bottom > -far && top < innerHeight + far;
    });
    for (const row of near) this.#unfold(row);
  }

  // #where returns where rows are on the screen, including those that are moving.
  #where() {
    const places = new Map();
    for (const row of this.rows.values()) {
      if (row.near) places.set(row, row.element.getBoundingClientRect());
    }
    return places;
  }

  #glide(before, fresh) {
    this.#hold(before);
    for (const row of fresh) {
      glide(row.element, [{ opacity: 0 }, { opacity: 1 }], 300);
      row.moving = glide(row.element, [{ transform: "translateY(-0.5rem)" }, { transform: "none" }], 300);
    }
    // A row that is still moving continues from where it is on the screen. Its new place is measured
    // without the animation.
    for (const row of before.keys()) row.moving?.cancel();
    const far = innerHeight;
    const moves = [];
    for (const [row, old] of before) {
      if (!row.element.isConnected) continue;
      const place = row.element.getBoundingClientRect();
      const x = old.left - place.left, y = Math.max(-far, Math.min(far, old.top - place.top));
      if (Math.abs(x) + Math.abs(y) > 1) moves.push([row, `translate(${x}px, ${y}px)`]);
    }
    for (const [row, transform] of moves) row.moving = glide(row.element, [{ transform }, { transform: "none" }], 450);
  }

  // #hold keeps the visible part where it is when rows are added or removed above it.
  #hold(before) {
    if (scrollY < this.root.offsetTop) return; // at the top, new rows are to be seen
    let first, top = innerHeight;
    for (const [row, old] of before) {
      if (row.moved || row.moving?.playState === "running" || !row.element.isConnected || old.bottom < 0 || old.top >= top) continue;
      first = row;
      top = old.top;
    }
    if (first) scrollBy(0, first.element.getBoundingClientRect().top - top);
  }
}

// longestRise returns the indexes of a longest increasing subsequence. Negative numbers are left out.
export function longestRise(numbers) {
  const ends = [], previous = new Array(numbers.length);
  numbers.forEach((n, i) => {
    if (n < 0) return;
    let low = 0, high = ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (numbers[ends[middle]] < n) low = middle + 1;
      else high = middle;
    }
    previous[i] = low > 0 ? ends[low - 1] : -1;
    ends[low] = i;
  });
  const rise = new Set();
  for (let i = ends.at(-1) ?? -1; i >= 0; i = previous[i]) rise.add(i);
  return rise;
}
