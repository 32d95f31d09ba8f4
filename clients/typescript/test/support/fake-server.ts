/** The API and its store in memory, behind `fetch`, with faults on request. */

import { createHash } from "node:crypto";
import { createHasher } from "../../src/hashing.js";

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Headers;
  readonly body: unknown;
}

interface StoredFile {
  id: string;
  filename: string;
  content_type: string;
  size_bytes: number;
  sha256: string | null;
  status: "pending" | "available" | "rejected";
  isMultipart: boolean;
  hasPartDigests: boolean;
  object: Buffer | null;
  parts: Map<number, Buffer>;
}

/** Answers instead of the server, or does nothing and lets the server answer. */
export type Fault = (request: Seen) => Response | Promise<Response | undefined> | undefined | void;

export class FakeServer {
  readonly url = "https://files.example.com";
  readonly storeUrl = "https://store.example.com";
  readonly requests: Seen[] = [];
  readonly files = new Map<string, StoredFile>();
  partSizeBytes = 1000;
  quotaBytes = Number.POSITIVE_INFINITY;
  fault: Fault = () => undefined;
  /** Requests to the store that are being answered, and the most there were. */
  putsNow = 0;
  putsMax = 0;
  /** How long the store takes for one request. */
  putMs = 0;
  /** After this time, an event of the store completes a file that was sent by one request; null for a server without events. */
  eventMs: number | null = null;
  isEventLost: (filename: string) => boolean = () => false;
  accessTokens = new Set<string>();
  refreshToken = "";
  hasSessionCookie = false;
  refreshes = 0;
  private readonly byKey = new Map<string, { readonly fileId: string; readonly body: string }>();
  private counter = 0;
  private revoked = 0;

  readonly fetch: typeof fetch = async (input, init) => {
    const request = new Request(input, init);
    const url = new URL(request.url);
    const isStore = url.origin === this.storeUrl;
    const type = request.headers.get("Content-Type") ?? "";
    const bytes = Buffer.from(await request.arrayBuffer());
    const body: unknown = isStore ? bytes : type.startsWith("application/json") ? JSON.parse(bytes.toString()) : bytes.toString();
    const seen: Seen = { method: request.method, path: url.pathname, query: url.searchParams, headers: request.headers, body };
    this.requests.push(seen);
    init?.signal?.throwIfAborted();
    if (!isStore) return (await this.fault(seen)) ?? this.answer(seen);
    this.putsMax = Math.max(this.putsMax, ++this.putsNow);
    try {
      if (this.putMs > 0) await delay(this.putMs, init?.signal ?? undefined);
      return (await this.fault(seen)) ?? this.store(seen, bytes);
    } finally {
      this.putsNow--;
    }
  };

  /** Make all signatures so far invalid, as when they have expired. */
  expireSignatures(): void {
    this.revoked = this.counter;
  }

  puts(): Seen[] {
    return this.requests.filter((request) => request.method === "PUT" && request.path.startsWith("/put/"));
  }

  calls(method: string, path: RegExp): Seen[] {
    return this.requests.filter((request) => request.method === method && path.test(request.path));
  }

  issueToken(): string {
    const token = `access-${++this.counter}`;
    this.accessTokens.add(token);
    return token;
  }

