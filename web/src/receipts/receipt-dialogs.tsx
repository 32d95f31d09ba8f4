/** Receipts of a file and of a link's downloads: their content, how to check them, and their download. */

import { isApiError, type FileInfo, type Receipt, type Share } from "@we-upload/client";
import { useEffect, useState } from "preact/hooks";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { CopyField } from "../ui/copy";
import { Empty, ErrorNote, Note } from "../ui/controls";
import { Loaded, useLoaded } from "../ui/data-table";
import { Dialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { FileName } from "../ui/file-name";
import { Icon } from "../ui/icon";
import { receiptName, receiptText, summarize } from "./receipt";

const RETRY_SECONDS = 60;

export function showFileReceipt(file: FileInfo): void {
  showDialog((close) => <FileReceipt file={file} onClose={close} />);
}

export function showLinkReceipts(link: Share): void {
  showDialog((close) => <LinkReceipts link={link} onClose={close} />);
}

interface FileReceiptProps {
  readonly file: FileInfo;
  readonly onClose: () => void;
}

function FileReceipt({ file, onClose }: FileReceiptProps) {
  const [receipt, setReceipt] = useState<Receipt | null>(null);
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    const controller = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async () => {
      try {
        setReceipt(await api.files.receipt(file.id, { signal: controller.signal }));
        setError(null);
      } catch (cause) {
        if (controller.signal.aborted) return;
        setError(cause);
        if (isApiError(cause, "receipt_not_ready")) timer = setTimeout(() => void read(), (cause.retryAfterSeconds ?? RETRY_SECONDS) * 1000);
      }
    };
    void read();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [file.id]);
  return (
    <Dialog title={s.receipts.title} subtitle={file.filename} onClose={onClose} onConfirm={onClose} footer={<Footer onClose={onClose} receipt={receipt} />}>
      <div class="dlg-text stack">
        <p class="soft">{s.receipts.text}</p>
        <div role="status">{error !== null && <Waiting error={error} />}</div>
        {receipt !== null && <Facts receipt={receipt} />}
      </div>
    </Dialog>
  );
}

function Waiting({ error }: { readonly error: unknown }) {
  if (isApiError(error, "receipt_not_ready")) return <Note icon="clock">{s.receipts.notReady}</Note>;
  if (isApiError(error, "receipt_not_found")) return <Note>{s.receipts.none}</Note>;
  return <ErrorNote error={error} />;
}

function Facts({ receipt }: { readonly receipt: Receipt }) {
  const summary = summarize(receipt);
  const command = "we-upload verify RECEIPT FILE";
  return (
    <>
      <dl class="kv">
        <div>
          <dt>{s.receipts.events[summary.action] ?? summary.action}</dt>
          <dd>{fmt.exact(summary.at)}</dd>
        </div>
        {summary.sizeBytes !== null && (
          <div>
            <dt>{t.files.size}</dt>
            <dd>{s.preview.exactBytes(summary.sizeBytes)}</dd>
          </div>
        )}
        {summary.sha256 !== null && (
          <div>
            <dt>SHA-256</dt>
            <dd class="mono xs">{summary.sha256}</dd>
          </div>
        )}
        <div>
          <dt>{s.receipts.checkpoint}</dt>
          <dd>{s.receipts.checkpointOf(summary.logSize)}</dd>
        </div>
      </dl>
      <div class="stack g2">
        <p>{s.receipts.verify}</p>
        <CopyField value={command} label={s.receipts.verify} />
        <p class="hint">{s.receipts.verifyHint}</p>
      </div>
    </>
  );
}

function Footer({ onClose, receipt }: { readonly onClose: () => void; readonly receipt: Receipt | null }) {
  return (
    <>
      <span class="grow" />
      <button type="button" class={receipt === null ? "btn primary" : "btn quiet"} onClick={onClose}>
        {t.actions.close}
      </button>
      {receipt !== null && (
        <button type="button" class="btn primary" onClick={() => saveReceipt(receipt)}>
          <Icon name="download" />
          <span>{s.receipts.download}</span>
        </button>
      )}
    </>
  );
}

function LinkReceipts({ link, onClose }: { readonly link: Share; readonly onClose: () => void }) {
  const { value, error, load } = useLoaded<readonly Receipt[]>(() => api.shares.receipts(link.id));
  return (
    <Dialog title={s.receipts.linkTitle} subtitle={s.receipts.linkText} onClose={onClose} onConfirm={onClose} footer={<Footer onClose={onClose} receipt={null} />}>
      <div class="dlg-text stack">
        <Loaded value={value} error={error} onRetry={load} skeletonCount={3}>
          {(receipts) =>
            receipts.length === 0 ? (
              <Empty title={s.receipts.noneOfLink}>
                <p class="soft">{s.receipts.noneOfLinkText}</p>
              </Empty>
            ) : (
              <ul class="card list">
                {receipts.map((receipt) => (
                  <ReceiptRow key={receipt.events[0]?.index} receipt={receipt} />
                ))}
              </ul>
            )
          }
        </Loaded>
        <p class="hint">{s.receipts.text}</p>
      </div>
    </Dialog>
  );
}

function ReceiptRow({ receipt }: { readonly receipt: Receipt }) {
  const summary = summarize(receipt);
  const name = summary.isZip ? s.receipts.zip : (summary.filename ?? s.receipts.unknownFile);
  return (
    <li>
      <span class="grow">
        <span class="strong">
          <FileName name={name} />
        </span>
        <span class="two wrapit">{fmt.exact(summary.at)}</span>
      </span>
      <span class="acts row">
        <button type="button" class="btn small" aria-label={s.receipts.downloadOf(name)} onClick={() => saveReceipt(receipt)}>
          <Icon name="download" size="s" />
          <span>{s.receipts.receipt}</span>
        </button>
      </span>
    </li>
  );
}

function saveReceipt(receipt: Receipt): void {
  const url = URL.createObjectURL(new Blob([receiptText(receipt)], { type: "application/json" }));
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = receiptName(summarize(receipt).filename);
  anchor.click();
  URL.revokeObjectURL(url);
}
