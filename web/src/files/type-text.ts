/** Types of files in words: "JPEG image", "Spreadsheet". */

import { extensionOf, fileKind } from "../core/file-kind";
import { s } from "../core/screen-texts";

const FORMATS: Readonly<Record<string, string>> = { "svg+xml": "SVG", quicktime: "QuickTime", webm: "WebM", webp: "WebP", matroska: "Matroska", wave: "WAV" };

export function typeText(contentType: string, filename: string): string {
  const kind = fileKind(contentType, filename);
  if (kind === "image" || kind === "video" || kind === "audio") {
    const subtype = contentType.toLowerCase().replace(/;.*/, "").split("/")[1]?.trim().replace(/^x-/, "") ?? "";
    const isOfKind = contentType.toLowerCase().startsWith(`${kind}/`);
    const format = isOfKind ? (FORMATS[subtype] ?? (/^[a-z0-9]{1,10}$/.test(subtype) ? subtype.toUpperCase() : "")) : extensionOf(filename).toUpperCase();
    return s.fileTypes[kind](format);
  }
  return kind === "other" ? s.fileTypes.other(extensionOf(filename).toUpperCase()) : s.fileTypes[kind];
}
