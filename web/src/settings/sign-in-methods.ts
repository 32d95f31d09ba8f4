/** How the account can sign in, and the sign-in at a provider that the browser comes back from. */

import type { SignInMethods } from "@we-upload/client";
import { identityCalls } from "@we-upload/client/identities";
import { signal } from "@preact/signals";
import { api } from "../core/api";
import { location, navigate } from "../core/router";
import { serverConfig } from "../core/server-config";
import { onSignOut } from "../core/session";

export const identities = identityCalls(api);

/** Null until it is loaded. */
export const signInMethods = signal<SignInMethods | null>(null);
onSignOut(() => (signInMethods.value = null));

export async function loadSignInMethods(): Promise<SignInMethods> {
  return (signInMethods.value = await identities.methods());
}

/** Return the name of a provider. A provider that the server no longer offers keeps its id. */
export function providerName(id: string): string {
  return serverConfig.value?.sign_in_providers.find((provider) => provider.id === id)?.name ?? id;
}

/** What the provider's sign-in brought: in the fragment, which browsers do not send. */
export interface Return {
  readonly purpose: string;
  readonly assertion: string | null;
  readonly error: string | null;
}

/** Take the result out of the address, so that it stays in no history and no screenshot. Null where there is none. */
export function takeReturn(path: string): Return | null {
  const members = new URLSearchParams(location.value.hash);
  const purpose = members.get("purpose");
  if (purpose === null) return null;
  navigate(path, { replace: true });
  return { purpose, assertion: members.get("assertion"), error: members.get("error") };
}
