/** Makes the worker that computes digests. */

import workerUrl from "@we-upload/client/hash-worker?worker&url";

interface ScriptUrlPolicy {
  createScriptURL(url: string): TrustedScriptURL;
}

type TrustedScriptURL = URL & { readonly __brand: "TrustedScriptURL" };

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL: (url: string) => string }): ScriptUrlPolicy;
}

let policy: ScriptUrlPolicy | null = null;

/** The page's one Trusted Types policy. It admits exactly the address of the hash worker. */
function trustedUrl(url: string): URL | string {
  const factory = (globalThis as { readonly trustedTypes?: TrustedTypes }).trustedTypes;
  if (factory === undefined) return url;
  policy ??= factory.createPolicy("we-upload-worker", {
    createScriptURL(candidate) {
      if (candidate !== workerUrl) throw new TypeError("Only the hash worker may be started.");
      return candidate;
    },
  });
  return policy.createScriptURL(url);
}

export function createHashWorker(): Worker {
  return new Worker(trustedUrl(workerUrl), { type: "module", name: "hashes" });
}
