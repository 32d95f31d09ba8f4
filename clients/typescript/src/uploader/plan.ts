/** How a file is cut into parts. The server decides the part size; this module only follows it. */

/** The most parts that one call signs. */
export const SIGNED_PARTS_MAX = 100;

export interface PartPlan {
  readonly sizeBytes: number;
  readonly partSizeBytes: number;
  readonly partCount: number;
}

export interface PartRange {
  /** From 1. */
  readonly number: number;
  readonly start: number;
  readonly end: number;
}

export function partRange(plan: PartPlan, number: number): PartRange {
  if (!Number.isInteger(number) || number < 1 || number > plan.partCount) throw new RangeError(`no part has the number ${number}`);
  const start = (number - 1) * plan.partSizeBytes;
  return { number, start, end: Math.min(start + plan.partSizeBytes, plan.sizeBytes) };
}

/** Numbers of the parts that the store does not hold with their planned length. */
export function missingParts(plan: PartPlan, held: readonly { readonly number: number; readonly size_bytes: number }[]): number[] {
  const lengths = new Map(held.map((part) => [part.number, part.size_bytes]));
  const missing: number[] = [];
  for (let number = 1; number <= plan.partCount; number++) {
    const { start, end } = partRange(plan, number);
    if (lengths.get(number) !== end - start) missing.push(number);
  }
  return missing;
}

const MIB = 1024 ** 2;

/** The server's part size for a file, for callers that must know it before they ask (`plan_parts` of the server). */
export function plannedPartSize(sizeBytes: number): number {
  return Math.min(Math.max(8 * MIB, Math.ceil(sizeBytes / (10_000 * MIB)) * MIB), 5 * 1024 * MIB);
}
