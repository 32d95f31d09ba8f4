/** Keys that programs use instead of the password. */

import type { ApiKey, NewApiKey, Scope } from "@we-upload/client";
import { useState } from "preact/hooks";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { showProblem } from "../core/problems";
import { user } from "../core/session";
import { showToast } from "../core/toasts";
import { CopyField } from "../ui/copy";
import { Field, Note } from "../ui/controls";
import { Loaded, useLoaded } from "../ui/data-table";
import { ConfirmDialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { FormDialog, FormError, SelectField, textOf } from "../ui/form-dialog";
import { Icon } from "../ui/icon";
import { Section } from "./section";

export function ApiKeys() {
  const { value: keys, setValue: setKeys, error, load } = useLoaded<readonly ApiKey[]>(() => api.accounts.apiKeys());
  const [made, setMade] = useState<NewApiKey | null>(null);
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
      <Loaded value={keys} error={error} onRetry={load} skeletonCount={2}>
        {(known) =>
          known.length === 0 ? (
            <p class="card pad soft">{s.settings.noKeys}</p>
          ) : (
            <ul class="card list">
              {known.map((key) => (
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
          )
        }
      </Loaded>
    </Section>
  );
}

const KEY_DAYS = ["30", "90", "365", ""] as const;

function NewKeyDialog({ onClose, onMade }: { readonly onClose: () => void; readonly onMade: (key: NewApiKey) => void }) {
  const scopes: readonly Scope[] = ["files:read", "files:write", "shares", "events:read", ...(user.value?.is_superuser ? (["admin"] as const) : [])];
  async function create(fields: FormData): Promise<void> {
    const days = textOf(fields, "days");
    const chosen = fields.getAll("scope") as Scope[];
    if (chosen.length === 0) throw new FormError(s.settings.chooseScope);
    onMade(await api.accounts.createApiKey({ name: textOf(fields, "name"), scopes: chosen, expires_in_days: days === "" ? null : Number(days) }));
  }
  return (
    <FormDialog title={s.settings.newKey} submit={s.settings.createKey} act={create} onClose={onClose}>
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
      <SelectField label={s.settings.keyEnds} name="days" value="90" options={KEY_DAYS.map((days) => [days, days === "" ? s.links.never : t.format.inDays(Number(days))])} />
    </FormDialog>
  );
}
