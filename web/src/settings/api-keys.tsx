/** Keys that programs use instead of the password. */

import { isApiError, type ApiKey, type NewApiKey, type Scope } from "@we-upload/client";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { problemText, showProblem } from "../core/problems";
import { user } from "../core/session";
import { showToast } from "../core/toasts";
import { SkeletonRows } from "../files/file-table";
import { CopyField } from "../ui/copy";
import { ErrorNote, Field, FieldError, Note, SubmitButton } from "../ui/controls";
import { ConfirmDialog, Dialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { Icon } from "../ui/icon";
import { Section } from "./section";

export function ApiKeys() {
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
