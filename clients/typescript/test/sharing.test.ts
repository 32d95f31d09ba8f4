import { expect, test } from "vitest";
import { createClient, createGuestParts, createLinkChanges } from "../src/index.js";
import { json } from "./support/fake-server.js";

interface Sent {
  readonly request: string;
  readonly body: unknown;
  readonly authorization: string | null;
}

function recorded() {
  const sent: Sent[] = [];
  const send: typeof fetch = async (input, init) => {
    const request = new Request(input, init);
    const text = await request.text();
    sent.push({
      request: `${request.method} ${new URL(request.url).pathname}`,
      body: text === "" ? null : JSON.parse(text),
      authorization: request.headers.get("Authorization"),
    });
    return json(200, {});
  };
  return { sent, client: createClient({ baseUrl: "https://files.example.com", fetch: send, locks: null, getAccessToken: () => "key" }) };
}

test("files of a link are added and removed, and its address is mailed", async () => {
  const { sent, client } = recorded();
  const changes = createLinkChanges(client);
  await changes.addFiles("s", ["f", "g"]);
  await changes.removeFile("s", "f");
  await changes.mail("s", { addresses: ["grace@example.com"], message: null });
  expect(sent.map(({ request, body }) => [request, body])).toEqual([
    ["POST /api/v1/shares/s/files", { file_ids: ["f", "g"] }],
    ["DELETE /api/v1/shares/s/files/f", null],
    ["POST /api/v1/shares/s/mail", { addresses: ["grace@example.com"], message: null }],
  ]);
  expect(sent.every(({ authorization }) => authorization === "Bearer key")).toBe(true);
});

test("guests upload in parts without credentials", async () => {
  const { sent, client } = recorded();
  const parts = createGuestParts(client);
  await parts.start("t", { filename: "a", content_type: "a/b", size_bytes: 9, has_part_digests: false });
  await parts.sign("t", "f", { guest_token: "g", parts: [{ number: 1 }] });
  await parts.list("t", "f", { guest_token: "g" });
  await parts.abort("t", "f", { guest_token: "g" });
  expect(sent.map(({ request }) => request)).toEqual([
    "POST /r/t/multipart",
    "POST /r/t/files/f/parts",
    "POST /r/t/files/f/uploaded-parts",
    "POST /r/t/files/f/abort",
  ]);
  expect(sent.map(({ authorization }) => authorization)).toEqual([null, null, null, null]);
});
