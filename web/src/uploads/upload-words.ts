/** The state of an upload in words. */

import type { UploadItem } from "@we-upload/client";
import { fmt, t } from "../core/language";
import { codeText } from "../core/problems";
import { u } from "./upload-texts";
import type { IconName } from "../ui/icon-paths";

export interface UploadWords {
  readonly text: string;
  readonly icon: IconName | null;
  readonly tone: "" | "tone-ok" | "tone-bad";
}

/** Return what stands below the name of an upload. */
export function uploadWords(item: UploadItem): UploadWords {
  const of = () => fmt.bytesOf(item.sentBytes, item.sizeBytes);
  switch (item.state) {
    case "waiting":
      // How much the server holds is known once the file is there again.
      if (item.needsFile) return { text: u.needsFile(fmt.bytes(item.sizeBytes)), icon: "pause", tone: "" };
      return { text: `${u.waiting} · ${fmt.bytes(item.sizeBytes)}`, icon: "clock", tone: "" };
    case "hashing":
      return { text: u.hashing, icon: null, tone: "" };
    case "sending": {
      if (item.isRetrying) return { text: u.retrying(of()), icon: "clock", tone: "" };
      const parts = [of(), item.bytesPerSecond > 0 ? fmt.speed(item.bytesPerSecond) : "", item.secondsLeft === null ? "" : fmt.timeLeft(item.secondsLeft)];
      return { text: parts.filter(Boolean).join(" · "), icon: null, tone: "" };
    }
    case "paused":
      return { text: u.pausedAt(of()), icon: "pause", tone: "" };
    case "checking":
      return { text: u.checking, icon: null, tone: "" };
    case "verified":
      return { text: `${u.verified} · ${fmt.bytes(item.sizeBytes)}`, icon: "ok", tone: "tone-ok" };
    case "cancelling":
      return { text: u.cancelling, icon: "x", tone: "" };
    case "cancelled":
      return { text: u.cancelled, icon: "x", tone: "" };
    case "failed":
      return { text: failureText(item), icon: "alert", tone: "tone-bad" };
  }
}

function failureText({ error, sizeBytes }: UploadItem): string {
  if (error === null) return t.problems.unknown;
  const uploadCodes: Partial<Record<string, string>> = u.codes;
  if (error.code === "file_too_large") return u.tooLarge(fmt.bytes(sizeBytes));
  return uploadCodes[error.code] ?? codeText(error.code) ?? error.message;
}

const ORDER: Readonly<Record<UploadItem["state"], number>> = { failed: 0, sending: 1, checking: 1, hashing: 1, paused: 2, waiting: 3, verified: 4, cancelling: 5, cancelled: 5 };

/** Put what needs attention and what moves on top. The order of each kind stays. */
export function sortUploads(items: readonly UploadItem[]): readonly UploadItem[] {
  return [...items].sort((a, b) => ORDER[a.state] - ORDER[b.state]);
}
