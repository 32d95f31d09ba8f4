/** Sign in. */

import { ApiError } from "@we-upload/client";
import type { ComponentType } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../core/api";
import { BRAND_NAME } from "../core/brand";
import { t } from "../core/language";
import { loadScreens } from "../core/lazy";
import { problemText } from "../core/problems";
import { serverConfig } from "../core/server-config";
import { signIn } from "../core/session";
import { Field, FieldError, Note, SubmitButton } from "../ui/controls";
import { AccountPage, useForm } from "./account-page";

export function SignInScreen() {
  const { isBusy, error, form, onSubmit } = useForm(({ email = "", password = "", otp, keep }) => signIn({ email, password, otp, keepAccount: keep !== undefined }));
  const code = error instanceof ApiError ? error.code : "";
  // Once they are needed, the fields stay while other errors come and go.
  const needs = useRef({ code: false, decision: false }).current;
  needs.code ||= code === "second_factor_required";
  needs.decision ||= code === "account_deletion_pending";
  const [Providers, setProviders] = useState<ComponentType | null>(null);
  const count = serverConfig.value?.sign_in_providers.length;
  useEffect(() => {
    if (count) void loadScreens().then((screens) => setProviders(() => screens.SignInProviders));
  }, [count]);
  const isUnconfirmed = code === "email_not_verified";
  return (
    <AccountPage title={t.signIn.title(BRAND_NAME)}>
      {Providers && <Providers />}
      {serverConfig.value?.password_sign_in !== false && (
        <form class="stack" ref={form} onSubmit={onSubmit}>
          <Field label={t.signIn.email} isBig type="email" name="email" autoComplete="username" required autoFocus maxLength={254} />
          <Field
            label={t.signIn.password}
            isBig
            type="password"
            name="password"
            autoComplete="current-password"
            required
            maxLength={1024}
            aside={
              serverConfig.value?.mail_available !== false && (
                <a class="link" href="forgot-password">
                  {t.signIn.forgot}
                </a>
              )
            }
          />
          {needs.code && <Field label={t.signIn.code} isBig name="otp" autoComplete="one-time-code" required maxLength={32} />}
          {needs.decision && (
            <label class="row">
              <input type="checkbox" name="keep" required />
              {t.signIn.keepAccount}
            </label>
          )}
          {error !== null && (code === "second_factor_required" ? <p role="alert">{problemText(error)}</p> : <FieldError text={problemText(error)} />)}
          {isUnconfirmed && <ConfirmAgain email={() => String(new FormData(form.current ?? undefined).get("email"))} />}
          <SubmitButton isBusy={isBusy} label={isBusy ? t.signIn.busy : t.signIn.submit} class="primary big block" />
        </form>
      )}
      {serverConfig.value?.registration_open !== false && (
        <p class="soft">
          {t.signIn.newHere}{" "}
          <a class="strong" href="sign-up">
            {t.signIn.createAccount}
          </a>
        </p>
      )}
    </AccountPage>
  );
}

function ConfirmAgain({ email }: { readonly email: () => string }) {
  const [isSent, setSent] = useState(false);
  return isSent ? (
    <Note tone="ok">{t.signUp.mailSent}</Note>
  ) : (
    <button type="button" class="link left" onClick={() => void api.accounts.sendVerification(email()).then(() => setSent(true))}>
      {t.signIn.sendConfirmation}
    </button>
  );
}
