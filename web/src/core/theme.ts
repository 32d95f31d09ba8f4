/** Light or dark: the system's choice unless the user made one. */

import { signal } from "@preact/signals";
import { readPreference, writePreference } from "./preferences";

export type Theme = "system" | "light" | "dark";

function readTheme(): Theme {
  const kept = readPreference("theme");
  return kept === "light" || kept === "dark" ? kept : "system";
}

export const theme = signal<Theme>(readTheme());

export function setTheme(choice: Theme): void {
  theme.value = choice;
  writePreference("theme", choice === "system" ? null : choice);
  applyTheme();
}

/** Write the choice to the page; the style sheet does the rest. */
export function applyTheme(): void {
  if (theme.value === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme.value;
}
