/** The language of the app: its texts and its formats. */

import { computed, signal } from "@preact/signals";
import { start as en, type StartTexts } from "../locales/en/start";
import { createFormats, type Formats } from "./format";
import { readPreference, writePreference } from "./preferences";

export const LANGUAGES = { en: "English", de: "Deutsch" } as const;
export type Language = keyof typeof LANGUAGES;

export const language = signal<Language>("en");

/** Return the value for a name of what a signal holds now. A component that reads it is drawn anew when the signal changes. */
function currentOf<T extends object>(current: () => T): T {
  return new Proxy({} as T, { get: (_, name) => Reflect.get(current(), name) });
}

/** Return texts in the current language. */
export function localized<T extends object>(catalogues: Readonly<Record<Language, T>>): T {
  return currentOf(() => catalogues[language.value]);
}

/** English is part of the first script; other languages are loaded when they are chosen. */
const startTexts: Record<Language, StartTexts> = { en, de: en };

/** The texts that are needed at the start. */
export const t = localized(startTexts);

const formats = computed(() => createFormats(language.value, t));
/** The formats of the current language. */
export const fmt: Formats = currentOf(() => formats.value);

/** Return the first language of a list of preferences that the app has; English otherwise. */
export function chooseLanguage(kept: string | null, preferred: readonly string[]): Language {
  const wanted = [...(kept === null ? [] : [kept]), ...preferred].map((tag) => tag.toLowerCase().split("-")[0] ?? "");
  return wanted.find((tag): tag is Language => Object.hasOwn(LANGUAGES, tag)) ?? "en";
}

/** English from right to left, for tests of the layout: no language of the app is written that way yet. */
const PSEUDO_LANGUAGE = "en-XB";

export function isRightToLeft(): boolean {
  return document.documentElement.dir === "rtl";
}

async function applyLanguage(choice: Language): Promise<void> {
  if (choice === "de") startTexts.de = (await import("../locales/de/start")).start;
  document.documentElement.lang = choice;
  language.value = choice;
}

export function setLanguage(choice: Language): void {
  writePreference("language", choice);
  // Without a connection the language of before stays.
  applyLanguage(choice).catch(() => {});
}

/** Resolves when the texts are there. */
export async function startLanguage(): Promise<void> {
  const kept = readPreference("language");
  if (kept === PSEUDO_LANGUAGE) document.documentElement.dir = "rtl";
  await applyLanguage(chooseLanguage(kept, navigator.languages)).catch(() => {});
}
