/** Title, who, until when, password, limit, address and note of a link. */

import { useEffect, useId, useState } from "preact/hooks";
import { fmt } from "../core/language";
import { s } from "../core/screen-texts";
import { serverConfig } from "../core/server-config";
import { loadNotificationSettings, notificationSettings } from "../settings/notification-store";
import { Segments, Switch } from "../ui/choices";
import { CopyButton } from "../ui/copy";
import { closesIn, EXPIRY_DAYS, readAddresses, suggestPassword, type Expiry, type LinkRules } from "./link-rules";

interface RuleFieldsProps {
  readonly rules: LinkRules;
  readonly change: (changes: Partial<LinkRules>) => void;
  readonly hadPassword: boolean;
  /** Null where the address can no longer be chosen. */
  readonly slug: string | null;
  readonly setSlug: (slug: string) => void;
}

const AUDIENCES = ["anyone", "signed_in", "named"] as const;
const EXPIRIES = ["1", "7", "14", "never", "date"] as const;

/** The rules of a link as a form. */
export function RuleFields({ rules, change, hadPassword, slug, setSlug }: RuleFieldsProps) {
  const id = useId();
  const [hasSlug, setHasSlug] = useState(false);
  useEffect(loadNotificationSettings, []);
  const notifies = rules.notifies ?? notificationSettings.value?.link_downloads ?? false;
  const [people, setPeople] = useState(rules.recipients.join(", "));
  return (
    <div class="stack">
      <div class="rule">
        <label class="label" for={`${id}-title`}>
          {s.linkFiles.heading}
        </label>
        <input
          class="input"
          id={`${id}-title`}
          maxLength={200}
          dir="auto"
          placeholder={s.linkFiles.headingPlaceholder}
          value={rules.title}
          onInput={(event) => change({ title: event.currentTarget.value })}
        />
      </div>
      <fieldset class="rule top">
        <legend class="sr">{s.share.who}</legend>
        <span class="label" aria-hidden="true">
          {s.share.who}
        </span>
        <div>
          {AUDIENCES.map((audience) => (
            <label class="radio" key={audience}>
              <input type="radio" name={`${id}-who`} checked={rules.audience === audience} onChange={() => change({ audience })} />
              <span>{s.share.audiences[audience]}</span>
            </label>
          ))}
          {rules.audience === "named" && (
            <textarea
              class="input up1"
              rows={2}
              aria-label={s.share.recipients}
              placeholder={s.share.recipientsPlaceholder}
              value={people}
              onInput={(event) => {
                setPeople(event.currentTarget.value);
                change({ recipients: readAddresses(event.currentTarget.value) });
              }}
            />
          )}
        </div>
      </fieldset>
      <ExpiryField rules={rules} change={change} />
      <div class="rule">
        <label class="label" for={`${id}-pw`}>
          {s.share.password}
        </label>
        <div class="row g3">
          <Switch
            id={`${id}-pw`}
            label={s.share.password}
            isOn={rules.hasPassword}
            onChange={(hasPassword) => change({ hasPassword, password: hasPassword && !hadPassword ? suggestPassword() : "" })}
          />
          {rules.hasPassword ? (
            <div class="combo grow">
              <input
                aria-label={s.share.thePassword}
                type="text"
                value={rules.password}
                placeholder={hadPassword ? s.share.passwordKept : ""}
                autoComplete="off"
                autoCapitalize="off"
                spellcheck={false}
                maxLength={1024}
                onInput={(event) => change({ password: event.currentTarget.value })}
              />
              {rules.password !== "" && <CopyButton text={rules.password} label={s.copy.copy} class="small" />}
            </div>
          ) : (
            <span class="soft">{s.share.noPassword}</span>
          )}
        </div>
      </div>
      <div class="rule">
        <label class="label" for={`${id}-max`}>
          {s.share.limit}
        </label>
        <div class="row g3">
          <Switch
            id={`${id}-max`}
            label={s.share.limit}
            isOn={rules.maxDownloads !== null}
            onChange={(isLimited) => change({ maxDownloads: isLimited ? 20 : null })}
          />
          {rules.maxDownloads === null ? (
            <span class="soft">{s.share.noLimit}</span>
          ) : (
            <div class="row">
              <input
                class="input qty"
                aria-label={s.share.downloadCount}
                type="number"
                min={1}
                max={2147483647}
                value={rules.maxDownloads}
                onInput={(event) => {
                  const count = event.currentTarget.valueAsNumber;
                  if (count >= 1) change({ maxDownloads: Math.floor(count) });
                }}
              />
              <span class="soft">{s.share.downloadsInAll}</span>
            </div>
          )}
        </div>
      </div>
      <div class="rule">
        <label class="label" for={`${id}-dl`}>
          {s.share.download}
        </label>
        <div class="row g3">
          <Switch id={`${id}-dl`} label={s.share.download} isOn={rules.allowsDownload} onChange={(allowsDownload) => change({ allowsDownload })} />
          <span class="soft">{rules.allowsDownload ? s.share.downloadAllowed : s.share.downloadForbidden}</span>
        </div>
      </div>
      {serverConfig.value?.mail_available && (
        <div class="rule">
          <label class="label" for={`${id}-mail`}>
            {s.notify.mail}
          </label>
          <div class="row g3">
            <Switch id={`${id}-mail`} label={s.notify.mail} isOn={notifies} onChange={(isOn) => change({ notifies: isOn })} />
            <span class="soft">{notifies ? s.notify.onDownload : s.notify.off}</span>
          </div>
        </div>
      )}
      {slug !== null && (
        <div class="rule top">
          <label class="label" for={`${id}-slug`}>
            {s.share.address}
          </label>
          <div class="stack g2">
            <div class="row g3">
              <Switch
                id={`${id}-slug`}
                label={s.share.address}
                isOn={hasSlug}
                onChange={(isOn) => {
                  setHasSlug(isOn);
                  if (!isOn) setSlug("");
                }}
              />
              {hasSlug ? (
                <div class="combo grow">
                  <span class="mono muted">/s/</span>
                  <input
                    class="mono"
                    aria-label={s.share.theAddress}
                    value={slug}
                    maxLength={64}
                    placeholder="press-kit"
                    autoCapitalize="off"
                    spellcheck={false}
                    onInput={(event) => setSlug(event.currentTarget.value.toLowerCase().replace(/[^a-z0-9-]/g, "-"))}
                  />
                </div>
              ) : (
                <span class="soft">{s.share.randomAddress}</span>
              )}
            </div>
            {hasSlug && <p class="hint">{s.share.slugHint}</p>}
          </div>
        </div>
      )}
      <div class="rule top">
        <label class="label" for={`${id}-note`}>
          {s.share.note}
        </label>
        <textarea
          class="input"
          id={`${id}-note`}
          rows={2}
          maxLength={1000}
          dir="auto"
          placeholder={s.share.notePlaceholder}
          value={rules.note}
          onInput={(event) => change({ note: event.currentTarget.value })}
        />
      </div>
    </div>
  );
}

