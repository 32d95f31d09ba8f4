/** A session that ended while the user was typing or uploading: the page stays as it is, below a form to sign in again. */

import { isApiError } from "@we-upload/client";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { api } from "../core/api";
import { t } from "../core/language";
import { onPreferenceChange } from "../core/preferences";
import { problemText, showProblem } from "../core/problems";
import { s } from "../core/screen-texts";
import { serverConfig } from "../core/server-config";
import { enter, user } from "../core/session";
import { showToast } from "../core/toasts";
import { Field, FieldError, SubmitButton } from "../ui/controls";
import { Dialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { hasSignInProviders } from "./sign-in-providers";
import { uploadTotals } from "../uploads/upload-store";

const typedInto = new WeakSet<EventTarget>();
document.addEventListener("input", ({ target }) => target && typedInto.add(target), { capture: true });

/** Whether a form has text that was not sent yet. Searches can be repeated, and passwords are not kept. */
function hasUnsentText(): boolean {
  return [...document.querySelectorAll<HTMLInputElement>("input:not([type=search],[type=password]), textarea")].some(
    (field) => typedInto.has(field) && field.value !== "",
  );
}

/** Whether there are unfinished uploads, which the end of the session may have stopped already. After a reload, their files are chosen again. */
function hasUploads(): boolean {
  const totals = uploadTotals.value;
  return totals !== null && totals.verifiedCount < totals.count;
}

let isWanted = false;
let isOpen = false;

/** End every session of the account, this one too. */
export async function signOutEverywhere(): Promise<void> {
  isWanted = true;
  try {
    await api.accounts.signOutEverywhere();
  } catch (cause) {
    isWanted = false;
    showProblem(cause);
  }
}

export function tellThatSignOutFailed(): void {
  showToast(s.settings.signOutFailed, { isError: true });
}

/** Leave the page of a session that has ended, or first let the user sign in again. */
export function endSession(leaveWith: (isWanted?: boolean) => void): void {
  if (isOpen) return;
  const leave = (isWanted?: boolean) => {
    leaveWith(isWanted);
    showToast(s.settings.sessionEnded, { icon: "info" });
  };
  if (isWanted || !(hasUnsentText() || hasUploads())) {
    leave(isWanted);
    isWanted = false;
    return;
  }
  isOpen = true;
  showDialog((close) => {
    const finish = () => {
      isOpen = false;
      close();
    };
    return (
      <SignInAgain
        onDone={finish}
        onLeave={() => {
          finish();
          leave();
        }}
      />
    );
  });
}

interface SignInAgainProps {
  readonly onDone: () => void;
  readonly onLeave: () => void;
}

function SignInAgain({ onDone, onLeave }: SignInAgainProps) {
  const id = useId();
  const form = useRef<HTMLFormElement>(null);
  const [account] = useState(user.value);
  const [isUploading] = useState(hasUploads);
  const [isBusy, setBusy] = useState(false);
  const [needsCode, setNeedsCode] = useState(account?.has_second_factor ?? false);
  const [error, setError] = useState<string | null>(null);
  const takesPassword = serverConfig.value?.password_sign_in !== false;
  async function goOn(signIn: () => Promise<typeof account>): Promise<void> {
    setBusy(true);
    setError(null);
    try {
      const found = await signIn();
      if (found === null) return;
      // The page shows the data of the account that was signed in.
      if (found.id !== account?.id) return window.location.reload();
      enter(found);
      onDone();
      if (isUploading) void import("../uploads/upload-engine").then(({ retryAfterSignIn }) => retryAfterSignIn(), showProblem);
    } catch (cause) {
      if (isApiError(cause, "second_factor_required")) setNeedsCode(true);
      setError(problemText(cause));
    } finally {
      setBusy(false);
    }
  }
  useEffect(() => onPreferenceChange("session", (value) => void (value === account?.id && goOn(() => api.accounts.restore()))), []);
  const onSubmit = (event: SubmitEvent) => {
    event.preventDefault();
    const fields = new FormData(form.current ?? undefined);
    if (isBusy) return;
    void goOn(() =>
      api.accounts.signIn({ email: account?.email ?? "", password: String(fields.get("password")), otp: String(fields.get("otp") ?? "") || undefined }),
    );
  };
  return (
    <Dialog
      title={s.again.title}
      subtitle={account?.email}
      isCover
      onClose={onLeave}
      footer={
        <>
          <button type="button" class="btn quiet" onClick={onLeave}>
            {s.again.leave}
          </button>
          <span class="grow" />
          {takesPassword && <SubmitButton form={id} isBusy={isBusy} label={t.signIn.submit} class="primary" />}
        </>
      }
    >
      <form id={id} ref={form} class="dlg-text stack" onSubmit={onSubmit}>
        <p class="soft">{isUploading ? s.again.uploads : s.again.text}</p>
        {takesPassword && (
          <>
            <input type="email" name="username" autoComplete="username" value={account?.email} hidden readOnly />
            <Field label={t.signIn.password} type="password" name="password" autoComplete="current-password" required maxLength={1024} autoFocus />
            {needsCode && <Field label={t.signIn.code} name="otp" autoComplete="one-time-code" required maxLength={32} />}
          </>
        )}
        {error !== null && <FieldError text={error} />}
        {hasSignInProviders() && (
          <p class="soft">
            <a href="sign-in" target="_blank" rel="noopener">
              {s.again.otherTab}
            </a>
          </p>
        )}
      </form>
    </Dialog>
  );
}
