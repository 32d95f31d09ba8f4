/** Kinds of files, for icons, words and previews. */

import type { IconName } from "../ui/icon-paths";

export type FileKind = "image" | "video" | "audio" | "pdf" | "sheet" | "document" | "archive" | "code" | "other";

export const KIND_ICONS: Readonly<Record<FileKind, IconName>> = {
  image: "image",
  video: "video",
  audio: "audio",
  pdf: "doc",
  sheet: "sheet",
  document: "doc",
  archive: "zip",
  code: "code",
  other: "file",
};

const EXTENSIONS: Readonly<Record<string, FileKind>> = Object.fromEntries(
  (
    [
      ["image", "jpg jpeg png gif webp avif heic heif tif tiff bmp svg raw dng psd"],
      ["video", "mp4 m4v mov webm mkv avi mpg mpeg"],
      ["audio", "mp3 m4a wav flac ogg oga opus aac aif aiff"],
      ["pdf", "pdf"],
      ["sheet", "xls xlsx ods csv tsv numbers"],
      ["document", "txt md rtf doc docx odt pages ppt pptx odp key tex epub"],
      ["archive", "zip gz tgz bz2 xz zst 7z rar tar"],
      ["code", "js ts jsx tsx py rb go rs c h cpp java kt swift cs php sh sql html css json xml yml yaml toml"],
    ] as const
  ).flatMap(([kind, names]) => names.split(" ").map((name): [string, FileKind] => [name, kind])),
);

/** Return the ending of a name without its dot, in lower case; "" for none. */
export function extensionOf(filename: string): string {
  const match = /[^.]\.([A-Za-z0-9]{1,8})$/.exec(filename);
  return match?.[1]?.toLowerCase() ?? "";
}

/** Return the kind of a file by its content type, else by the ending of its name. */
export function fileKind(contentType: string, filename: string): FileKind {
  const type = contentType.toLowerCase();
  if (type.startsWith("image/")) return "image";
  if (type.startsWith("video/")) return "video";
  if (type.startsWith("audio/")) return "audio";
  if (type === "application/pdf") return "pdf";
  return EXTENSIONS[extensionOf(filename)] ?? (type.startsWith("text/") ? "document" : "other");
}

/** Whether every browser can show an image of this type. */
export function isShowableImage(contentType: string): boolean {
  return /^image\/(jpeg|png|gif|webp|avif|bmp)$/i.test(contentType);
}

/** Whether the bytes can be read as text. */
export function isText(contentType: string, filename: string): boolean {
  return /^(text\/|application\/(json|xml|x-yaml|toml|javascript))/i.test(contentType) || ["md", "csv", "log", "yml", "yaml", "toml"].includes(extensionOf(filename));
}
