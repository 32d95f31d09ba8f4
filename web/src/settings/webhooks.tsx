/** Webhooks: addresses that receive a signed message when something happens. */

import { createWebhooks, type EventType, type Webhook, type WebhookWithSecret } from "@we-upload/client";
import { useState } from "preact/hooks";
import { api } from "../core/api";
import { fmt } from "../core/language";
import { showProblem } from "../core/problems";
import { showToast } from "../core/toasts";
import { CopyField } from "../ui/copy";
import { Badge, Field, Note } from "../ui/controls";
import { Loaded, useLoaded } from "../ui/data-table";
import { ConfirmDialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { FormDialog, FormError, textOf } from "../ui/form-dialog";
import { Icon } from "../ui/icon";
import { MenuButton, type MenuItem } from "../ui/menu";
import { Section } from "./section";
import { DeliveriesDialog } from "./webhook-deliveries";
import { w } from "./webhook-texts";

const hooks = createWebhooks(api);

/** In groups, as the list of the form shows them. */
const EVENT_TYPES: readonly EventType[] = [
  "file.available",
  "file.rejected",
  "file.trashed",
  "file.restored",
  "file.deleted",
  "file.purged",
  "file.visibility_changed",
  "share.created",
  "share.updated",
  "share.opened",
  "share.downloaded",
  "share.revoked",
  "file_request.created",
  "file_request.updated",
  "file_request.received",
  "file_request.revoked",
  "grant.added",
  "grant.removed",
  "archive.ready",
  "archive.failed",
  "account.signed_in",
  "account.password_changed",
  "account.email_changed",
  "account.second_factor_enabled",
  "account.second_factor_disabled",
  "account.api_key_created",
  "account.api_key_revoked",
];

export function Webhooks() {
  const { value, setValue, error, load } = useLoaded<readonly Webhook[]>(() => hooks.list());
  const [made, setMade] = useState<WebhookWithSecret | null>(null);
  const replace = (changed: Webhook) => setValue((before) => before?.map((hook) => (hook.id === changed.id ? changed : hook)) ?? null);
  const run = async (action: () => Promise<void>) => {
    try {
      await action();
    } catch (cause) {
      showProblem(cause);
    }
  };
  const add = () =>
    showDialog((close) => (
      <NewWebhookDialog
        onClose={close}
        onMade={(hook) => {
          setMade(hook);
          setValue((before) => [...(before ?? []), hook]);
        }}
      />
    ));
  const rotate = async (hook: Webhook) => {
    const changed = await hooks.rotateSecret(hook.id);
    setMade(changed);
    replace(changed);
  };
  const remove = async (hook: Webhook) => {
    await hooks.delete(hook.id);
    setMade((before) => (before?.id === hook.id ? null : before));
    setValue((before) => before?.filter((other) => other.id !== hook.id) ?? null);
    showToast(w.removed, { icon: "trash" });
  };
  const turn = async (hook: Webhook, isOn: boolean) => {
    replace(await hooks.update(hook.id, { is_enabled: isOn }));
    showToast(isOn ? w.turnedOn : w.turnedOff);
  };
  const test = async (hook: Webhook) => {
    await hooks.test(hook.id);
    showToast(w.testSent);
  };
  const confirm = (title: string, text: string, label: string, act: () => Promise<void>) =>
    showDialog((close) => <ConfirmDialog title={title} text={text} confirm={label} onConfirm={() => void run(act)} onClose={close} />);
  const items = (hook: Webhook): readonly MenuItem[] => [
    { label: w.deliveries, icon: "out", run: () => showDialog((close) => <DeliveriesDialog hook={hook} onClose={close} />) },
    ...(hook.is_enabled ? [{ label: w.test, icon: "upload" as const, run: () => void run(() => test(hook)) }] : []),
    { label: w.rotate, icon: "key", run: () => confirm(w.rotateTitle, w.rotateText, w.rotate, () => rotate(hook)) },
    { label: hook.is_enabled ? w.turnOff : w.turnOn, icon: hook.is_enabled ? "pause" : "play", run: () => void run(() => turn(hook, !hook.is_enabled)) },
    { label: w.remove, icon: "trash", isDangerous: true, run: () => confirm(w.removeTitle, w.removeText, w.remove, () => remove(hook)) },
  ];
  return (
    <Section
      id="hooks"
      action={
        <button type="button" class="btn small" onClick={add}>
          <Icon name="plus" size="s" />
          <span>{w.add}</span>
        </button>
      }
    >
      {made !== null && (
        <Note tone="warn" icon="key">
          <div class="stack g2">
            <p>
              <strong>{w.copySecret}</strong> {w.secretOnce}
            </p>
            <CopyField value={made.secret} label={w.secret} />
          </div>
        </Note>
      )}
      <Loaded value={value} error={error} onRetry={load} skeletonCount={2}>
        {(known) =>
          known.length === 0 ? (
            <p class="card pad soft">{w.none}</p>
          ) : (
            <ul class="card list">
              {known.map((hook) => (
                <li key={hook.id}>
                  <span class="tile">
                    <Icon name="hook" />
                  </span>
                  <span class="grow">
                    <span class="strong wrapit" dir="auto">
                      {hook.description || <span class="mono">{hook.url}</span>}
                    </span>
                    <span class="two wrapit">{summaryOf(hook)}</span>
                  </span>
                  <span class="acts row">
                    <State hook={hook} />
                    <MenuButton class="btn quiet small icon" label={w.more(hook.description || hook.url)} items={() => items(hook)}>
                      <Icon name="more" size="s" />
                    </MenuButton>
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

function summaryOf(hook: Webhook): string {
  const parts = [
    hook.description ? hook.url : "",
    hook.event_types === null ? w.allEvents : hook.event_types.join(", "),
    hook.for_all_users ? w.forAll : "",
    hook.failing_since === null ? "" : w.failingSince(fmt.moment(new Date(hook.failing_since))),
  ];
  return parts.filter((part) => part !== "").join(" · ");
}

function State({ hook }: { readonly hook: Webhook }) {
  if (!hook.is_enabled) {
    return (
      <Badge tone={hook.disabled_reason === null ? "line" : "bad"} icon="pause">
        {hook.disabled_reason === null ? w.off : w.stopped}
      </Badge>
    );
  }
  return hook.failing_since === null ? (
    <Badge tone="ok" icon="check">
      {w.working}
    </Badge>
  ) : (
    <Badge tone="bad" icon="alert">
      {w.failing}
    </Badge>
  );
}

function NewWebhookDialog({ onClose, onMade }: { readonly onClose: () => void; readonly onMade: (hook: WebhookWithSecret) => void }) {
  const [isSome, setSome] = useState(false);
  async function create(fields: FormData): Promise<void> {
    const chosen = fields.getAll("type") as EventType[];
    if (isSome && chosen.length === 0) throw new FormError(w.chooseEvents);
    const description = textOf(fields, "description");
    onMade(await hooks.create({ url: textOf(fields, "url"), event_types: isSome ? chosen : null, ...(description === "" ? {} : { description }) }));
  }
  return (
    <FormDialog title={w.add} submit={w.create} act={create} onClose={onClose}>
      <Field label={w.address} name="url" hint={w.addressHint} required maxLength={2000} placeholder="https://" autoComplete="off" autoFocus />
      <Field label={w.name} name="description" maxLength={200} autoComplete="off" />
      <fieldset>
        <legend class="label">{w.events}</legend>
        {[false, true].map((choice) => (
          <label class="radio" key={String(choice)}>
            <input type="radio" name="which" checked={isSome === choice} onChange={() => setSome(choice)} />
            <span>{choice ? w.some : w.all}</span>
          </label>
        ))}
      </fieldset>
      {isSome && (
        <fieldset>
          <legend class="sr">{w.some}</legend>
          {EVENT_TYPES.map((type) => (
            <label class="radio" key={type}>
              <input type="checkbox" name="type" value={type} />
              <span class="mono">{type}</span>
            </label>
          ))}
        </fieldset>
      )}
    </FormDialog>
  );
}
