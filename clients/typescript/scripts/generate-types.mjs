// Generates src/generated/schema.d.ts from docs/openapi.json. Writes only when the result differs.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";

const DOCUMENT = new URL("../../../docs/openapi.json", import.meta.url);
const OUTPUT = new URL("../src/generated/schema.d.ts", import.meta.url);
const HEADER = "// Generated from docs/openapi.json by scripts/generate-types.mjs. Do not edit.\n\n";

// A field with a default may be left out of a request, so a default must not make it required.
const ast = await openapiTS(DOCUMENT, { defaultNonNullable: false, alphabetize: true });
const text = HEADER + astToString(ast);
const current = await readFile(OUTPUT, "utf8").catch(() => null);
if (current !== text) {
  await mkdir(new URL(".", OUTPUT), { recursive: true });
  await writeFile(OUTPUT, text);
}
