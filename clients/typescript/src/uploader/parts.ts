/** Sends the parts of one file that the store does not hold, side by side. */

import type * as api from "../api-types.js";
import { LaneLimit } from "./lanes.js";
import { missingParts, partRange, type PartPlan } from "./plan.js";
import { retryCall } from "./retry.js";
import { sendBytes, type SendContext } from "./send.js";
import { PartSigner } from "./signer.js";
import { requireUnchanged, type LocalFile } from "./source.js";
import type { Hasher, UploadCalls } from "./types.js";

export interface PartsJob {
  readonly file: Blob;
  readonly local: LocalFile;
  readonly hasPartDigests: boolean;
  readonly fileId: string;
  /** The plan, and the parts that the store holds. */
  readonly parts: api.UploadedParts;
  /** The checksum of the whole, if one is computed meanwhile; its failure ends the sending. */
  readonly checksum: Promise<string> | null;
  readonly onStart: (heldBytes: number) => void;
  readonly onProgress: (number: number, sentBytes: number) => void;
  readonly onSent: (number: number, bytes: number) => void;
}

export interface PartsContext extends SendContext {
  readonly calls: UploadCalls;
  readonly hasher: Hasher;
  readonly lanes: { readonly start: number; readonly max: number };
}

/** Resolves when every part was sent, and when the store does not know the upload any more: then `complete` tells what became of it. */
export async function sendMissingParts(job: PartsJob, context: PartsContext): Promise<void> {
  const { calls, lanes, policy } = context;
  const plan = { sizeBytes: job.local.sizeBytes, partSizeBytes: job.parts.part_size_bytes, partCount: job.parts.part_count };
  const held = job.hasPartDigests ? await findSameParts(job, plan, context) : job.parts.parts;
  const queue = missingParts(plan, held);
  job.onStart(plan.sizeBytes - queue.reduce((sum, number) => sum + sizeOf(plan, number), 0));
  const failure = new AbortController();
  const signal = AbortSignal.any([context.signal, failure.signal]);
  // A file that cannot be read ends the upload now, not after all parts were sent.
  job.checksum?.catch((error: unknown) => failure.abort(error));
  const limit = new LaneLimit(lanes.start, lanes.max);
  const signer = new PartSigner(
    (wanted) => retryCall(policy, signal, () => calls.signParts(job.fileId, wanted, { signal })),
    () => (job.hasPartDigests ? [] : queue),
  );
  const running = new Set<Promise<void>>();
  while (!signal.aborted && (queue.length > 0 || running.size > 0)) {
    while (queue.length > 0 && running.size < limit.current) {
      const number = queue.shift() as number;
      const part = sendPart(job, plan, number, { ...context, signer, limit, signal })
        .then((outcome) => {
          if (outcome === "gone") queue.length = 0;
        })
        .catch((error: unknown) => failure.abort(error))
        .finally(() => running.delete(part));
      running.add(part);
    }
    await Promise.race(running);
  }
  await Promise.all(running);
  signal.throwIfAborted();
}

interface PartContext extends PartsContext {
  readonly signer: PartSigner;
  readonly limit: LaneLimit;
}

async function sendPart(job: PartsJob, plan: PartPlan, number: number, context: PartContext): Promise<"sent" | "gone"> {
  const { hasher, limit, signal, signer } = context;
  const { start, end } = partRange(plan, number);
  const body = job.file.slice(start, end);
  let startedAt = performance.now();
  let sha256: string | null = null;
  const outcome = await sendBytes(
    {
      sign: async () => {
        if (job.hasPartDigests) sha256 ??= await hasher.sha256(body, { signal });
        const signed = await signer.get(number, sha256);
        startedAt = performance.now();
        return signed;
      },
      body,
      onProgress: (bytes) => job.onProgress(number, bytes),
      onRefused: () => limit.refused(),
      checkFile: () => requireUnchanged(job.file, job.local),
    },
    context,
  );
  if (outcome === "sent") {
    limit.partSent(body.size, startedAt, performance.now());
    job.onSent(number, body.size);
  }
  return outcome;
}

/** Leave out parts that an earlier page load sent from other bytes than the file has now. */
async function findSameParts(job: PartsJob, plan: PartPlan, { hasher, signal }: PartsContext): Promise<api.UploadedParts["parts"]> {
  const same: api.UploadedParts["parts"] = [];
  for (const part of job.parts.parts) {
    const { start, end } = partRange(plan, part.number);
    if (part.sha256 === (await hasher.sha256(job.file.slice(start, end), { signal }))) same.push(part);
  }
  return same;
}

function sizeOf(plan: PartPlan, number: number): number {
  const { start, end } = partRange(plan, number);
  return end - start;
}
