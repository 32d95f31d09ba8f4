/** The rules of a link: as the form has them, as the API takes them, and as one sentence. */

import type { Share, ShareAudience, ShareCreate, ShareUpdate } from "@we-upload/client";
import type { ScreenTexts } from "../locales/en/screens";

export type Expiry = "1" | "7" | "14" | "never" | "date";

export interface LinkRules {
  readonly audience: ShareAudience;
  readonly recipients: readonly string[];
  readonly expiry: Expiry;
  /** When the link closes; null for never. */
  readonly closesAt: Date | null;
  readonly hasPassword: boolean;
  /** What the user typed; "" keeps the password that the link has. */
  readonly password: string;
  readonly maxDownloads: number | null;
  readonly allowsDownload: boolean;
  readonly title: string;
  readonly note: string;
  /** Whether the owner gets a mail about downloads; null for the account's setting. */
  readonly notifies: boolean | null;
}

export const EXPIRY_DAYS: Readonly<Record<"1" | "7" | "14", number>> = { "1": 1, "7": 7, "14": 14 };

/** Return when a link closes that is open for some days from now, at the full minute. */
export function closesIn(days: number, now: Date): Date {
  const date = new Date(now.getTime() + days * 86_400_000);
  date.setSeconds(0, 0);
  return date;
}

export function newLinkRules(now: Date): LinkRules {
  return {
    audience: "anyone",
    recipients: [],
    expiry: "14",
    closesAt: closesIn(14, now),
    hasPassword: false,
    password: "",
    maxDownloads: null,
    allowsDownload: true,
    title: "",
    note: "",
    notifies: null,
  };
}

export function rulesOf(link: Share): LinkRules {
  return {
    audience: link.audience,
    recipients: link.recipients,
    expiry: link.expires_at === null ? "never" : "date",
    closesAt: link.expires_at === null ? null : new Date(link.expires_at),
    hasPassword: link.has_password,
    password: "",
    maxDownloads: link.max_downloads,
    allowsDownload: link.allows_download,
    title: link.title ?? "",
    note: link.note ?? "",
    notifies: link.notify_on_download,
  };
}

function textOrNull(text: string): string | null {
  return text.trim() === "" ? null : text.trim();
}

export function shareBody(rules: LinkRules, fileIds: readonly string[]): ShareCreate {
  return {
    file_ids: [...fileIds],
    audience: rules.audience,
    recipients: rules.audience === "named" ? [...rules.recipients] : [],
    expires_at: rules.closesAt?.toISOString() ?? null,
    password: rules.hasPassword ? rules.password : null,
    max_downloads: rules.maxDownloads,
    allows_download: rules.allowsDownload,
    title: textOrNull(rules.title),
    note: textOrNull(rules.note),
    ...(rules.notifies === null ? {} : { notify_on_download: rules.notifies }),
  };
}

/** Return only what differs: an absent field stays as it is. */
export function shareChanges(before: LinkRules, after: LinkRules): ShareUpdate {
  const isSameTime = before.closesAt?.getTime() === after.closesAt?.getTime();
  const areSamePeople = before.audience === after.audience && before.recipients.join() === after.recipients.join();
  return {
    ...(areSamePeople ? {} : { audience: after.audience, recipients: after.audience === "named" ? [...after.recipients] : [] }),
    ...(isSameTime ? {} : { expires_at: after.closesAt?.toISOString() ?? null }),
    ...(after.hasPassword && after.password !== "" ? { password: after.password } : {}),
    ...(before.hasPassword && !after.hasPassword ? { password: null } : {}),
    ...(before.maxDownloads === after.maxDownloads ? {} : { max_downloads: after.maxDownloads }),
    ...(before.allowsDownload === after.allowsDownload ? {} : { allows_download: after.allowsDownload }),
    ...(after.notifies === null || before.notifies === after.notifies ? {} : { notify_on_download: after.notifies }),
    ...(before.title.trim() === after.title.trim() ? {} : { title: textOrNull(after.title) }),
    ...(before.note.trim() === after.note.trim() ? {} : { note: textOrNull(after.note) }),
  };
}

export interface SentencePart {
  readonly text: string;
  readonly isStrong: boolean;
}

/** Split a text at its **marks**. */
export function strongParts(text: string): readonly SentencePart[] {
  return text.split("**").flatMap((part, index) => (part === "" ? [] : [{ text: part, isStrong: index % 2 === 1 }]));
}

/** Say the rules of a link as one sentence, with ** around what matters. */
export function ruleSentence(rules: LinkRules, fileCount: number, texts: Pick<ScreenTexts, "share">, until: (date: Date) => string): string {
  return texts.share.sentence({
    audience: rules.audience,
    recipientCount: rules.recipients.length,
    hasPassword: rules.hasPassword,
    allowsDownload: rules.allowsDownload,
    fileCount,
    until: rules.closesAt === null ? null : until(rules.closesAt),
    maxDownloads: rules.maxDownloads,
  });
}

/** Read addresses from a field: separated by commas, semicolons, spaces or lines. */
export function readAddresses(text: string): readonly string[] {
  return [...new Set(text.split(/[\s,;]+/).filter(Boolean))];
}

const WORDS = "amber anchor apple arrow autumn bamboo beacon birch breeze bridge cactus candle canyon cedar cherry cloud clover cobalt copper coral cotton crane dawn delta ember falcon fern fjord flint forest garnet ginger glacier granite harbor hazel heron honey indigo island ivory jasmine juniper lagoon lantern lemon lilac linen lotus maple marble meadow mint mirror nectar oasis ocean olive onyx opal orchid otter pebble pepper pine plum prairie quartz quill raven reef river robin saffron sage sapphire shadow silver sparrow spruce stone summit thistle thunder tiger timber topaz tulip tundra velvet violet walnut willow winter".split(" ");

/** Return a password that can be said on the telephone: three words and a number, about 26 bits; the server slows guesses down. */
export function suggestPassword(random: (below: number) => number = randomBelow): string {
  const word = () => WORDS[random(WORDS.length)] ?? "harbor";
  return `${word()}-${word()}-${word()}-${10 + random(90)}`;
}

/** Return a random number below a small limit, without bias. */
function randomBelow(limit: number): number {
  const values = new Uint32Array(1);
  const highest = Math.floor(2 ** 32 / limit) * limit;
  do crypto.getRandomValues(values);
  while ((values[0] ?? 0) >= highest);
  return (values[0] ?? 0) % limit;
}
