/** Client for a We-Upload server: typed calls, sessions, and an uploader. */

export * from "./api-types.js";
export { createFileRequestCalls } from "./file-requests.js";
export { createGuestCalls } from "./guests.js";
export { createPreviews, type Previews } from "./previews.js";
export { createAccountServices, type AccountServices } from "./account-services.js";
export { BATCH_MAX_FILES, createFileBatches, type BatchResult, type FileBatches } from "./batches.js";
export { createClient, isApiError, type Client, type ClientOptions, type CreateOptions, type PageOptions } from "./client.js";
export { ApiError, ConnectionError, type FieldProblem } from "./errors.js";
export type { CallOptions } from "./http.js";
export { memorySessionStore, type Locks, type Session, type SessionStore, type SessionTokens, type SignInOptions } from "./session.js";
export type * from "./uploader/types.js";
export { createUploader, SINGLE_MAX_BYTES } from "./uploader/uploader.js";
export { plannedPartSize } from "./uploader/plan.js";
export { indexedDbStateStore, memoryStateStore } from "./uploader/state-store.js";
export { createWebhooks, type Webhooks } from "./webhooks.js";
export { fetchTransport, xhrTransport } from "./uploader/transport.js";
export { createGuestParts, createLinkChanges, type GuestParts, type LinkChanges } from "./sharing.js";
