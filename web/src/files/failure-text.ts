/** What failed of an action on many files, in words. */

import { ApiError, type FileInfo } from "@we-upload/client";
import { problemText } from "../core/problems";
import { s } from "../core/screen-texts";

/** More kinds of errors than these are not listed. */
const KINDS_MAX = 3;

/** Return a sentence for each kind of error, with the files that it concerns: their number, and the name of the first. */
export function failureText(failures: readonly { readonly file: FileInfo; readonly error: unknown }[]): string {
  const kinds = new Map<string, { readonly name: string; count: number }>();
  for (const { file, error } of failures) {
    if (error instanceof ApiError && error.status === 401) continue;
    const text = problemText(error);
    const kind = kinds.get(text);
    if (kind === undefined) kinds.set(text, { name: file.filename, count: 1 });
    else kind.count += 1;
  }
  return [...kinds]
    .slice(0, KINDS_MAX)
    .map(([text, { name, count }]) => s.bulk.failed(name, count - 1, text))
    .join(" ");
}
