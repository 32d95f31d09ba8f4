/** Share files: a link with its rules, and people by name. Also changes the rules of a link. */

import { isApiError, type FileInfo, type Share } from "@we-upload/client";
import { useEffect, useId, useState } from "preact/hooks";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { problemText, showProblem } from "../core/problems";
import { showToast } from "../core/toasts";
import { keepLink } from "../links/link-store";
import {
  closesIn,
  EXPIRY_DAYS,
  newLinkRules,
  readAddresses,
  ruleSentence,
  rulesOf,
  shareBody,
  shareChanges,
  strongParts,
  suggestPassword,
  type Expiry,
  type LinkRules,
} from "../sharing/link-rules";
import { PeopleWithAccess } from "../sharing/people";
import { qrCode, qrPath } from "../sharing/qr-code";
import { ConfirmDialog, Dialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { Segments, Switch } from "../ui/choices";
import { CopyButton, CopyField } from "../ui/copy";
import { FieldError } from "../ui/controls";
import { Icon } from "../ui/icon";

interface ShareDialogProps {
  /** What to share; empty when a link is changed. */
  readonly files: readonly FileInfo[];
  readonly link?: Share;
  readonly onClose: () => void;
}

export function ShareDialog({ files, link: initialLink, onClose }: ShareDialogProps) {
  const [link, setLink] = useState<Share | null>(initialLink ?? null);
  const [saved, setSaved] = useState<LinkRules>(() => (initialLink ? rulesOf(initialLink) : newLinkRules(new Date())));
  const [rules, setRules] = useState<LinkRules>(saved);
  const [slug, setSlug] = useState("");
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  /** The same key for each try, so that a lost answer does not lead to two links. */
  const [key] = useState(() => crypto.randomUUID());
  const fileCount = link?.file_ids.length ?? files.length;
  const isChanged = JSON.stringify(rules) !== JSON.stringify(saved);
  const change = (changes: Partial<LinkRules>) => {
    setError(null);
    setRules((before) => ({ ...before, ...changes }));
  };

  async function save(): Promise<void> {
    if (isBusy) return;
    if (link !== null && !isChanged) return onClose();
    const problem = checkRules(rules, saved);
    if (problem !== null) return setError(problem);
    setBusy(true);
    setError(null);
    try {
      const body = shareBody(rules, files.map((file) => file.id));
      const answer =
        link === null
          ? await api.shares.create({ ...body, ...(slug === "" ? {} : { slug }) }, { idempotencyKey: key })
          : await api.shares.update(link.id, shareChanges(saved, rules));
      keepLink(answer);
      const next = { ...answer, url: answer.url ?? link?.url ?? null };
      setLink(next);
      setSaved(rules);
      if (link !== null) showToast(s.share.saved);
    } catch (cause) {
      setError(shareProblem(cause));
    } finally {
      setBusy(false);
    }
  }

  const subtitle = files.length > 0 ? `${s.share.filesLine(files[0]?.filename ?? "", files.length)} · ${fmt.bytes(files.reduce((sum, file) => sum + file.size_bytes, 0))}` : undefined;
  return (
    <Dialog
      size="wide"
      title={link !== null && files.length === 0 ? s.share.changeTitle : s.share.title(fileCount)}
      subtitle={subtitle}
      onClose={onClose}
      onConfirm={() => void save()}
      footer={
        <>
          {link !== null && (
            <button type="button" class="btn quiet danger" onClick={() => revokeLink(link, onClose)}>
              <Icon name="trash" />
              <span>{s.share.revoke}</span>
            </button>
          )}
          <span class="grow" />
          <button type="button" class="btn primary" aria-busy={isBusy} onClick={() => void save()}>
            {link === null ? (isBusy ? s.share.creating : s.share.create) : isChanged ? s.share.save : s.share.done}
          </button>
        </>
      }
    >
      <div class="dlg-body">
        <div class="stack g6">
          {link?.url && <LinkAddress url={link.url} />}
          <Sentence rules={rules} fileCount={fileCount} />
          <RuleFields rules={rules} change={change} hadPassword={saved.hasPassword && link !== null} slug={link === null ? slug : null} setSlug={setSlug} />
          {error !== null && <FieldError text={error} />}
        </div>
        <div class="stack g6">
          {link?.url ? <QrCodeOf url={link.url} /> : link === null && <p class="hint">{s.share.beforeCreate}</p>}
          {files.length > 0 && <PeopleWithAccess files={files} />}
          {link !== null && <LinkFigures link={link} />}
        </div>
      </div>
    </Dialog>
  );
}

function checkRules(rules: LinkRules, saved: LinkRules): string | null {
  const isKept = saved.hasPassword && rules.password === "";
  if (rules.hasPassword && !isKept && rules.password.length < 4) return s.share.passwordTooShort;
  if (rules.audience === "named" && rules.recipients.length === 0) return s.share.nameSomeone;
  if (rules.expiry === "date" && (rules.closesAt === null || rules.closesAt.getTime() <= Date.now())) return s.share.dateInPast;
  return null;
}

function shareProblem(error: unknown): string {
  if (isApiError(error, "recipient_not_found")) {
    const { unknown } = error.problem;
    return s.share.unknownRecipients(Array.isArray(unknown) ? unknown.join(", ") : "");
  }
  return problemText(error);
}

/** Ask, then close a link for good. */
export function revokeLink(link: Share, onRevoked: () => void): void {
  const run = async () => {
    try {
      await api.shares.revoke(link.id);
      keepLink({ ...link, revoked_at: new Date().toISOString() });
      showToast(s.share.revoked, { icon: "link" });
      onRevoked();
    } catch (error) {
      showProblem(error);
    }
  };
  showDialog((close) => (
    <ConfirmDialog title={s.share.revokeTitle} text={s.share.revokeText} confirm={s.share.revoke} onConfirm={() => void run()} onClose={close} />
  ));
}

function LinkAddress({ url }: { readonly url: string }) {
  return (
    <div class="stack g2">
      <span class="label">{s.share.link}</span>
      <CopyField value={url} label={s.share.link} />
      <p class="hint">{s.share.addressHint}</p>
    </div>
  );
}

const ANNOUNCE_DELAY_MS = 500;

function Sentence({ rules, fileCount }: { readonly rules: LinkRules; readonly fileCount: number }) {
  const sentence = ruleSentence(rules, fileCount, s, fmt.until);
  const [announced, setAnnounced] = useState("");
  useEffect(() => {
    const timer = setTimeout(() => setAnnounced(sentence.replaceAll("**", "")), ANNOUNCE_DELAY_MS);
    return () => clearTimeout(timer);
  }, [sentence]);
  return (
    <div class="note ok">
      <Icon name="shield" />
      <p class="sentence">{strongParts(sentence).map(({ text, isStrong }) => (isStrong ? <b>{text}</b> : text))}</p>
      <span class="sr" role="status">
        {announced}
      </span>
    </div>
  );
}

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

function RuleFields({ rules, change, hadPassword, slug, setSlug }: RuleFieldsProps) {
  const id = useId();
  const [hasSlug, setHasSlug] = useState(false);
  const [people, setPeople] = useState(rules.recipients.join(", "));
  return (
    <div class="stack">
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
              {rules.password !== "" && <CopyButton text={rules.password} label={t.copy.copy} class="small" />}
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

function QrCodeOf({ url }: { readonly url: string }) {
  const code = qrCode(url);
  if (code === null) return null;
  return (
    <div class="stack g3">
      <h3>{s.share.showIt}</h3>
      <div class="row g3">
        <svg class="qr" viewBox={`-3 -3 ${code.size + 6} ${code.size + 6}`} role="img" aria-label={s.share.qrLabel} shape-rendering="crispEdges">
          <path d={qrPath(code)} />
        </svg>
        <p class="hint">{s.share.qrHint}</p>
      </div>
    </div>
  );
}

function LinkFigures({ link }: { readonly link: Share }) {
  return (
    <dl class="kv">
      <div>
        <dt>{s.links.opened}</dt>
        <dd>
          {fmt.number(link.open_count)}
          {link.last_opened_at !== null && ` · ${s.links.lastOpened(fmt.moment(new Date(link.last_opened_at)))}`}
        </dd>
      </div>
      <div>
        <dt>{s.links.downloads}</dt>
        <dd>{link.max_downloads === null ? fmt.number(link.download_count) : t.format.of(fmt.number(link.download_count), fmt.number(link.max_downloads))}</dd>
      </div>
      <div>
        <dt>{s.links.created}</dt>
        <dd>{fmt.exact(new Date(link.created_at))}</dd>
      </div>
    </dl>
  );
}
