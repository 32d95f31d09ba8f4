/** Which mails the account gets: read when a screen first needs it. */

import { signal } from "@preact/signals";
import type { NotificationSettings } from "@we-upload/client";
import { api } from "../core/api";
import { serverConfig } from "../core/server-config";
import { onSignOut } from "../core/session";

/** Null until it was read. */
export const notificationSettings = signal<NotificationSettings | null>(null);
let isLoading = false;

onSignOut(() => {
  notificationSettings.value = null;
});

/** Read the settings, unless they are known. Without them, the server applies them to what is made. */
export function loadNotificationSettings(): void {
  if (notificationSettings.value !== null || isLoading || !serverConfig.value?.mail_available) return;
  isLoading = true;
  const read = async () => {
    try {
      notificationSettings.value = await api.accounts.notifications();
    } catch {
      // The next screen tries again.
    } finally {
      isLoading = false;
    }
  };
  void read();
}
