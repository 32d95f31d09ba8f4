/** Digests of files, computed where this module is loaded: in the hash worker, or in a program without one. */

import { createCRC64, createSHA256, type IHasher } from "hash-wasm";
import type { Hasher, HashOptions } from "./uploader/types.js";

/** CRC-64/NVME, reflected (NVM Express Base Specification 2.1, figure "64b CRC Polynomials"). */
const CRC64NVME_POLYNOMIAL = "9a6c9329ac4bc9b5";
/** WebCrypto takes a digest of one buffer only, so larger blobs are read piece by piece. */
const WHOLE_MAX_BYTES = 64 * 1024 ** 2;
const PIECE_BYTES = 4 * 1024 ** 2;

/** Make a hasher. It holds at most one whole blob of up to 64 MiB, and one piece of 4 MiB for each other blob. */
export function createHasher(): Hasher {
  let whole: Promise<unknown> = Promise.resolve();
  return {
    sha256(blob, options = {}) {
      // WebCrypto exists on https and localhost only.
      if (blob.size > WHOLE_MAX_BYTES || crypto.subtle === undefined)
        return createSHA256()
          .then((hash) => digestPieces(hash, blob, options))
          .then(hex);
      // One after another: this is what bounds the memory.
      const result = whole.then(async () => {
        options.signal?.throwIfAborted();
        const digest = await crypto.subtle.digest("SHA-256", await blob.arrayBuffer());
        options.onProgress?.(blob.size);
        return hex(new Uint8Array(digest));
      });
      whole = result.catch(() => undefined);
      return result;
    },
    crc64nvme: async (blob, options = {}) => base64(await digestPieces(await createCRC64(CRC64NVME_POLYNOMIAL), blob, options)),
    close: () => undefined,
  };
}

async function digestPieces(hash: IHasher, blob: Blob, { signal, onProgress }: HashOptions): Promise<Uint8Array> {
  hash.init();
  for (let start = 0; start < blob.size; start += PIECE_BYTES) {
    signal?.throwIfAborted();
    const end = Math.min(start + PIECE_BYTES, blob.size);
    hash.update(new Uint8Array(await blob.slice(start, end).arrayBuffer()));
    onProgress?.(end);
  }
  return hash.digest("binary");
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}
