/** Loads the screens that are not needed at the start, all at once. */

import type * as Screens from "../screens/index";

let loading: Promise<typeof Screens> | null = null;

/** A failed load is tried again at the next call. */
export function loadScreens(): Promise<typeof Screens> {
  loading ??= import("../screens/index").catch((error: unknown) => {
    loading = null;
    throw error;
  });
  return loading;
}
