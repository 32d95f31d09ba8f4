/** Where the app is: "/" on a host of its own, "/dev/" below a stage prefix. */

// The entry script is in assets/, one level below the app. The server's stage prefix is not known when the app is built.
const scriptUrl: string = import.meta.url;

export const BASE_PATH: string = import.meta.env.DEV ? "/" : new URL("..", scriptUrl).pathname;

/** Return the address of an app path such as "/files" on this server. */
export function appHref(path: string): string {
  return BASE_PATH + path.replace(/^\//, "");
}
