/** Share files: a link with its rules, and people by name. Also changes the rules of a link. */

import { isApiError, type FileInfo, type Share } from "@we-upload/client";
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { problemText, showProblem } from "../core/problems";
import { serverConfig } from "../core/server-config";
import { showToast } from "../core/toasts";
import { keepLink } from "../links/link-store";
import { showLinkReceipts } from "../receipts/receipt-dialogs";
import { newLinkRules, ruleSentence, rulesOf, shareBody, shareChanges, strongParts, type LinkRules } from "../sharing/link-rules";
import { AddressField, QrCode } from "../sharing/link-address";
import { AddToLink, LinkFiles } from "../sharing/link-files";
import { MailLink } from "../sharing/mail-link";
import { PeopleWithAccess } from "../sharing/people";
import { RuleFields } from "../sharing/rule-fields";
import { ConfirmDialog, Dialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
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
      setLink(answer);
      const stored = { ...rules, notifies: answer.notify_on_download };
      setSaved(stored);
      setRules(stored);
      if (link !== null) showToast(s.share.saved);
    } catch (cause) {
      setError(shareProblem(cause));
    } finally {
      setBusy(false);
    }
  }

  const addToLink = () => {
    onClose();
    showDialog((close) => <AddToLink files={files} onClose={close} />);
  };
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
          {link !== null && <LinkAddress link={link} onRotated={setLink} />}
          <Sentence rules={rules} fileCount={fileCount} />
          <RuleFields rules={rules} change={change} hadPassword={saved.hasPassword && link !== null} slug={link === null ? slug : null} setSlug={setSlug} />
          {error !== null && <FieldError text={error} />}
        </div>
        <div class="stack g6">
          {link?.url ? (
            <div class="stack g3">
              <h3>{s.share.showIt}</h3>
              <QrCode url={link.url} />
            </div>
          ) : (
            link === null && (
              <div class="stack g2">
                <p class="hint">{s.share.beforeCreate}</p>
                <div class="row">
                  <button type="button" class="btn small" onClick={addToLink}>
                    <Icon name="plus" size="s" />
                    <span>{s.linkFiles.addToLink}</span>
                  </button>
                </div>
              </div>
            )
          )}
          {files.length > 0 && <PeopleWithAccess files={files} />}
          {link !== null && <LinkFiles link={link} known={files} onChanged={setLink} />}
          {link !== null && initialLink && <LinkFigures link={link} />}
          {link !== null && link.download_count > 0 && (
            <div class="row">
              <button type="button" class="btn small" onClick={() => showLinkReceipts(link)}>
                <Icon name="shield" size="s" />
                <span>{s.receipts.linkTitle}</span>
              </button>
            </div>
          )}
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
      keepLink({ ...link, url: null, revoked_at: new Date().toISOString() });
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

/** Ask, then give a link a new address. */
export function rotateLink(link: Share, onRotated: (link: Share) => void): void {
  const run = async () => {
    try {
      const rotated = await api.shares.rotate(link.id);
      keepLink(rotated);
      showToast(s.share.rotated, { icon: "link" });
      onRotated(rotated);
    } catch (error) {
      showProblem(error);
    }
  };
  showDialog((close) => <ConfirmDialog title={s.share.rotateTitle} text={s.share.rotateText} confirm={s.links.rotate} onConfirm={() => void run()} onClose={close} />);
}

function LinkAddress({ link, onRotated }: { readonly link: Share; readonly onRotated: (link: Share) => void }) {
  const element = useRef<HTMLDivElement>(null);
  const { url } = link;
  // On a phone, the rules below may have been scrolled into view.
  useEffect(() => element.current?.scrollIntoView({ block: "end" }), [url]);
  return (
    <div class="stack g2" ref={element}>
      <span class="label">{s.share.link}</span>
      {url === null ? <p class="soft">{s.share.addressLost}</p> : <AddressField url={url} hint={s.share.addressHint} />}
      <div class="row wrap">
        {url !== null && (
          <a class="btn small" href={url} target="_blank" rel="noreferrer">
            <Icon name="globe" size="s" />
            <span>{t.actions.open}</span>
          </a>
        )}
        {url !== null && serverConfig.value?.mail_available && (
          <button type="button" class="btn small" onClick={() => showDialog((close) => <MailLink link={link} onClose={close} />)}>
            <Icon name="mail" size="s" />
            <span>{s.linkMail.open}</span>
          </button>
        )}
        <button type="button" class="btn small" onClick={() => rotateLink(link, onRotated)}>
          <Icon name="retry" size="s" />
          <span>{s.links.rotate}</span>
        </button>
      </div>
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
      {link.pending_recipients.length > 0 && (
        <div>
          <dt>{s.links.unconfirmed}</dt>
          <dd>{link.pending_recipients.join(", ")}</dd>
        </div>
      )}
      <div>
        <dt>{s.links.created}</dt>
        <dd>{fmt.exact(new Date(link.created_at))}</dd>
      </div>
    </dl>
  );
}
