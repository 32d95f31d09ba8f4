/** The search and filters of the file list, kept in the address. */

import type { FileFilters } from "@we-upload/client";

export const SORTS = ["-created", "created", "name", "-name", "-size", "size"] as const;
export type Sort = (typeof SORTS)[number];

export const TYPES = { image: "image/", video: "video/", audio: "audio/", pdf: "application/pdf", text: "text/" } as const;
export type TypeFilter = keyof typeof TYPES;

/** Days before now. */
export const AGES = { "1": 1, "7": 7, "30": 30, "365": 365 } as const;
export type AgeFilter = keyof typeof AGES;

const MEGABYTE = 1_000_000;
export const SIZES = {
  small: { size_max: MEGABYTE },
  medium: { size_min: MEGABYTE, size_max: 100 * MEGABYTE },
  large: { size_min: 100 * MEGABYTE, size_max: 1000 * MEGABYTE },
  huge: { size_min: 1000 * MEGABYTE },
} as const;
export type SizeFilter = keyof typeof SIZES;

export interface FileQuery {
  readonly search: string;
  readonly sort: Sort;
  readonly type: TypeFilter | null;
  readonly age: AgeFilter | null;
  readonly size: SizeFilter | null;
  readonly isSharedByName: boolean;
  /** Only what came by this file request. */
  readonly requestId: string | null;
}

function oneOf<T extends string>(value: string | null, known: Readonly<Record<T, unknown>>): T | null {
  return value !== null && Object.hasOwn(known, value) ? (value as T) : null;
}

/** Read the filters from an address. What it does not know is left out. */
export function readFileQuery(query: URLSearchParams): FileQuery {
  const sort = query.get("sort");
  return {
    search: query.get("q")?.slice(0, 255) ?? "",
    sort: SORTS.find((known) => known === sort) ?? "-created",
    type: oneOf(query.get("type"), TYPES),
    age: oneOf(query.get("age"), AGES),
    size: oneOf(query.get("size"), SIZES),
    isSharedByName: query.get("shared") === "by_me",
    requestId: query.get("request"),
  };
}

export function hasFilters(query: FileQuery): boolean {
  return query.search !== "" || query.type !== null || query.age !== null || query.size !== null || query.isSharedByName || query.requestId !== null;
}

/** Return what the API is asked for. */
export function fileFilters(query: FileQuery, now: Date): FileFilters {
  return {
    ...(query.search.trim() === "" ? {} : { q: query.search.trim() }),
    ...(query.sort === "-created" ? {} : { sort: query.sort }),
    ...(query.type === null ? {} : { content_type: TYPES[query.type] }),
    ...(query.age === null ? {} : { created_after: new Date(now.getTime() - AGES[query.age] * 86_400_000).toISOString() }),
    ...(query.size === null ? {} : SIZES[query.size]),
    ...(query.isSharedByName ? { shared: "by_me" as const } : {}),
    ...(query.requestId === null ? {} : { file_request_id: query.requestId }),
  };
}
