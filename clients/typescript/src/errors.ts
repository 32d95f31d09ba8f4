/** Errors that the client throws. */

/** One field that the server did not accept (status 422). */
export interface FieldProblem {
  readonly loc: readonly (string | number)[];
  readonly msg: string;
  readonly type: string;
}

interface ApiErrorFields {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly title?: string;
  readonly retryAfterSeconds?: number | null;
  readonly fields?: readonly FieldProblem[];
  readonly requestId?: string | null;
  readonly problem?: Readonly<Record<string, unknown>>;
}

/** The server refused a request. `code` is stable and meant for programs; `detail` is a sentence for people. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly title: string;
  /** How long to wait before the next try, if the server said so. */
  readonly retryAfterSeconds: number | null;
  readonly fields: readonly FieldProblem[];
  readonly requestId: string | null;
  /** The whole problem document (RFC 9457), with the fields that belong to this code, such as `missing_parts`. */
  readonly problem: Readonly<Record<string, unknown>>;

  constructor(init: ApiErrorFields) {
    super(init.detail);
    this.name = "ApiError";
    this.status = init.status;
    this.code = init.code;
    this.detail = init.detail;
    this.title = init.title ?? "";
    this.retryAfterSeconds = init.retryAfterSeconds ?? null;
    this.fields = init.fields ?? [];
    this.requestId = init.requestId ?? null;
    this.problem = init.problem ?? {};
  }

  /** Whether the same request may succeed later without any change. */
  get isRetryable(): boolean {
    return this.status === 429 || this.status >= 500 || RETRYABLE_CODES.has(this.code);
  }
}

const RETRYABLE_CODES: ReadonlySet<string> = new Set(["idempotency_key_in_flight", "upload_withheld", "serialization_conflict"]);

/** No answer came: no network, or the connection was lost. */
export class ConnectionError extends Error {
  readonly code = "connection_lost";

  constructor(cause: unknown) {
    super("The server cannot be reached. Check the network connection.", { cause });
    this.name = "ConnectionError";
  }
}

/** Make an ApiError from an answer, also from one that is not a problem document, such as a gateway's. */
export async function readApiError(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => "");
  const problem = parseObject(text);
  const detail = typeof problem["detail"] === "string" ? problem["detail"] : `The server answered with status ${response.status}.`;
  return new ApiError({
    status: response.status,
    code: typeof problem["code"] === "string" ? problem["code"] : `http_${response.status}`,
    detail,
    title: typeof problem["title"] === "string" ? problem["title"] : response.statusText,
    retryAfterSeconds: readRetryAfter(response.headers.get("Retry-After"), problem["retry_after_seconds"]),
    fields: Array.isArray(problem["errors"]) ? problem["errors"].filter(isFieldProblem) : [],
    requestId: typeof problem["request_id"] === "string" ? problem["request_id"] : null,
    problem,
  });
}

/** The clock of the device, with which a date is compared, may be wrong by days. */
const DATED_DELAY_MAX_SECONDS = 300;

/** Read Retry-After (RFC 9110: seconds or a date); the body's `retry_after_seconds` is for pages that cannot read the header. */
export function readRetryAfter(header: string | null, fromBody?: unknown, now: number = Date.now()): number | null {
  if (header !== null && /^\d+$/.test(header.trim())) return Number(header);
  const date = header === null ? Number.NaN : Date.parse(header);
  if (!Number.isNaN(date)) return Math.min(DATED_DELAY_MAX_SECONDS, Math.max(0, Math.ceil((date - now) / 1000)));
  return typeof fromBody === "number" && fromBody >= 0 ? fromBody : null;
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
  } catch {
    return {};
  }
}

function isFieldProblem(value: unknown): value is FieldProblem {
  return typeof value === "object" && value !== null && "msg" in value && "loc" in value;
}
