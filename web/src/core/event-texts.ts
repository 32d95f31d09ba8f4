/** Sentences for the events of the audit log. */

import { events as de } from "../locales/de/events";
import { events as en } from "../locales/en/events";
import { localized } from "./language";

const texts = localized({ en, de });

/** Return the sentence for an event; its code for one that only newer servers have. */
export function eventSentence(action: string): string {
  return (texts.actions as Readonly<Record<string, string>>)[action] ?? action;
}
