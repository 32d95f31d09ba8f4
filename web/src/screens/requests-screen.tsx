/** File requests: links by which people without an account send files. */

import type { FileRequest, NewFileRequest } from "@we-upload/client";
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { useKeys } from "../core/keys";
import { problemText, showProblem } from "../core/problems";
import { location, navigate } from "../core/router";
import { onSignOut } from "../core/session";
import { showToast } from "../core/toasts";
import { SkeletonRows } from "../files/file-table";
import { qrCode, qrPath } from "../sharing/qr-code";
import { CopyField } from "../ui/copy";
import { Badge, Empty, ErrorNote, Field, FieldError, SubmitButton } from "../ui/controls";
import { ConfirmDialog, Dialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { FileName } from "../ui/file-name";
import { Icon } from "../ui/icon";
import { MenuButton, type MenuItem } from "../ui/menu";

/** Null until they were read. The address of a request is known after its creation only. */
const requests = signal<readonly (FileRequest & { readonly url?: string | null })[] | null>(null);
const loadError = signal<unknown>(null);
onSignOut(() => {
  requests.value = null;
});

async function load(): Promise<void> {
  loadError.value = null;
  try {
    const page = await api.fileRequests.list({ limit: 100 });
    const known = new Map(requests.value?.map((request) => [request.id, request.url]));
    requests.value = page.items.map((request) => ({ url: known.get(request.id) ?? null, ...request }));
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
  showDialog((close) => <RequestForm request={request} onClose={close} />);
}

function showLink(request: Pick<NewFileRequest, "title" | "url">): void {
  showDialog((close) => <RequestLink title={request.title} url={request.url} onClose={close} />);
}

function RequestLink({ title, url, onClose }: { readonly title: string; readonly url: string; readonly onClose: () => void }) {
  const code = qrCode(url);
  return (
    <Dialog
      title={s.requests.linkTitle}
      subtitle={title}
      onClose={onClose}
      onConfirm={onClose}
      footer={
        <>
          <span class="grow" />
          <button type="button" class="btn primary" onClick={onClose}>
            {s.share.done}
          </button>
        </>
      }
    >
      <div class="dlg-text stack">
        <CopyField value={url} label={s.share.link} />
        <p class="hint">{s.requests.linkHint}</p>
        {code !== null && (
          <div class="row g3">
            <svg class="qr" viewBox={`-3 -3 ${code.size + 6} ${code.size + 6}`} role="img" aria-label={s.share.qrLabel} shape-rendering="crispEdges">
              <path d={qrPath(code)} />
            </svg>
            <p class="hint">{s.share.qrHint}</p>
          </div>
        )}
      </div>
    </Dialog>
  );
}

const DAYS = [7, 14, 30, 90, 365] as const;
/** File sizes to choose from; the last is the most that one request takes. */
const SIZES = [10_000_000, 100_000_000, 1_000_000_000, 5_368_709_120] as const;
const TYPES = ["any", "image", "pdf", "video"] as const;
const TYPE_PATTERNS: Readonly<Record<(typeof TYPES)[number], readonly string[] | null>> = {
  any: null,
  image: ["image/*"],
  pdf: ["application/pdf"],
  video: ["video/*"],
};

function typeOf(patterns: readonly string[] | null): (typeof TYPES)[number] | "other" {
  if (patterns === null) return "any";
  return TYPES.find((type) => TYPE_PATTERNS[type]?.join() === patterns.join()) ?? "other";
}

function RequestForm({ request, onClose }: { readonly request: FileRequest | null; readonly onClose: () => void }) {
  const form = useRef<HTMLFormElement>(null);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const [key] = useState(() => crypto.randomUUID());
  async function save(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    if (form.current === null || isBusy) return;
    const fields = new FormData(form.current);
    const text = (name: string) => String(fields.get(name) ?? "").trim();
    const days = text("days");
    const type = text("type");
    const body = {
      title: text("title"),
      note: text("note") === "" ? null : text("note"),
      max_files: Number(text("max_files")),
      max_size_bytes: Number(text("max_size_bytes")),
      ...(type === "other" ? {} : { allowed_content_types: TYPE_PATTERNS[type as (typeof TYPES)[number]]?.slice() ?? null }),
      ...(days === "" ? {} : { expires_at: new Date(Date.now() + Number(days) * 86_400_000).toISOString() }),
    };
    setBusy(true);
    setError(null);
    try {
      if (request === null) {
        const made = await api.fileRequests.create(body, { idempotencyKey: key });
        requests.value = [made, ...(requests.value ?? [])];
        onClose();
        showLink(made);
      } else {
        const changed = await api.fileRequests.update(request.id, body);
        requests.value = requests.value?.map((other) => (other.id === changed.id ? { ...other, ...changed } : other)) ?? null;
        onClose();
        showToast(s.share.saved);
      }
    } catch (cause) {
      setError(problemText(cause));
      setBusy(false);
    }
  }
  const sizes = request === null || SIZES.some((size) => size === request.max_size_bytes) ? SIZES : [...SIZES, request.max_size_bytes].sort((a, b) => a - b);
  const type = request === null ? "any" : typeOf(request.allowed_content_types);
  return (
    <Dialog
      title={request === null ? s.requests.formTitle : s.requests.changeTitle}
      subtitle={s.requests.formText}
      onClose={onClose}
      onConfirm={() => form.current?.requestSubmit()}
      footer={
        <>
          <span class="grow" />
          <button type="button" class="btn quiet" onClick={onClose}>
            {t.actions.cancel}
          </button>
          <SubmitButton form="request-form" isBusy={isBusy} label={request === null ? s.requests.submit : t.actions.save} />
        </>
      }
    >
      <form id="request-form" ref={form} class="dlg-text stack" onSubmit={(event) => void save(event)}>
        <Field label={s.requests.title} name="title" required maxLength={200} defaultValue={request?.title ?? ""} placeholder={s.requests.titlePlaceholder} dir="auto" autoFocus />
        <div class="field">
          <label for="request-note">{s.share.note}</label>
          <textarea class="input" id="request-note" name="note" rows={2} maxLength={2000} dir="auto" defaultValue={request?.note ?? ""} />
        </div>
        <div class="form2">
          <Field label={s.requests.maxFiles} name="max_files" type="number" required min={1} max={10000} defaultValue={String(request?.max_files ?? 100)} />
          <Select id="request-size" name="max_size_bytes" label={s.requests.maxSize} value={String(request?.max_size_bytes ?? 1_000_000_000)} options={sizes.map((size) => [String(size), fmt.bytes(size)])} />
          <Select
            id="request-days"
            name="days"
            label={s.share.closes}
            value={request === null ? "30" : ""}
            options={[...(request === null ? [] : [["", s.requests.keepsDate(fmt.day(new Date(request.expires_at)))] as const]), ...DAYS.map((days) => [String(days), t.format.inDays(days)] as const)]}
          />
          <Select
            id="request-type"
            name="type"
            label={t.files.type}
            value={type}
            options={[...TYPES.map((choice) => [choice, s.requests.types[choice]] as const), ...(type === "other" ? [["other", request?.allowed_content_types?.join(", ") ?? ""] as const] : [])]}
          />
        </div>
        {error !== null && <FieldError text={error} />}
      </form>
    </Dialog>
  );
}

interface SelectProps {
  readonly id: string;
  readonly name: string;
  readonly label: string;
  readonly value: string;
  readonly options: readonly (readonly [string, string])[];
}

function Select({ id, name, label, value, options }: SelectProps) {
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <span class="select">
        <select class="input" id={id} name={name}>
          {options.map(([option, text]) => (
            <option key={option} value={option} selected={option === value}>
              {text}
            </option>
          ))}
        </select>
        <Icon name="down" size="s" />
      </span>
    </div>
  );
}
