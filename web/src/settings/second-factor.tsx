/** Codes of an authenticator app as a second factor of the sign-in. */

import type { FactorSetup } from "@we-upload/client";
import { api } from "../core/api";
import { t } from "../core/language";
import { s } from "../core/screen-texts";
import { user } from "../core/session";
import { showToast } from "../core/toasts";
import { QrCode } from "../sharing/link-address";
import { Badge, Field } from "../ui/controls";
import { CopyButton, CopyField } from "../ui/copy";
import { Dialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { FormDialog, textOf } from "../ui/form-dialog";
import { CurrentPassword, OneTimeCode, ownCredentials } from "./own-credentials";
import { Section } from "./section";

/** The password and code that each of these changes needs. */
function proof(fields: FormData): { readonly current_password?: string; readonly otp: string } {
  return { otp: textOf(fields, "otp"), ...ownCredentials(fields) };
}

export function turnOnSecondFactor(): void {
  const start = async (fields: FormData) => {
    const setup = await api.accounts.startSecondFactor(ownCredentials(fields));
    showDialog((close) => <ConfirmFactor setup={setup} onClose={close} />);
  };
  showDialog((close) => (
    <FormDialog title={s.factor.turnOn} subtitle={s.factor.text} submit={s.factor.next} act={start} onClose={close}>
      <CurrentPassword isFirst />
    </FormDialog>
  ));
}

function ConfirmFactor({ setup, onClose }: { readonly setup: FactorSetup; readonly onClose: () => void }) {
  const confirm = async (fields: FormData) => {
    const { recovery_codes: codes } = await api.accounts.confirmSecondFactor(textOf(fields, "otp"));
    // A session that had to set the factor up can do everything from its next refresh on. The codes come first: they are shown once.
    showCodes(codes);
    await api.accounts.refresh();
    await showState(s.factor.isOn);
  };
  return (
    <FormDialog title={s.factor.turnOn} submit={s.factor.confirm} act={confirm} onClose={onClose}>
      <p class="soft">{s.factor.scan}</p>
      <QrCode url={setup.uri} />
      <CopyField value={setup.secret} label={s.factor.secret} />
      <Field label={t.signIn.code} name="otp" autoComplete="one-time-code" required maxLength={32} autoFocus />
    </FormDialog>
  );
}

function renewCodes(): void {
  const renew = async (fields: FormData) => showCodes((await api.accounts.renewRecoveryCodes(proof(fields))).recovery_codes);
  showDialog((close) => (
    <FormDialog title={s.factor.newCodes} subtitle={s.factor.newCodesText} submit={s.factor.newCodes} act={renew} onClose={close}>
      <CurrentPassword isFirst />
      <OneTimeCode />
    </FormDialog>
  ));
}

function turnOff(): void {
  const disable = async (fields: FormData) => {
    await api.accounts.disableSecondFactor(proof(fields));
    await showState(s.factor.isOff);
  };
  showDialog((close) => (
    <FormDialog title={s.factor.turnOff} subtitle={s.factor.turnOffText} submit={s.factor.turnOff} isDangerous act={disable} onClose={close}>
      <CurrentPassword isFirst />
      <OneTimeCode />
    </FormDialog>
  ));
}

async function showState(text: string): Promise<void> {
  user.value = await api.accounts.me();
  showToast(text, { icon: "shield" });
}

function showCodes(codes: readonly string[]): void {
  showDialog((close) => (
    <Dialog
      title={s.factor.codes}
      subtitle={s.factor.codesText}
      onClose={close}
      onConfirm={close}
      footer={
        <>
          <CopyButton text={codes.join("\n")} label={s.copy.copy} class="" />
          <span class="grow" />
          <button type="button" class="btn primary" onClick={close}>
            {s.share.done}
          </button>
        </>
      }
    >
      <ul class="dlg-text mono codes" aria-label={s.factor.codes}>
        {codes.map((code) => (
          <li key={code}>{code}</li>
        ))}
      </ul>
    </Dialog>
  ));
}

export function SecondFactor() {
  const isOn = user.value?.has_second_factor ?? false;
  return (
    <Section id="factor">
      <div class="card pad stack">
        <p>
          <Badge tone={isOn ? "ok" : "plain"} icon={isOn ? "check" : "lock"}>
            {isOn ? s.factor.on : s.factor.off}
          </Badge>
        </p>
        <p class="soft">{s.factor.text}</p>
        <div class="row wrap">
          {isOn ? (
            <>
              <button type="button" class="btn" onClick={renewCodes}>
                {s.factor.newCodes}
              </button>
              <button type="button" class="btn quiet danger" onClick={turnOff}>
                {s.factor.turnOff}
              </button>
            </>
          ) : (
            <button type="button" class="btn" onClick={turnOnSecondFactor}>
              {s.factor.turnOn}
            </button>
          )}
        </div>
      </div>
    </Section>
  );
}
