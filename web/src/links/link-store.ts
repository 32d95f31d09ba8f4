/** The account's share links, for the list of links and for the badges of files. */

import type { Share } from "@we-upload/client";
import { computed, signal } from "@preact/signals";
import { api } from "../core/api";
import { onSignOut } from "../core/session";
import { linkState } from "./link-state";

const PAGE_SIZE = 100;

/** Null until they were read. Newest first. */
export const links = signal<readonly Share[] | null>(null);
export const linksError = signal<unknown>(null);

export function isOpen(link: Share): boolean {
  const state = linkState(link);
  return state === "open" || state === "closes-soon";
}

/** How many open links lead to each file. */
export const openLinkCounts = computed<ReadonlyMap<string, number> | null>(() => {
  if (links.value === null) return null;
  const counts = new Map<string, number>();
  for (const link of links.value.filter(isOpen)) {
    for (const fileId of link.file_ids) counts.set(fileId, (counts.get(fileId) ?? 0) + 1);
  }
  return counts;
});

let loading: Promise<void> | null = null;

async function readAll(): Promise<void> {
  linksError.value = null;
  try {
    const all: Share[] = [];
    let cursor: string | null = null;
    do {
      const page: Awaited<ReturnType<typeof api.shares.list>> = await api.shares.list({ limit: PAGE_SIZE, ...(cursor === null ? {} : { cursor }) });
      all.push(...page.items);
      cursor = page.nextCursor;
    } while (cursor !== null);
    links.value = all;
  } catch (error) {
    linksError.value = error;
  } finally {
    loading = null;
  }
}

export function loadLinks(): Promise<void> {
  loading ??= readAll();
  return loading;
}

/** Put a link that was made or changed into the list. */
export function keepLink(link: Share): void {
  if (links.value === null) return;
  const isKnown = links.value.some((other) => other.id === link.id);
  links.value = isKnown
    ? links.value.map((other) => (other.id === link.id ? link : other))
    : [link, ...links.value];
}

onSignOut(() => {
  links.value = null;
});
