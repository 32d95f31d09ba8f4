/** File requests: links by which people without an account send files. */

import type { FileRequest, NewFileRequest } from "@we-upload/client";
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { useKeys } from "../core/keys";
import { showProblem } from "../core/problems";
import { location, navigate } from "../core/router";
import { onSignOut } from "../core/session";
import { showToast } from "../core/toasts";
import { RequestForm } from "../requests/request-form";
import { RequestLink } from "../requests/request-link";
import { SkeletonRows } from "../files/file-table";
import { Badge, Empty, ErrorNote } from "../ui/controls";
import { ConfirmDialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { FileName } from "../ui/file-name";
import { Icon } from "../ui/icon";
import { MenuButton, type MenuItem } from "../ui/menu";

/** Null until they were read. The address of a request is known after its creation only. */
const requests = signal<readonly FileRequest[] | null>(null);
const loadError = signal<unknown>(null);
onSignOut(() => {
  requests.value = null;
});

async function load(): Promise<void> {
  loadError.value = null;
  try {
    const page = await api.fileRequests.list({ limit: 100 });
    requests.value = page.items;
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
      {all === null ? (
        loadError.value !== null ? (
          <ErrorNote error={loadError.value} onRetry={() => void load()} />
        ) : (
          <SkeletonRows count={4} />
        )
      ) : all.length === 0 ? (
        <Empty title={s.requests.none}>
          <p class="soft">{s.requests.noneText}</p>
          <button type="button" class="btn primary" onClick={() => openForm(null)}>
            {s.requests.create}
          </button>
        </Empty>
      ) : (
        <div class="card">
          <table class="table inset tall">
            <caption class="sr">{s.requests.caption}</caption>
            <thead>
              <tr>
                <th class="name" scope="col">
                  {s.requests.request}
                </th>
                <th class="wide" scope="col">
                  {s.links.state}
                </th>
                <th class="num wide" scope="col">
                  {s.requests.received}
                </th>
                <th class="num wide roomy" scope="col">
                  {s.requests.perFile}
                </th>
                <th class="wide" scope="col">
                  {s.share.closes}
                </th>
                <th class="act">
                  <span class="sr">{t.files.actions}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {all.map((request) => (
                <RequestRow key={request.id} request={request} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}

function RequestRow({ request }: { readonly request: FileRequest & { readonly url?: string | null } }) {
  const closesAt = new Date(request.expires_at);
  const isExpired = closesAt.getTime() <= Date.now();
  const isFull = request.file_count >= request.max_files;
  const badge = (
    <Badge tone={isExpired || isFull ? "plain" : "ok"} icon={isExpired ? "clock" : isFull ? "lock" : "check"}>
      {isExpired ? s.links.states.expired : isFull ? s.requests.full : s.links.states.open}
    </Badge>
  );
  const closes = isExpired ? fmt.day(closesAt) : fmt.inDays(closesAt);
  const received = t.format.of(fmt.number(request.file_count), fmt.number(request.max_files));
  const menu = (): readonly MenuItem[] => [
    { label: s.requests.showFiles, icon: "files", run: () => navigate(`/files?request=${request.id}`) },
    ...(request.url ? [{ label: s.requests.showLink, icon: "link", run: () => showLink({ ...request, url: request.url ?? "" }) } as const] : []),
    { label: s.links.change, icon: "gear", run: () => openForm(request) },
    { label: s.requests.close, icon: "trash", isDangerous: true, run: () => confirmClose(request) },
  ];
  return (
    <tr>
      <td class="name">
        <button type="button" class="open" onClick={() => navigate(`/files?request=${request.id}`)}>
          <FileName name={request.title} />
        </button>
        <span class="two">{request.note ?? s.requests.madeOn(fmt.day(new Date(request.created_at)))}</span>
        <span class="meta st">
          {badge}
          <span>
            {s.requests.receivedCount(received)} · {closes}
          </span>
        </span>
      </td>
      <td class="wide">{badge}</td>
      <td class="num wide">{received}</td>
      <td class="num wide roomy">{fmt.bytes(request.max_size_bytes)}</td>
      <td class="wide nowrap">{closes}</td>
      <td class="act">
        <MenuButton class="btn quiet small icon" label={t.files.moreActions(request.title)} items={menu}>
          <Icon name="more" size="s" />
        </MenuButton>
      </td>
    </tr>
  );
}

function confirmClose(request: FileRequest): void {
  const close = async () => {
    try {
      await api.fileRequests.close(request.id);
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
  const keep = (made: NewFileRequest) => {
    requests.value = [made, ...(requests.value ?? [])];
    showLink(made);
  };
  const replace = (changed: FileRequest) => {
    requests.value = requests.value?.map((other) => (other.id === changed.id ? { ...other, ...changed } : other)) ?? null;
    showToast(s.share.saved);
  };
  showDialog((close) => <RequestForm request={request} onClose={close} onMade={keep} onChanged={replace} />);
}

function showLink(request: Pick<NewFileRequest, "title" | "url">): void {
  showDialog((close) => <RequestLink title={request.title} url={request.url} onClose={close} />);
}
