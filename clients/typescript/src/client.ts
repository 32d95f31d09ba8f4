/** The calls of the API, in groups. */

import type * as api from "./api-types.js";
import { ApiError, readApiError } from "./errors.js";
import { createHttp, type CallOptions, type Http } from "./http.js";
import {
  createSession,
  defaultLocks,
  memorySessionStore,
  suppliedSession,
  type Locks,
  type Session,
  type SessionStore,
  type SignInOptions,
  type SignInSession,
} from "./session.js";

export interface ClientOptions {
  /** Where the server is, with its stage prefix: `https://files.example.com`, or `""` for the page's own origin. */
  readonly baseUrl: string;
  /** `cookie` (default in browsers): the refresh token is an HttpOnly cookie. `token`: the store keeps it, for programs. */
  readonly session?: "cookie" | "token";
  /** Where tokens are kept; in memory by default. */
  readonly store?: SessionStore;
  /** Supplies the token of each call, such as an API key; then the client has no sign-in. */
  readonly getAccessToken?: () => string | null | Promise<string | null>;
  /** Called when the session ended: signed out, expired, or revoked. */
  readonly onSessionEnd?: () => void;
  readonly fetch?: typeof fetch;
  /** Serialises renewals between tabs; `navigator.locks` by default, null for none. */
  readonly locks?: Locks | null;
}

export interface PageOptions {
  readonly limit?: number;
  readonly cursor?: string | null;
}

export interface CreateOptions extends CallOptions {
  /** Sent again with the same key within 24 hours, a request leads to what the first one made. */
  readonly idempotencyKey?: string | undefined;
}

export type Client = ReturnType<typeof createClient>;

export function createClient(options: ClientOptions) {
  const send = whenStarted(options.fetch ?? ((input, init) => globalThis.fetch(input, init)));
  const signIn: SignInSession = createSession({
    mode: options.session ?? (typeof document === "undefined" ? "token" : "cookie"),
    apiUrl: `${options.baseUrl.replace(/\/+$/, "")}/api/v1`,
    fetch: send,
    store: options.store ?? memorySessionStore(),
    locks: options.locks === undefined ? defaultLocks() : options.locks,
    onEnd: () => options.onSessionEnd?.(),
    now: Date.now,
  });
  const session: Session = options.getAccessToken === undefined ? signIn : suppliedSession(options.getAccessToken);
  const http = createHttp({ baseUrl: options.baseUrl, fetch: send, session });
  return {
    http,
    /** What the server offers, and its limits. Needs no session. */
    config: () => http.call("get", "/api/v1/config", { isAnonymous: true }),
    accounts: accountCalls(http, signIn),
    files: fileCalls(http),
    shares: shareCalls(http),
    grants: grantCalls(http),
    archives: archiveCalls(http),
  };
}

/** Repeat a request that found the server's database starting. It has changed nothing, so any method can be repeated. */
function whenStarted(send: typeof fetch): typeof fetch {
  return async (input, init) => {
    for (let left = 12; ; left--) {
      const response = await send(input, init);
      if (left === 0 || response.status !== 503 || (await readApiError(response.clone())).code !== "database_starting") return response;
      // As Retry-After asks for.
      await new Promise((resolve) => setTimeout(resolve, 5000));
    }
  };
}

