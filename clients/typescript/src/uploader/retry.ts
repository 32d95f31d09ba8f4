/** When a request is tried again, and how long to wait before. */

import { ApiError, ConnectionError } from "../errors.js";
import { sleep } from "../client.js";

const FIRST_DELAY_MS = 500;
const DELAY_MAX_MS = 30_000;

/** Exponential backoff: half fixed, half random, so that many clients do not come back at once. `tries` counts from 1. */
export function backoffMs(tries: number, random: () => number = Math.random): number {
  const ceiling = Math.min(DELAY_MAX_MS, FIRST_DELAY_MS * 2 ** (tries - 1));
  return ceiling / 2 + (ceiling / 2) * random();
}

export interface RetryPolicy {
  readonly triesMax: number;
  readonly random: () => number;
  /** Told when a wait begins and ends. */
  readonly onWaiting: (isWaiting: boolean) => void;
}

/** Repeat a call of the API while it may succeed later. */
export async function retryCall<T>(policy: RetryPolicy, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    signal.throwIfAborted();
    try {
      return await call();
    } catch (error) {
      signal.throwIfAborted();
      const isRetryable = error instanceof ConnectionError || (error instanceof ApiError && error.isRetryable);
      // Neither time without a network nor the server's own checks are failures.
      const isWait = error instanceof ConnectionError ? isOffline() : error instanceof ApiError && error.code === "upload_withheld";
      if (isWait) tries = 0;
      if (!isRetryable || tries >= policy.triesMax) throw error;
      await waitForRetry(policy, signal, tries, error instanceof ApiError ? error.retryAfterSeconds : null);
    }
  }
}

/** Wait for the backoff or for Retry-After. Without a network, wait until the browser reports one. */
export async function waitForRetry(
  policy: RetryPolicy,
  signal: AbortSignal,
  tries: number,
  retryAfterSeconds: number | null,
): Promise<void> {
  policy.onWaiting(true);
  try {
    if (isOffline()) await untilOnline(signal);
    else await sleep(Math.max(backoffMs(Math.max(1, tries), policy.random), (retryAfterSeconds ?? 0) * 1000), signal);
  } finally {
    policy.onWaiting(false);
  }
}

export function isOffline(): boolean {
  return globalThis.navigator?.onLine === false;
}

/** `onLine` may be wrong about a network that is there, so ask again from time to time. */
const OFFLINE_RECHECK_MS = 60_000;

function untilOnline(signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void) => () => {
      clearTimeout(timer);
      globalThis.removeEventListener("online", online);
      signal.removeEventListener("abort", aborted);
      settle();
    };
    const online = finish(resolve);
    const aborted = finish(() => reject(signal.reason));
    const timer = setTimeout(online, OFFLINE_RECHECK_MS);
    globalThis.addEventListener("online", online, { once: true });
    signal.addEventListener("abort", aborted, { once: true });
  });
}
