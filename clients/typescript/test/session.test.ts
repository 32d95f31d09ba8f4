import { afterEach, describe, expect, test, vi } from "vitest";
import { ApiError, ConnectionError, createClient, createGuestCalls, memorySessionStore, type ClientOptions } from "../src/index.js";
import { FakeServer, json, problem } from "./support/fake-server.js";
import { fakeLocks } from "./support/locks.js";

function clientOf(server: FakeServer, options: Partial<ClientOptions> = {}) {
  return createClient({ baseUrl: server.url, fetch: server.fetch, session: "cookie", locks: null, ...options });
}

const CREDENTIALS = { email: "ada@example.com", password: "right" };

afterEach(() => {
  vi.useRealTimers();
});

describe("queries", () => {
  test("a list of values is sent as a repeated parameter", async () => {
    const server = new FakeServer();
    const client = clientOf(server);
    await client.accounts.signIn(CREDENTIALS);
    await client.files.list({ ids: ["a", "b"], status: ["pending", "available"], sort: "-updated" }).catch(() => undefined);
    const query = server.calls("GET", /files$/)[0]?.query;
    expect(query?.getAll("ids")).toEqual(["a", "b"]);
    expect(query?.getAll("status")).toEqual(["pending", "available"]);
    expect(query?.getAll("sort")).toEqual(["-updated"]);
  });
});

describe("cookie sessions", () => {
  test("sign-in sends the session header and JSON, and returns the account", async () => {
    const server = new FakeServer();
    expect((await clientOf(server).accounts.signIn(CREDENTIALS)).email).toBe("ada@example.com");
    const [signIn] = server.calls("POST", /session$/);
    expect(signIn?.headers.get("X-We-Upload-Session")).toBe("1");
    expect(signIn?.body).toEqual(CREDENTIALS);
  });

  test("a refused password is an ApiError with its code", async () => {
    const client = clientOf(new FakeServer());
    const error: unknown = await client.accounts.signIn({ ...CREDENTIALS, password: "wrong" }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({ status: 401, code: "bad_credentials", detail: "refused: bad_credentials" });
    expect(client.accounts.isSignedIn).toBe(false);
  });

  test("a page load goes on with the session of the cookie", async () => {
    const server = new FakeServer();
    expect(await clientOf(server).accounts.restore()).toBeNull();
    server.hasSessionCookie = true;
    expect((await clientOf(server).accounts.restore())?.id).toBe("u1");
  });

  test("restore throws when the server cannot be reached", async () => {
    const client = clientOf(new FakeServer(), { fetch: () => Promise.reject(new TypeError("network")) });
    await expect(client.accounts.restore()).rejects.toBeInstanceOf(ConnectionError);
  });

  test("sign-out ends the session on the server and tells the listener once", async () => {
    const server = new FakeServer();
    const onSessionEnd = vi.fn();
    const client = clientOf(server, { onSessionEnd });
    await client.accounts.signIn(CREDENTIALS);
    await client.accounts.signOut();
    expect(server.hasSessionCookie).toBe(false);
    expect(onSessionEnd).toHaveBeenCalledTimes(1);
    expect(client.accounts.isSignedIn).toBe(false);
  });
});

describe("renewal", () => {
  test("parallel calls with a refused token renew once and are repeated once each", async () => {
    const server = new FakeServer();
    const client = clientOf(server);
    await client.accounts.signIn(CREDENTIALS);
    server.accessTokens.clear();
    const users = await Promise.all([client.accounts.me(), client.accounts.me(), client.accounts.me()]);
    expect(users.map((user) => user.id)).toEqual(["u1", "u1", "u1"]);
    expect(server.refreshes).toBe(1);
  });

  test("a call is repeated once only", async () => {
    const server = new FakeServer();
    const client = clientOf(server);
    await client.accounts.signIn(CREDENTIALS);
    server.fault = (request) => (request.path.endsWith("/users/me") ? problem(401, "not_authenticated") : undefined);
    await expect(client.accounts.me()).rejects.toMatchObject({ status: 401 });
    expect(server.calls("GET", /users\/me$/)).toHaveLength(3);
  });

  test("two tabs with one cookie renew one after the other", async () => {
    const server = new FakeServer();
    const locks = fakeLocks();
    const tabs = [clientOf(server, { locks }), clientOf(server, { locks })];
    server.hasSessionCookie = true;
    let running = 0;
    let most = 0;
    server.fault = async (request) => {
      if (!request.path.endsWith("/session/refresh")) return undefined;
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running--;
      return undefined;
    };
    expect(await Promise.all(tabs.map((tab) => tab.accounts.refresh()))).toEqual([true, true]);
    expect(server.refreshes).toBe(2);
    expect(most).toBe(1);
  });

  test("two programs with one store use one refresh token once", async () => {
    const server = new FakeServer();
    const locks = fakeLocks();
    const store = memorySessionStore();
    const [first, second] = [1, 2].map(() => clientOf(server, { session: "token", locks, store }));
    await first?.accounts.signIn(CREDENTIALS);
    server.accessTokens.clear();
    await Promise.all([first?.accounts.me(), second?.accounts.me()]);
    expect(server.refreshes).toBe(1);
  });

  test("a token that is about to expire is renewed before it is used", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const server = new FakeServer();
    const client = clientOf(server);
    await client.accounts.signIn(CREDENTIALS);
    vi.setSystemTime(Date.now() + 590_000);
    await client.accounts.me();
    expect(server.refreshes).toBe(1);
    expect(server.calls("GET", /users\/me$/)).toHaveLength(2);
  });

  for (const days of [-1, 1]) {
    test(`a clock that is set by ${days} day during a session costs at most one renewal`, async () => {
      vi.useFakeTimers({ toFake: ["Date"] });
      const server = new FakeServer();
      const client = clientOf(server);
      await client.accounts.signIn(CREDENTIALS);
      vi.setSystemTime(Date.now() + days * 86_400_000);
      server.accessTokens.clear();
      expect(await client.accounts.me()).toMatchObject({ email: "ada@example.com" });
      expect(await client.accounts.me()).toMatchObject({ email: "ada@example.com" });
      expect(server.refreshes).toBe(1);
    });
  }

  test("a session that has ended is reported, and the 401 reaches the caller", async () => {
    const server = new FakeServer();
    const onSessionEnd = vi.fn();
    const client = clientOf(server, { onSessionEnd });
    await client.accounts.signIn(CREDENTIALS);
    server.accessTokens.clear();
    server.hasSessionCookie = false;
    await expect(client.accounts.me()).rejects.toMatchObject({ status: 401 });
    expect(onSessionEnd).toHaveBeenCalledTimes(1);
  });

  test("a refused renewal does not end the session of a sign-in that was made meanwhile", async () => {
    const server = new FakeServer();
    const onSessionEnd = vi.fn();
    const client = clientOf(server, { onSessionEnd });
    await client.accounts.signIn(CREDENTIALS);
    server.fault = async (request) => {
      if (!request.path.endsWith("/session/refresh")) return undefined;
      await client.accounts.signIn(CREDENTIALS);
      return problem(401, "not_authenticated");
    };
    expect(await client.accounts.refresh()).toBe(true);
    expect(client.accounts.isSignedIn).toBe(true);
    expect(onSessionEnd).not.toHaveBeenCalled();
  });

  test("a renewal that meets a failing server does not end the session", async () => {
    const server = new FakeServer();
    const onSessionEnd = vi.fn();
    const client = clientOf(server, { onSessionEnd });
    await client.accounts.signIn(CREDENTIALS);
    server.accessTokens.clear();
    server.fault = (request) => (request.path.endsWith("/session/refresh") ? problem(503, "unavailable") : undefined);
    await expect(client.accounts.me()).rejects.toMatchObject({ status: 503 });
    expect(onSessionEnd).not.toHaveBeenCalled();
    server.fault = () => undefined;
    expect((await client.accounts.me()).id).toBe("u1");
  });

  test("supplied tokens are used as they are", async () => {
    const server = new FakeServer();
    const key = server.issueToken();
    expect((await clientOf(server, { getAccessToken: () => key }).accounts.me()).id).toBe("u1");
    server.accessTokens.clear();
    await expect(clientOf(server, { getAccessToken: () => key }).accounts.me()).rejects.toMatchObject({ status: 401 });
    expect(server.refreshes).toBe(0);
  });
});

