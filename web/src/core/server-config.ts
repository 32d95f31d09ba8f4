/** What this server offers, so that the app shows only what works. */

import type { ServerConfig } from "@we-upload/client";
import { signal } from "@preact/signals";
import { api } from "./api";

/** Null until the server has answered. */
export const serverConfig = signal<ServerConfig | null>(null);

/** Whether deleted files are kept for a while. False until the server has answered: files are then deleted with a delay. */
export function hasTrash(): boolean {
  return (serverConfig.value?.trash_retention_days ?? 0) > 0;
}

export async function loadServerConfig(): Promise<void> {
  try {
    serverConfig.value = await api.config();
  } catch {
    // The app then offers everything, and deletes with a delay.
  }
}
