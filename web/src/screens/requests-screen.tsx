/** File requests: links by which people without an account send files. */

import type { FileRequest } from "@we-upload/client";
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { fileRequests } from "../requests/file-requests";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { useKeys } from "../core/keys";
import { showProblem } from "../core/problems";
import { location, navigate } from "../core/router";
import { onSignOut } from "../core/session";
import { showToast } from "../core/toasts";
import { RequestForm } from "../requests/request-form";
import { RequestLink } from "../requests/request-link";
import { copyAddress } from "../sharing/link-address";
import { Badge, Empty } from "../ui/controls";
import { actionsColumn, DataTable, Loaded, ShowMore, type Column } from "../ui/data-table";
import { ConfirmDialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { FileName } from "../ui/file-name";
import { Icon } from "../ui/icon";
import type { MenuItem } from "../ui/menu";

const PAGE_SIZE = 100;

/** Null until they were read. */
const requests = signal<readonly FileRequest[] | null>(null);
const nextCursor = signal<string | null>(null);
const loadError = signal<unknown>(null);
onSignOut(() => {
  requests.value = null;
});

/** Read the first page, or the one after the cursor. */
async function load(cursor: string | null = null): Promise<void> {
  loadError.value = null;
  try {
    const page = await fileRequests.list({ limit: PAGE_SIZE, ...(cursor === null ? {} : { cursor }) });
    requests.value = cursor === null ? page.items : [...(requests.value ?? []), ...page.items];
    nextCursor.value = page.nextCursor;
  } catch (error) {
    loadError.value = error;
  }
}

function isOpen(request: FileRequest): boolean {
  return Date.parse(request.expires_at) > Date.now() && request.file_count < request.max_files;
}

export function RequestsScreen() {
  const wantsNew = location.value.query.has("new");
  useEffect(() => void load(), []);
  useEffect(() => {
    if (!wantsNew) return;
    navigate("/requests", { replace: true });
    openForm(null);
  }, [wantsNew]);
  useKeys({ n: () => openForm(null) });
  const all = requests.value;
  return (
    <>
      <div class="head">
        <h1>{t.nav.requests}</h1>
        {all !== null && all.length > 0 && <span class="muted">{s.requests.open(all.filter(isOpen).length)}</span>}
        <span class="grow" />
        <button type="button" class="btn primary" onClick={() => openForm(null)}>
          <Icon name="plus" />
          <span>{s.requests.create}</span>
        </button>
      </div>
      <Loaded value={all} error={loadError.value} onRetry={() => void load()} skeletonCount={4}>
        {(known) =>
          known.length === 0 ? (
            <Empty title={s.requests.none}>
              <p class="soft">{s.requests.noneText}</p>
              <button type="button" class="btn primary" onClick={() => openForm(null)}>
                {s.requests.create}
              </button>
            </Empty>
          ) : (
            <div class="card">
              <DataTable caption={s.requests.caption} class="inset tall" columns={columns()} rows={known} keyOf={(request) => request.id} />
            </div>
          )
        }
      </Loaded>
      {nextCursor.value !== null && <ShowMore onClick={() => void load(nextCursor.value)} />}
    </>
  );
}

function columns(): readonly Column<FileRequest>[] {
  return [
    { head: s.requests.request, class: "name", cell: (request) => <RequestName request={request} /> },
    { head: s.links.state, class: "wide", cell: (request) => <StateBadge request={request} /> },
    { head: s.requests.received, class: "num wide", cell: receivedOf },
    { head: s.requests.perFile, class: "num wide roomy", cell: (request) => fmt.bytes(request.max_size_bytes) },
    { head: s.share.closes, class: "wide nowrap", cell: closesOf },
    actionsColumn((request) => request.title, menu),
  ];
}

function showFiles(request: FileRequest): void {
  navigate(`/files?request=${request.id}`);
}

function isExpired(request: FileRequest): boolean {
  return Date.parse(request.expires_at) <= Date.now();
}

function closesOf(request: FileRequest): string {
  const closesAt = new Date(request.expires_at);
  return isExpired(request) ? fmt.day(closesAt) : fmt.inDays(closesAt);
}

function receivedOf(request: FileRequest): string {
  return t.format.of(fmt.number(request.file_count), fmt.number(request.max_files));
}

function StateBadge({ request }: { readonly request: FileRequest }) {
  const isFull = request.file_count >= request.max_files;
  return (
    <Badge tone={isOpen(request) ? "ok" : "plain"} icon={isExpired(request) ? "clock" : isFull ? "lock" : "check"}>
      {isExpired(request) ? s.links.states.expired : isFull ? s.requests.full : s.links.states.open}
    </Badge>
  );
}

function RequestName({ request }: { readonly request: FileRequest }) {
  return (
    <>
      <button type="button" class="open" onClick={() => showFiles(request)}>
        <FileName name={request.title} />
      </button>
      <span class="two">{request.note ?? s.requests.madeOn(fmt.day(new Date(request.created_at)))}</span>
      <span class="meta st">
        <StateBadge request={request} />
        <span>
          {s.requests.receivedCount(receivedOf(request))} · {isExpired(request) ? closesOf(request) : s.links.closes(closesOf(request))}
        </span>
      </span>
    </>
  );
}

function menu(request: FileRequest): readonly MenuItem[] {
  const { url } = request;
  return [
    { label: s.requests.showFiles, icon: "files", run: () => showFiles(request) },
    ...(url === null
      ? []
      : ([
          { label: s.links.copy, icon: "copy", run: () => void copyAddress(url) },
          { label: s.requests.showLink, icon: "link", run: () => showLink(request.title, url) },
        ] as const)),
    { label: s.links.change, icon: "gear", run: () => openForm(request) },
    { label: s.links.rotate, icon: "retry", run: () => confirmRotate(request) },
    { label: s.requests.close, icon: "trash", isDangerous: true, run: () => confirmClose(request) },
  ];
}

function replace(changed: FileRequest): void {
  requests.value = requests.value?.map((other) => (other.id === changed.id ? changed : other)) ?? null;
}

/** Ask, then give a request a new address. */
function confirmRotate(request: FileRequest): void {
  const rotate = async () => {
    try {
      const rotated = await fileRequests.rotate(request.id);
      replace(rotated);
      if (rotated.url !== null) showLink(rotated.title, rotated.url);
    } catch (error) {
      showProblem(error);
    }
  };
  showDialog((close) => <ConfirmDialog title={s.share.rotateTitle} text={s.requests.rotateText} confirm={s.links.rotate} onConfirm={() => void rotate()} onClose={close} />);
}

function confirmClose(request: FileRequest): void {
  const close = async () => {
    try {
      await fileRequests.close(request.id);
      requests.value = requests.value?.filter((other) => other.id !== request.id) ?? null;
      showToast(s.requests.closed, { icon: "inbox" });
    } catch (error) {
      showProblem(error);
    }
  };
  showDialog((end) => (
    <ConfirmDialog title={s.requests.closeTitle(request.title)} text={s.requests.closeText} confirm={s.requests.close} onConfirm={() => void close()} onClose={end} />
  ));
}

function openForm(request: FileRequest | null): void {
  const keep = (saved: FileRequest) => {
    if (request !== null) {
      replace(saved);
      showToast(s.share.saved);
      return;
    }
    requests.value = [saved, ...(requests.value ?? [])];
    if (saved.url !== null) showLink(saved.title, saved.url);
  };
  showDialog((close) => <RequestForm request={request} onClose={close} onSaved={keep} />);
}

function showLink(title: string, url: string): void {
  showDialog((close) => <RequestLink title={title} url={url} onClose={close} />);
}
