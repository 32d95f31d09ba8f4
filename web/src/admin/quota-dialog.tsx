/** Change how much an account may keep. */

import type { Usage, User, UserUpdate } from "@we-upload/client";
import { accounts } from "../core/account-services";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { showToast } from "../core/toasts";
import { Field } from "../ui/controls";
import { FormDialog } from "../ui/form-dialog";

const GIGABYTE = 1_000_000_000;

interface QuotaProps {
  readonly account: User;
  readonly usage: Usage | null;
  readonly onClose: () => void;
  readonly onSaved: () => void;
}

export function QuotaDialog({ account, usage, onClose, onSaved }: QuotaProps) {
  async function save(changes: UserUpdate): Promise<void> {
    await accounts.admin.updateUser(account.id, changes);
    onSaved();
    showToast(s.share.saved);
  }
  return (
    <FormDialog
      title={s.admin.changeQuota}
      subtitle={account.email}
      submit={s.actions.save}
      act={(fields) => save({ quota_bytes: Math.round(Number(fields.get("gigabytes")) * GIGABYTE), quota_files: Number(fields.get("files")) })}
      other={{ label: s.admin.defaultQuota, act: () => save({ quota_bytes: null, quota_files: null }) }}
      onClose={onClose}
    >
      <div class="form2">
        <Field label={s.admin.gigabytes} name="gigabytes" type="number" min={0} step="any" required defaultValue={usage === null ? "" : String(usage.quota_bytes / GIGABYTE)} autoFocus />
        <Field label={t.nav.files} name="files" type="number" min={0} max={2147483647} step={1} required defaultValue={usage === null ? "" : String(usage.quota_files)} />
      </div>
      {usage !== null && <p class="hint">{s.admin.usesNow(fmt.bytes(usage.bytes_used), usage.files_count)}</p>}
    </FormDialog>
  );
}
