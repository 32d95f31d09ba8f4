/** The signed-in account and what it stores. */

import type { Usage, User } from "@we-upload/client";
import { signal } from "@preact/signals";
import { api, onSessionEnd } from "./api";
import { loadScreens } from "./lazy";
import { onPreferenceChange, readPreference, writePreference } from "./preferences";
import { navigate, nextPath } from "./router";
import { serverConfig } from "./server-config";

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
  writePreference("session", account.id);
  sessionState.value = "signed-in";
  void refreshUsage();
}

/** In place of an account's id: this tab found no session. Null means that the user signed out. */
const ENDED = "";

function leave(mark: string | null = ENDED): void {
  writePreference("session", mark);
  sessionState.value = "signed-out";
  user.value = null;
  usage.value = null;
  for (const reset of resets) reset();
}

/** The session has ended, but not by a click on this page. What was typed can stay, below a form to sign in again. */
function endHere(mark: string | null = ENDED): void {
  if (sessionState.value !== "signed-in") return leave(mark);
  loadScreens().then((screens) => screens.endSession((isWanted) => leave(isWanted ? null : mark)), () => leave(mark));
}

/** Notice when the session ends, or when another tab ends or replaces it. */
export function watchSession(): void {
  onSessionEnd(() => endHere());
  onPreferenceChange("session", (mark) => {
    if (mark !== ENDED) follow(mark);
    // A tab that notices the end of a session late does not know whether another session has begun since. The server does.
    else if (user.value !== null) void stay(user.value.id);
  });
}

/** Another tab has signed out, or signed in to another account, to which the next request of this tab would go. */
function follow(id: string | null): void {
  if (id === null) endHere(null);
  else if (user.value !== null && id !== user.value.id) {
    for (const reset of resets) reset();
    window.location.reload();
  }
}

/** Keep the session of the account, unless the server knows no session or that of another account. */
async function stay(id: string): Promise<void> {
  // Without an answer the next request finds out. A page that is loaded until then must ask, too.
  const account = await api.accounts.restore().catch(() => ({ id }));
  // The user may have signed out meanwhile.
  if (user.value === null) return;
  if (account === null) return endHere();
  writePreference("session", account.id);
  follow(account.id);
}

/** Go on with the session of an earlier page load, if there is one. */
export async function startSession(): Promise<void> {
  // Scripts cannot see the session's cookie. Without this mark, there was no sign-in in this browser, and nothing to ask the server.
  const mark = readPreference("session");
  if (!mark) return leave(mark);
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
  leave(null);
  navigate("/sign-in");
}

export async function signOut(): Promise<void> {
  leave(null);
  navigate("/sign-in");
  await api.accounts.signOut().catch(async () => (await loadScreens()).tellThatSignOutFailed());
}

/** Read again how much the account stores. */
export async function refreshUsage(): Promise<void> {
  try {
    usage.value = await api.accounts.usage();
  } catch {
    // The meter keeps its last figures; the next change reads them again.
  }
}
