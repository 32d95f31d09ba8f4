/** The account's settings: profile, password, sessions, API keys, and this device. */

import { isApiError, type ApiKey, type NewApiKey, type Scope, type SessionInfo } from "@we-upload/client";
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { api } from "../core/api";
import { describeBrowser } from "../core/browser-name";
import { fmt, LANGUAGES, language, setLanguage, t, type Language } from "../core/language";
import { s } from "../core/screen-texts";
import { setSingleKeys, singleKeysEnabled } from "../core/keys";
import { problemText, showProblem } from "../core/problems";
import { location } from "../core/router";
import { signOut, user } from "../core/session";
import { setTheme, theme, type Theme } from "../core/theme";
import { showToast } from "../core/toasts";
import { SkeletonRows } from "../files/file-table";
import { Switch } from "../ui/choices";
import { CopyField } from "../ui/copy";
import { Badge, ErrorNote, Field, FieldError, Note, SubmitButton } from "../ui/controls";
import { ConfirmDialog, Dialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { Icon } from "../ui/icon";
import { NewPassword } from "./account-page";

const SECTIONS = ["profile", "password", "sessions", "keys", "device"] as const;

export function SettingsScreen() {
  const current = location.value.hash === "" ? "profile" : location.value.hash;
  return (
    <>
      <div class="head">
        <h1>{t.nav.settings}</h1>
      </div>
      <div class="settings">
        <nav class="nav" aria-label={t.nav.settings}>
          {SECTIONS.map((section) => (
            <a key={section} href={`#${section}`} aria-current={section === current ? "true" : undefined}>
              {s.settings.sections[section]}
            </a>
          ))}
        </nav>
        <div class="stack g8">
          <Section id="profile">
            <Profile />
          </Section>
          <Section id="password">
            <Password />
          </Section>
          <Sessions />
          <ApiKeys />
          <Section id="device">
            <div class="card pad stack">
              <DevicePreferences />
              <label class="row g3" for="settings-keys">
                <Switch id="settings-keys" label={s.keys.single} isOn={singleKeysEnabled.value} onChange={setSingleKeys} />
                <span>{s.keys.single}</span>
              </label>
            </div>
          </Section>
        </div>
      </div>
    </>
  );
}

interface SectionProps {
  readonly id: (typeof SECTIONS)[number];
  readonly action?: ComponentChildren;
  readonly children: ComponentChildren;
}

function Section({ id, action, children }: SectionProps) {
  return (
    <section class="set" id={id} aria-labelledby={`${id}-title`}>
      <header>
        <h2 id={`${id}-title`}>{s.settings.sections[id]}</h2>
        {action}
      </header>
      {children}
    </section>
  );
}

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

function Profile() {
  const email = user.value?.email ?? "";
  const [typed, setTyped] = useState(email);
  const { form, isBusy, error, onSubmit } = useSettingsForm(async (fields) => {
    user.value = await api.accounts.updateMe({ email: typed.trim(), current_password: String(fields.get("current_password")) });
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

function Password() {
  const { form, isBusy, error, onSubmit } = useSettingsForm(async (fields) => {
    const password = String(fields.get("password"));
    const email = user.value?.email ?? "";
    await api.accounts.updateMe({ password, current_password: String(fields.get("current_password")) });
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
      </div>
      {error !== null && <FieldError text={error} />}
      <div class="row wrap">
        <SubmitButton isBusy={isBusy} label={s.settings.changePassword} class="" />
        <span class="hint">{s.settings.passwordHint}</span>
      </div>
    </form>
  );
}

function Sessions() {
  const [sessions, setSessions] = useState<readonly SessionInfo[] | null>(null);
  const [error, setError] = useState<unknown>(null);
  const load = () => {
    setError(null);
    api.accounts.sessions().then(setSessions, setError);
  };
  useEffect(load, []);
  const others = sessions?.filter((session) => !session.is_current) ?? [];
  async function end(ended: readonly SessionInfo[]): Promise<void> {
    setSessions((before) => before?.filter((session) => !ended.includes(session)) ?? null);
    try {
      for (const session of ended) await api.accounts.endSession(session.id);
      showToast(s.settings.sessionsEnded(ended.length), { icon: "out" });
    } catch (cause) {
      showProblem(cause);
      load();
    }
  }
  const confirmAll = () =>
    showDialog((close) => (
      <ConfirmDialog
        title={s.settings.endAllTitle}
        text={s.settings.endAllText}
        confirm={s.settings.endAll}
        onConfirm={() => void api.accounts.signOutEverywhere().catch(showProblem)}
        onClose={close}
      />
    ));
  return (
    <Section
      id="sessions"
      action={
        others.length > 0 && (
          <button type="button" class="link" onClick={() => void end(others)}>
            {s.settings.endOthers}
          </button>
        )
      }
    >
      {error !== null ? (
        <ErrorNote error={error} onRetry={load} />
      ) : sessions === null ? (
        <SkeletonRows count={2} />
      ) : (
        <ul class="card list">
          {sessions.map((session) => {
            const browser = describeBrowser(session.user_agent ?? "");
            const name = browser.system === "" ? browser.name || s.settings.unknownBrowser : s.settings.browserOn(browser.name || s.settings.unknownBrowser, browser.system);
            return (
              <li key={session.id}>
                <span class="tile">
                  <Icon name={browser.isPhone ? "phone" : "monitor"} />
                </span>
                <span class="grow">
                  <span class="strong">{name}</span>
                  <span class="two wrapit">
                    {[session.source_address, session.is_current ? s.settings.since(fmt.moment(new Date(session.created_at))) : s.settings.lastUsed(fmt.moment(new Date(session.last_used_at)))]
                      .filter(Boolean)
                      .join(" · ")}
                  </span>
                </span>
                <span class="acts row">
                  {session.is_current ? (
                    <Badge tone="ok" icon="check">
                      {s.settings.thisOne}
                    </Badge>
                  ) : (
                    <button type="button" class="btn small" aria-label={s.settings.endOne(name)} onClick={() => void end([session])}>
                      {s.settings.end}
                    </button>
                  )}
                </span>
              </li>
            );
          })}
        </ul>
      )}
      <div class="row wrap">
        <button type="button" class="btn" onClick={() => void signOut()}>
          <Icon name="out" />
          <span>{t.nav.signOut}</span>
        </button>
        <button type="button" class="btn quiet danger" onClick={confirmAll}>
          {s.settings.endAll}
        </button>
      </div>
    </Section>
  );
}

function ApiKeys() {
  const [keys, setKeys] = useState<readonly ApiKey[] | null>(null);
  const [made, setMade] = useState<NewApiKey | null>(null);
  const [error, setError] = useState<unknown>(null);
  const load = () => {
    setError(null);
    api.accounts.apiKeys().then(setKeys, setError);
  };
  useEffect(load, []);
  const revoke = async (key: ApiKey) => {
    try {
      await api.accounts.deleteApiKey(key.id);
      setKeys((before) => before?.filter((other) => other.id !== key.id) ?? null);
      setMade((before) => (before?.id === key.id ? null : before));
      showToast(s.settings.keyRevoked, { icon: "key" });
    } catch (cause) {
      showProblem(cause);
    }
  };
  const confirmRevoke = (key: ApiKey) =>
    showDialog((close) => (
      <ConfirmDialog title={s.settings.revokeKeyTitle(key.name)} text={s.settings.revokeKeyText} confirm={s.settings.revokeKey} onConfirm={() => void revoke(key)} onClose={close} />
    ));
  const create = () =>
    showDialog((close) => (
      <NewKeyDialog
        onClose={close}
        onMade={(key) => {
          setMade(key);
          setKeys((before) => [key, ...(before ?? [])]);
        }}
      />
    ));
  return (
    <Section
      id="keys"
      action={
        <button type="button" class="btn small" onClick={create}>
          <Icon name="plus" size="s" />
          <span>{s.settings.newKey}</span>
        </button>
      }
    >
      {made !== null && (
        <Note tone="warn" icon="key">
          <div class="stack g2">
            <p>
              <strong>{s.settings.copyKey}</strong> {s.settings.keyOnce}
            </p>
            <CopyField value={made.key} label={s.settings.theKey} />
          </div>
        </Note>
      )}
      {error !== null ? (
        <ErrorNote error={error} onRetry={load} />
      ) : keys === null ? (
        <SkeletonRows count={2} />
      ) : keys.length === 0 ? (
        <p class="card pad soft">{s.settings.noKeys}</p>
      ) : (
        <ul class="card list">
          {keys.map((key) => (
            <li key={key.id}>
              <span class="tile">
                <Icon name="key" />
              </span>
              <span class="grow">
                <span class="strong" dir="auto">
                  {key.name}
                </span>
                <span class="two wrapit">
                  <span class="mono">{key.hint}…</span>
                  {[
                    "",
                    key.scopes.join(", "),
                    key.last_used_at === null ? s.settings.neverUsed : s.settings.lastUsed(fmt.moment(new Date(key.last_used_at))),
                    key.expires_at === null ? "" : s.settings.ends(fmt.day(new Date(key.expires_at))),
                  ]
                    .filter((text, index) => index === 0 || text !== "")
                    .join(" · ")}
                </span>
              </span>
              <span class="acts row">
                <button type="button" class="btn small danger" aria-label={s.settings.revokeKeyOf(key.name)} onClick={() => confirmRevoke(key)}>
                  {s.settings.revokeKey}
                </button>
              </span>
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}

const KEY_DAYS = ["30", "90", "365", ""] as const;

function NewKeyDialog({ onClose, onMade }: { readonly onClose: () => void; readonly onMade: (key: NewApiKey) => void }) {
  const id = useId();
  const form = useRef<HTMLFormElement>(null);
  const [error, setError] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const scopes: readonly Scope[] = ["files:read", "files:write", "shares", ...(user.value?.is_superuser ? (["admin"] as const) : [])];
  async function create(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    if (form.current === null || isBusy) return;
    const fields = new FormData(form.current);
    const days = String(fields.get("days"));
    const chosen = fields.getAll("scope") as Scope[];
    if (chosen.length === 0) return setError(s.settings.chooseScope);
    setBusy(true);
    try {
      onMade(await api.accounts.createApiKey({ name: String(fields.get("name")).trim(), scopes: chosen, expires_in_days: days === "" ? null : Number(days) }));
      onClose();
    } catch (cause) {
      setError(isApiError(cause) ? problemText(cause) : t.problems.unknown);
      setBusy(false);
    }
  }
  return (
    <Dialog
      title={s.settings.newKey}
      onClose={onClose}
      onConfirm={() => form.current?.requestSubmit()}
      footer={
        <>
          <span class="grow" />
          <button type="button" class="btn quiet" onClick={onClose}>
            {t.actions.cancel}
          </button>
          <SubmitButton form={id} isBusy={isBusy} label={s.settings.createKey} />
        </>
      }
    >
      <form id={id} ref={form} class="dlg-text stack" onSubmit={(event) => void create(event)}>
        <Field label={s.settings.keyName} name="name" required maxLength={100} placeholder={s.settings.keyNamePlaceholder} autoComplete="off" autoFocus />
        <fieldset>
          <legend class="label">{s.settings.scopes}</legend>
          {scopes.map((scope) => (
            <label class="radio" key={scope}>
              <input type="checkbox" name="scope" value={scope} defaultChecked={scope === "files:read"} />
              <span>
                {s.settings.scopeNames[scope]} <span class="mono muted">{scope}</span>
              </span>
            </label>
          ))}
        </fieldset>
        <div class="field">
          <label for={`${id}-days`}>{s.settings.keyEnds}</label>
          <span class="select">
            <select class="input" id={`${id}-days`} name="days">
              {KEY_DAYS.map((days) => (
                <option key={days} value={days} selected={days === "90"}>
                  {days === "" ? s.links.never : t.format.inDays(Number(days))}
                </option>
              ))}
            </select>
            <Icon name="down" size="s" />
          </span>
        </div>
        {error !== null && <FieldError text={error} />}
      </form>
    </Dialog>
  );
}

/** Language and theme of this device. */
function DevicePreferences() {
  return (
    <div class="form2">
      <div class="field">
        <label for="language">{s.settings.language}</label>
        <span class="select">
          <select class="input" id="language" value={language.value} onChange={(event) => setLanguage(event.currentTarget.value as Language)}>
            {Object.entries(LANGUAGES).map(([code, name]) => (
              <option key={code} value={code} lang={code}>
                {name}
              </option>
            ))}
          </select>
          <Icon name="down" size="s" />
        </span>
      </div>
      <div class="field">
        <label for="theme">{s.settings.theme}</label>
        <span class="select">
          <select class="input" id="theme" value={theme.value} onChange={(event) => setTheme(event.currentTarget.value as Theme)}>
            {(["system", "light", "dark"] as const).map((choice) => (
              <option key={choice} value={choice}>
                {s.settings.themes[choice]}
              </option>
            ))}
          </select>
          <Icon name="down" size="s" />
        </span>
      </div>
    </div>
  );
}
