/** A file in full view, with its details. Arrow keys move through the list. */

import { createPreviews, type FileInfo, type Preview } from "@we-upload/client";
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../core/api";
import { fileKind, isShowableImage, isText, KIND_ICONS } from "../core/file-kind";
import { fmt, isRightToLeft, t } from "../core/language";
import { s } from "../core/screen-texts";
import { serverConfig } from "../core/server-config";
import { user } from "../core/session";
import { deleteFiles, downloadFiles } from "../files/file-actions";
import type { FileList } from "../files/file-list";
import { forgetThumbnail, thumbnails, wantThumbnails } from "../files/thumbnails";
import { renameFile, shareFiles } from "../files/open-dialogs";
import { typeText } from "../files/type-text";
import { showFileReceipt } from "../receipts/receipt-dialogs";
import { CopyButton, CopyField } from "../ui/copy";
import { Badge, ErrorNote, IconButton } from "../ui/controls";
import { FileName } from "../ui/file-name";
import { Icon } from "../ui/icon";

interface PreviewProps {
  readonly list: FileList;
  readonly fileId: string;
  readonly onClose: () => void;
}

const FILM_SIDE = 6;

export function PreviewDialog({ list, fileId, onClose }: PreviewProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const film = useRef<HTMLElement>(null);
  const [currentId, setCurrentId] = useState(fileId);
  const [hasDetails, setDetails] = useState(window.innerWidth > 760);
  const files = list.items.value;
  const index = files.findIndex((file) => file.id === currentId);
  const file = files[index];
  const preview = usePreview(file);
  useEffect(() => {
    const opener = document.activeElement;
    dialog.current?.showModal();
    dialog.current?.focus();
    return () => {
      const row = document.getElementById(`row-${list.activeId.value}`);
      if (row !== null) row.focus();
      else if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    };
  }, []);
  useEffect(() => {
    if (index < 0) onClose();
    if (files.length - index < 20) void list.loadMore();
    wantThumbnails(files.slice(Math.max(0, index - FILM_SIDE), index + FILM_SIDE + 1));
    film.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [index]);
  if (file === undefined) return null;

  const show = (next: FileInfo | undefined) => {
    if (next === undefined) return;
    setCurrentId(next.id);
    list.activeId.value = next.id;
  };
  const previous = files[index - 1];
  const next = files[index + 1];
  const remove = () => {
    const after = next ?? previous;
    if (after === undefined) onClose();
    else show(after);
    void deleteFiles(list, [file]);
  };
  const isMine = file.owner_id === user.value?.id;
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.target instanceof HTMLVideoElement || event.target instanceof HTMLAudioElement) return;
    const act: (() => void) | undefined = {
      ArrowLeft: () => show(isRightToLeft() ? next : previous),
      ArrowRight: () => show(isRightToLeft() ? previous : next),
      i: () => setDetails(!hasDetails),
      d: () => void downloadFiles([file]),
      ...(isMine ? { Delete: remove, s: () => shareFiles([file]), F2: () => renameFile(list, file) } : {}),
    }[event.key];
    if (act === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  };
  return (
    <dialog
      ref={dialog}
      class={hasDetails ? "lightbox" : "lightbox no-info"}
      data-theme="dark"
      tabIndex={-1}
      aria-labelledby="preview-title"
      onKeyDown={onKeyDown}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <header>
        <IconButton icon="x" label={t.actions.close} onClick={onClose} />
        <div class="grow">
          <h2 class="lbt" id="preview-title">
            <FileName name={file.filename} />
          </h2>
          <span class="two">{t.format.of(fmt.number(index + 1), fmt.number(list.total.value ?? files.length))}</span>
        </div>
        {isMine && (
          <button type="button" class="btn quiet head-btn" onClick={() => shareFiles([file])}>
            <Icon name="link" />
            <span>{t.actions.share}</span>
          </button>
        )}
        <button type="button" class="btn quiet head-btn" onClick={() => void downloadFiles([file])}>
          <Icon name="download" />
          <span>{t.actions.download}</span>
        </button>
        {isMine && <IconButton icon="trash" label={t.files.moveToTrash} onClick={remove} class="head-btn" />}
        <button type="button" class="btn quiet icon" aria-label={s.preview.details} title={s.preview.details} aria-pressed={hasDetails} onClick={() => setDetails(!hasDetails)}>
          <Icon name="info" />
        </button>
      </header>
      <div class="stage">
        <IconButton icon="left" label={s.preview.previous} onClick={() => show(previous)} disabled={previous === undefined} />
        <Content key={file.id} file={file} preview={preview} />
        <IconButton icon="right" label={s.preview.next} onClick={() => show(next)} disabled={next === undefined} />
      </div>
      {hasDetails && <Details file={file} preview={preview} isMine={isMine} onRename={() => renameFile(list, file)} onClose={onClose} />}
      <nav class="film" ref={film} aria-label={s.preview.film}>
        {files.slice(Math.max(0, index - FILM_SIDE), index + FILM_SIDE + 1).map((other) => (
          <button type="button" key={other.id} title={other.filename} aria-label={other.filename} aria-current={other.id === file.id ? "true" : undefined} onClick={() => show(other)}>
            {thumbnails.value.has(other.id) ? <img src={thumbnails.value.get(other.id)} alt="" onError={() => forgetThumbnail(other)} /> : <Icon name={KIND_ICONS[fileKind(other.content_type, other.filename)]} />}
          </button>
        ))}
      </nav>
      <div class="phone-only row lb-foot">
        {isMine && (
          <button type="button" class="btn grow" onClick={() => shareFiles([file])}>
            <Icon name="link" />
            <span>{t.actions.share}</span>
          </button>
        )}
        <button type="button" class="btn primary grow" onClick={() => void downloadFiles([file])}>
          <Icon name="download" />
          <span>{t.actions.download}</span>
        </button>
      </div>
    </dialog>
  );
}

