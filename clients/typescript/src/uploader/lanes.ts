/** How many requests run at once: a limit for all files, and one per file that adapts to the network. */

/** A counting semaphore, first come, first served. */
export class LanePool {
  private free: number;
  private readonly queue: (() => void)[] = [];

  constructor(size: number) {
    this.free = size;
  }

  /** Wait for a lane. Returns the function that gives it back. */
  async acquire(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.free > 0) this.free--;
    else {
      await new Promise<void>((resolve, reject) => {
        const stop = () => {
          this.queue.splice(this.queue.indexOf(enter), 1);
          reject(signal.reason);
        };
        const enter = () => {
          signal.removeEventListener("abort", stop);
          resolve();
        };
        signal.addEventListener("abort", stop, { once: true });
        this.queue.push(enter);
      });
    }
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      const next = this.queue.shift();
      if (next === undefined) this.free++;
      else next();
    };
  }
}

/** A lane more must bring this much, or it is given up again. */
const GAIN_WORTH_A_LANE = 1.08;
/** Rounds without a further try after a lane brought nothing. */
const ROUNDS_OF_REST = 4;

/**
 * Finds the number of parallel requests of one file. A round is as many finished parts as there are lanes. While a lane more
 * raises the rate, the next round tries one more. A refusal by the store or a lost connection halves the lanes.
 */
export class LaneLimit {
  private lanes: number;
  private roundParts = 0;
  private roundBytes = 0;
  private roundStart: number | null = null;
  private rateBefore = 0;
  private hasGrown = false;
  private rest = 0;

  constructor(
    start: number,
    private readonly max: number,
  ) {
    this.lanes = Math.min(start, max);
  }

  get current(): number {
    return this.lanes;
  }

  /** A part was sent that took from `startedAt` to `endedAt` (milliseconds). */
  partSent(bytes: number, startedAt: number, endedAt: number): void {
    this.roundStart ??= startedAt;
    this.roundParts++;
    this.roundBytes += bytes;
    if (this.roundParts < this.lanes) return;
    const rate = this.roundBytes / Math.max(1, endedAt - this.roundStart);
    this.startRound(endedAt);
    if (this.hasGrown && rate < this.rateBefore * GAIN_WORTH_A_LANE) {
      this.lanes--;
      this.hasGrown = false;
      this.rest = ROUNDS_OF_REST;
    } else if (this.rest > 0) {
      this.rest--;
      this.hasGrown = false;
    } else if (this.lanes < this.max) {
      this.lanes++;
      this.hasGrown = true;
      this.rateBefore = rate;
    } else {
      this.hasGrown = false;
    }
  }

  /** The store asked for fewer requests, or a connection was lost. */
  refused(): void {
    this.lanes = Math.max(1, Math.floor(this.lanes / 2));
    this.hasGrown = false;
    this.rest = ROUNDS_OF_REST;
    this.roundStart = null;
    this.roundParts = 0;
    this.roundBytes = 0;
  }

  private startRound(at: number): void {
    this.roundStart = at;
    this.roundParts = 0;
    this.roundBytes = 0;
  }
}
