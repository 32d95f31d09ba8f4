/** Sign-in sessions: access tokens in memory, renewed once before they expire or when the server refuses one. */

import { ApiError, ConnectionError, readApiError } from "./errors.js";

/** The tokens of a session. Cookie sessions have no `refreshToken` here: the browser keeps it in an HttpOnly cookie. */
export interface SessionTokens {
  readonly accessToken: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
  readonly refreshToken?: string;
}

/** Where the tokens of a session are kept. The default keeps them in memory. */
export interface SessionStore {
  get(): SessionTokens | null;
  set(tokens: SessionTokens | null): void;
}

export function memorySessionStore(initial: SessionTokens | null = null): SessionStore {
  let tokens = initial;
  return {
    get: () => tokens,
    set: (value) => {
      tokens = value;
    },
  };
}

/** The part of the Web Locks API that the client uses. */
export interface Locks {
  request<T>(name: string, options: { signal?: AbortSignal; ifAvailable?: boolean }, callback: (lock: unknown) => Promise<T>): Promise<T>;
}

/** Supplies the access token of each request. */
export interface Session {
  /** The token to send, or null to send none. May renew a token that is about to expire. */
  accessToken(): Promise<string | null>;
  /** Called after status 401 for `rejected`. Returns whether a request is worth one more try with a new token. */
  renew(rejected: string | null): Promise<boolean>;
}

export interface SignInOptions {
  /** Code of the authenticator app, or a recovery code; for accounts with a second factor. */
  readonly otp?: string | undefined;
  /** Keep an account that is about to be deleted. */
  readonly keepAccount?: boolean | undefined;
}

/** A session that can be started with a password and ended. */
export interface SignInSession extends Session {
  signIn(email: string, password: string, options?: SignInOptions): Promise<void>;
  /** Renew the tokens. False means that the session has ended. Throws when the server cannot be reached. */
  refresh(): Promise<boolean>;
  signOut(): Promise<void>;
  readonly isSignedIn: boolean;
  /** Ends the session on this side only, for example after the password was changed. */
  clear(): void;
}

export interface SessionConfig {
  /** `cookie`: the refresh token is an HttpOnly cookie (browsers). `token`: the store keeps it (programs). */
  readonly mode: "cookie" | "token";
  /** Address of the API's version, such as `https://files.example.com/api/v1`. */
  readonly apiUrl: string;
  readonly fetch: typeof fetch;
  readonly store: SessionStore;
  readonly locks: Locks | null;
  /** Called when a session that was signed in has ended. */
  readonly onEnd: () => void;
  readonly now: () => number;
}

/** A token this close to its expiry is renewed before it is used. */
const RENEW_BEFORE_EXPIRY_MS = 20_000;
/** Required by the server on session calls: a page of another origin cannot send it without CORS (CSRF). */
const SESSION_HEADERS = { "X-We-Upload-Session": "1" } as const;

export function createSession(config: SessionConfig): SignInSession {
  const { store, apiUrl, locks } = config;
  const send = config.fetch;
  let renewal: Promise<boolean> | null = null;

  async function post(path: string, init: RequestInit): Promise<Response> {
    try {
      return await send(`${apiUrl}${path}`, { method: "POST", credentials: "same-origin", cache: "no-store", ...init });
    } catch (error) {
      throw new ConnectionError(error);
    }
  }

  async function adopt(response: Response): Promise<void> {
    if (!response.ok) throw await readApiError(response);
    const answer = (await response.json()) as { access_token: string; expires_in: number; refresh_token?: string };
    const tokens = { accessToken: answer.access_token, expiresAt: config.now() + answer.expires_in * 1000 };
    store.set(answer.refresh_token === undefined ? tokens : { ...tokens, refreshToken: answer.refresh_token });
  }

  function end(): void {
    const wasSignedIn = store.get() !== null;
    store.set(null);
    if (wasSignedIn) config.onEnd();
  }

  async function renewLocked(before: SessionTokens | null): Promise<boolean> {
    // Another tab or caller may have renewed the tokens of a shared store while this one waited for the lock.
    const current = store.get();
    if (current !== null && before !== null && current.accessToken !== before.accessToken) return true;
    if (config.mode === "token" && current?.refreshToken === undefined) return false;
    const response =
      config.mode === "cookie"
        ? await post("/session/refresh", { headers: SESSION_HEADERS })
        : await post("/login/refresh", jsonBody({ refresh_token: current?.refreshToken }));
    if (response.status === 401 || response.status === 403) {
      // A sign-in may have replaced the session while the request was in progress. The refusal is about the earlier one.
      const latest = store.get();
      if (latest?.accessToken !== current?.accessToken) return latest !== null;
      end();
      return false;
    }
    await adopt(response);
    return true;
  }

  function renewOnce(): Promise<boolean> {
    if (renewal !== null) return renewal;
    const before = store.get();
    const run = () => renewLocked(before);
    renewal = (locks === null ? run() : locks.request(`we-upload-session ${apiUrl}`, {}, run)).finally(() => {
      renewal = null;
    });
    return renewal;
  }

  return {
    get isSignedIn() {
      return store.get() !== null;
    },
    async accessToken() {
      const tokens = store.get();
      if (tokens === null) return null;
      if (tokens.expiresAt - config.now() > RENEW_BEFORE_EXPIRY_MS) return tokens.accessToken;
      // If the renewal fails for want of a network, the request itself will report it.
      await renewOnce().catch(() => false);
      return store.get()?.accessToken ?? null;
    },
    async renew(rejected) {
      const tokens = store.get();
      if (tokens === null) return false;
      if (tokens.accessToken !== rejected) return true;
      return renewOnce();
    },
    async signIn(email, password, { otp, keepAccount } = {}) {
      await adopt(
        config.mode === "cookie"
          ? await post(
              "/session",
              jsonBody({ email, password, ...(otp ? { otp } : {}), ...(keepAccount ? { keep_account: true } : {}) }, SESSION_HEADERS),
            )
          : await post("/login/token", {
              body: new URLSearchParams({ username: email, password, ...(otp ? { otp } : {}), ...(keepAccount ? { keep_account: "true" } : {}) }),
            }),
      );
    },
    refresh: renewOnce,
    async signOut() {
      const tokens = store.get();
      try {
        const authorization: Record<string, string> = tokens === null ? {} : { Authorization: `Bearer ${tokens.accessToken}` };
        const response =
          config.mode === "cookie"
            ? await post("/session", { method: "DELETE", headers: { ...SESSION_HEADERS, ...authorization } })
            : await post("/login/logout", jsonBody({ refresh_token: tokens?.refreshToken }, authorization));
        // 401: the session had ended already, which is what was wanted.
        if (!response.ok && response.status !== 401) throw await readApiError(response);
      } finally {
        end();
      }
    },
    clear: end,
  };
}

/** A session whose tokens the caller supplies: an API key, or tokens that the program renews itself. */
export function suppliedSession(getAccessToken: () => string | null | Promise<string | null>): Session {
  return {
    accessToken: async () => getAccessToken(),
    renew: async (rejected) => {
      const current = await getAccessToken();
      return current !== null && current !== rejected;
    },
  };
}

/** Return the browser's lock manager, or null where there is none (old browsers, plain http, Node before 24). */
export function defaultLocks(): Locks | null {
  const locks: Locks | undefined = globalThis.navigator?.locks;
  return locks ?? null;
}

export function isSessionEnded(error: unknown): boolean {
  return error instanceof ApiError && error.status === 401;
}

function jsonBody(body: object, headers: Record<string, string> = {}): RequestInit {
  return { headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body) };
}
