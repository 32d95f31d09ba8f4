/** Errors as sentences: what happened, and what to do. */

import { ApiError, ConnectionError } from "@we-upload/client";
import { t } from "./language";
import { showToast } from "./toasts";

type Sentences = Partial<Readonly<Record<string, string>>>;

/** Sentences of the screens that are loaded later. */
let moreSentences: () => Sentences = () => ({});

export function addProblemSentences(sentences: () => Sentences): void {
  moreSentences = sentences;
}

/** Return the sentence for an error code, if the catalogue has one. */
export function codeText(code: string): string | undefined {
  const known: Sentences = t.problems.codes;
  return known[code] ?? moreSentences()[code];
}

/** Return a sentence for the user. Codes that the catalogue does not know keep the server's own sentence. */
export function problemText(error: unknown): string {
  if (error instanceof ConnectionError) return t.problems.connection;
  if (!(error instanceof ApiError)) return t.problems.unknown;
  if (error.status === 429 && error.retryAfterSeconds !== null) return t.problems.wait(error.retryAfterSeconds);
  return codeText(error.code) ?? (error.fields[0]?.msg || error.detail || t.problems.unknown);
}

/** Return the reference that the server's log has for a failed request. */
export function problemReference(error: unknown): string | null {
  return error instanceof ApiError ? error.requestId : null;
}

/** Show an error as a message, unless the session has ended: then the sign-in page is shown already. */
export function showProblem(error: unknown): void {
  if (error instanceof ApiError && error.status === 401) return;
  if (error instanceof DOMException && error.name === "AbortError") return;
  showToast(problemText(error), { isError: true });
}
