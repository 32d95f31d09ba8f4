/** Further calls about links and file requests. They stand apart from the other calls, so that a page can load them when it needs them. */

import type * as api from "./api-types.js";
import type { CallOptions, Http } from "./http.js";

export type LinkChanges = ReturnType<typeof createLinkChanges>;
export type GuestParts = ReturnType<typeof createGuestParts>;

/** Changes of the files of a link, and mail with its address. */
export function createLinkChanges({ http }: { readonly http: Http }) {
  return {
    /** Add files to a link, behind those that it has. */
    addFiles: (shareId: string, fileIds: readonly string[]) =>
      http.call("post", "/api/v1/shares/{share_id}/files", { path: { share_id: shareId }, body: { file_ids: [...fileIds] } }),
    removeFile: (shareId: string, fileId: string) =>
      http.call("delete", "/api/v1/shares/{share_id}/files/{file_id}", { path: { share_id: shareId, file_id: fileId } }),
    /** Mail the address of a link. */
    mail: (shareId: string, body: api.ShareMail) =>
      http.call("post", "/api/v1/shares/{share_id}/mail", { path: { share_id: shareId }, body }),
  };
}

/** The upload of a file in parts to a file request. `client.guests.complete` completes it. */
export function createGuestParts({ http }: { readonly http: Http }) {
  type Token = { readonly guest_token: string };
  return {
    start: (token: string, body: api.GuestMultipartCreate, options?: CallOptions) =>
      http.call("post", "/r/{token}/multipart", { path: { token }, body, isAnonymous: true, ...options }),
    sign: (token: string, fileId: string, body: api.GuestPartsBody, options?: CallOptions) =>
      http.call("post", "/r/{token}/files/{file_id}/parts", { path: { token, file_id: fileId }, body, isAnonymous: true, ...options }),
    list: (token: string, fileId: string, body: Token, options?: CallOptions) =>
      http.call("post", "/r/{token}/files/{file_id}/uploaded-parts", {
        path: { token, file_id: fileId },
        body,
        isAnonymous: true,
        ...options,
      }),
    /** End the upload and delete its parts. */
    abort: (token: string, fileId: string, body: Token, options?: CallOptions) =>
      http.call("post", "/r/{token}/files/{file_id}/abort", { path: { token, file_id: fileId }, body, isAnonymous: true, ...options }),
  };
}
