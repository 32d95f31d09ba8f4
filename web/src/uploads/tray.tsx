/** The uploads of this page: progress of each and of all, and what can be done with them. */

import type { UploadItem, UploadTotals } from "@we-upload/client";
import { fileKind, KIND_ICONS } from "../core/file-kind";
import { fmt, t } from "../core/language";
import { shareFiles } from "../files/open-dialogs";
import { IconButton } from "../ui/controls";
import { FileName } from "../ui/file-name";
import { Icon } from "../ui/icon";
import { cancelUpload, chooseAgain, clearUploads, dismissUpload, pauseUpload, resumeUpload, retryUpload, uploads, uploadStatus } from "./upload-engine";
import { isTrayFolded, uploadTotals } from "./upload-store";
import { u } from "./upload-texts";
import { sortUploads, uploadWords } from "./upload-words";

/** Rows that are drawn; a line counts the others. */
const ROWS_MAX = 60;

export function Tray() {
  const totals = uploadTotals.value;
  if (totals === null || uploads.value.length === 0) return null;
  return (
    <>
      {isTrayFolded.value ? <FoldedTray totals={totals} /> : <OpenTray totals={totals} />}
      <div class="sr" role="status">
        {uploadStatus.value}
      </div>
      <div class="sr" role="alert">
        {totals.failedCount > 0 ? u.failedCount(totals.failedCount) : ""}
      </div>
    </>
  );
}

interface TotalsProps {
  readonly totals: UploadTotals;
}

function headline({ verifiedCount, count }: UploadTotals): string {
  return verifiedCount === count ? u.allVerified(count) : u.someVerified(verifiedCount, count);
}

function FoldedTray({ totals }: TotalsProps) {
  const { secondsLeft, activeCount } = totals;
  return (
    <button type="button" class="trayc" aria-expanded="false" onClick={() => (isTrayFolded.value = false)}>
      <Icon name={activeCount === 0 ? "ok" : "upload"} />
      <span class="grow">
        {headline(totals)}
        {secondsLeft !== null && `, ${fmt.timeLeft(secondsLeft)}`}
      </span>
      <Icon name="up" size="s" />
    </button>
  );
}

function OpenTray({ totals }: TotalsProps) {
  const items = sortUploads(uploads.value);
  const isPaused = totals.activeCount === 0 && totals.pausedCount > 0;
  const arrived = items.flatMap((item) => (item.file === null ? [] : [item.file]));
  const isDone = totals.activeCount === 0 && totals.pausedCount === 0;
  const percent = totals.sizeBytes > 0 ? Math.floor((totals.sentBytes / totals.sizeBytes) * 100) : 100;
  return (
    <section class="tray" aria-label={u.title}>
      <header>
        <div class="row">
          <h2 class="grow">{headline(totals)}</h2>
          {totals.activeCount > 0 && <IconButton icon="pause" label={u.pauseAll} isSmall onClick={() => pauseUpload()} />}
          {isPaused && <IconButton icon="play" label={u.resumeAll} isSmall onClick={() => resumeUpload()} />}
          <IconButton icon="down" label={u.fold} isSmall onClick={() => (isTrayFolded.value = true)} />
          {isDone && <IconButton icon="x" label={u.closeTray} isSmall onClick={clearUploads} />}
        </div>
        {!isDone && (
          <>
            <progress class={isPaused ? "thick paused" : "thick"} value={percent} max={100} aria-label={u.allProgress} />
            <div class="row between sm soft">
              <span>
                {fmt.bytesOf(totals.sentBytes, totals.sizeBytes)}
                {!isPaused && totals.bytesPerSecond > 0 && ` · ${fmt.speed(totals.bytesPerSecond)}`}
              </span>
              <span>{totals.secondsLeft !== null && fmt.timeLeft(totals.secondsLeft)}</span>
            </div>
          </>
        )}
      </header>
      <ul tabIndex={-1}>
        {items.slice(0, ROWS_MAX).map((item) => (
          <UploadRow key={item.id} item={item} />
        ))}
        {items.length > ROWS_MAX && <li class="up-more muted sm">{u.more(items.length - ROWS_MAX)}</li>}
      </ul>
      {arrived.length > 0 && (
        <footer>
          <p class="sm soft grow">{isDone ? u.linkHint(arrived.length) : u.linkHintUnfinished(arrived.length)}</p>
          <button type="button" class="btn primary" onClick={() => shareFiles(arrived)}>
            <Icon name="link" />
            <span>{u.createLink}</span>
          </button>
        </footer>
      )}
    </section>
  );
}

const HAS_PROGRESS: ReadonlySet<UploadItem["state"]> = new Set(["sending", "paused", "checking", "hashing"]);

function UploadRow({ item }: { readonly item: UploadItem }) {
  const words = uploadWords(item);
  const percent = item.sizeBytes > 0 ? Math.floor((item.sentBytes / item.sizeBytes) * 100) : 100;
  const isStopped = item.state === "paused" || item.needsFile;
  return (
    <li class="up-item">
      <span class="tile">
        <Icon name={KIND_ICONS[fileKind(item.contentType, item.name)]} />
      </span>
      <FileName name={item.name} />
      <div class="acts">
        <UploadActions item={item} />
      </div>
      <div class="up-state">
        <span class={`state ${words.tone}`}>
          {words.icon && <Icon name={words.icon} size="s" />}
          <span>{words.text}</span>
        </span>
        {(HAS_PROGRESS.has(item.state) || item.needsFile) && (
          <progress class={isStopped ? "paused" : ""} value={item.state === "checking" ? 100 : percent} max={100} aria-label={u.progressOf(item.name)} />
        )}
      </div>
    </li>
  );
}

function UploadActions({ item }: { readonly item: UploadItem }) {
  const cancel = <IconButton icon="x" label={u.cancelOne(item.name)} isSmall onClick={() => cancelUpload(item.id)} />;
  if (item.state === "cancelling") return null;
  if (item.needsFile) {
    return (
      <>
        <button type="button" class="btn small" onClick={() => chooseAgain(item.id)}>
          {u.chooseAgain}
        </button>
        {cancel}
      </>
    );
  }
  switch (item.state) {
    case "paused":
      return (
        <>
          <IconButton icon="play" label={u.resumeOne(item.name)} isSmall onClick={() => resumeUpload(item.id)} />
          {cancel}
        </>
      );
    case "failed":
      return (
        <>
          <button type="button" class="btn small" onClick={() => retryUpload(item.id)}>
            <Icon name="retry" size="s" />
            {t.actions.retry}
          </button>
          <IconButton icon="x" label={u.dismissOne(item.name)} isSmall onClick={() => dismissUpload(item.id)} />
        </>
      );
    case "verified":
    case "cancelled":
      return null;
    case "checking":
      return cancel;
    default:
      return (
        <>
          <IconButton icon="pause" label={u.pauseOne(item.name)} isSmall onClick={() => pauseUpload(item.id)} />
          {cancel}
        </>
      );
  }
}
