/** Sign up. */

import { ApiError } from "@we-upload/client";
import { useState } from "preact/hooks";
import { api } from "../core/api";
import { t } from "../core/language";
import { s } from "../core/screen-texts";
import { problemText } from "../core/problems";
import { signIn } from "../core/session";
import { Field, FieldError, SubmitButton } from "../ui/controls";
import { AccountPage, useForm } from "./account-page";
import { NewPassword } from "./new-password";
import { hasSignInProviders, SignInProviders } from "./sign-in-providers";

export function SignUpScreen() {
  const [isConfirming, setConfirming] = useState(false);
  const { isBusy, error, form, onSubmit } = useForm(async ({ email = "", password = "" }) => {
    await api.accounts.signUp({ email, password });
    try {
      await signIn({ email, password });
    } catch (cause) {
      // Servers that want a confirmed address refuse the sign-in until then.
      if (!(cause instanceof ApiError) || cause.status >= 500) throw cause;
      setConfirming(true);
    }
  });
  if (isConfirming) {
    return (
      <AccountPage title={s.signUp.confirmTitle}>
        <p class="soft">{s.signUp.confirmText}</p>
        <a class="btn big block" href="sign-in">
          {s.signUp.toSignIn}
        </a>
      </AccountPage>
    );
  }
  return (
    <AccountPage title={s.signUp.title}>
      {hasSignInProviders() && <SignInProviders />}
      <form class="stack" ref={form} onSubmit={onSubmit}>
        <Field label={t.signIn.email} isBig type="email" name="email" autoComplete="username" required autoFocus maxLength={254} />
        <NewPassword label={t.signIn.password} />
        {error !== null && <FieldError text={problemText(error)} />}
        <SubmitButton isBusy={isBusy} label={isBusy ? s.signUp.busy : s.signUp.submit} class="primary big block" />
      </form>
      <p class="soft">
        {s.signUp.haveAccount}{" "}
        <a class="strong" href="sign-in">
          {t.signIn.submit}
        </a>
      </p>
    </AccountPage>
  );
}
