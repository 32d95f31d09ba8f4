/** Address and password of the account. */

import { useRef, useState } from "preact/hooks";
import { api } from "../core/api";
import { t } from "../core/language";
import { s } from "../core/screen-texts";
import { problemText } from "../core/problems";
import { user } from "../core/session";
import { showToast } from "../core/toasts";
import { Switch } from "../ui/choices";
import { Field, FieldError, SubmitButton } from "../ui/controls";
import { NewPassword } from "../screens/account-page";

/** Run what a form of the settings does. */
function useSettingsForm(act: (fields: FormData) => Promise<void>, isReset = true) {
  const form = useRef<HTMLFormElement>(null);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const onSubmit = (event: SubmitEvent) => {
    event.preventDefault();
    if (form.current === null || isBusy) return;
    setBusy(true);
    setError(null);
    act(new FormData(form.current))
      .then(() => isReset && form.current?.reset())
      .catch((cause) => setError(problemText(cause)))
      .finally(() => setBusy(false));
  };
  return { form, isBusy, error, onSubmit };
}

/** The field for a code, for accounts that need one. */
export function CodeField() {
  return user.value?.has_second_factor ? <Field label={s.settings.code} name="otp" autoComplete="one-time-code" required maxLength={32} /> : null;
}

/** Return what proves the account's owner: the current password, and a code if the account needs one. */
function proofOf(fields: FormData): { current_password: string; otp?: string } {
  const otp = fields.get("otp");
  return { current_password: String(fields.get("current_password")), ...(otp === null ? {} : { otp: String(otp) }) };
}

/** The name that other people see. */
export function Name() {
  const [typed, setTyped] = useState(user.value?.display_name ?? "");
  const [isShown, setShown] = useState(user.value?.shows_name_on_links ?? false);
  const { form, isBusy, error, onSubmit } = useSettingsForm(async () => {
    const name = typed.trim();
    user.value = await api.accounts.updateMe({ display_name: name === "" ? null : name, shows_name_on_links: isShown });
    showToast(s.settings.profileSaved);
  }, false);
  const isChanged = typed.trim() !== (user.value?.display_name ?? "") || isShown !== user.value?.shows_name_on_links;
  return (
    <form class="card pad stack" ref={form} onSubmit={onSubmit}>
      <div class="form2">
        <Field
          label={s.settings.name}
          autoComplete="name"
          maxLength={100}
          dir="auto"
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
          hint={s.settings.nameHint}
        />
      </div>
      <label class="row g3" for="settings-show-name">
        <Switch id="settings-show-name" label={s.settings.showName} isOn={isShown} onChange={setShown} />
        <span>{s.settings.showName}</span>
      </label>
      {error !== null && <FieldError text={error} />}
      {isChanged && (
        <div class="row wrap">
          <SubmitButton isBusy={isBusy} label={t.actions.save} />
        </div>
      )}
    </form>
  );
}

export function Profile() {
  const email = user.value?.email ?? "";
  const [typed, setTyped] = useState(email);
  const { form, isBusy, error, onSubmit } = useSettingsForm(async (fields) => {
    user.value = await api.accounts.updateMe({ email: typed.trim(), ...proofOf(fields) });
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
        {isChanged && <Field label={s.settings.currentPassword} type="password" name="current_password" autoComplete="current-password" required hint={s.settings.currentHint} />}
        {isChanged && <CodeField />}
      </div>
      {error !== null && <FieldError text={error} />}
      {isChanged && (
        <div class="row wrap">
          <SubmitButton isBusy={isBusy} label={t.actions.save} />
          <button type="button" class="btn quiet" onClick={() => setTyped(email)}>
            {t.actions.cancel}
          </button>
        </div>
      )}
    </form>
  );
}

export function Password() {
  const { form, isBusy, error, onSubmit } = useSettingsForm(async (fields) => {
    const password = String(fields.get("password"));
    const email = user.value?.email ?? "";
    await api.accounts.updateMe({ password, ...proofOf(fields) });
    // The change ends every session, this one too.
    user.value = await api.accounts.signIn({ email, password });
    showToast(s.settings.passwordSaved, { icon: "lock" });
  });
  return (
    <form class="card pad stack" ref={form} onSubmit={onSubmit}>
      <input type="email" name="username" autoComplete="username" value={user.value?.email} hidden readOnly />
      <div class="form2">
        <Field label={s.settings.currentPassword} type="password" name="current_password" autoComplete="current-password" required maxLength={1024} />
        <NewPassword label={s.reset.password} isBig={false} />
        <CodeField />
      </div>
      {error !== null && <FieldError text={error} />}
      <div class="row wrap">
        <SubmitButton isBusy={isBusy} label={s.settings.changePassword} class="" />
        <span class="hint">{s.settings.passwordHint}</span>
      </div>
    </form>
  );
}
