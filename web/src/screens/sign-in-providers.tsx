/** The buttons of the sign-in providers, and the way back from one. */

import { isApiError } from "@we-upload/client";
import { useEffect, useState } from "preact/hooks";
import { t } from "../core/language";
import { codeText, problemText } from "../core/problems";
import { readPreference, writePreference } from "../core/preferences";
import { location, nextPath } from "../core/router";
import { s } from "../core/screen-texts";
import { serverConfig } from "../core/server-config";
import { enter } from "../core/session";
import { identities, takeReturn } from "../settings/sign-in-methods";
import { Field, FieldError, Note } from "../ui/controls";
import { showDialog } from "../ui/dialog-host";
import { FormDialog, textOf } from "../ui/form-dialog";

/** The screen to show after the sign-in, for this tab. The provider of the last sign-in is remembered, to offer the sign-out there. */
const NEXT = "we-upload.next";

export function hasSignInProviders(): boolean {
  return (serverConfig.value?.sign_in_providers.length ?? 0) > 0;
}

export function SignInProviders() {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const [last, setLast] = useState(() => readPreference("provider"));
  const forget = () => {
    writePreference("provider", null);
    setLast(null);
  };
  useEffect(() => {
    const next = sessionStorage.getItem(NEXT);
    const back = takeReturn(`/sign-in${next === null ? "" : `?next=${encodeURIComponent(next)}`}`);
    if (back === null) return;
    sessionStorage.removeItem(NEXT);
    const { assertion } = back;
    if (assertion === null) return setError(codeText(back.error ?? "") ?? null);
    setBusy(true);
    identities
      .signIn(assertion)
      .then(enter, (cause) => {
        if (isApiError(cause, "second_factor_required") || isApiError(cause, "account_deletion_pending")) {
          showDialog((close) => <FinishSignIn assertion={assertion} first={cause.code} onClose={close} />);
        } else setError(problemText(cause));
      })
      .finally(() => setBusy(false));
  }, []);
  const start = (provider: string) => {
    sessionStorage.setItem(NEXT, nextPath());
    writePreference("provider", provider);
  };
  const left = location.value.path === "/sign-in" && serverConfig.value?.sign_in_providers.find((provider) => provider.id === last && provider.offers_sign_out);
  return (
    <div class="stack" aria-busy={isBusy}>
      {left && !isBusy && (
        <Note>
          {s.identity.stillSignedIn(left.name)} <a href={identities.signOutUrl(left.id)} onClick={forget}>{s.identity.signOutThere}</a>
        </Note>
      )}
      {serverConfig.value?.sign_in_providers.map((provider) => (
        <a key={provider.id} class="btn big block" href={identities.startUrl(provider.id)} onClick={() => start(provider.id)}>
          {s.identity.continueWith(provider.name)}
        </a>
      ))}
      {isBusy && (
        <p class="soft" role="status">
          {t.signIn.busy}
        </p>
      )}
      {error !== null && <FieldError text={error} />}
      {serverConfig.value?.password_sign_in !== false && <p class="or">{s.identity.orPassword}</p>}
    </div>
  );
}

interface FinishProps {
  readonly assertion: string;
  readonly first: string;
  readonly onClose: () => void;
}

/** Asks for what the account needs besides the sign-in at the provider. */
function FinishSignIn({ assertion, first, onClose }: FinishProps) {
  const [needs, setNeeds] = useState({ code: first === "second_factor_required", decision: first === "account_deletion_pending" });
  const finish = async (fields: FormData) => {
    try {
      enter(await identities.signIn(assertion, { otp: textOf(fields, "otp") || undefined, keepAccount: fields.has("keep") }));
    } catch (cause) {
      if (isApiError(cause, "account_deletion_pending")) setNeeds({ ...needs, decision: true });
      throw cause;
    }
  };
  return (
    <FormDialog title={t.signIn.submit} submit={t.signIn.submit} act={finish} onClose={onClose}>
      {needs.code && <Field label={t.signIn.code} name="otp" autoComplete="one-time-code" required maxLength={32} autoFocus />}
      {needs.decision && (
        <label class="row">
          <input type="checkbox" name="keep" required />
          {t.signIn.keepAccount}
        </label>
      )}
    </FormDialog>
  );
}