describe("errors", () => {
  const answers: [string, Response, object][] = [
    [
      "seconds in the header",
      problem(429, "too_many_attempts", {}, { "Retry-After": "7" }),
      { code: "too_many_attempts", retryAfterSeconds: 7 },
    ],
    ["seconds in the body", problem(429, "too_many_attempts", { retry_after_seconds: 9 }), { retryAfterSeconds: 9, isRetryable: true }],
    [
      "fields",
      problem(422, "malformed_request", { errors: [{ loc: ["body", "title"], msg: "is missing", type: "missing" }] }),
      { fields: [{ loc: ["body", "title"], msg: "is missing", type: "missing" }], isRetryable: false },
    ],
    [
      "further members",
      problem(413, "quota_exceeded", { bytes_left: 5 }),
      { problem: expect.objectContaining({ bytes_left: 5 }), isRetryable: false },
    ],
    [
      "a page of a gateway",
      new Response("<h1>Bad gateway</h1>", { status: 502 }),
      { code: "http_502", detail: "The server answered with status 502.", isRetryable: true },
    ],
    ["JSON that is no problem document", json(500, ["x"]), { code: "http_500", isRetryable: true }],
  ];
  test.each(answers)("%s", async (_, answer, expected) => {
    const client = createClient({ baseUrl: "", fetch: async () => answer.clone(), getAccessToken: () => null });
    await expect(client.accounts.me()).rejects.toMatchObject(expected);
  });

  test("paths and queries are escaped, and empty filters left out", async () => {
    const seen: string[] = [];
    const send: typeof fetch = async (input) => {
      seen.push(String(input));
      return json(200, [], { "X-Next-Cursor": "c2", "X-Total-Count": "12" });
    };
    const client = createClient({ baseUrl: "https://host/prod/", fetch: send, getAccessToken: () => "t" });
    const page = await client.files.list({ q: "a&b", cursor: null, count: true });
    await client.files.get("x/../y");
    expect(page).toEqual({ items: [], nextCursor: "c2", totalCount: 12 });
    expect(seen).toEqual(["https://host/prod/api/v1/files?q=a%26b&count=true", "https://host/prod/api/v1/files/x%2F..%2Fy"]);
  });

  test("guest calls send no token", async () => {
    let authorization: string | null = "unset";
    const send: typeof fetch = async (_, init) => {
      authorization = new Headers(init?.headers).get("Authorization");
      return json(200, {});
    };
    await createGuestCalls(createClient({ baseUrl: "", fetch: send, getAccessToken: () => "secret" })).open("token");
    expect(authorization).toBeNull();
  });
});
