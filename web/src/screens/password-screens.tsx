/** Forgotten password, new password, confirmed address. */

import { isApiError } from "@we-upload/client";
import { useEffect, useState } from "preact/hooks";
import { api } from "../core/api";
import { t } from "../core/language";
import { problemText } from "../core/problems";
import { location, navigate } from "../core/router";
import { s } from "../core/screen-texts";
import { ErrorNote, Field, FieldError, Note, SubmitButton } from "../ui/controls";
import { AccountPage, useForm } from "./account-page";
import { NewPassword } from "./new-password";

/** The token of a mailed link. It is in the fragment, which browsers do not send. */
function mailedToken(): string | null {
  return new URLSearchParams(location.value.hash).get("token");
}

export function ForgotPasswordScreen() {
  const [isSent, setSent] = useState(false);
  const { isBusy, error, form, onSubmit } = useForm(async ({ email = "" }) => {
    await api.accounts.forgotPassword(email);
    setSent(true);
  });
  return (
    <AccountPage title={s.forgot.title}>
      {isSent ? (
        <Note tone="ok" icon="mail">
          {s.forgot.sent}
        </Note>
      ) : (
        <form class="stack" ref={form} onSubmit={onSubmit}>
          <p class="soft">{s.forgot.text}</p>
          <Field label={t.signIn.email} isBig type="email" name="email" autoComplete="username" required autoFocus maxLength={254} />
          {error !== null && <FieldError text={problemText(error)} />}
          <SubmitButton isBusy={isBusy} label={s.forgot.submit} class="primary big block" />
        </form>
      )}
      <p>
        <a class="strong" href="sign-in">
          {s.signUp.toSignIn}
        </a>
      </p>
    </AccountPage>
  );
}

export function ResetPasswordScreen() {
  // The token leaves the address at once, so that it stays in no history and no screenshot.
  const [token] = useState(mailedToken);
  const [isDone, setDone] = useState(false);
  useEffect(() => {
    if (mailedToken() !== null) navigate("/reset-password", { replace: true });
  }, []);
  const { isBusy, error, form, onSubmit } = useForm(async ({ password = "" }) => {
    await api.accounts.resetPassword(token ?? "", { password });
    setDone(true);
  });
  if (token === null) {
    return (
      <AccountPage title={s.reset.title}>
        <Note tone="warn">{s.reset.noToken}</Note>
        <a class="btn big block" href="forgot-password">
          {s.forgot.submit}
        </a>
      </AccountPage>
    );
  }
  return (
    <AccountPage title={s.reset.title}>
      {isDone ? (
        <>
          <Note tone="ok">{s.reset.done}</Note>
          <a class="btn primary big block" href="sign-in">
            {s.signUp.toSignIn}
          </a>
        </>
      ) : (
        <form class="stack" ref={form} onSubmit={onSubmit}>
          <NewPassword label={s.reset.password} />
          {error !== null && <FieldError text={problemText(error)} />}
          <SubmitButton isBusy={isBusy} label={s.reset.submit} class="primary big block" />
        </form>
      )}
    </AccountPage>
  );
}

export function VerifyEmailScreen() {
  const [token] = useState(() => mailedToken() ?? "");
  const [state, setState] = useState<"busy" | "password" | "done" | "failed">("busy");
  const [failure, setFailure] = useState<unknown>(null);
  const confirm = () => {
    setState("busy");
    api.accounts.verifyEmail(token).then(
      () => setState("done"),
      (cause) => {
        setFailure(cause);
        setState(isApiError(cause, "password_required") ? "password" : "failed");
      },
    );
  };
  const { isBusy, error, form, onSubmit } = useForm(async ({ password = "" }) => {
    await api.accounts.verifyEmail(token, { password });
    setState("done");
  });
  useEffect(() => {
    if (mailedToken() !== null) navigate("/verify-email", { replace: true });
    confirm();
  }, []);
  return (
    <AccountPage title={s.verify.title}>
      {state === "busy" && <p class="soft">{s.verify.busy}</p>}
      {state === "password" && (
        <form class="stack" ref={form} onSubmit={onSubmit}>
          <p class="soft">{s.verify.passwordHint}</p>
          <NewPassword label={s.verify.password} />
          {error !== null && <FieldError text={problemText(error)} />}
          <SubmitButton isBusy={isBusy} label={s.verify.submit} class="primary big block" />
        </form>
      )}
      {state === "done" && <Note tone="ok">{s.verify.done}</Note>}
      {state === "failed" && <ErrorNote error={failure} onRetry={confirm} />}
      <a class="btn big block" href="sign-in">
        {s.signUp.toSignIn}
      </a>
    </AccountPage>
  );
}
