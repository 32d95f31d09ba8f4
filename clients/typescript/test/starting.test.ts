/** Requests to a server whose database was paused. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createClient } from "../src/client.js";
import { ApiError } from "../src/errors.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function problem(code: string): Response {
  const body = JSON.stringify({ status: 503, code, detail: "Not now.", retry_after_seconds: 5 });
  return new Response(body, { status: 503, headers: { "Content-Type": "application/problem+json", "Retry-After": "5" } });
}

function clientThatReceives(...answers: Response[]) {
  const send = vi.fn<typeof fetch>(() => Promise.resolve(answers.length > 1 ? answers.shift()! : answers[0]!.clone()));
  return { send, client: createClient({ baseUrl: "https://files.test", getAccessToken: () => "token", fetch: send }) };
}

test("a request is repeated until the database has started", async () => {
  const { send, client } = clientThatReceives(problem("database_starting"), problem("database_starting"), Response.json({ id: "u" }));

  const me = client.accounts.me();
  await vi.advanceTimersByTimeAsync(4_999);
  expect(send).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(5_001);

  expect(await me).toEqual({ id: "u" });
  expect(send).toHaveBeenCalledTimes(3);
});

test("another error of the database is not repeated", async () => {
  const { send, client } = clientThatReceives(problem("database_unavailable"));

  await expect(client.accounts.me()).rejects.toMatchObject({ code: "database_unavailable" });
  expect(send).toHaveBeenCalledTimes(1);
});

test("a database that does not start ends the request after a minute", async () => {
  const { send, client } = clientThatReceives(problem("database_starting"));

  const me = client.accounts.me().catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(61_000);

  const error = await me;
  expect(error).toBeInstanceOf(ApiError);
  expect(send).toHaveBeenCalledTimes(13);
});