  private async answer(request: Seen): Promise<Response> {
    const { method, path } = request;
    const body = request.body as Record<string, unknown>;
    const route = `${method} ${path.replace("/api/v1", "")}`;
    switch (route) {
      case "POST /login/token":
        return this.signedIn();
      case "POST /login/refresh":
        if (body["refresh_token"] !== this.refreshToken) return problem(401, "bad_refresh_token");
        this.refreshes++;
        return this.signedIn();
      case "POST /session":
        if (request.headers.get("X-We-Upload-Session") !== "1") return problem(403, "cross_site_request");
        if (body["password"] !== "right") return problem(401, "bad_credentials");
        this.hasSessionCookie = true;
        return json(200, { access_token: this.issueToken(), expires_in: 600 });
      case "POST /session/refresh":
        if (request.headers.get("X-We-Upload-Session") !== "1") return problem(403, "cross_site_request");
        if (!this.hasSessionCookie) return problem(401, "not_authenticated");
        this.refreshes++;
        return json(200, { access_token: this.issueToken(), expires_in: 600 });
      case "DELETE /session":
        this.hasSessionCookie = false;
        return new Response(null, { status: 204 });
    }
    if (!this.accessTokens.has((request.headers.get("Authorization") ?? "").replace("Bearer ", "")))
      return problem(401, "not_authenticated");
    if (route === "GET /users/me") return json(200, { id: "u1", email: "ada@example.com" });
    if (route === "POST /files/uploads") return this.declareMany(request, body["files"] as Record<string, unknown>[]);
    if (route === "POST /files/status") {
      const state = (id: string) => ({ id, status: this.files.get(id)?.status ?? "not_found" });
      return json(200, { files: (body["file_ids"] as string[]).map(state) });
    }
    if (route === "GET /files") {
      const files = request.query.getAll("ids").flatMap((id) => this.files.get(id) ?? []);
      return json(200, files.map(({ id, filename, size_bytes, status }) => ({ id, filename, size_bytes, status })));
    }
    if (route === "POST /files/upload" || route === "POST /files/multipart") return this.declare(request, body);
    const [, id = "", action = ""] = /^\/api\/v1\/files\/([^/]+)\/?(\w*)$/.exec(path) ?? [];
    const file = this.files.get(id);
    if (file === undefined) return problem(404, "file_not_found");
    switch (`${method} ${action}`) {
      case "POST parts":
        return this.signParts(file, body);
      case "GET parts":
        if (file.status !== "pending") return problem(409, "not_in_parts");
        return json(200, {
          ...this.plan(file),
          parts: [...file.parts].map(([number, part]) => ({
            number,
            size_bytes: part.length,
            etag: "e",
            sha256: file.hasPartDigests ? sha256(part) : null,
          })),
        });
      case "POST complete":
        return this.complete(file, body);
      case "DELETE ":
        this.files.delete(id);
        return new Response(null, { status: 204 });
    }
    return problem(404, "not_found");
  }

  private signedIn(): Response {
    this.refreshToken = `refresh-${++this.counter}`;
    return json(200, { access_token: this.issueToken(), expires_in: 600, refresh_token: this.refreshToken, token_type: "bearer" });
  }

  private async declareMany(request: Seen, files: Record<string, unknown>[]): Promise<Response> {
    const key = request.headers.get("Idempotency-Key") ?? "";
    const results = files.map(async (body, index) => {
      const response = this.declare(request, body, `${key}/${index}`);
      const answer = (await response.json()) as Record<string, unknown>;
      if (response.ok) return { upload: answer, error: null };
      const { status, code, detail, ...extra } = answer;
      return { upload: null, error: { status, code, detail, extra } };
    });
    return json(200, { results: await Promise.all(results) });
  }

  private declare(request: Seen, body: Record<string, unknown>, key = request.headers.get("Idempotency-Key") ?? ""): Response {
    const known = this.byKey.get(key);
    if (known !== undefined && known.body !== JSON.stringify(body)) return problem(409, "idempotency_key_reused");
    let file = this.files.get(known?.fileId ?? "");
    if (file === undefined) {
      const size = Number(body["size_bytes"]);
      const used = [...this.files.values()].reduce((sum, other) => sum + other.size_bytes, 0);
      if (used + size > this.quotaBytes) return problem(413, "quota_exceeded", { bytes_left: this.quotaBytes - used });
      file = {
        id: `file-${++this.counter}`,
        filename: String(body["filename"]),
        content_type: String(body["content_type"]),
        size_bytes: size,
        sha256: typeof body["sha256"] === "string" ? body["sha256"] : null,
        status: "pending",
        isMultipart: request.path.endsWith("/multipart"),
        hasPartDigests: body["has_part_digests"] === true,
        object: null,
        parts: new Map(),
      };
      this.files.set(file.id, file);
      this.byKey.set(key, { fileId: file.id, body: JSON.stringify(body) });
    }
    if (file.isMultipart) return json(201, { file_id: file.id, ...this.plan(file), expires_at: "2100-01-01T00:00:00Z" });
    return json(201, { file_id: file.id, ...this.sign(`/put/${file.id}`, { "Content-Type": file.content_type }, file.size_bytes) });
  }

