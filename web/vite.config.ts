import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { completeCatalogues } from "./catalogue-check.ts";

const client = fileURLToPath(new URL("../clients/typescript/src/", import.meta.url));
const hashWasm = fileURLToPath(new URL("node_modules/hash-wasm", import.meta.url));
/** Where `npm run dev` finds the API. */
const api = process.env["WE_UPLOAD_API"] ?? "http://127.0.0.1:8000";

export default defineConfig({
  // Relative, so that the same build works at the root of a host and below a stage prefix.
  base: "./",
  plugins: [completeCatalogues()],
  resolve: {
    alias: [
      { find: /^@we-upload\/client$/, replacement: `${client}index.ts` },
      { find: /^@we-upload\/client\/identities$/, replacement: `${client}identities.ts` },
      { find: /^@we-upload\/client\/hash-worker/, replacement: `${client}hash-worker.ts` },
      { find: /^hash-wasm$/, replacement: hashWasm },
    ],
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2022",
    // The page policy admits no data: addresses.
    assetsInlineLimit: 0,
    modulePreload: false,
    // One script at start: lazy chunks import from it instead of sharing a second one with it.
    rolldownOptions: { preserveEntrySignatures: "allow-extension" },
  },
  worker: { format: "es" },
  server: {
    host: "127.0.0.1",
    proxy: Object.fromEntries(["/api", "/s/", "/r/", "/p/", "/docs", "/openapi.json"].map((path) => [path, api])),
  },
});
