/** Gets signatures for parts: many with one call, and before they are needed where that is possible. */

import type * as api from "../api-types.js";
import { SIGNED_PARTS_MAX } from "./plan.js";

/** Older signatures are not used. The server's time limit cannot be compared with a clock that may be wrong. */
const SIGNATURE_AGE_MAX_MS = 5 * 60_000;

interface Wanted {
  readonly sha256: string | null;
  readonly resolve: (part: api.SignedPart) => void;
  readonly reject: (error: unknown) => void;
}

export class PartSigner {
  private readonly signed = new Map<number, { readonly part: api.SignedPart; readonly at: number }>();
  /** Parts that a running call signs before they are needed. */
  private readonly coming = new Map<number, Promise<void>>();
  private wanted = new Map<number, Wanted>();

  /** `upcoming`: parts that will be needed next and can be signed without a digest; empty where every part has one. */
  constructor(
    private readonly sign: (parts: readonly api.PartRequest[]) => Promise<readonly api.SignedPart[]>,
    private readonly upcoming: () => readonly number[],
    private readonly now: () => number = Date.now,
  ) {}

  /** Sign a part, or take a signature that was got before. Each signature is handed out once, so a second try gets a new one. */
  async get(number: number, sha256: string | null): Promise<api.SignedPart> {
    await this.coming.get(number);
    const kept = this.signed.get(number);
    this.signed.delete(number);
    if (kept !== undefined && this.now() - kept.at < SIGNATURE_AGE_MAX_MS) return kept.part;
    return new Promise((resolve, reject) => {
      this.wanted.set(number, { sha256, resolve, reject });
      // Lanes that start together are signed together.
      if (this.wanted.size === 1) queueMicrotask(() => this.flush());
      else if (this.wanted.size === SIGNED_PARTS_MAX) this.flush();
    });
  }

  private flush(): void {
    const batch = this.wanted;
    this.wanted = new Map();
    if (batch.size === 0) return;
    const requests: api.PartRequest[] = [...batch].map(([number, { sha256 }]) => (sha256 === null ? { number } : { number, sha256 }));
    const early: number[] = [];
    for (const number of this.upcoming()) {
      if (requests.length + early.length >= SIGNED_PARTS_MAX) break;
      if (!batch.has(number) && !this.signed.has(number) && !this.coming.has(number)) early.push(number);
    }
    const call = this.signBatch(batch, [...requests, ...early.map((number) => ({ number }))]).finally(() => {
      for (const number of early) this.coming.delete(number);
    });
    for (const number of early) this.coming.set(number, call);
  }

  /** Never rejects: the error goes to those who wait. */
  private async signBatch(batch: Map<number, Wanted>, requests: readonly api.PartRequest[]): Promise<void> {
    try {
      const at = this.now();
      for (const part of await this.sign(requests)) {
        const waiting = batch.get(part.number);
        batch.delete(part.number);
        if (waiting === undefined) this.signed.set(part.number, { part, at });
        else waiting.resolve(part);
      }
      for (const [number, { reject }] of batch) reject(new Error(`the server did not sign part ${number}`));
    } catch (error) {
      for (const { reject } of batch.values()) reject(error);
    }
  }
}
