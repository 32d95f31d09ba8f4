/** The end of the own account. */

import { api } from "../core/api";
import { fmt } from "../core/language";
import { s } from "../core/screen-texts";
import { leaveClosedAccount } from "../core/session";
import { showToast } from "../core/toasts";
import { showDialog } from "../ui/dialog-host";
import { FormDialog } from "../ui/form-dialog";
import { CurrentPassword, OneTimeCode, ownCredentials } from "./own-credentials";
import { Section } from "./section";

function confirmDelete(): void {
  const remove = async (fields: FormData) => {
    const closed = await api.accounts.deleteMe(ownCredentials(fields));
    leaveClosedAccount();
    showToast(s.settings.accountClosed(fmt.day(new Date(closed.deletion_at ?? Date.now()))), { icon: "info" });
  };
  showDialog((close) => (
    <FormDialog title={s.settings.deleteAccountTitle} subtitle={s.settings.deleteAccountText} submit={s.settings.deleteAccount} isDangerous act={remove} onClose={close}>
      <CurrentPassword isFirst />
      <OneTimeCode />
    </FormDialog>
  ));
}

export function DeleteAccount() {
  return (
    <Section id="end">
      <div class="card pad stack">
        <p class="soft">{s.settings.deleteAccountText}</p>
        <div class="row">
          <button type="button" class="btn danger" onClick={confirmDelete}>
            {s.settings.deleteAccount}
          </button>
        </div>
      </div>
    </Section>
  );
}
