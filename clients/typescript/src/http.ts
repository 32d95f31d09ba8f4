/** Typed calls: addresses, JSON, errors, and one renewal of the access token. */

import type { Body, Method, Page, Path, PathParams, Query, Result } from "./api-types.js";
import { ConnectionError, readApiError } from "./errors.js";
import type { Session } from "./session.js";

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

interface CallInit<P extends Path, M extends Method> extends CallOptions {
  readonly path?: PathParams<P, M>;
  readonly query?: Query<P, M> | undefined;
  readonly body?: Body<P, M> | undefined;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** For links of shares and file requests, which take no account. */
  readonly isAnonymous?: boolean;
}

type Item<P extends Path> = Result<P, "get"> extends readonly (infer T)[] ? T : never;

export interface Http {
  call<P extends Path, M extends Method>(method: M, path: P, init?: CallInit<P, M>): Promise<Result<P, M>>;
  page<P extends Path>(path: P, init: CallInit<P, "get">): Promise<Page<Item<P>>>;
  /** For answers that the OpenAPI document does not describe. */
  send(method: Method, path: string, init?: SendInit): Promise<Response>;
  readonly baseUrl: string;
}

interface SendInit extends CallOptions {
  readonly query?: object | undefined;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly isAnonymous?: boolean;
}

export interface HttpConfig {
  readonly baseUrl: string;
  readonly fetch: typeof fetch;
  readonly session: Session;
}

export function createHttp(config: HttpConfig): Http {
  const baseUrl = config.baseUrl.replace(/\/+$/, "");

  async function attempt(method: Method, url: string, init: SendInit, token: string | null): Promise<Response> {
    const headers: Record<string, string> = { Accept: "application/json" };
    for (const [name, value] of Object.entries(init.headers ?? {})) if (value !== undefined) headers[name] = value;
    if (token !== null) headers["Authorization"] = `Bearer ${token}`;
    const request: RequestInit = { method: method.toUpperCase(), headers, credentials: "same-origin", cache: "no-store" };
    if (init.signal !== undefined) request.signal = init.signal;
    if (init.body !== undefined) {
      headers["Content-Type"] = "application/json";
      const body = (request.body = JSON.stringify(init.body));
      // A small change goes on when the page is left. Browsers limit the bytes of all such requests together.
      request.keepalive = body.length < 8192;
    }
    try {
      return await config.fetch(url, request);
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new ConnectionError(error);
    }
  }

  async function send(method: Method, path: string, init: SendInit = {}): Promise<Response> {
    const url = `${baseUrl}${path}${queryString(init.query)}`;
    const token = init.isAnonymous ? null : await config.session.accessToken();
    let response = await attempt(method, url, init, token);
    if (response.status === 401 && token !== null && (await config.session.renew(token))) {
      response = await attempt(method, url, init, await config.session.accessToken());
    }
    if (!response.ok) throw await readApiError(response);
    return response;
  }

  return {
    baseUrl,
    send,
    async call<P extends Path, M extends Method>(method: M, path: P, init: CallInit<P, M> = {}) {
      const response = await send(method, fillPath(path, init.path), init);
      // The OpenAPI document specifies the body, and the server's own tests verify it.
      return (await readJson(response)) as Result<P, M>;
    },
    async page<P extends Path>(path: P, init: CallInit<P, "get">) {
      const response = await send("get", fillPath(path, init.path), init);
      const count = response.headers.get("X-Total-Count");
      return {
        items: (await readJson(response)) as Item<P>[],
        nextCursor: response.headers.get("X-Next-Cursor"),
        totalCount: count === null ? null : Number(count),
      };
    },
  };
}

async function readJson(response: Response): Promise<unknown> {
  if (response.status === 204) return undefined;
  const text = await response.text();
  return text === "" ? undefined : JSON.parse(text);
}

function fillPath(template: string, params: object | undefined): string {
  const values: Record<string, unknown> = { ...params };
  return template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(values[name])));
}

function queryString(query: object | undefined): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== undefined && each !== null) params.append(name, String(each));
    }
  }
  const text = params.toString();
  return text === "" ? "" : `?${text}`;
}
