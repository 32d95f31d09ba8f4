/** Bytes sent, speed and time left, smoothed so that they can be read. */

/** Weight of the past: what was measured this long ago counts 1/e. */
const SMOOTHING_MS = 4000;
/** Estimates before this would jump. */
const FIRST_ESTIMATE_MS = 1500;
const SAMPLE_MS = 200;

/** Measures bytes per second with an exponentially weighted mean over time, by a clock that is never set. */
export class SpeedMeter {
  private rate = 0;
  private pendingBytes = 0;
  private sampledAt: number | null = null;
  private startedAt: number | null = null;

  constructor(private readonly now: () => number = () => performance.now()) {}

  add(bytes: number): void {
    this.begin();
    this.pendingBytes += bytes;
  }

  /** Bytes per second now; falls towards zero while nothing is sent. */
  get bytesPerSecond(): number {
    this.sample();
    return this.rate;
  }

  /** Null while it is too early to tell, or nothing is sent. */
  secondsFor(bytes: number): number | null {
    const rate = this.bytesPerSecond;
    if (this.startedAt === null || this.now() - this.startedAt < FIRST_ESTIMATE_MS || rate < 1) return null;
    return roundSeconds(bytes / rate);
  }

  /** Start anew, as after a pause. */
  reset(): void {
    this.rate = 0;
    this.pendingBytes = 0;
    this.sampledAt = null;
    this.startedAt = null;
  }

  private begin(): void {
    if (this.sampledAt !== null) return;
    this.sampledAt = this.now();
    this.startedAt = this.sampledAt;
  }

  private sample(): void {
    if (this.sampledAt === null || this.startedAt === null) return;
    const now = this.now();
    const elapsed = now - this.sampledAt;
    if (elapsed < SAMPLE_MS) return;
    const rate = (this.pendingBytes / elapsed) * 1000;
    // The first sample has no past to be weighed against; without this, a start from zero would take seconds to show the true speed.
    const weight = this.sampledAt === this.startedAt ? 1 : 1 - Math.exp(-elapsed / SMOOTHING_MS);
    this.rate += (rate - this.rate) * weight;
    this.pendingBytes = 0;
    this.sampledAt = now;
  }
}

/** Round up as people say durations: to 1 s below 10 s, 5 s below a minute, 10 s below 5 min, 1 min below an hour, 5 min above. */
export function roundSeconds(seconds: number): number {
  const step = seconds < 10 ? 1 : seconds < 60 ? 5 : seconds < 300 ? 10 : seconds < 3600 ? 60 : 300;
  return Math.ceil(seconds / step) * step;
}

/** Counts what was sent of one file: finished requests, and those in flight. */
export class SentBytes {
  private done = 0;
  private readonly inFlight = new Map<number, number>();

  get total(): number {
    let total = this.done;
    for (const bytes of this.inFlight.values()) total += bytes;
    return total;
  }

  /** Start with what the store holds already. */
  restart(done: number): void {
    this.done = done;
    this.inFlight.clear();
  }

  /** Set the progress of one request. Returns by how much it grew. */
  update(request: number, bytes: number): number {
    const before = this.inFlight.get(request) ?? 0;
    this.inFlight.set(request, bytes);
    return Math.max(0, bytes - before);
  }

  finish(request: number, bytes: number): void {
    this.inFlight.delete(request);
    this.done += bytes;
  }

  /** Forget the requests that were stopped. */
  clearInFlight(): void {
    this.inFlight.clear();
  }
}
