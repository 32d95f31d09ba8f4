/** Closing the account. */

import { useId, useRef, useState } from "preact/hooks";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { problemText } from "../core/problems";
import { leaveClosedAccount } from "../core/session";
import { showToast } from "../core/toasts";
import { Field, FieldError, SubmitButton } from "../ui/controls";
import { Dialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { CodeField } from "./account";
import { Section } from "./section";

export function LeaveSection() {
  return (
    <Section id="leave">
      <div class="card pad stack">
        <p class="soft">{s.settings.deleteText}</p>
        <div class="row">
          <button type="button" class="btn danger" onClick={() => showDialog((close) => <LeaveDialog onClose={close} />)}>
            {s.settings.deleteAccount}
          </button>
        </div>
      </div>
    </Section>
  );
}

function LeaveDialog({ onClose }: { readonly onClose: () => void }) {
  const id = useId();
  const form = useRef<HTMLFormElement>(null);
  const [error, setError] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  async function leave(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    if (form.current === null || isBusy) return;
    const fields = new FormData(form.current);
    setBusy(true);
    try {
      const closed = await api.accounts.deleteMe(String(fields.get("current_password")), fields.has("otp") ? String(fields.get("otp")) : undefined);
      onClose();
      leaveClosedAccount();
      showToast(s.settings.accountClosed(fmt.day(new Date(closed.deletion_at ?? Date.now()))), { icon: "info" });
    } catch (cause) {
      setError(problemText(cause));
      setBusy(false);
    }
  }
  return (
    <Dialog
      title={s.settings.deleteTitle}
      onClose={onClose}
      footer={
        <>
          <span class="grow" />
          <button type="button" class="btn" onClick={onClose}>
            {t.actions.cancel}
          </button>
          <SubmitButton form={id} isBusy={isBusy} label={s.settings.deleteAccount} class="danger fill" />
        </>
      }
    >
      <form id={id} ref={form} class="dlg-text stack" onSubmit={(event) => void leave(event)}>
        <p class="soft">{s.settings.deleteText}</p>
        <Field label={s.settings.currentPassword} type="password" name="current_password" autoComplete="current-password" required maxLength={1024} autoFocus />
        <CodeField />
        {error !== null && <FieldError text={error} />}
      </form>
    </Dialog>
  );
}
