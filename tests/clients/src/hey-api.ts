/** The walk with the client of hey-api. */

import { client } from "./generated/hey-api/client.gen";
import {
  completeUpload,
  createUser,
  getFile,
  listFiles,
  openShare,
  shareFile,
  signIn,
  startUpload,
} from "./generated/hey-api/sdk.gen";
import type { FileCreate, StartUploadError } from "./generated/hey-api/types.gen";
import { ABSENT_ID, API_URL, CONTENT, EMAIL, lastSegment, PASSWORD, present, type Report, sendContent, TOO_LARGE_BYTES } from "./walk";

async function walk(): Promise<Report> {
  let token: string | undefined;
  client.setConfig({ baseUrl: API_URL, auth: () => token });
  const registered = await createUser({ body: { email: EMAIL, password: PASSWORD } });
  const tokens = await signIn({ body: { username: EMAIL, password: PASSWORD } });
  token = present(tokens.data, "the token").access_token;

  const declared: FileCreate = { filename: "walk.txt", content_type: "text/plain", size_bytes: CONTENT.length };
  const started = await startUpload({ body: declared, headers: { "Idempotency-Key": "walk-1" } });
  const upload = present(started.data, "the upload");
  await sendContent(upload);
  const completed = await completeUpload({ path: { file_id: upload.file_id } });
  const listed = await listFiles({ query: { limit: 10, sort: "-created", content_type: "text/" } });
  const shared = await shareFile({ path: { file_id: upload.file_id }, body: { max_downloads: 5 } });
  const url = present(shared.data?.url, "the URL of the link");
  const opened = await openShare({ path: { token: lastSegment(url) } });
  const link = present(opened.data, "the link");
  if (typeof link === "string") throw new Error("a page instead of JSON");

  const missing = await getFile({ path: { file_id: ABSENT_ID } });
  const tooLarge = await startUpload({ body: { ...declared, size_bytes: TOO_LARGE_BYTES } });
  const invalid = await startUpload({ body: { ...declared, filename: "" } });
  token = undefined;
  const refused = await listFiles();
  return {
    userEmail: present(registered.data, "the user").email,
    status: present(completed.data, "the file").status,
    listed: present(listed.data, "the list").map((file) => file.filename),
    nextCursor: listed.response?.headers.get("X-Next-Cursor") ?? null,
    shared: link.files.map((file) => file.filename),
    missing: present(missing.error, "the error").code,
    tooLarge: maxBytesOf(present(tooLarge.error, "the error")),
    invalid: fieldOf(present(invalid.error, "the error")),
    refused: present(refused.error, "the error").code,
  };
}

/** The code tells the compiler which members the problem has. */
function maxBytesOf(problem: StartUploadError): Report["tooLarge"] {
  if (problem.code !== "single_upload_too_large") throw new Error(`unexpected ${problem.code}`);
  return { code: problem.code, maxBytes: problem.max_bytes };
}

function fieldOf(problem: StartUploadError): Report["invalid"] {
  if (problem.code !== "malformed_request") throw new Error(`unexpected ${problem.code}`);
  return { code: problem.code, field: String(problem.errors?.[0]?.loc.at(-1)) };
}

walk().then((report) => process.stdout.write(JSON.stringify(report)));
