/** The credentials that a change of an account needs besides the session. */

import { t } from "../core/language";
import { user } from "../core/session";
import { Field } from "../ui/controls";

/** The field for a code, for accounts with a second factor. */
export function OneTimeCode() {
  if (!user.value?.has_second_factor) return null;
  return <Field label={t.signIn.code} name="otp" autoComplete="one-time-code" required maxLength={32} />;
}

/** Return password and code of a form as the API takes them. */
export function ownCredentials(fields: FormData): { readonly current_password: string; readonly otp?: string } {
  const code = fields.get("otp");
  return { current_password: String(fields.get("current_password")), ...(code === null ? {} : { otp: String(code) }) };
}
