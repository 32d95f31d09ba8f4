/** The signed-in account and what it stores. */

import type { Usage, User } from "@we-upload/client";
import { signal } from "@preact/signals";
import { api, onSessionEnd } from "./api";
import { t } from "./language";
import { readPreference, writePreference } from "./preferences";
import { navigate, nextPath } from "./router";
import { serverConfig } from "./server-config";
import { showToast } from "./toasts";

export type SessionState = "starting" | "unreachable" | "signed-out" | "signed-in";

export const sessionState = signal<SessionState>("starting");
export const user = signal<User | null>(null);
export const usage = signal<Usage | null>(null);

/** What to forget when another account signs in. */
const resets: (() => void)[] = [];

export function onSignOut(reset: () => void): void {
  resets.push(reset);
}

/** Whether the account must have a second factor and has none: the session can only set it up. */
export function mustEnrol(): boolean {
  const account = user.value;
  const rule = serverConfig.value?.second_factor_required_for;
  // Each rule includes superusers.
  return account !== null && !account.has_second_factor && (account.requires_second_factor || rule === "all" || (!!rule && account.is_superuser));
}

export function enter(account: User): void {
  user.value = account;
  writePreference("session", "1");
  sessionState.value = "signed-in";
  void refreshUsage();
}

function leave(): void {
  writePreference("session", null);
  sessionState.value = "signed-out";
  user.value = null;
  usage.value = null;
  for (const reset of resets) reset();
}

/** Go on with the session of an earlier page load, if there is one. */
export async function startSession(): Promise<void> {
  onSessionEnd(() => {
    const wasSignedIn = sessionState.value === "signed-in";
    leave();
    if (wasSignedIn) showToast(t.signIn.sessionEnded, { icon: "info" });
  });
  // Scripts cannot see the session's cookie. Without this mark, there was no sign-in in this browser, and nothing to ask the server.
  if (readPreference("session") === null) return leave();
  sessionState.value = "starting";
  try {
    const account = await api.accounts.restore();
    if (account === null) leave();
    else enter(account);
  } catch {
    sessionState.value = "unreachable";
  }
}

export async function signIn(credentials: Parameters<typeof api.accounts.signIn>[0]): Promise<void> {
  enter(await api.accounts.signIn(credentials));
  navigate(nextPath(), { replace: true });
}

/** Forget the session of an account that was closed. */
export function leaveClosedAccount(): void {
  leave();
  navigate("/sign-in");
}

export async function signOut(): Promise<void> {
  leave();
  navigate("/sign-in");
  await api.accounts.signOut();
}

/** Read again how much the account stores. */
export async function refreshUsage(): Promise<void> {
  try {
    usage.value = await api.accounts.usage();
  } catch {
    // The meter keeps its last figures; the next change reads them again.
  }
}
