/** A walk through a running server: WE_UPLOAD_URL=http://127.0.0.1:8000 npm test */

import { describe, expect, test } from "vitest";
import { createHasher } from "../src/hashing.js";
import { createClient, createFileRequestCalls, createGuestCalls, createUploader, isApiError, type Client, type UploaderOptions, type UploadItem } from "../src/index.js";

const baseUrl = process.env["WE_UPLOAD_URL"];
const PASSWORD = "correct horse battery staple";

describe.skipIf(baseUrl === undefined)("against a running server (WE_UPLOAD_URL)", () => {
  const client = createClient({ baseUrl: baseUrl ?? "" });

  test("a program signs up, uploads, lists, shares and downloads", { timeout: 60_000 }, async () => {
    const email = `walk-${crypto.randomUUID()}@example.com`;
    await client.accounts.signUp({ email, password: PASSWORD });
    await expect(client.accounts.signIn({ email, password: "not this one" })).rejects.toMatchObject({ status: 401 });
    expect((await client.accounts.signIn({ email, password: PASSWORD })).email).toBe(email);

    const small = randomFile("small.txt", 1000, "text/plain");
    const empty = new File([], "empty.bin");
    const large = randomFile("large.bin", 20_000_000, "application/octet-stream");
    const digested = randomFile("digested.bin", 20_000_000, "application/octet-stream");
    const verified = [
      ...(await upload(client, [small, empty, large], { singleMaxBytes: 1_000_000 })),
      ...(await upload(client, [digested], { singleMaxBytes: 1_000_000, multipartDigest: "part-sha256" })),
    ];
    expect(verified.map((item) => [item.name, item.state, item.error])).toEqual([
      ["small.txt", "verified", null],
      ["empty.bin", "verified", null],
      ["large.bin", "verified", null],
      ["digested.bin", "verified", null],
    ]);

    const names: string[] = [];
    for await (const file of client.files.all({ limit: 2, sort: "name" })) names.push(file.filename);
    expect(names).toEqual(["digested.bin", "empty.bin", "large.bin", "small.txt"]);
    expect((await client.files.list({ count: true, limit: 1 })).totalCount).toBe(4);

    for (const [index, file] of [small, empty, large, digested].entries()) {
      const { download_url } = await client.files.downloadUrl(verified[index]?.fileId ?? "");
      const stored = await (await fetch(download_url)).arrayBuffer();
      expect(Buffer.from(stored).equals(Buffer.from(await file.arrayBuffer()))).toBe(true);
    }

    const fileId = verified[0]?.fileId ?? "";
    const share = await client.shares.create({ file_ids: [fileId], max_downloads: 3, password: "open sesame" });
    const token = share.url?.split("/").pop() ?? "";
    await expect(client.shares.open(token)).rejects.toMatchObject({ code: "share_password_required" });
    const { share_pass } = await client.shares.unlock(token, { password: "open sesame" });
    expect((await client.shares.open(token, { shareToken: share_pass })).files.map((file) => file.filename)).toEqual(["small.txt"]);
    await client.shares.revoke(share.id);

    const request = await createFileRequestCalls(client).create({ title: "Papers" });
    expect((await createGuestCalls(client).open(request.token)).title).toBe("Papers");
    expect((await createFileRequestCalls(client).list()).items).toHaveLength(1);

    const archive = await client.archives.create({ file_ids: [fileId] });
    expect(["ready", "queued", "building"]).toContain((await client.archives.get(archive.id)).status);

    const changed = await client.files.update(fileId, { description: "a note" });
    expect(changed.description).toBe("a note");
    await client.files.delete(fileId, { permanent: true });
    const missing: unknown = await client.files.get(fileId).catch((error: unknown) => error);
    expect(isApiError(missing, "file_not_found")).toBe(true);

    expect(await client.accounts.sessions()).toHaveLength(1);
    const key = await client.accounts.createApiKey({ name: "program", scopes: ["files:read"] });
    const program = createClient({ baseUrl: baseUrl ?? "", getAccessToken: () => key.key });
    expect((await program.files.list()).items).toHaveLength(3);
    await client.accounts.deleteApiKey(key.id);
    await expect(program.files.list()).rejects.toMatchObject({ status: 401 });

    expect(await client.accounts.refresh()).toBe(true);
    await client.accounts.signOut();
    await expect(client.files.list()).rejects.toMatchObject({ status: 401 });
  });
});

async function upload(client: Client, files: File[], options: UploaderOptions): Promise<UploadItem[]> {
  const uploader = createUploader(client, { hasher: createHasher(), ...options });
  const added = uploader.add(files);
  await new Promise<void>((resolve) => {
    uploader.subscribe(({ totals }) => {
      if (totals.verifiedCount + totals.failedCount === files.length) resolve();
    });
  });
  uploader.close();
  return added.map(({ id }) => uploader.get(id) as UploadItem);
}

function randomFile(name: string, size: number, type: string): File {
  const bytes = new Uint8Array(size);
  for (let start = 0; start < size; start += 65_536) crypto.getRandomValues(bytes.subarray(start, Math.min(start + 65_536, size)));
  return new File([bytes], name, { type });
}
