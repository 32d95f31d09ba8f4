/** The credentials that a change of an account needs besides the session. */

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { t } from "../core/language";
import { s } from "../core/screen-texts";
import { serverConfig } from "../core/server-config";
import { user } from "../core/session";
import { Field } from "../ui/controls";
import { identities, loadSignInMethods, providerName, signInMethods } from "./sign-in-methods";

interface CurrentPasswordProps {
  readonly label?: string;
  readonly hint?: ComponentChildren;
  /** Whether it gets the focus. */
  readonly isFirst?: boolean;
}

/** The field for the current password. An account without one proves itself by a new sign-in at a provider before the change. */
export function CurrentPassword({ label = s.settings.currentPassword, hint, isFirst = false }: CurrentPasswordProps) {
  const methods = signInMethods.value;
  useEffect(() => {
    // Until it is known, and if it cannot be read, the account is taken for one with a password.
    if (methods === null && serverConfig.value?.sign_in_providers.length) loadSignInMethods().catch(() => null);
  }, []);
  if (methods === null || methods.has_password) {
    return (
      <Field label={label} type="password" name="current_password" autoComplete="current-password" required maxLength={1024} hint={hint} autoFocus={isFirst} />
    );
  }
  return (
    <div class="stack g2">
      <p class="hint">{s.identity.noPassword}</p>
      <div class="row wrap">
        {[...new Set(methods.identities.map((identity) => identity.provider))].map((provider) => (
          <a class="btn small" key={provider} href={identities.startUrl(provider, "proof")}>
            {s.identity.confirmWith(providerName(provider))}
          </a>
        ))}
      </div>
    </div>
  );
}

/** The field for a code, for accounts with a second factor. */
export function OneTimeCode() {
  if (!user.value?.has_second_factor) return null;
  return <Field label={t.signIn.code} name="otp" autoComplete="one-time-code" required maxLength={32} />;
}

/** Return password and code of a form as the API takes them. */
export function ownCredentials(fields: FormData): { readonly current_password?: string; readonly otp?: string } {
  const [password, code] = [fields.get("current_password"), fields.get("otp")];
  return { ...(password === null ? {} : { current_password: String(password) }), ...(code === null ? {} : { otp: String(code) }) };
}
