import { describe, expect, test, vi } from "vitest";
import { createHash } from "node:crypto";
import { createHasher } from "../src/hashing.js";
import { readRetryAfter } from "../src/errors.js";
import { LaneLimit, LanePool } from "../src/uploader/lanes.js";
import { missingParts, partRange, plannedPartSize } from "../src/uploader/plan.js";
import { roundSeconds, SpeedMeter } from "../src/uploader/progress.js";
import { backoffMs } from "../src/uploader/retry.js";
import { PartSigner } from "../src/uploader/signer.js";
import { describeSource } from "../src/uploader/source.js";
import { fetchTransport, sendableHeaders } from "../src/uploader/transport.js";

describe("part plan", () => {
  const plan = { sizeBytes: 2500, partSizeBytes: 1000, partCount: 3 };

  test("every part has the planned size but the last", () => {
    expect([1, 2, 3].map((number) => partRange(plan, number))).toEqual([
      { number: 1, start: 0, end: 1000 },
      { number: 2, start: 1000, end: 2000 },
      { number: 3, start: 2000, end: 2500 },
    ]);
    expect(() => partRange(plan, 4)).toThrow(RangeError);
    expect(() => partRange(plan, 0)).toThrow(RangeError);
  });

  test("a part of another length is missing", () => {
    expect(
      missingParts(plan, [
        { number: 1, size_bytes: 1000 },
        { number: 3, size_bytes: 1000 },
      ]),
    ).toEqual([2, 3]);
  });

  test("the part size is the server's", () => {
    const mib = 1024 ** 2;
    expect([1, 80_000 * mib, 80_000 * mib + 1, 50 * 1024 ** 4].map(plannedPartSize)).toEqual([8 * mib, 8 * mib, 9 * mib, 5120 * mib]);
  });
});

describe("lanes", () => {
  test("a pool lets so many in at once, in order, and forgets those that gave up", async () => {
    const pool = new LanePool(2);
    const signal = new AbortController().signal;
    const first = await pool.acquire(signal);
    await pool.acquire(signal);
    const order: string[] = [];
    const impatient = new AbortController();
    const third = pool.acquire(impatient.signal);
    const fourth = pool.acquire(signal).then(() => order.push("fourth"));
    impatient.abort(new Error("gave up"));
    await expect(third).rejects.toThrow("gave up");
    expect(order).toEqual([]);
    first();
    first();
    await fourth;
    expect(order).toEqual(["fourth"]);
  });

  /** Send rounds of parts over a link whose rate depends on the lanes; return the lanes at the end. */
  let now = 0;
  function settle(limit: LaneLimit, rate: (lanes: number) => number, rounds: number): number {
    for (let round = 0; round < rounds; round++) {
      const lanes = limit.current;
      const startedAt = now;
      now += (lanes * 1000) / rate(lanes);
      for (let part = 0; part < lanes; part++) limit.partSent(1000, startedAt, now);
    }
    return limit.current;
  }

  test("lanes grow to the maximum while each brings speed", () => {
    expect(settle(new LaneLimit(4, 10), (lanes) => lanes * 10, 20)).toBe(10);
  });

  test("lanes stay near the start where the link is full", () => {
    const limit = new LaneLimit(4, 10);
    const seen = new Set<number>();
    for (let i = 0; i < 20; i++) seen.add(settle(limit, () => 40, 1));
    expect([...seen].sort()).toEqual([4, 5]);
  });

  test("a refusal halves the lanes, and they recover later", () => {
    const limit = new LaneLimit(8, 10);
    limit.refused();
    expect(limit.current).toBe(4);
    limit.refused();
    limit.refused();
    limit.refused();
    expect(limit.current).toBe(1);
    expect(settle(limit, (lanes) => lanes * 10, 30)).toBe(10);
  });
});

describe("waiting", () => {
  test("backoff doubles up to half a minute, half of it random", () => {
    expect([1, 2, 3, 20].map((tries) => backoffMs(tries, () => 1))).toEqual([500, 1000, 2000, 30_000]);
    expect(backoffMs(3, () => 0)).toBe(1000);
  });

  test("Retry-After is read as seconds, as a date, or from the body", () => {
    const now = Date.parse("2026-01-01T00:00:00Z");
    expect(readRetryAfter("12")).toBe(12);
    expect(readRetryAfter("Thu, 01 Jan 2026 00:00:30 GMT", undefined, now)).toBe(30);
    expect(readRetryAfter("Wed, 31 Dec 2025 00:00:30 GMT", undefined, now)).toBe(0);
    // A clock that is a day behind does not make the client wait for a day.
    expect(readRetryAfter("Fri, 02 Jan 2026 00:00:30 GMT", undefined, now)).toBe(300);
    expect(readRetryAfter(null, 4)).toBe(4);
    expect(readRetryAfter("soon", "4")).toBeNull();
  });
});

describe("progress", () => {
  test("time left is rounded as people say it", () => {
    expect([0.2, 9.1, 11, 58, 61, 299, 301, 3599, 3601].map(roundSeconds)).toEqual([1, 10, 15, 60, 70, 300, 360, 3600, 3900]);
  });

  test("the speed is smoothed, and falls while nothing is sent", () => {
    let now = 0;
    const meter = new SpeedMeter(() => now);
    meter.add(0);
    expect(meter.secondsFor(1000)).toBeNull();
    for (; now < 10_000; now += 250) {
      meter.add(250);
      void meter.bytesPerSecond;
    }
    expect(meter.bytesPerSecond).toBeGreaterThan(950);
    expect(meter.bytesPerSecond).toBeLessThan(1050);
    expect(meter.secondsFor(30_000)).toBe(30);
    now += 20_000;
    expect(meter.bytesPerSecond).toBeLessThan(20);
  });
});

