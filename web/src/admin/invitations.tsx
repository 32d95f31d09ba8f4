/** Invitations to create an account. */

import type { Invitation } from "@we-upload/client";
import { useEffect, useState } from "preact/hooks";
import { accounts } from "../core/account-services";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { showProblem } from "../core/problems";
import { showToast } from "../core/toasts";
import { Field } from "../ui/controls";
import { Dialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { FormDialog, textOf } from "../ui/form-dialog";

export function invite(): void {
  const send = async (fields: FormData) => {
    const { email } = await accounts.invitations.send(textOf(fields, "email"));
    showToast(s.leaving.invited(email), { icon: "mail" });
  };
  showDialog((close) => (
    <FormDialog title={s.leaving.invite} subtitle={s.leaving.inviteText} submit={s.leaving.invite} act={send} onClose={close}>
      <Field label={t.signIn.email} type="email" name="email" autoComplete="off" required maxLength={254} autoFocus />
    </FormDialog>
  ));
}

export function showInvitations(): void {
  showDialog((close) => <InvitationsDialog onClose={close} />);
}

function InvitationsDialog({ onClose }: { readonly onClose: () => void }) {
  return (
    <Dialog title={s.leaving.invitations} onClose={onClose} size="wide">
      <div class="dlg-text">
        <PendingInvitations filters={{ all: true }} emptyText={s.leaving.noInvitations} />
      </div>
    </Dialog>
  );
}

interface PendingInvitationsProps {
  readonly filters: Parameters<typeof accounts.invitations.list>[0];
  readonly emptyText: string;
}

/** The invitations that wait for their recipients; they can be sent again and withdrawn. */
export function PendingInvitations({ filters, emptyText }: PendingInvitationsProps) {
  const [invitations, setInvitations] = useState<readonly Invitation[] | null>(null);
  useEffect(() => void accounts.invitations.list(filters).then(({ items }) => setInvitations(items), showProblem), []);
  async function resend(invitation: Invitation): Promise<void> {
    try {
      await accounts.invitations.resend(invitation.id);
      showToast(s.leaving.invited(invitation.email), { icon: "mail" });
    } catch (cause) {
      showProblem(cause);
    }
  }
  async function withdraw(invitation: Invitation): Promise<void> {
    try {
      await accounts.invitations.withdraw(invitation.id);
      setInvitations((before) => before?.filter((other) => other.id !== invitation.id) ?? null);
    } catch (cause) {
      showProblem(cause);
    }
  }
  if (invitations === null) return null;
  if (invitations.length === 0) return emptyText === "" ? null : <p class="soft">{emptyText}</p>;
  return (
    <ul class="list">
      {invitations.map((invitation) => (
        <li key={invitation.id}>
          <span class="grow">
            <span class="strong wrapit">{invitation.email}</span>
            <span class="two wrapit">{Date.parse(invitation.expires_at) <= Date.now() ? s.leaving.inviteExpired : s.leaving.inviteEnds(fmt.day(new Date(invitation.expires_at)))}</span>
          </span>
          <span class="acts row">
            <button type="button" class="btn quiet small" aria-label={s.leaving.resendTo(invitation.email)} onClick={() => void resend(invitation)}>
              {s.leaving.resend}
            </button>
            <button type="button" class="btn quiet small danger" aria-label={s.leaving.withdrawOf(invitation.email)} onClick={() => void withdraw(invitation)}>
              {s.leaving.withdraw}
            </button>
          </span>
        </li>
      ))}
    </ul>
  );
}
