/** The client of this server, shared by all screens. */

import { createClient } from "@we-upload/client";
import { BASE_PATH } from "./base-path";

let endSession: () => void = () => {};

/** Set what happens when the server no longer accepts the session. */
export function onSessionEnd(callback: () => void): void {
  endSession = callback;
}

export const api = createClient({ baseUrl: BASE_PATH.replace(/\/$/, ""), onSessionEnd: () => endSession() });
