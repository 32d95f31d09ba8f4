/** Calls of guests, who upload to a file request without an account. */

import type * as api from "./api-types.js";
import type { CallOptions, Http } from "./http.js";

export function createGuestCalls({ http }: { readonly http: Http }) {
  return {
    open: (token: string, options?: CallOptions) => http.call("get", "/r/{token}", { path: { token }, isAnonymous: true, ...options }),
    startUpload: (token: string, body: api.GuestFileCreate, options?: CallOptions) =>
      http.call("post", "/r/{token}/files", { path: { token }, body, isAnonymous: true, ...options }),
    complete: (token: string, fileId: string, body: { readonly guest_token: string }, options?: CallOptions) =>
      http.call("post", "/r/{token}/files/{file_id}/complete", {
        path: { token, file_id: fileId },
        body,
        isAnonymous: true,
        ...options,
      }),
  };
}
