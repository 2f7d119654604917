// Estimates how long an operation will still take from its progress while it was watched, by the same
// rule as the terminal (cmd/kapi/estimate.go). Times are in milliseconds.

// There is no estimate from less time, less progress or fewer samples than these.
const after = 5000, least = 0.01, enough = 4;
// There is no estimate if one half of the samples is more than spread times as fast as the other.
const spread = 3;
// maxSamples is the number of samples in a window; fewer than twice as many are kept.
const maxSamples = 64;
// Samples count for at least recentAtLeast, or for half the time watched if that is longer.
const recentAtLeast = 30_000;
// smoothing is the weight of a new prediction.
const smoothing = 0.3;

export class Estimate {
  constructor() {
    this.reset();
  }

  reset() {
    this.since = 0; // time of the first sample
    this.samples = []; // those that still count, oldest first, with growing progress
    this.finish = undefined;
  }

  // observe notes the progress at a time; undefined means unknown.
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

  // left returns how long the operation will still take, or undefined if that would be a guess.
  left(now) {
    if (this.finish === undefined || now >= this.finish) return undefined;
    let pause = 0; // the longest between two samples
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

// speed returns the progress per millisecond.
function speed(from, to) {
  return (to.progress - from.progress) / Math.max(to.at - from.at, 1e-6);
}
