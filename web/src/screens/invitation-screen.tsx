/** What the link of an invitation opens: a new account, or the acceptance by the account that exists. */

import { isApiError } from "@we-upload/client";
import { useEffect, useState } from "preact/hooks";
import { accounts } from "../core/account-services";
import { t } from "../core/language";
import { problemText } from "../core/problems";
import { location, navigate } from "../core/router";
import { s } from "../core/screen-texts";
import { sessionState } from "../core/session";
import { ErrorNote, FieldError, Note, SubmitButton } from "../ui/controls";
import { AccountPage, useForm } from "./account-page";
import { NewPassword } from "./new-password";
import { hasSignInProviders, SignInProviders } from "./sign-in-providers";

function mailedToken(): string | null {
  return new URLSearchParams(location.value.hash).get("token");
}

export function InvitationScreen() {
  // The token leaves the address at once, so that it stays in no history and no screenshot.
  const [token] = useState(() => mailedToken() ?? "");
  const [state, setState] = useState<"busy" | "password" | "sign-in" | "done" | "failed">("busy");
  const [failure, setFailure] = useState<unknown>(null);
  const isStarting = sessionState.value === "starting";
  const accept = () => {
    setState("busy");
    accounts.invitations.accept(token).then(
      () => setState("done"),
      (cause) => {
        setFailure(cause);
        setState(isApiError(cause, "password_required") ? "password" : isApiError(cause, "sign_in_required") ? "sign-in" : "failed");
      },
    );
  };
  const { isBusy, error, form, onSubmit } = useForm(async ({ password = "" }) => {
    await accounts.invitations.accept(token, { password });
    setState("done");
  });
  useEffect(() => {
    if (mailedToken() !== null) navigate("/invitation", { replace: true });
  }, []);
  useEffect(() => {
    // With the session of the account, if there is one.
    if (!isStarting) accept();
  }, [isStarting]);
  return (
    <AccountPage title={s.leaving.invitation.title}>
      {state === "busy" && <p class="soft">{s.leaving.invitation.busy}</p>}
      {state === "password" && (
        <form class="stack" ref={form} onSubmit={onSubmit}>
          <p class="soft">{s.leaving.invitation.passwordHint}</p>
          <NewPassword label={s.reset.password} />
          {error !== null && <FieldError text={problemText(error)} />}
          <SubmitButton isBusy={isBusy} label={s.leaving.invitation.accept} class="primary big block" />
        </form>
      )}
      {(state === "password" || isApiError(failure, "password_sign_in_closed")) && hasSignInProviders() && (
        <div class="stack">
          <p class="soft">{s.leaving.invitation.provider}</p>
          <SignInProviders />
        </div>
      )}
      {state === "sign-in" && <Note tone="warn">{s.leaving.invitation.signInFirst}</Note>}
      {state === "done" && <Note tone="ok">{s.leaving.invitation.done}</Note>}
      {state === "failed" && <ErrorNote error={failure} {...(isApiError(failure, "link_expired") ? {} : { onRetry: accept })} />}
      <a class="btn big block" href={sessionState.value === "signed-in" ? "files" : "sign-in"}>
        {sessionState.value === "signed-in" ? t.states.toFiles : s.signUp.toSignIn}
      </a>
    </AccountPage>
  );
}