/** Bytes of a text file that are shown. */
const TEXT_BYTES_MAX = 200_000;

const previews = createPreviews(api);

/** The preview that the server made of a file; null until it is known. */
function usePreview(file: FileInfo | undefined): Preview | null {
  const [preview, setPreview] = useState<Preview | null>(null);
  useEffect(() => {
    setPreview(null);
    if (file === undefined || !serverConfig.value?.previews_enabled) return;
    const controller = new AbortController();
    previews.get(file.id, { signal: controller.signal }).then(setPreview, () => {});
    return () => controller.abort();
  }, [file?.id]);
  return preview;
}

/** What can be shown of a file, by an address that is valid for minutes. Bytes come from the bucket's host, never from this page's. */
function Content({ file, preview }: { readonly file: FileInfo; readonly preview: Preview | null }) {
  const [url, setUrl] = useState<string | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [isBroken, setBroken] = useState(false);
  const type = file.detected_content_type ?? file.content_type;
  const kind = file.status !== "available" || file.is_withheld ? "none" : showable(type, file.filename);
  useEffect(() => {
    if (kind === "none") return;
    const controller = new AbortController();
    previews.inlineUrl(file.id, { signal: controller.signal }).then(
      (answer) => setUrl(answer.download_url),
      (cause) => !controller.signal.aborted && setError(cause),
    );
    return () => controller.abort();
  }, [file.id]);
  if (error !== null) {
    return (
      <div class="lb-none">
        <ErrorNote error={error} />
      </div>
    );
  }
  if (kind === "none" || isBroken) {
    if (preview?.large) return <img class="pic" src={preview.large.url} alt={s.preview.pictureOf(file.filename)} referrerpolicy="no-referrer" />;
    return <NoPreview file={file} isBroken={isBroken} />;
  }
  if (url === null) return <div class="pic" aria-busy="true" />;
  const fail = () => setBroken(true);
  switch (kind) {
    case "image":
      return <img class="pic" src={url} alt={s.preview.pictureOf(file.filename)} onError={fail} referrerpolicy="no-referrer" />;
    case "video":
      return <video class="pic" src={url} poster={preview?.large?.url} controls preload="metadata" aria-label={file.filename} onError={fail} />;
    case "pdf":
      // Another origin than this page's, and only the browser's own viewer: the response has the type of a PDF.
      return <iframe class="pic page" src={url} title={s.preview.pictureOf(file.filename)} referrerpolicy="no-referrer" />;
    case "audio":
      return (
        <div class="lb-none">
          <Icon name="audio" size="l" />
          <audio src={url} controls preload="metadata" aria-label={file.filename} onError={fail} />
        </div>
      );
    case "text":
      return <TextContent url={url} sizeBytes={file.size_bytes} onFail={fail} />;
  }
}