  private plan(file: StoredFile): { part_size_bytes: number; part_count: number } {
    return { part_size_bytes: this.partSizeBytes, part_count: Math.ceil(file.size_bytes / this.partSizeBytes) };
  }

  private sign(path: string, headers: Record<string, string>, length: number): Record<string, unknown> {
    return {
      upload_url: `${this.storeUrl}${path}?signature=${++this.counter}`,
      method: "PUT",
      headers: { ...headers, "Content-Length": String(length) },
      expires_at: "2100-01-01T00:00:00Z",
    };
  }

  private signParts(file: StoredFile, body: Record<string, unknown>): Response {
    const wanted = body["parts"] as { number: number; sha256?: string }[];
    if (file.status !== "pending") return problem(409, "not_in_parts");
    if (wanted.length > 100) return problem(422, "malformed_request");
    const parts = wanted.map(({ number, sha256: digest }) => {
      if ((digest !== undefined) !== file.hasPartDigests) throw new Error("a digest is missing, or not expected");
      const size = Math.min(this.partSizeBytes, file.size_bytes - (number - 1) * this.partSizeBytes);
      const headers = digest === undefined ? {} : { "x-digest": digest };
      return { number, size_bytes: size, ...this.sign(`/put/${file.id}/${number}`, headers as Record<string, string>, size) };
    });
    return json(200, { parts });
  }

  private store(request: Seen, bytes: Buffer): Response {
    const [, , id = "", number] = request.path.split("/");
    const file = this.files.get(id);
    if (Number(request.query.get("signature")) <= this.revoked) return storeError(403, "AccessDenied");
    if (file === undefined || file.status !== "pending") return storeError(404, "NoSuchUpload");
    const digest = request.headers.get("x-digest");
    if (digest !== null && digest !== sha256(bytes)) return storeError(400, "BadDigest");
    if (number !== undefined) file.parts.set(Number(number), bytes);
    else if (file.object !== null) return storeError(412, "PreconditionFailed");
    else if (file.sha256 !== null && file.sha256 !== sha256(bytes)) return storeError(400, "BadDigest");
    else {
      file.object = bytes;
      if (this.eventMs !== null && !this.isEventLost(file.filename)) setTimeout(() => void this.complete(file, {}), this.eventMs);
    }
    return new Response(null, { status: 200 });
  }

  private async complete(file: StoredFile, body: Record<string, unknown>): Promise<Response> {
    if (file.status === "pending") {
      if (file.isMultipart) {
        const count = this.plan(file).part_count;
        const missing = Array.from({ length: count }, (_, index) => index + 1).filter((number) => !file.parts.has(number));
        if (missing.length > 0) return problem(409, "parts_missing", { missing_parts: missing });
        file.object = Buffer.concat([...file.parts].sort(([a], [b]) => a - b).map(([, part]) => part));
        const crc = await createHasher().crc64nvme(new Blob([new Uint8Array(file.object)]));
        if (body["crc64nvme"] !== undefined && body["crc64nvme"] !== crc) file.status = "rejected";
      }
      if (file.object === null) return problem(409, "upload_missing");
      if (file.object.length !== file.size_bytes) file.status = "rejected";
      if (file.status === "pending") file.status = "available";
    }
    if (file.status === "rejected") return problem(409, "upload_rejected");
    const { id, filename, size_bytes, status } = file;
    return json(200, { id, filename, size_bytes, status });
  }
}

export function json(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } });
}

export function problem(status: number, code: string, extra: Record<string, unknown> = {}, headers: Record<string, string> = {}): Response {
  return json(status, { type: "about:blank", title: code, status, code, detail: `refused: ${code}`, ...extra }, headers);
}

export function storeError(status: number, code: string): Response {
  return new Response(`<Error><Code>${code}</Code></Error>`, { status });
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function delay(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
