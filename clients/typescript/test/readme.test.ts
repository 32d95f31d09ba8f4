import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { afterEach, describe, expect, test, vi } from "vitest";
import { createClient, isApiError } from "../src/index.js";
import { FakeServer, json } from "./support/fake-server.js";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const README_URL = "https://files.example.com";
const ACCOUNT = { email: "ada@example.com", password: "correct horse battery staple" };

/** Write the examples of the README to files, so that they can be checked and run. */
async function writeExamples(name: string, replace: (text: string) => string = (text) => text): Promise<string[]> {
  const readme = await readFile(`${ROOT}README.md`, "utf8");
  const examples = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map((match) => match[1] ?? "");
  expect(examples.length).toBeGreaterThanOrEqual(2);
  await mkdir(`${ROOT}test/generated`, { recursive: true });
  return Promise.all(
    examples.map(async (text, index) => {
      const path = `${ROOT}test/generated/${name}-${index + 1}.ts`;
      await writeFile(path, `${replace(text)}export {};\n`);
      return path;
    }),
  );
}

async function run(path: string): Promise<string[]> {
  const printed: string[] = [];
  const log = vi.spyOn(console, "log").mockImplementation((...values: unknown[]) => void printed.push(values.map(String).join(" ")));
  await import(/* @vite-ignore */ path);
  log.mockRestore();
  return printed;
}

afterEach(() => vi.unstubAllGlobals());

describe("the examples of the README", () => {
  test("are correct TypeScript", { timeout: 30_000 }, async () => {
    const config = ts.getParsedCommandLineOfConfigFile(
      `${ROOT}tsconfig.json`,
      {},
      { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => undefined },
    );
    const program = ts.createProgram(await writeExamples("types"), config?.options ?? {});
    const messages = ts.getPreEmitDiagnostics(program).map((found) => ts.flattenDiagnosticMessageText(found.messageText, "\n"));
    expect(messages).toEqual([]);
  });

  test("the program runs", async () => {
    const server = new FakeServer();
    server.fault = (request) =>
      request.path.endsWith("/shares") ? json(201, { url: `${README_URL}/s/abc`, ...(request.body as object) }) : undefined;
    vi.stubGlobal("fetch", server.fetch);
    const [program = ""] = await writeExamples("fake");
    expect(await run(program)).toEqual([`${README_URL}/s/abc`]);
    expect([...server.files.values()].map((file) => [file.filename, file.status, file.object?.toString()])).toEqual([
      ["hello.txt", "available", "Hello"],
    ]);
    expect(server.calls("POST", /shares$/)[0]?.body).toMatchObject({ file_ids: [[...server.files.keys()][0]] });
  });

  const baseUrl = process.env["WE_UPLOAD_URL"];
  test.skipIf(baseUrl === undefined)("the program runs against a running server (WE_UPLOAD_URL)", async () => {
    const client = createClient({ baseUrl: baseUrl ?? "" });
    await client.accounts.signUp(ACCOUNT).catch((error: unknown) => {
      if (!isApiError(error, "email_taken")) throw error;
    });
    const [program = ""] = await writeExamples("live", (text) => text.replace(README_URL, baseUrl ?? ""));
    const [url = ""] = await run(program);
    const opened = await client.shares.open(url.split("/").pop() ?? "");
    expect(opened.files.map((file) => file.filename)).toEqual(["hello.txt"]);
  });
});