describe("signatures", () => {
  const part = (number: number) => ({ number, size_bytes: 1, upload_url: `u${number}`, method: "PUT", headers: {}, expires_at: "" });

  test("lanes that start together are signed by one call, with those that come next", async () => {
    const sign = vi.fn(async (parts: readonly { number: number }[]) => parts.map(({ number }) => part(number)));
    const signer = new PartSigner(sign, () => Array.from({ length: 500 }, (_, index) => index + 1));
    await Promise.all([signer.get(1, null), signer.get(2, null)]);
    expect(sign).toHaveBeenCalledTimes(1);
    expect(sign.mock.calls[0]?.[0]).toHaveLength(100);
    await signer.get(50, null);
    expect(sign).toHaveBeenCalledTimes(1);
    await signer.get(50, null);
    expect(sign).toHaveBeenCalledTimes(2);
  });

  test("an old signature is not used", async () => {
    let now = 0;
    const sign = vi.fn(async (parts: readonly { number: number }[]) => parts.map(({ number }) => part(number)));
    const signer = new PartSigner(
      sign,
      () => [2],
      () => now,
    );
    await signer.get(1, null);
    now = 6 * 60_000;
    await signer.get(2, null);
    expect(sign).toHaveBeenCalledTimes(2);
  });

  test("a refused call reaches every lane that waits for it", async () => {
    const signer = new PartSigner(
      () => Promise.reject(new Error("refused")),
      () => [],
    );
    const results = await Promise.allSettled([signer.get(1, null), signer.get(2, null)]);
    expect(results.map((result) => result.status)).toEqual(["rejected", "rejected"]);
  });
});

describe("digests", () => {
  test("CRC64NVME is that of the specification's check value", async () => {
    // CRC-64/NVME: check value of "123456789" is ae8b14860a799888.
    const crc = await createHasher().crc64nvme(new Blob(["123456789"]));
    expect(Buffer.from(crc, "base64").toString("hex")).toBe("ae8b14860a799888");
  });

  test("a blob of several pieces has the digest of the whole", async () => {
    const bytes = new Uint8Array(9 * 1024 ** 2).fill(7);
    const hashed: number[] = [];
    const whole = await createHasher().crc64nvme(new Blob([bytes]), { onProgress: (count) => hashed.push(count) });
    const pieces = await createHasher().crc64nvme(new Blob([bytes.subarray(0, 5), bytes.subarray(5)]));
    expect(whole).toBe(pieces);
    expect(hashed).toEqual([4 * 1024 ** 2, 8 * 1024 ** 2, 9 * 1024 ** 2]);
  });

  test("SHA-256 without WebCrypto is the same", async () => {
    const expected = createHash("sha256").update("abc").digest("hex");
    expect(await createHasher().sha256(new Blob(["abc"]))).toBe(expected);
    const subtle = vi.spyOn(globalThis.crypto, "subtle", "get").mockReturnValue(undefined as never);
    expect(await createHasher().sha256(new Blob(["abc"]))).toBe(expected);
    subtle.mockRestore();
  });

  test("SHA-256 reads one blob at a time", async () => {
    let reading = 0;
    let most = 0;
    class SlowBlob extends Blob {
      override async arrayBuffer(): Promise<ArrayBuffer> {
        most = Math.max(most, ++reading);
        await new Promise((resolve) => setTimeout(resolve, 1));
        reading--;
        return super.arrayBuffer();
      }
    }
    const hasher = createHasher();
    await Promise.all(["a", "b", "c"].map((text) => hasher.sha256(new SlowBlob([text]))));
    expect(most).toBe(1);
  });
});

describe("what is declared about a file", () => {
  test("a type that is none becomes octet-stream", () => {
    const typeOf = (type: string) => describeSource({ file: new Blob([]), contentType: type }).contentType;
    expect(typeOf("image/png")).toBe("image/png");
    expect(typeOf("text/plain;charset=utf-8")).toBe("text/plain;charset=utf-8");
    for (const type of ["", "png", "image/*/x", `a/${"x".repeat(100)}`]) expect(typeOf(type)).toBe("application/octet-stream");
  });

  test("headers that the browser sets itself are left out", () => {
    expect(sendableHeaders({ "Content-Length": "5", host: "h", "Content-Type": "a/b", "If-None-Match": "*" })).toEqual([
      ["Content-Type", "a/b"],
      ["If-None-Match", "*"],
    ]);
  });
});

test("requests to the store carry no cookies, so a browser that blocks them changes nothing", async () => {
  const seen: RequestInit[] = [];
  const transport = fetchTransport(async (_, init) => {
    seen.push(init ?? {});
    return new Response(null, { status: 200 });
  });
  const signal = new AbortController().signal;
  await transport({ url: "https://store.example.com/x", method: "PUT", headers: {}, body: new Blob(["x"]), signal, onProgress: () => undefined });
  expect(seen.map(({ credentials }) => credentials)).toEqual(["omit"]);
});
