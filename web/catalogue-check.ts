/** Compares the catalogues of texts, so that a missing text fails the build. */

import type { Plugin } from "vite";
import { events as deEvents } from "./src/locales/de/events.ts";
import { screens as deScreens } from "./src/locales/de/screens.ts";
import { start as deStart } from "./src/locales/de/start.ts";
import { uploads as deUploads } from "./src/locales/de/uploads.ts";
import { webhooks as deWebhooks } from "./src/locales/de/webhooks.ts";
import { events as enEvents } from "./src/locales/en/events.ts";
import { screens as enScreens } from "./src/locales/en/screens.ts";
import { start as enStart } from "./src/locales/en/start.ts";
import { uploads as enUploads } from "./src/locales/en/uploads.ts";
import { webhooks as enWebhooks } from "./src/locales/en/webhooks.ts";

/** Name, English texts and texts in the other language. */
export const CATALOGUES = [
  ["start", enStart, deStart],
  ["screens", enScreens, deScreens],
  ["uploads", enUploads, deUploads],
  ["webhooks", enWebhooks, deWebhooks],
  ["events", enEvents, deEvents],
] as const;

/** Return each text with its path. */
export function textsOf(value: unknown, path = ""): [string, unknown][] {
  if (Array.isArray(value)) return value.flatMap((item, index) => textsOf(item, `${path}.${index}`));
  if (typeof value === "object" && value !== null) return Object.entries(value).flatMap(([key, item]) => textsOf(item, `${path}.${key}`));
  return [[path, value]];
}

/** Return the paths of texts that only one of two catalogues has. */
export function differences(one: unknown, other: unknown): string[] {
  const [paths, otherPaths] = [one, other].map((catalogue) => new Set(textsOf(catalogue).map(([path]) => path))) as [Set<string>, Set<string>];
  return [...[...paths].filter((path) => !otherPaths.has(path)), ...[...otherPaths].filter((path) => !paths.has(path))];
}

export function completeCatalogues(): Plugin {
  return {
    name: "complete-catalogues",
    apply: "build",
    buildStart() {
      for (const [name, english, german] of CATALOGUES) {
        const found = differences(english, german);
        if (found.length > 0) this.error(`Only one language has these texts of the catalogue ${name}: ${found.join(", ")}`);
      }
    },
  };
}
