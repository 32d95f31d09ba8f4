/** Whether a link is open, and if not, why. */

import type { Share } from "@we-upload/client";

export type LinkState = "open" | "closes-soon" | "limit-reached" | "expired" | "revoked";

const SOON_MS = 86_400_000;

export function linkState(link: Pick<Share, "revoked_at" | "expires_at" | "max_downloads" | "download_count">, now: number = Date.now()): LinkState {
  if (link.revoked_at !== null) return "revoked";
  const closesAt = link.expires_at === null ? Infinity : Date.parse(link.expires_at);
  if (closesAt <= now) return "expired";
  if (link.max_downloads !== null && link.download_count >= link.max_downloads) return "limit-reached";
  return closesAt - now < SOON_MS ? "closes-soon" : "open";
}
