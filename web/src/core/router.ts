/** The address of the current screen, in the browser's history. */

import { signal } from "@preact/signals";
import { BASE_PATH, appHref } from "./base-path";

/** App paths have one segment, so that the relative addresses of scripts and styles hold on each of them. */
export const PUBLIC_PATHS = ["/sign-in", "/sign-up", "/forgot-password", "/reset-password", "/verify-email", "/invitation"] as const;
export const SIGNED_IN_PATHS = ["/files", "/shared", "/links", "/requests", "/trash", "/settings", "/admin"] as const;
export type AppPath = (typeof PUBLIC_PATHS)[number] | (typeof SIGNED_IN_PATHS)[number] | "/";

const APP_PATHS: ReadonlySet<string> = new Set<AppPath>(["/", ...PUBLIC_PATHS, ...SIGNED_IN_PATHS]);

export interface Location {
  /** Starts with a slash, without the stage prefix. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Without its number sign. */
  readonly hash: string;
}

function readLocation(): Location {
  const { pathname, search, hash } = window.location;
  const path = pathname.startsWith(BASE_PATH) ? `/${pathname.slice(BASE_PATH.length)}` : "/";
  return { path: path.length > 1 ? path.replace(/\/$/, "") : path, query: new URLSearchParams(search), hash: hash.slice(1) };
}

export const location = signal<Location>(readLocation());

/** Go to an app path, which may have a query and a hash. */
export function navigate(path: string, options: { readonly replace?: boolean } = {}): void {
  const before = location.value.path;
  if (options.replace) history.replaceState(null, "", appHref(path));
  else history.pushState(null, "", appHref(path));
  location.value = readLocation();
  if (location.value.path !== before) window.scrollTo(0, 0);
}

/** Change the query of the current screen. An empty value takes a parameter away. */
export function setQuery(changes: Readonly<Record<string, string | null>>): void {
  const query = new URLSearchParams(location.value.query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  navigate(location.value.path + (text === "" ? "" : `?${text}`), { replace: true });
}

/** Return the screen to show after the sign-in. Only paths of this app: anyone can make an address with another one. */
export function nextPath(): string {
  const next = location.value.query.get("next") ?? "";
  return SIGNED_IN_PATHS.some((path) => path === next.split("#")[0]) ? next : "/files";
}

/** Whether a click on a link leads to another screen of the app, and not to another page, tab or window. */
function appPathOf(event: MouseEvent): string | null {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return null;
  const anchor = event.target instanceof Element ? event.target.closest("a") : null;
  if (anchor === null || anchor.target !== "" || anchor.hasAttribute("download")) return null;
  const url = new URL(anchor.href);
  if (url.origin !== window.location.origin || !url.pathname.startsWith(BASE_PATH)) return null;
  const path = `/${url.pathname.slice(BASE_PATH.length)}`;
  if (!APP_PATHS.has(path) || (path === location.value.path && url.hash !== "")) return null;
  return path + url.search + url.hash;
}

/** Follow the browser's history and the links of the page. */
export function startRouter(): void {
  const follow = () => {
    location.value = readLocation();
  };
  window.addEventListener("popstate", follow);
  window.addEventListener("hashchange", follow);
  document.addEventListener("click", (event) => {
    const path = appPathOf(event);
    if (path === null) return;
    event.preventDefault();
    navigate(path);
  });
}
