/** For superusers: figures of the whole service, accounts and quotas, the audit log. */

import type { AuditEvent, Stats, Usage, User, UserUpdate } from "@we-upload/client";
import { useEffect, useRef, useState } from "preact/hooks";
import { BarChart } from "../admin/bar-chart";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { problemText, showProblem } from "../core/problems";
import { location, navigate } from "../core/router";
import { user } from "../core/session";
import { showToast } from "../core/toasts";
import { SkeletonRows } from "../files/file-table";
import { Avatar, Badge, Empty, ErrorNote, Field, FieldError, SubmitButton } from "../ui/controls";
import { ConfirmDialog, Dialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { Icon } from "../ui/icon";
import { MenuButton, type MenuItem } from "../ui/menu";

const TABS = ["overview", "people", "audit"] as const;
type Tab = (typeof TABS)[number];

export function AdminScreen() {
  const wanted = location.value.query.get("tab");
  const tab: Tab = TABS.find((known) => known === wanted) ?? "overview";
  if (!user.value?.is_superuser) return <Empty title={s.admin.forbidden} />;
  return (
    <>
      <div class="head">
        <h1>{t.nav.admin}</h1>
      </div>
      <div class="filters">
        <div class="seg" role="group" aria-label={t.nav.admin}>
          {TABS.map((choice) => (
            <button type="button" key={choice} aria-pressed={choice === tab} onClick={() => navigate(choice === "overview" ? "/admin" : `/admin?tab=${choice}`)}>
              {s.admin.tabs[choice]}
            </button>
          ))}
        </div>
      </div>
      {tab === "overview" ? <Overview /> : tab === "people" ? <People /> : <AuditLog />}
    </>
  );
}

function Overview() {
  const [stats, setStats] = useState<Stats | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [isTable, setTable] = useState(false);
  const load = () => {
    setError(null);
    api.admin.stats().then(setStats, setError);
  };
  useEffect(load, []);
  if (error !== null) return <ErrorNote error={error} onRetry={load} />;
  if (stats === null) return <SkeletonRows count={4} />;
  const of = (status: string) => stats.files.find((row) => row.status === status) ?? { files: 0, bytes: 0 };
  const stored = stats.files.reduce((sum, row) => sum + row.bytes, 0);
  const started = stats.uploads_by_day.reduce((sum, day) => sum + day.uploads, 0);
  const [figure = "", unit = ""] = fmt.bytes(stored).split(" ");
  return (
    <div class="stack">
      <div class="stats">
        <Figure label={s.admin.stored} value={figure} unit={unit} text={s.admin.inTrash(fmt.bytes(of("trashed").bytes))} />
        <Figure label={t.nav.files} value={fmt.number(of("available").files)} text={s.admin.underWay(of("pending").files)} />
        <Figure label={s.admin.uploads} value={fmt.number(started)} text={s.admin.lastDays(stats.uploads_by_day.length)} />
        <Figure label={s.admin.accounts} value={fmt.number(stats.users.total)} text={s.admin.activeAndSuper(stats.users.active, stats.users.superusers)} />
      </div>
      <section class="card pad stack">
        <div class="row between wrap">
          <h2>{s.admin.uploadsEachDay}</h2>
          <button type="button" class="link" aria-pressed={isTable} onClick={() => setTable(!isTable)}>
            {isTable ? s.admin.asChart : s.admin.asTable}
          </button>
        </div>
        {stats.uploads_by_day.length === 0 ? <p class="soft">{s.admin.noUploads}</p> : isTable ? <DayTable stats={stats} /> : <BarChart days={stats.uploads_by_day} />}
      </section>
      <section class="card">
        <h2 class="pad tight">{s.admin.filesByState}</h2>
        <table class="table inset">
          <caption class="sr">{s.admin.filesByState}</caption>
          <thead>
            <tr>
              <th class="name" scope="col">
                {s.links.state}
              </th>
              <th class="num" scope="col">
                {t.nav.files}
              </th>
              <th class="num" scope="col">
                {t.files.size}
              </th>
            </tr>
          </thead>
          <tbody>
            {stats.files.map((row) => (
              <tr key={row.status}>
                <td class="name">{(t.files.statuses as Partial<Record<string, string>>)[row.status] ?? row.status}</td>
                <td class="num">{fmt.number(row.files)}</td>
                <td class="num">{fmt.bytes(row.bytes)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </div>
  );
}

interface FigureProps {
  readonly label: string;
  readonly value: string;
  readonly unit?: string;
  readonly text: string;
}

function Figure({ label, value, unit, text }: FigureProps) {
  return (
    <section class="card pad stat">
      <h2 class="muted sm regular">{label}</h2>
      <span class="v">
        {value} {unit && <small>{unit}</small>}
      </span>
      <span class="soft sm">{text}</span>
    </section>
  );
}

function DayTable({ stats }: { readonly stats: Stats }) {
  return (
    <table class="table">
      <caption class="sr">{s.admin.uploadsEachDay}</caption>
      <thead>
        <tr>
          <th scope="col">{s.admin.day}</th>
          <th class="num" scope="col">
            {s.admin.uploads}
          </th>
        </tr>
      </thead>
      <tbody>
        {stats.uploads_by_day.map((day) => (
          <tr key={day.day}>
            <td>{fmt.day(new Date(`${day.day}T00:00`))}</td>
            <td class="num">{fmt.number(day.uploads)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const PEOPLE_STEP = 50;
const SEARCH_DELAY_MS = 250;

function People() {
  const [people, setPeople] = useState<readonly User[] | null>(null);
  const [usages, setUsages] = useState<ReadonlyMap<string, Usage>>(new Map());
  const [hasMore, setMore] = useState(false);
  const [search, setSearch] = useState("");
  const [error, setError] = useState<unknown>(null);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);

  async function load(from: number, text: string): Promise<void> {
    setError(null);
    try {
      const { items } = await api.admin.users({ skip: from, limit: PEOPLE_STEP, ...(text === "" ? {} : { search: text }) });
      setPeople((before) => (from === 0 ? items : [...(before ?? []), ...items]));
      setMore(items.length === PEOPLE_STEP);
      for (const account of items) {
        const usage = await api.admin.usage(account.id);
        setUsages((before) => new Map(before).set(account.id, usage));
      }
    } catch (cause) {
      setError(cause);
    }
  }
  useEffect(() => void load(0, ""), []);
  const replace = (account: User) => setPeople((before) => before?.map((other) => (other.id === account.id ? account : other)) ?? null);
  const readUsage = (account: User) => api.admin.usage(account.id).then((usage) => setUsages((before) => new Map(before).set(account.id, usage)), showProblem);
  const update = async (account: User, changes: UserUpdate, text: string) => {
    try {
      replace(await api.admin.updateUser(account.id, changes));
      showToast(text, { icon: "user" });
    } catch (cause) {
      showProblem(cause);
    }
  };
  const menu = (account: User) => (): readonly MenuItem[] => [
    {
      label: s.admin.changeQuota,
      icon: "chart",
      run: () => showDialog((close) => <QuotaDialog account={account} usage={usages.get(account.id) ?? null} onClose={close} onSaved={() => void readUsage(account)} />),
    },
    { label: s.admin.showAudit, icon: "list", run: () => navigate(`/admin?tab=audit&actor=${account.id}`) },
    { label: s.admin.endSessions, icon: "out", run: () => void api.admin.endSessions(account.id).then(() => showToast(s.admin.sessionsEnded, { icon: "out" }), showProblem) },
    ...(account.id === user.value?.id
      ? []
      : ([
          account.is_superuser
            ? { label: s.admin.demote, icon: "shield", run: () => confirmRole(account, false) }
            : { label: s.admin.promote, icon: "shield", run: () => confirmRole(account, true) },
          account.is_active
            ? { label: s.admin.disable, icon: "x", isDangerous: true, run: () => confirmDisable(account) }
            : { label: s.admin.enable, icon: "check", run: () => void update(account, { is_active: true }, s.admin.enabled(account.email)) },
        ] as const satisfies readonly MenuItem[])),
  ];
  const confirmDisable = (account: User) =>
    showDialog((close) => (
      <ConfirmDialog
        title={s.admin.disableTitle(account.email)}
        text={s.admin.disableText}
        confirm={s.admin.disable}
        onConfirm={() => void update(account, { is_active: false }, s.admin.disabled(account.email))}
        onClose={close}
      />
    ));
  const confirmRole = (account: User, isSuperuser: boolean) =>
    showDialog((close) => (
      <ConfirmDialog
        title={isSuperuser ? s.admin.promoteTitle(account.email) : s.admin.demoteTitle(account.email)}
        text={isSuperuser ? s.admin.promoteText : s.admin.demoteText}
        confirm={isSuperuser ? s.admin.promote : s.admin.demote}
        onConfirm={() => void update(account, { is_superuser: isSuperuser }, s.share.saved)}
        onClose={close}
      />
    ));
  return (
    <section class="card">
      <div class="pad row between tight wrap">
        <h2>{s.admin.tabs.people}</h2>
        <div class="search">
          <label class="sr" for="people-search">
            {s.admin.searchPeople}
          </label>
          <Icon name="search" />
          <input
            class="input"
            id="people-search"
            type="search"
            value={search}
            placeholder={s.admin.searchPeople}
            onInput={(event) => {
              const typed = event.currentTarget.value;
              setSearch(typed);
              clearTimeout(timer.current);
              timer.current = setTimeout(() => void load(0, typed.trim()), SEARCH_DELAY_MS);
            }}
          />
        </div>
      </div>
      {error !== null && (
        <div class="pad">
          <ErrorNote error={error} onRetry={() => void load(0, search.trim())} />
        </div>
      )}
      {people === null ? (
        <SkeletonRows count={4} />
      ) : people.length === 0 ? (
        <Empty title={t.files.nothingFound} />
      ) : (
        <table class="table inset">
          <caption class="sr">{s.admin.tabs.people}</caption>
          <thead>
            <tr>
              <th class="name" scope="col">
                {t.signIn.email}
              </th>
              <th class="wide" scope="col">
                {s.links.state}
              </th>
              <th class="wide roomy" scope="col">
                {s.admin.role}
              </th>
              <th class="quo" scope="col">
                {s.admin.storage}
              </th>
              <th class="wide" scope="col">
                {s.admin.since}
              </th>
              <th class="act">
                <span class="sr">{t.files.actions}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {people.map((account) => (
              <tr key={account.id}>
                <td class="name">
                  <div class="row g3">
                    <Avatar email={account.email} />
                    <div class="grow">
                      <span class="two strong-two">{account.email}</span>
                      {!account.is_active && (
                        <span class="meta st">
                          <StateOf account={account} />
                        </span>
                      )}
                    </div>
                  </div>
                </td>
                <td class="wide nowrap">
                  <StateOf account={account} />
                </td>
                <td class="wide roomy nowrap">{account.is_superuser ? s.admin.superuser : s.admin.user}</td>
                <td class="quo">
                  <Storage account={account} usage={usages.get(account.id) ?? null} />
                </td>
                <td class="wide nowrap">{fmt.day(new Date(account.created_at))}</td>
                <td class="act">
                  <MenuButton class="btn quiet small icon" label={t.files.moreActions(account.email)} items={menu(account)}>
                    <Icon name="more" size="s" />
                  </MenuButton>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {hasMore && people !== null && (
        <div class="more">
          <button type="button" class="btn" onClick={() => void load(people.length, search.trim())}>
            {t.states.showMore}
          </button>
        </div>
      )}
    </section>
  );
}

function StateOf({ account }: { readonly account: User }) {
  return (
    <Badge tone={account.is_active ? "ok" : "bad"} icon={account.is_active ? "check" : "x"}>
      {account.is_active ? s.admin.active : s.admin.inactive}
    </Badge>
  );
}

function Storage({ account, usage }: { readonly account: User; readonly usage: Usage | null }) {
  if (usage === null) return <span class="skel" />;
  return (
    <>
      <span class="row between sm">
        <span class="strong nowrap">{fmt.bytes(usage.bytes_used)}</span>
        <span class="muted desk-only nowrap">{s.admin.ofQuota(fmt.bytes(usage.quota_bytes))}</span>
      </span>
      <progress
        class={usage.bytes_used > usage.quota_bytes * 0.9 ? "warn" : ""}
        value={Math.min(usage.bytes_used, usage.quota_bytes)}
        max={Math.max(1, usage.quota_bytes)}
        aria-label={`${account.email}: ${fmt.bytesOf(usage.bytes_used, usage.quota_bytes)}`}
      />
    </>
  );
}

const GIGABYTE = 1_000_000_000;

interface QuotaProps {
  readonly account: User;
  readonly usage: Usage | null;
  readonly onClose: () => void;
  readonly onSaved: () => void;
}

function QuotaDialog({ account, usage, onClose, onSaved }: QuotaProps) {
  const form = useRef<HTMLFormElement>(null);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  async function save(changes: UserUpdate): Promise<void> {
    setBusy(true);
    try {
      await api.admin.updateUser(account.id, changes);
      onSaved();
      onClose();
      showToast(s.share.saved);
    } catch (cause) {
      setError(problemText(cause));
      setBusy(false);
    }
  }
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (form.current === null || isBusy) return;
    const fields = new FormData(form.current);
    void save({ quota_bytes: Math.round(Number(fields.get("gigabytes")) * GIGABYTE), quota_files: Number(fields.get("files")) });
  };
  return (
    <Dialog
      title={s.admin.changeQuota}
      subtitle={account.email}
      onClose={onClose}
      onConfirm={() => form.current?.requestSubmit()}
      footer={
        <>
          <button type="button" class="btn quiet" onClick={() => void save({ quota_bytes: null, quota_files: null })}>
            {s.admin.defaultQuota}
          </button>
          <span class="grow" />
          <SubmitButton form="quota-form" isBusy={isBusy} label={t.actions.save} />
        </>
      }
    >
      <form id="quota-form" ref={form} class="dlg-text stack" onSubmit={submit}>
        <div class="form2">
          <Field label={s.admin.gigabytes} name="gigabytes" type="number" min={0} step="any" required defaultValue={usage === null ? "" : String(usage.quota_bytes / GIGABYTE)} autoFocus />
          <Field label={t.nav.files} name="files" type="number" min={0} max={2147483647} step={1} required defaultValue={usage === null ? "" : String(usage.quota_files)} />
        </div>
        {usage !== null && <p class="hint">{s.admin.usesNow(fmt.bytes(usage.bytes_used), usage.files_count)}</p>}
        {error !== null && <FieldError text={error} />}
      </form>
    </Dialog>
  );
}

const AUDIT_STEP = 100;

function AuditLog() {
  const [events, setEvents] = useState<readonly AuditEvent[] | null>(null);
  const [hasMore, setMore] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [action, setAction] = useState("");
  const actor = location.value.query.get("actor");
  async function load(before: number | null): Promise<void> {
    setError(null);
    try {
      const page = await api.admin.audit({
        limit: AUDIT_STEP,
        ...(before === null ? {} : { before }),
        ...(actor === null ? {} : { actor_id: actor }),
        ...(action.trim() === "" ? {} : { action: action.trim() }),
      });
      setEvents((known) => (before === null ? page : [...(known ?? []), ...page]));
      setMore(page.length === AUDIT_STEP);
    } catch (cause) {
      setError(cause);
    }
  }
  useEffect(() => void load(null), [actor, action]);
  return (
    <section class="card">
      <div class="pad row between tight wrap">
        <h2>{s.admin.tabs.audit}</h2>
        <div class="row wrap">
          {actor !== null && (
            <button type="button" class="chip" aria-pressed="true" title={t.files.removeFilter} onClick={() => navigate("/admin?tab=audit")}>
              {s.admin.oneAccount} <Icon name="x" size="s" />
            </button>
          )}
          <div class="search">
            <label class="sr" for="audit-action">
              {s.admin.action}
            </label>
            <Icon name="search" />
            <input class="input" id="audit-action" type="search" placeholder="file.downloaded" value={action} onChange={(event) => setAction(event.currentTarget.value)} />
          </div>
        </div>
      </div>
      {error !== null && (
        <div class="pad">
          <ErrorNote error={error} onRetry={() => void load(null)} />
        </div>
      )}
      {events === null ? (
        error === null && <SkeletonRows count={6} />
      ) : events.length === 0 ? (
        <Empty title={t.files.nothingFound} />
      ) : (
        <table class="table inset audit">
          <caption class="sr">{s.admin.tabs.audit}</caption>
          <thead>
            <tr>
              <th class="num wide" scope="col">
                {s.admin.number}
              </th>
              <th class="name" scope="col">
                {s.admin.action}
              </th>
              <th class="wide" scope="col">
                {s.admin.source}
              </th>
              <th scope="col">{s.admin.time}</th>
            </tr>
          </thead>
          <tbody>
            {events.map((event) => (
              <tr key={event.seq}>
                <td class="num wide muted">{fmt.number(event.seq)}</td>
                <td class="name">
                  <span class="mono strong">{event.action}</span>
                  <span class="two" title={event.subject ?? ""}>
                    {[event.subject, Object.keys(event.details).length > 0 ? JSON.stringify(event.details) : ""].filter(Boolean).join(" · ")}
                  </span>
                </td>
                <td class="wide nowrap">{event.source_address ?? "–"}</td>
                <td class="nowrap">
                  <time dateTime={event.at} title={fmt.exact(new Date(event.at))}>
                    {fmt.moment(new Date(event.at))}
                  </time>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {hasMore && events !== null && (
        <div class="more">
          <button type="button" class="btn" onClick={() => void load(events.at(-1)?.seq ?? null)}>
            {t.states.showMore}
          </button>
        </div>
      )}
    </section>
  );
}
