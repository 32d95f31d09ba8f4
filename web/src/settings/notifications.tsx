/** Which mails the account gets. */

import type { NotificationSettings } from "@we-upload/client";
import { useId } from "preact/hooks";
import { api } from "../core/api";
import { s } from "../core/screen-texts";
import { showProblem } from "../core/problems";
import { user } from "../core/session";
import { showToast } from "../core/toasts";
import { Switch } from "../ui/choices";
import { Note } from "../ui/controls";
import { Loaded, useLoaded } from "../ui/data-table";
import { MailFormat } from "./mail-format";
import { notificationSettings } from "./notification-store";
import { Section } from "./section";

const KINDS = ["link_downloads", "request_uploads", "link_expiry", "new_sign_ins"] as const;
type Kind = (typeof KINDS)[number];

export function Notifications() {
  const { value, setValue, error, load } = useLoaded<NotificationSettings>(() => api.accounts.notifications());
  const change = async (kind: Kind, isOn: boolean) => {
    const before = value;
    if (before === null) return;
    setValue({ ...before, [kind]: isOn });
    try {
      const saved = await api.accounts.updateNotifications({ [kind]: isOn });
      setValue(saved);
      notificationSettings.value = saved;
      showToast(s.share.saved);
    } catch (cause) {
      setValue(before);
      showProblem(cause);
    }
  };
  return (
    <Section id="notifications">
      {user.value?.email_verified === false && <Note icon="mail">{s.notify.unconfirmed}</Note>}
      <Loaded value={value} error={error} onRetry={load} skeletonCount={4}>
        {(settings) => (
          <div class="card pad stack">
            {KINDS.map((kind) => (
              <NotificationSwitch key={kind} kind={kind} isOn={settings[kind]} onChange={(isOn) => void change(kind, isOn)} />
            ))}
            <p class="hint">{s.notify.text}</p>
            <MailFormat />
          </div>
        )}
      </Loaded>
    </Section>
  );
}

function NotificationSwitch({ kind, isOn, onChange }: { readonly kind: Kind; readonly isOn: boolean; readonly onChange: (isOn: boolean) => void }) {
  const id = useId();
  return (
    <div class="row g3">
      <Switch id={id} label={s.notify[kind]} isOn={isOn} onChange={onChange} />
      <div class="grow">
        <label for={id}>{s.notify[kind]}</label>
        <p class="hint">{s.notify[`${kind}_hint`]}</p>
      </div>
    </div>
  );
}
