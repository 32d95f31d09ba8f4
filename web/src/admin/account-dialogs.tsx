/** Changes of another account that need the superuser's own password: role, address, password. */

import type { User, UserUpdate } from "@we-upload/client";
import { accounts } from "../core/account-services";
import { s } from "../core/screen-texts";
import { showToast } from "../core/toasts";
import { NewPassword } from "../screens/new-password";
import { CurrentPassword, OneTimeCode, ownCredentials } from "../settings/own-credentials";
import { Field } from "../ui/controls";
import { FormDialog, textOf } from "../ui/form-dialog";

interface AccountDialogProps {
  readonly account: User;
  readonly onClose: () => void;
  readonly onSaved: (account: User) => void;
}

function OwnPassword() {
  return (
    <>
      <CurrentPassword label={s.admin.ownPassword} hint={s.admin.ownPasswordHint} />
      <OneTimeCode />
    </>
  );
}

/** Return a function that sends changes together with the superuser's password. */
function saver({ account, onSaved }: AccountDialogProps) {
  return async (fields: FormData, changes: UserUpdate) => {
    onSaved(await accounts.admin.updateUser(account.id, { ...changes, ...ownCredentials(fields) }));
    showToast(s.share.saved, { icon: "user" });
  };
}

/** Make an account a superuser, or take that away. */
export function RoleDialog(props: AccountDialogProps) {
  const { account, onClose } = props;
  const save = saver(props);
  const becomesSuperuser = !account.is_superuser;
  return (
    <FormDialog
      title={becomesSuperuser ? s.admin.promoteTitle(account.email) : s.admin.demoteTitle(account.email)}
      submit={becomesSuperuser ? s.admin.promote : s.admin.demote}
      isDangerous
      act={(fields) => save(fields, { is_superuser: becomesSuperuser })}
      onClose={onClose}
    >
      <p class="soft">{becomesSuperuser ? s.admin.promoteText : s.admin.demoteText}</p>
      <OwnPassword />
    </FormDialog>
  );
}

export function AddressDialog(props: AccountDialogProps) {
  const { account, onClose } = props;
  const save = saver(props);
  return (
    <FormDialog title={s.admin.changeEmail} subtitle={account.email} submit={s.actions.save} act={(fields) => save(fields, { email: textOf(fields, "email") })} onClose={onClose}>
      <Field label={s.admin.newEmail} type="email" name="email" required maxLength={254} autoComplete="off" autoFocus />
      <OwnPassword />
    </FormDialog>
  );
}

export function PasswordDialog(props: AccountDialogProps) {
  const { account, onClose } = props;
  const save = saver(props);
  return (
    <FormDialog
      title={s.admin.setPassword}
      subtitle={account.email}
      submit={s.reset.submit}
      act={(fields) => save(fields, { password: String(fields.get("password")) })}
      onClose={onClose}
    >
      <p class="soft">{s.admin.setPasswordText}</p>
      <NewPassword label={s.reset.password} isBig={false} />
      <OwnPassword />
    </FormDialog>
  );
}

/** Require a second factor of an account, or leave it to the server's rule. */
export function FactorDialog(props: AccountDialogProps) {
  const { account, onClose } = props;
  const save = saver(props);
  const isRequired = !account.requires_second_factor;
  const title = isRequired ? s.leaving.requireFactor : s.leaving.factorOptional;
  return (
    <FormDialog title={title} subtitle={account.email} submit={title} act={(fields) => save(fields, { requires_second_factor: isRequired })} onClose={onClose}>
      <p class="soft">{isRequired ? s.leaving.requireFactorText : s.leaving.factorOptionalText}</p>
      <OwnPassword />
    </FormDialog>
  );
}

/** Offer all files of an account to another account. */
export function TransferDialog({ account, onClose }: AccountDialogProps) {
  const offer = async (fields: FormData) => {
    const transfer = await accounts.transfers.offer(account.id, { email: textOf(fields, "email"), ...ownCredentials(fields) });
    showToast(s.leaving.transfer.to(transfer.to_email), { icon: "files" });
  };
  return (
    <FormDialog title={s.leaving.transfer.start} subtitle={account.email} submit={s.leaving.transfer.start} act={offer} onClose={onClose}>
      <p class="soft">{s.leaving.transfer.text}</p>
      <Field label={s.leaving.transfer.recipient} type="email" name="email" required maxLength={254} autoComplete="off" autoFocus />
      <OwnPassword />
    </FormDialog>
  );
}

/** Close an account, which is deleted after the period of grace. */
export function DeletionDialog({ account, onClose, onSaved }: AccountDialogProps) {
  const remove = async (fields: FormData) => onSaved(await accounts.ofUser.deleteUser(account.id, ownCredentials(fields)));
  return (
    <FormDialog title={s.settings.deleteAccount} subtitle={account.email} submit={s.settings.deleteAccount} isDangerous act={remove} onClose={onClose}>
      <p class="soft">{s.leaving.deletionText}</p>
      <OwnPassword />
    </FormDialog>
  );
}