function accountCalls(http: Http, session: SignInSession) {
  const me = (options?: CallOptions) => http.call("get", "/api/v1/users/me", { ...options });
  return {
    get isSignedIn() {
      return session.isSignedIn;
    },
    /** Sign in and return the account. */
    async signIn(credentials: { readonly email: string; readonly password: string } & SignInOptions): Promise<api.User> {
      await session.signIn(credentials.email, credentials.password, credentials);
      return me();
    },
    /** Go on with the session of an earlier page load. Null where there is none. Throws when the server cannot be reached. */
    async restore(): Promise<api.User | null> {
      return (await session.refresh()) ? me() : null;
    },
    /** Renew the access token now. False means that the session has ended. */
    refresh: () => session.refresh(),
    signOut: () => session.signOut(),
    /** End every session, access token and API key of the account. */
    async signOutEverywhere(): Promise<void> {
      await http.call("post", "/api/v1/login/logout-everywhere");
      session.clear();
    },
    signUp: (body: api.UserCreate) => http.call("post", "/api/v1/users/", { body, isAnonymous: true }),
    me,
    /** A new password ends every session, this one too. */
    updateMe: (body: api.SelfUpdate) => http.call("put", "/api/v1/users/me", { body }),
    /** Get a secret for an authenticator app. The second factor is off until a code confirms it. */
    startSecondFactor: (body: { readonly current_password?: string }) => http.call("post", "/api/v1/users/me/second-factor", { body }),
    /** Turn the second factor on; returns the recovery codes, once. */
    confirmSecondFactor: (otp: string) => http.call("post", "/api/v1/users/me/second-factor/confirm", { body: { otp } }),
    renewRecoveryCodes: (body: api.FactorProof) => http.call("post", "/api/v1/users/me/second-factor/recovery-codes", { body }),
    disableSecondFactor: (body: api.FactorProof) => http.call("post", "/api/v1/users/me/second-factor/disable", { body }),
    /** Close the own account at once and delete it later; a sign-in with `keepAccount` keeps it. */
    deleteMe: (body: api.AccountProof) => http.call("delete", "/api/v1/users/me", { body }),
    usage: (options?: CallOptions) => http.call("get", "/api/v1/users/me/usage", { ...options }),
    /** All active sessions, newest first. */
    async sessions(options?: CallOptions): Promise<api.SessionInfo[]> {
      const all: api.SessionInfo[] = [];
      let cursor: string | null = null;
      do {
        const query: PageOptions = cursor === null ? {} : { cursor };
        const page: api.Page<api.SessionInfo> = await http.page("/api/v1/users/me/sessions", { query, ...options });
        all.push(...page.items);
        cursor = page.nextCursor;
      } while (cursor !== null);
      return all;
    },
    endSession: (sessionId: string) => http.call("delete", "/api/v1/users/me/sessions/{session_id}", { path: { session_id: sessionId } }),
    /** Which mails the account gets. */
    notifications: (options?: CallOptions) => http.call("get", "/api/v1/users/me/notifications", { ...options }),
    updateNotifications: (body: api.NotificationSettingsUpdate) => http.call("patch", "/api/v1/users/me/notifications", { body }),
    /** The program that shows this code and waits for approval. */
    deviceLogin: (userCode: string) => http.call("get", "/api/v1/users/me/device-logins/{user_code}", { path: { user_code: userCode } }),
    decideDeviceLogin: (userCode: string, decision: "approve" | "deny") =>
      http.call("post", "/api/v1/users/me/device-logins/{user_code}", { path: { user_code: userCode }, body: { decision } }),
    apiKeys: (options?: CallOptions) => http.call("get", "/api/v1/users/me/api-keys", { ...options }),
    createApiKey: (body: api.ApiKeyCreate) => http.call("post", "/api/v1/users/me/api-keys", { body }),
    deleteApiKey: (keyId: string) => http.call("delete", "/api/v1/users/me/api-keys/{key_id}", { path: { key_id: keyId } }),
    /** Mail a link for a new password. The answer is the same if there is no such account. */
    forgotPassword: (email: string) => http.call("post", "/api/v1/login/forgot-password", { body: { email }, isAnonymous: true }),
    resetPassword: (token: string, options: { readonly password: string }) =>
      http.call("post", "/api/v1/login/reset-password", { body: { token, password: options.password }, isAnonymous: true }),
    /** Mail a link that confirms the address. */
    sendVerification: (email: string) => http.call("post", "/api/v1/login/verification", { body: { email }, isAnonymous: true }),
    /** Needs the session of the account, or its current or a new password; otherwise the error has the code `password_required`. */
    verifyEmail: (token: string, options: { readonly password?: string } = {}) =>
      http.call("post", "/api/v1/login/verify-email", { body: { token, ...options }, isAnonymous: options.password !== undefined }),
  };
}