/** Return a date as `datetime-local` takes it: local time, no zone. */
function localInput(date: Date): string {
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function ExpiryField({ rules, change }: Pick<RuleFieldsProps, "rules" | "change">) {
  const choose = (expiry: Expiry) => {
    if (expiry === "never") change({ expiry, closesAt: null });
    else if (expiry === "date") change({ expiry, closesAt: rules.closesAt ?? closesIn(30, new Date()) });
    else change({ expiry, closesAt: closesIn(EXPIRY_DAYS[expiry], new Date()) });
  };
  return (
    <div class="rule top">
      <span class="label">{s.share.closes}</span>
      <div class="stack g2">
        <Segments label={s.share.closes} options={EXPIRIES.map((expiry) => [expiry, s.share.expiries[expiry]] as const)} value={rules.expiry} onChange={choose} />
        {rules.expiry === "date" && (
          <input
            class="input"
            type="datetime-local"
            aria-label={s.share.closesAt}
            min={localInput(new Date())}
            value={rules.closesAt === null ? "" : localInput(rules.closesAt)}
            onInput={(event) => change({ closesAt: event.currentTarget.value === "" ? null : new Date(event.currentTarget.value) })}
          />
        )}
        <p class="hint">
          {rules.closesAt === null ? s.share.neverCloses : s.share.closesExactly(fmt.exact(rules.closesAt), Intl.DateTimeFormat().resolvedOptions().timeZone)}
        </p>
      </div>
    </div>
  );
}
