// How long an operation still takes, by how its progress went while it was watched. This is the
// terminal's rule (cmd/kapi/estimate.go), so that both say the same. Times are in milliseconds.

// What moved for less than this, or by less, or in fewer steps, says little.
const after = 5000, least = 0.01, enough = 4;
// The second half of what is known may be so many times as fast as the first, or as slow.
const spread = 3;
// maxSamples says how fine the samples are; fewer than twice as many are kept.
const maxSamples = 64;
// recentAtLeast is how much of the past counts, or half of all of it if that is more.
const recentAtLeast = 30_000;
// smoothing is how much a sample moves what is shown.
const smoothing = 0.3;

export class Estimate {
  constructor() {
    this.reset();
  }

  reset() {
    this.since = 0; // of the first sample there was
    this.samples = []; // those that still count, oldest first, progress growing
    this.finish = undefined;
  }

  // observe takes note of the progress at a moment, undefined if it is unknown.
  observe(now, progress) {
    if (progress === undefined) return this.reset();
    const n = this.samples.length;
    if (n > 0) {
      const last = this.samples[n - 1];
      if (progress === last.progress) return;
      if (progress < last.progress) this.reset(); // a new phase
      else if (n > 1 && now - this.samples[n - 2].at < this.#window(now) / maxSamples) {
        this.samples.pop(); // finer than needed
      }
    }
    if (this.samples.length === 0) this.since = now;
    this.samples.push({ at: now, progress });
    const oldest = now - this.#window(now);
    while (this.samples.length > enough && this.samples[1].at < oldest) this.samples.shift();
    const finish = this.#predict();
    if (finish === undefined || this.finish === undefined) this.finish = finish;
    else this.finish += smoothing * (finish - this.finish);
  }

  // left is how long it still takes; undefined if that would be a guess.
  left(now) {
    if (this.finish === undefined || now >= this.finish) return undefined;
    let pause = 0; // the longest between two moves
    for (let i = 1; i < this.samples.length; i++) pause = Math.max(pause, this.samples[i].at - this.samples[i - 1].at);
    const quiet = now - this.samples.at(-1).at;
    return quiet > Math.max(after, 3 * pause) ? undefined : this.finish - now;
  }

  #window(now) {
    return Math.max(recentAtLeast, (now - this.since) / 2);
  }

  #predict() {
    const n = this.samples.length;
    if (n < enough) return undefined;
    const first = this.samples[0], middle = this.samples[n >> 1], last = this.samples[n - 1];
    if (last.at - first.at < after || last.progress - first.progress < least) return undefined;
    const early = speed(first, middle), late = speed(middle, last);
    if (late > spread * early || early > spread * late) return undefined;
    return last.at + (1 - last.progress) / speed(first, last);
  }
}

// speed is in progress a millisecond.
function speed(from, to) {
  return (to.progress - from.progress) / Math.max(to.at - from.at, 1e-6);
}
