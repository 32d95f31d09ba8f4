/** Change how much an account may keep. */

import type { Usage, User, UserUpdate } from "@we-upload/client";
import { useRef, useState } from "preact/hooks";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { problemText } from "../core/problems";
import { showToast } from "../core/toasts";
import { Field, FieldError, SubmitButton } from "../ui/controls";
import { Dialog } from "../ui/dialog";

const GIGABYTE = 1_000_000_000;

interface QuotaProps {
  readonly account: User;
  readonly usage: Usage | null;
  readonly onClose: () => void;
  readonly onSaved: () => void;
}

export function QuotaDialog({ account, usage, onClose, onSaved }: QuotaProps) {
  const form = useRef<HTMLFormElement>(null);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  async function save(changes: UserUpdate): Promise<void> {
    setBusy(true);
    try {
      await api.admin.updateUser(account.id, changes);
      onSaved();
      onClose();
      showToast(s.share.saved);
    } catch (cause) {
      setError(problemText(cause));
      setBusy(false);
    }
  }
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (form.current === null || isBusy) return;
    const fields = new FormData(form.current);
    void save({ quota_bytes: Math.round(Number(fields.get("gigabytes")) * GIGABYTE), quota_files: Number(fields.get("files")) });
  };
  return (
    <Dialog
      title={s.admin.changeQuota}
      subtitle={account.email}
      onClose={onClose}
      onConfirm={() => form.current?.requestSubmit()}
      footer={
        <>
          <button type="button" class="btn quiet" onClick={() => void save({ quota_bytes: null, quota_files: null })}>
            {s.admin.defaultQuota}
          </button>
          <span class="grow" />
          <SubmitButton form="quota-form" isBusy={isBusy} label={t.actions.save} />
        </>
      }
    >
      <form id="quota-form" ref={form} class="dlg-text stack" onSubmit={submit}>
        <div class="form2">
          <Field label={s.admin.gigabytes} name="gigabytes" type="number" min={0} step="any" required defaultValue={usage === null ? "" : String(usage.quota_bytes / GIGABYTE)} autoFocus />
          <Field label={t.nav.files} name="files" type="number" min={0} max={2147483647} step={1} required defaultValue={usage === null ? "" : String(usage.quota_files)} />
        </div>
        {usage !== null && <p class="hint">{s.admin.usesNow(fmt.bytes(usage.bytes_used), usage.files_count)}</p>}
        {error !== null && <FieldError text={error} />}
      </form>
    </Dialog>
  );
}
