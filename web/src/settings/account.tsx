/** Address and password of the account. */

import type { User } from "@we-upload/client";
import { useRef, useState } from "preact/hooks";
import { api } from "../core/api";
import { t } from "../core/language";
import { s } from "../core/screen-texts";
import { problemText, showProblem } from "../core/problems";
import { serverConfig } from "../core/server-config";
import { enter, signOut, user } from "../core/session";
import { showToast } from "../core/toasts";
import { Badge, Field, FieldError, SubmitButton } from "../ui/controls";
import { Icon } from "../ui/icon";
import { CurrentPassword, OneTimeCode, ownCredentials } from "./own-credentials";
import { NewPassword } from "../screens/new-password";

/** Run what a form of the settings does. */
function useSettingsForm(act: (fields: FormData) => Promise<void>) {
  const form = useRef<HTMLFormElement>(null);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const onSubmit = (event: SubmitEvent) => {
    event.preventDefault();
    if (form.current === null || isBusy) return;
    setBusy(true);
    setError(null);
    act(new FormData(form.current))
      .then(() => form.current?.reset())
      .catch((cause) => setError(problemText(cause)))
      .finally(() => setBusy(false));
  };
  return { form, isBusy, error, onSubmit };
}

/** The name that recipients and guests see. */
export function ProfileName() {
  const account = user.value;
  const { form, isBusy, error, onSubmit } = useSettingsForm(async (fields) => {
    const name = String(fields.get("display_name")).trim();
    user.value = await api.accounts.updateMe({ display_name: name === "" ? null : name, shows_name_on_links: fields.has("shows_name_on_links") });
    showToast(s.share.saved);
  });
  return (
    <form class="card pad stack" ref={form} onSubmit={onSubmit} key={`${account?.display_name} ${account?.shows_name_on_links}`}>
      <div class="form2">
        <Field label={s.settings.name} name="display_name" maxLength={100} defaultValue={account?.display_name ?? ""} autoComplete="name" dir="auto" hint={s.settings.nameHint} />
      </div>
      <label class="radio">
        <input type="checkbox" name="shows_name_on_links" defaultChecked={account?.shows_name_on_links ?? false} />
        <span>{s.settings.showsName}</span>
      </label>
      {error !== null && <FieldError text={error} />}
      <div class="row">
        <SubmitButton isBusy={isBusy} label={s.settings.saveName} class="" />
      </div>
    </form>
  );
}

export function Profile() {
  const email = user.value?.email ?? "";
  const [typed, setTyped] = useState(email);
  const { form, isBusy, error, onSubmit } = useSettingsForm(async (fields) => {
    user.value = await api.accounts.updateMe({ email: typed.trim(), ...ownCredentials(fields) });
    setTyped(user.value.email);
    showToast(s.settings.emailSaved);
  });
  const isChanged = typed.trim() !== email;
  return (
    <form class="card pad stack" ref={form} onSubmit={onSubmit}>
      <div class="form2">
        <Field
          label={t.signIn.email}
          type="email"
          autoComplete="email"
          required
          maxLength={254}
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
          hint={s.settings.emailHint}
        />
        {!isChanged && user.value !== null && <Confirmation account={user.value} />}
        {isChanged && <CurrentPassword hint={s.settings.currentHint} />}
        {isChanged && <OneTimeCode />}
      </div>
      {error !== null && <FieldError text={error} />}
      {isChanged && (
        <div class="row wrap">
          <SubmitButton isBusy={isBusy} label={s.actions.save} />
          <button type="button" class="btn quiet" onClick={() => setTyped(email)}>
            {s.actions.cancel}
          </button>
        </div>
      )}
    </form>
  );
}

/** Whether the address is confirmed. If not, the mail can be sent again. */
function Confirmation({ account }: { readonly account: User }) {
  const [isSent, setSent] = useState(false);
  if (account.email_verified) {
    return (
      <p class="confirmation">
        <Badge tone="ok" icon="check">
          {s.settings.emailConfirmed}
        </Badge>
      </p>
    );
  }
  return (
    <div class="confirmation stack g2">
      <p>
        <Badge tone="warn" icon="mail">
          {s.admin.unconfirmed}
        </Badge>
      </p>
      <p class="hint">{s.settings.unconfirmedText}</p>
      {serverConfig.value?.mail_available && (
        <button type="button" class="btn small" disabled={isSent} onClick={() => void api.accounts.sendVerification(account.email).then(() => setSent(true), showProblem)}>
          <Icon name={isSent ? "check" : "mail"} size="s" />
          <span role="status">{isSent ? t.signUp.mailSent : t.signIn.sendConfirmation}</span>
        </button>
      )}
    </div>
  );
}

export function Password() {
  const { form, isBusy, error, onSubmit } = useSettingsForm(async (fields) => {
    const password = String(fields.get("password"));
    const email = user.value?.email ?? "";
    // A code is valid once, so that it cannot be used to sign in again.
    const hadCode = fields.has("otp");
    await api.accounts.updateMe({ password, ...ownCredentials(fields) });
    // The change ends every session, this one too.
    showToast(s.settings.passwordSaved, { icon: "lock" });
    if (hadCode) return void signOut();
    enter(await api.accounts.signIn({ email, password }));
  });
  return (
    <form class="card pad stack" ref={form} onSubmit={onSubmit}>
      <input type="email" name="username" autoComplete="username" value={user.value?.email} hidden readOnly />
      <div class="form2">
        <CurrentPassword />
        <NewPassword label={s.reset.password} isBig={false} />
        <OneTimeCode />
      </div>
      {error !== null && <FieldError text={error} />}
      <div class="row wrap">
        <SubmitButton isBusy={isBusy} label={s.settings.changePassword} class="" />
        <span class="hint">{s.settings.passwordHint}</span>
      </div>
    </form>
  );
}