function fileCalls(http: Http) {
  const list = (filters: api.FileFilters = {}, options?: CallOptions): Promise<api.Page<api.FileInfo>> =>
    http.page("/api/v1/files", { query: filters, ...options });
  return {
    /** One page; pass `nextCursor` as `cursor` for the next. `count: true` also counts all. */
    list,
    /** Every file that the filters select, page by page. */
    async *all(filters: api.FileFilters = {}, options?: CallOptions): AsyncGenerator<api.FileInfo, void, undefined> {
      let cursor: string | null = null;
      do {
        const page: api.Page<api.FileInfo> = await list(cursor === null ? filters : { ...filters, cursor }, options);
        yield* page.items;
        cursor = page.nextCursor;
      } while (cursor !== null);
    },
    get: (fileId: string, options?: CallOptions) => http.call("get", "/api/v1/files/{file_id}", { path: { file_id: fileId }, ...options }),
    /** `etag` makes the change conditional: another change since then is answered with `precondition_failed`. */
    update: (fileId: string, body: api.FileUpdate, options: CallOptions & { readonly etag?: string } = {}) =>
      http.call("put", "/api/v1/files/{file_id}", {
        path: { file_id: fileId },
        body,
        headers: { "If-Match": options.etag },
        signal: options.signal,
      }),
    /** Move a file to the trash, or delete it for good: with `permanent`, and where the server keeps no trash. */
    delete: (fileId: string, options: CallOptions & { readonly permanent?: boolean } = {}) =>
      http.call("delete", "/api/v1/files/{file_id}", {
        path: { file_id: fileId },
        query: options.permanent ? { permanent: true } : {},
        signal: options.signal,
      }),
    restore: (fileId: string) => http.call("post", "/api/v1/files/{file_id}/restore", { path: { file_id: fileId } }),
    /** The signed receipt of an available file; `receipt_not_ready` for about a minute after the upload. */
    receipt: (fileId: string, options?: CallOptions) =>
      http.call("get", "/api/v1/files/{file_id}/receipt", { path: { file_id: fileId }, ...options }),
    /** A presigned URL; it expires within minutes, so ask for it when it is needed. */
    downloadUrl: (fileId: string, options?: CallOptions) =>
      http.call("get", "/api/v1/files/download/{file_id}", { path: { file_id: fileId }, ...options }),
    /** Declare a file that one PUT fills. */
    startUpload: (body: api.FileCreate, options: CreateOptions = {}) =>
      http.call("post", "/api/v1/files/upload", { body, headers: { "Idempotency-Key": options.idempotencyKey }, signal: options.signal }),
    /** Declare a file that takes its bytes in parts. */
    startMultipart: (body: api.MultipartCreate, options: CreateOptions = {}) =>
      http.call("post", "/api/v1/files/multipart", {
        body,
        headers: { "Idempotency-Key": options.idempotencyKey },
        signal: options.signal,
      }),
    /** Sign up to 100 parts. A part may be signed and sent again. */
    async signParts(fileId: string, parts: readonly api.PartRequest[], options?: CallOptions): Promise<readonly api.SignedPart[]> {
      const answer = await http.call("post", "/api/v1/files/{file_id}/parts", {
        path: { file_id: fileId },
        body: { parts: [...parts] },
        ...options,
      });
      return answer.parts;
    },
    listParts: (fileId: string, options?: CallOptions) =>
      http.call("get", "/api/v1/files/{file_id}/parts", { path: { file_id: fileId }, ...options }),
    /** Check what the store holds and make the file available. Safe to repeat. */
    complete: (fileId: string, body?: api.UploadCompletion, options?: CallOptions) =>
      http.call("post", "/api/v1/files/{file_id}/complete", { path: { file_id: fileId }, body, ...options }),
  };
}

