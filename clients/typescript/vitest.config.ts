import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (name: string) => fileURLToPath(new URL(`src/${name}.ts`, import.meta.url));

export default defineConfig({
  resolve: {
    // Examples import the package by its name.
    alias: [
      { find: /^@we-upload\/client$/, replacement: source("index") },
      { find: /^@we-upload\/client\/(hashing|hash-worker|uppy)$/, replacement: fileURLToPath(new URL("src/$1.ts", import.meta.url)) },
    ],
  },
});