function showable(type: string, filename: string): "image" | "video" | "audio" | "text" | "pdf" | "none" {
  // Browsers of phones have no viewer for a part of a page. They show the first page.
  if (/^application\/pdf$/i.test(type)) return navigator.pdfViewerEnabled ? "pdf" : "none";
  if (isShowableImage(type)) return "image";
  if (/^video\/(mp4|webm|ogg|quicktime)$/i.test(type)) return "video";
  if (/^audio\//i.test(type)) return "audio";
  return isText(type, filename) ? "text" : "none";
}

/** Return a duration as minutes and seconds, with hours where it has any. */
function clockTime(seconds: number): string {
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return (parts[0] === 0 ? parts.slice(1) : parts).map((part, index) => (index === 0 ? String(part) : String(part).padStart(2, "0"))).join(":");
}

function NoPreview({ file, isBroken }: { readonly file: FileInfo; readonly isBroken: boolean }) {
  return (
    <div class="lb-none">
      <Icon name={KIND_ICONS[fileKind(file.content_type, file.filename)]} size="l" />
      <p class="strong">{isBroken ? s.preview.broken : file.status !== "available" ? t.files.statuses[file.status] : file.is_withheld ? s.preview.scans[file.scan_status] : s.preview.none}</p>
      {file.status === "available" && !file.is_withheld && (
        <button type="button" class="btn" onClick={() => void downloadFiles([file])}>
          <Icon name="download" />
          <span>{t.actions.download}</span>
        </button>
      )}
    </div>
  );
}

function TextContent({ url, sizeBytes, onFail }: { readonly url: string; readonly sizeBytes: number; readonly onFail: () => void }) {
  const [text, setText] = useState<string | null>(null);
  const isCut = sizeBytes > TEXT_BYTES_MAX;
  useEffect(() => {
    const controller = new AbortController();
    const headers: Record<string, string> = isCut ? { Range: `bytes=0-${TEXT_BYTES_MAX - 1}` } : {};
    fetch(url, { headers, credentials: "omit", signal: controller.signal })
      .then((response) => (response.ok ? response.text() : Promise.reject(new Error(String(response.status)))))
      .then(setText)
      .catch(() => !controller.signal.aborted && onFail());
    return () => controller.abort();
  }, [url]);
  return (
    <div class="lb-text" tabIndex={0} role="region" aria-label={s.preview.text}>
      <pre dir="auto">{text ?? ""}</pre>
      {isCut && text !== null && <p class="muted">{s.preview.textCut(fmt.bytes(TEXT_BYTES_MAX), fmt.bytes(sizeBytes))}</p>}
    </div>
  );
}

interface DetailsProps {
  readonly file: FileInfo;
  readonly preview: Preview | null;
  readonly isMine: boolean;
  readonly onRename: () => void;
  readonly onClose: () => void;
}

function Details({ file, preview, isMine, onRename, onClose }: DetailsProps) {
  return (
    <aside class="info stack g6" aria-label={s.preview.details}>
      <h2 class="big-only">{s.preview.details}</h2>
      <dl class="kv">
        <div>
          <dt>{t.files.size}</dt>
          <dd>
            {fmt.bytes(file.size_bytes)} <span class="muted sm">({s.preview.exactBytes(file.size_bytes)})</span>
          </dd>
        </div>
        {preview?.width && preview.height && preview.page_count === null && (
          <div>
            <dt>{s.preview.dimensions}</dt>
            <dd>{s.preview.pixels(preview.width, preview.height)}</dd>
          </div>
        )}
        {preview?.page_count && (
          <div>
            <dt>{s.preview.pages}</dt>
            <dd>{fmt.number(preview.page_count)}</dd>
          </div>
        )}
        {preview?.duration_seconds && (
          <div>
            <dt>{s.preview.duration}</dt>
            <dd>{clockTime(preview.duration_seconds)}</dd>
          </div>
        )}
        <div>
          <dt>{t.files.added}</dt>
          <dd>{fmt.exact(new Date(file.created_at))}</dd>
        </div>
        <div>
          <dt>{t.files.type}</dt>
          <dd>
            {typeText(file.detected_content_type ?? file.content_type, file.filename)} <span class="muted sm">{file.detected_content_type ?? file.content_type}</span>
          </dd>
        </div>
        {(file.description !== null || isMine) && (
          <div>
            <dt>{s.rename.description}</dt>
            <dd dir="auto">{file.description ?? <span class="muted">{s.preview.noDescription}</span>}</dd>
          </div>
        )}
        {file.public_path !== null && (
          <div>
            <dt>{s.preview.publicAddress}</dt>
            <dd>
              <CopyField value={new URL(file.public_path.replace(/^\//, ""), document.baseURI).href} label={s.preview.publicAddress} />
            </dd>
          </div>
        )}
        {file.scan_status !== "none" && (
          <div>
            <dt>{s.preview.scan}</dt>
            <dd>{file.scan_status === "infected" && !file.is_withheld ? s.preview.released : s.preview.scans[file.scan_status]}</dd>
          </div>
        )}
        {file.file_request_id !== null && (
          <div>
            <dt>{s.preview.source}</dt>
            <dd>
              <a href={`files?request=${file.file_request_id}`} onClick={onClose}>
                {s.preview.fileRequest}
              </a>
            </dd>
          </div>
        )}
        {file.sha256 !== null && (
          <div>
            <dt>SHA-256</dt>
            <dd class="mono xs">{file.sha256.replace(/(.{4})/g, "$1 ").trim()}</dd>
          </div>
        )}
      </dl>
      <div class="row wrap big-only">
        {file.status === "available" && (
          <Badge tone="ok" icon="ok">
            {s.preview.verified}
          </Badge>
        )}
        {file.sha256 !== null && <CopyButton text={file.sha256} label={s.preview.copyDigest} class="small" />}
        {isMine && file.status === "available" && (
          <button type="button" class="btn small" onClick={() => showFileReceipt(file)}>
            <Icon name="shield" size="s" />
            <span>{s.receipts.receipt}</span>
          </button>
        )}
        {isMine && (
          <button type="button" class="btn small" onClick={onRename}>
            {t.actions.rename}
          </button>
        )}
      </div>
    </aside>
  );
}