function shareCalls(http: Http) {
  return {
    create: (body: api.ShareCreate, options: CreateOptions = {}) =>
      http.call("post", "/api/v1/shares", { body, headers: { "Idempotency-Key": options.idempotencyKey }, signal: options.signal }),
    list: (page: PageOptions = {}, options?: CallOptions) => http.page("/api/v1/shares", { query: page, ...options }),
    listForFile: (fileId: string, page: PageOptions = {}, options?: CallOptions) =>
      http.page("/api/v1/files/{file_id}/shares", {
        path: { file_id: fileId },
        query: page,
        ...options,
      }),
    get: (shareId: string, options?: CallOptions) =>
      http.call("get", "/api/v1/shares/{share_id}", { path: { share_id: shareId }, ...options }),
    /** The receipts of the newest downloads through a link. */
    receipts: (shareId: string, options?: CallOptions) =>
      http.call("get", "/api/v1/shares/{share_id}/receipts", { path: { share_id: shareId }, ...options }),
    update: (shareId: string, body: api.ShareUpdate) =>
      http.call("patch", "/api/v1/shares/{share_id}", { path: { share_id: shareId }, body }),
    /** Give a link a new address; the old one stops working. */
    rotate: (shareId: string) => http.call("post", "/api/v1/shares/{share_id}/rotate", { path: { share_id: shareId } }),
    revoke: (shareId: string) => http.call("delete", "/api/v1/shares/{share_id}", { path: { share_id: shareId } }),
    /** Revoke every link that contains the file. */
    revokeForFile: (fileId: string) => http.call("delete", "/api/v1/files/{file_id}/shares", { path: { file_id: fileId } }),
    /** Open a link as its recipient does. `shareToken` is the answer to `unlock`. */
    open: (token: string, options: CallOptions & { readonly shareToken?: string } = {}) =>
      http.call("get", "/s/{token}", {
        path: { token },
        headers: { "X-Share-Pass": options.shareToken },
        signal: options.signal,
      }),
    /** Exchange the password of a link for a token that opens it. */
    unlock: (token: string, options: { readonly password: string }) =>
      http.call("post", "/s/{token}", { path: { token }, body: { password: options.password } }),
  };
}

function grantCalls(http: Http) {
  return {
    list: (fileId: string, options?: CallOptions) =>
      http.call("get", "/api/v1/files/{file_id}/grants", { path: { file_id: fileId }, ...options }),
    /** Give one account access to a file, or change its role. */
    put: (fileId: string, body: api.GrantCreate) => http.call("put", "/api/v1/files/{file_id}/grants", { path: { file_id: fileId }, body }),
    revoke: (fileId: string, userId: string) =>
      http.call("delete", "/api/v1/files/{file_id}/grants/{user_id}", { path: { file_id: fileId, user_id: userId } }),
  };
}

function archiveCalls(http: Http) {
  const get = (archiveId: string, options?: CallOptions) =>
    http.call("get", "/api/v1/archives/{archive_id}", { path: { archive_id: archiveId }, ...options });
  return {
    /** Have a zip of files built. */
    create: (body: api.ArchiveCreate, options?: CallOptions) => http.call("post", "/api/v1/archives", { body, ...options }),
    list: (page: PageOptions = {}, options?: CallOptions) => http.page("/api/v1/archives", { query: page, ...options }),
    get,
    delete: (archiveId: string) => http.call("delete", "/api/v1/archives/{archive_id}", { path: { archive_id: archiveId } }),
    /** Ask once a second, then less often, until the zip is ready or has failed. */
    async wait(
      archiveId: string,
      options: CallOptions & { readonly onProgress?: (state: api.ArchiveState) => void } = {},
    ): Promise<api.ArchiveState> {
      for (let delayMs = 500; ; delayMs = Math.min(delayMs * 1.5, 5000)) {
        const state = await get(archiveId, { signal: options.signal });
        options.onProgress?.(state);
        if (state.status !== "queued" && state.status !== "building") return state;
        await sleep(delayMs, options.signal);
      }
    },
  };
}

/** Wait, or reject with the signal's reason. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

export function isApiError(error: unknown, code?: string): error is ApiError {
  return error instanceof ApiError && (code === undefined || error.code === code);
}
