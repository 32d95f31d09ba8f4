import { expect, test } from "vitest";
import { createClient } from "../src/index.js";
import { identityCalls } from "../src/identities.js";

interface Sent {
  readonly url: string;
  readonly body: unknown;
  readonly headers: Headers;
}

/** A client whose server answers every request, and what it was sent. */
function recording() {
  const sent: Sent[] = [];
  const fetch = (url: RequestInfo | URL, init: RequestInit = {}) => {
    sent.push({ url: String(url), body: init.body === undefined ? null : JSON.parse(String(init.body)), headers: new Headers(init.headers) });
    return Promise.resolve(new Response(JSON.stringify({ access_token: "t", expires_in: 600, id: "u1" }), { headers: { "Content-Type": "application/json" } }));
  };
  return { sent, client: createClient({ baseUrl: "https://files.example.com/dev", fetch, session: "cookie", locks: null }) };
}

test("the address of a sign-in names the provider and the purpose", () => {
  const { client } = recording();
  expect(identityCalls(client).startUrl("google")).toBe("https://files.example.com/dev/sign-in/google?purpose=sign_in");
  expect(identityCalls(client).startUrl("google", "link")).toBe("https://files.example.com/dev/sign-in/google?purpose=link");
});

test("a sign-in sends the assertion without credentials, then goes on with the session of the cookie", async () => {
  const { sent, client } = recording();
  expect((await identityCalls(client).signIn("a.b.c", { otp: "123456" })).id).toBe("u1");
  expect(sent.map((request) => new URL(request.url).pathname.replace("/dev/api/v1", ""))).toEqual(["/session/assertion", "/session/refresh", "/users/me"]);
  expect(sent[0]?.body).toEqual({ assertion: "a.b.c", otp: "123456", keep_account: false });
  expect(sent[0]?.headers.get("X-We-Upload-Session")).toBe("1");
  expect(sent[0]?.headers.get("Authorization")).toBeNull();
});
