/** Setting up and turning off the second factor. */

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { api } from "../core/api";
import { t } from "../core/language";
import { s } from "../core/screen-texts";
import { problemText } from "../core/problems";
import { user } from "../core/session";
import { showToast } from "../core/toasts";
import { CopyButton, CopyField } from "../ui/copy";
import { Field, FieldError, SubmitButton } from "../ui/controls";
import { Dialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { Section } from "./section";

type Setup = Awaited<ReturnType<typeof api.accounts.startSecondFactor>>;

export function SecondFactor() {
  const isOn = user.value?.has_second_factor ?? false;
  return (
    <Section id="factor">
      <div class="card pad stack">
        <p class="soft">{isOn ? s.settings.factorOn : s.settings.factorOff}</p>
        <div class="row wrap">
          {isOn ? (
            <>
              <button type="button" class="btn" onClick={() => showDialog((close) => <CodesDialog onClose={close} />)}>
                {s.settings.newCodes}
              </button>
              <button type="button" class="btn danger" onClick={() => showDialog((close) => <TurnOffDialog onClose={close} />)}>
                {s.settings.turnOff}
              </button>
            </>
          ) : (
            <button type="button" class="btn" onClick={() => showDialog((close) => <SetupDialog onClose={close} />)}>
              {s.settings.turnOn}
            </button>
          )}
        </div>
      </div>
    </Section>
  );
}

interface StepProps {
  readonly title: string;
  readonly submit: string;
  readonly isDangerous?: boolean;
  readonly onClose: () => void;
  /** Return to go on; an error is shown as a sentence. */
  readonly onSubmit: (fields: Readonly<Record<string, string>>) => Promise<void>;
  readonly children: ComponentChildren;
}

/** A dialog with a form. */
function Step({ title, submit, isDangerous = false, onClose, onSubmit, children }: StepProps) {
  const id = useId();
  const form = useRef<HTMLFormElement>(null);
  const [error, setError] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  async function run(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    if (form.current === null || isBusy) return;
    setBusy(true);
    setError(null);
    try {
      await onSubmit(Object.fromEntries([...new FormData(form.current)].map(([name, value]) => [name, String(value)])));
    } catch (cause) {
      setError(problemText(cause));
    } finally {
      setBusy(false);
    }
  }
  return (
    <Dialog
      title={title}
      onClose={onClose}
      footer={
        <>
          <span class="grow" />
          <button type="button" class="btn quiet" onClick={onClose}>
            {t.actions.cancel}
          </button>
          <SubmitButton form={id} isBusy={isBusy} label={submit} {...(isDangerous ? { class: "danger fill" } : {})} />
        </>
      }
    >
      <form id={id} ref={form} class="dlg-text stack" onSubmit={(event) => void run(event)}>
        {children}
        {error !== null && <FieldError text={error} />}
      </form>
    </Dialog>
  );
}

function PasswordField() {
  return <Field label={s.settings.currentPassword} type="password" name="current_password" autoComplete="current-password" required maxLength={1024} autoFocus />;
}

function OneTimeCode({ isFirst = false }: { readonly isFirst?: boolean }) {
  return <Field label={s.settings.code} name="otp" autoComplete="one-time-code" required maxLength={32} autoFocus={isFirst} />;
}

/** Password, then the secret and a code, then the recovery codes. */
function SetupDialog({ onClose }: { readonly onClose: () => void }) {
  const [setup, setSetup] = useState<Setup | null>(null);
  const [codes, setCodes] = useState<readonly string[] | null>(null);
  if (codes !== null) return <RecoveryCodes codes={codes} onClose={onClose} />;
  if (setup === null) {
    return (
      <Step
        key="password"
        title={s.settings.sections.factor}
        submit={s.settings.next}
        onClose={onClose}
        onSubmit={async ({ current_password = "" }) => setSetup(await api.accounts.startSecondFactor(current_password))}
      >
        <PasswordField />
      </Step>
    );
  }
  return (
    <Step
      key="code"
      title={s.settings.scanTitle}
      submit={s.settings.turnOn}
      onClose={onClose}
      onSubmit={async ({ otp = "" }) => {
        const confirmed = await api.accounts.confirmSecondFactor(otp);
        setCodes(confirmed.recovery_codes);
        user.value = await api.accounts.me();
      }}
    >
      <QrCode svg={setup.qr_code} />
      <p class="soft">{s.settings.scanText}</p>
      <CopyField value={setup.secret} label={s.settings.secret} />
      <OneTimeCode isFirst />
    </Step>
  );
}

/** The picture is loaded as an image, in which no script can run. */
function QrCode({ svg }: { readonly svg: string }) {
  const [url, setUrl] = useState<string | undefined>(undefined);
  useEffect(() => {
    const made = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [svg]);
  return <img class="qr large" src={url} alt={s.settings.qrFactor} />;
}

function CodesDialog({ onClose }: { readonly onClose: () => void }) {
  const [codes, setCodes] = useState<readonly string[] | null>(null);
  if (codes !== null) return <RecoveryCodes codes={codes} onClose={onClose} />;
  return (
    <Step
      title={s.settings.newCodes}
      submit={s.settings.newCodes}
      onClose={onClose}
      onSubmit={async ({ current_password = "", otp = "" }) => setCodes((await api.accounts.renewRecoveryCodes(current_password, otp)).recovery_codes)}
    >
      <PasswordField />
      <OneTimeCode />
    </Step>
  );
}

function RecoveryCodes({ codes, onClose }: { readonly codes: readonly string[]; readonly onClose: () => void }) {
  return (
    <Dialog
      title={s.settings.codesTitle}
      onClose={onClose}
      footer={
        <>
          <CopyButton text={codes.join("\n")} label={s.settings.copyCodes} class="" />
          <span class="grow" />
          <button type="button" class="btn primary" autoFocus onClick={onClose}>
            {s.settings.done}
          </button>
        </>
      }
    >
      <div class="dlg-text stack">
        <p class="soft">{s.settings.codesText}</p>
        <ul class="codes mono">
          {codes.map((code) => (
            <li key={code}>{code}</li>
          ))}
        </ul>
      </div>
    </Dialog>
  );
}

function TurnOffDialog({ onClose }: { readonly onClose: () => void }) {
  return (
    <Step
      title={s.settings.turnOffTitle}
      submit={s.settings.turnOff}
      isDangerous
      onClose={onClose}
      onSubmit={async ({ current_password = "", otp = "" }) => {
        await api.accounts.disableSecondFactor(current_password, otp);
        user.value = await api.accounts.me();
        onClose();
        showToast(s.settings.factorTurnedOff, { icon: "lock" });
      }}
    >
      <p class="soft">{s.settings.turnOffText}</p>
      <PasswordField />
      <OneTimeCode />
    </Step>
  );
}
