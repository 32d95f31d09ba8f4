/** Approve the sign-in of a program, such as the command line, that shows a code. */

import { useEffect } from "preact/hooks";
import { api } from "../core/api";
import { fmt } from "../core/language";
import { location, navigate } from "../core/router";
import { s } from "../core/screen-texts";
import { showToast } from "../core/toasts";
import { Field, Note } from "../ui/controls";
import { showDialog } from "../ui/dialog-host";
import { FormDialog, textOf } from "../ui/form-dialog";

/** `#connect` or `#connect=CODE`. */
const CONNECT = /^connect(?:=([A-Za-z-]{8,20}))?$/;

export function connectProgram(known = ""): void {
  const lookUp = async (fields: FormData) => decide(await api.accounts.deviceLogin(textOf(fields, "code")));
  showDialog((close) => (
    <FormDialog title={s.connect.title} subtitle={s.connect.subtitle} submit={s.connect.next} act={lookUp} onClose={close}>
      <Field label={s.connect.code} name="code" value={known} placeholder="BCDF-GHJK" autoComplete="off" required minLength={8} maxLength={20} autoFocus />
    </FormDialog>
  ));
}

type DeviceLogin = Awaited<ReturnType<typeof api.accounts.deviceLogin>>;

function decide(login: DeviceLogin): void {
  const send = async (decision: "approve" | "deny") => {
    await api.accounts.decideDeviceLogin(login.user_code, decision);
    showToast(decision === "approve" ? s.connect.approved : s.connect.denied, { icon: decision === "approve" ? "check" : "info" });
  };
  showDialog((close) => (
    <FormDialog
      title={s.connect.question(login.client)}
      subtitle={s.connect.from(login.source_address ?? "?", fmt.moment(new Date(login.created_at)))}
      submit={s.connect.approve}
      act={() => send("approve")}
      other={{ label: s.connect.deny, act: () => send("deny") }}
      onClose={close}
    >
      <p class="center">
        <strong class="mono">{login.user_code}</strong>
      </p>
      <Note tone="warn">{s.connect.warning}</Note>
    </FormDialog>
  ));
}

/** Open the dialog for an address that a program showed. */
export function useConnectAddress(): void {
  const { hash } = location.value;
  useEffect(() => {
    const found = CONNECT.exec(hash);
    if (found === null) return;
    navigate("/settings#sessions", { replace: true });
    connectProgram(found[1]?.toUpperCase());
  }, [hash]);
}
