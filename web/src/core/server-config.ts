/** What this server offers, so that the app shows only what works. */

import { signal } from "@preact/signals";
import { api } from "./api";

export interface ServerConfig {
  readonly isRegistrationOpen: boolean;
  readonly canSendMail: boolean;
  /** Whether deleted files are kept for a while. */
  readonly hasTrash: boolean;
  readonly trashDays: number;
}

/** Null until the server has answered, and for servers that do not tell. */
export const serverConfig = signal<ServerConfig | null>(null);

function readConfig(answer: Readonly<Record<string, unknown>>): ServerConfig {
  const trashDays = Number(answer["trash_retention_days"] ?? 0);
  return {
    isRegistrationOpen: answer["registration_open"] !== false,
    canSendMail: answer["mail_available"] !== false,
    hasTrash: trashDays > 0,
    trashDays,
  };
}

export async function loadServerConfig(): Promise<void> {
  try {
    const response = await api.http.send("get", "/api/v1/config", { isAnonymous: true });
    serverConfig.value = readConfig((await response.json()) as Record<string, unknown>);
  } catch {
    // The app then offers everything, and deletes with a delay.
  }
}
