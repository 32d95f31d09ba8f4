/** The walk with the types of openapi-typescript and the client of openapi-fetch. */

import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./generated/openapi-typescript";
import { ABSENT_ID, API_URL, CONTENT, EMAIL, lastSegment, PASSWORD, present, type Report, sendContent, TOO_LARGE_BYTES } from "./walk";

type Schemas = components["schemas"];

async function walk(): Promise<Report> {
  const client = createClient<paths>({ baseUrl: API_URL });
  const registered = await client.POST("/api/v1/users/", { body: { email: EMAIL, password: PASSWORD } });
  const tokens = await client.POST("/api/v1/login/token", {
    body: { username: EMAIL, password: PASSWORD },
    headers: { "Content-Type": "application/x-www-form-urlencoded" },
  });
  const token = present(tokens.data, "the token").access_token;
  const bearer: Middleware = {
    onRequest({ request }) {
      request.headers.set("Authorization", `Bearer ${token}`);
      return request;
    },
  };
  client.use(bearer);

  const declared: Schemas["FileCreate"] = { filename: "walk.txt", content_type: "text/plain", size_bytes: CONTENT.length };
  const started = await client.POST("/api/v1/files/upload", { body: declared, params: { header: { "Idempotency-Key": "walk-1" } } });
  const upload = present(started.data, "the upload");
  await sendContent(upload);
  const completed = await client.POST("/api/v1/files/{file_id}/complete", { params: { path: { file_id: upload.file_id } } });
  const listed = await client.GET("/api/v1/files", { params: { query: { limit: 10, sort: "-created", content_type: "text/" } } });
  const shared = await client.POST("/api/v1/files/{file_id}/shares", {
    params: { path: { file_id: upload.file_id } },
    body: { max_downloads: 5 },
  });
  const url = present(shared.data?.url, "the URL of the link");
  const opened = await client.GET("/s/{token}", { params: { path: { token: lastSegment(url) } } });
  const link = present(opened.data, "the link");
  if (typeof link === "string") throw new Error("a page instead of JSON");

  const missing = await client.GET("/api/v1/files/{file_id}", { params: { path: { file_id: ABSENT_ID } } });
  const tooLarge = await client.POST("/api/v1/files/upload", { body: { ...declared, size_bytes: TOO_LARGE_BYTES } });
  const invalid = await client.POST("/api/v1/files/upload", { body: { ...declared, filename: "" } });
  const refused = await createClient<paths>({ baseUrl: API_URL }).GET("/api/v1/files");
  return {
    userEmail: present(registered.data, "the user").email,
    status: present(completed.data, "the file").status,
    listed: present(listed.data, "the list").map((file) => file.filename),
    nextCursor: listed.response.headers.get("X-Next-Cursor"),
    shared: link.files.map((file) => file.filename),
    missing: present(missing.error, "the error").code,
    tooLarge: maxBytesOf(present(tooLarge.error, "the error")),
    invalid: fieldOf(present(invalid.error, "the error")),
    refused: present(refused.error, "the error").code,
  };
}

type Responses = paths["/api/v1/files/upload"]["post"]["responses"];
type StartProblem = { [status in keyof Responses]: Responses[status] extends { content: { "application/problem+json": infer P } } ? P : never }[keyof Responses];

/** The code tells the compiler which members the problem has. */
function maxBytesOf(problem: StartProblem): Report["tooLarge"] {
  if (problem.code !== "single_upload_too_large") throw new Error(`unexpected ${problem.code}`);
  return { code: problem.code, maxBytes: problem.max_bytes };
}

function fieldOf(problem: StartProblem): Report["invalid"] {
  if (problem.code !== "malformed_request") throw new Error(`unexpected ${problem.code}`);
  return { code: problem.code, field: String(problem.errors?.[0]?.loc.at(-1)) };
}

walk().then((report) => process.stdout.write(JSON.stringify(report)));
