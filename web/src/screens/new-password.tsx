/** The field for a new password. */

import { s } from "../core/screen-texts";
import { Field } from "../ui/controls";

const PASSWORD_LENGTH_MIN = 8;

export function NewPassword({ label, isBig = true }: { readonly label: string; readonly isBig?: boolean }) {
  return (
    <Field
      label={label}
      isBig={isBig}
      type="password"
      name="password"
      autoComplete="new-password"
      required
      minLength={PASSWORD_LENGTH_MIN}
      maxLength={1024}
      hint={s.signUp.passwordHint(PASSWORD_LENGTH_MIN)}
    />
  );
}
