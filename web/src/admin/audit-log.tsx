/** The audit log, newest first. */

import type { AuditEvent } from "@we-upload/client";
import { useEffect, useState } from "preact/hooks";
import { accounts } from "../core/account-services";
import { eventSentence } from "../core/event-texts";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { location, navigate } from "../core/router";
import { Empty } from "../ui/controls";
import { DataTable, Loaded, ShowMore, type Column } from "../ui/data-table";
import { Icon } from "../ui/icon";

const AUDIT_STEP = 100;
const DAY_MS = 86_400_000;

export function AuditLog() {
  const [events, setEvents] = useState<readonly AuditEvent[] | null>(null);
  const [hasMore, setMore] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [action, setAction] = useState("");
  const [since, setSince] = useState("");
  const [until, setUntil] = useState("");
  const actor = location.value.query.get("actor");
  async function load(before: number | null): Promise<void> {
    setError(null);
    try {
      const page = await accounts.admin.audit({
        limit: AUDIT_STEP,
        ...(before === null ? {} : { before }),
        ...(actor === null ? {} : { actor_id: actor }),
        // The days of the reader's time zone; the last one is included.
        ...(since === "" ? {} : { since: new Date(`${since}T00:00`).toISOString() }),
        ...(until === "" ? {} : { until: new Date(new Date(`${until}T00:00`).getTime() + DAY_MS).toISOString() }),
        ...(action.trim() === "" ? {} : { action: action.trim() }),
      });
      setEvents((known) => (before === null ? page : [...(known ?? []), ...page]));
      setMore(page.length === AUDIT_STEP);
    } catch (cause) {
      setError(cause);
    }
  }
  useEffect(() => void load(null), [actor, action, since, until]);
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
          <label class="row day soft">
            {s.leaving.since}
            <input class="input" type="date" value={since} onChange={(event) => setSince(event.currentTarget.value)} />
          </label>
          <label class="row day soft">
            {s.leaving.until}
            <input class="input" type="date" value={until} onChange={(event) => setUntil(event.currentTarget.value)} />
          </label>
          <div class="search find">
            <label class="sr" for="audit-action">
              {s.admin.searchAction}
            </label>
            <Icon name="search" />
            <input class="input" id="audit-action" type="search" placeholder={s.admin.searchAction} value={action} onChange={(event) => setAction(event.currentTarget.value)} />
          </div>
        </div>
      </div>
      <Loaded value={events} error={error} onRetry={() => void load(null)} skeletonCount={6}>
        {(known) =>
          known.length === 0 ? <Empty title={t.files.nothingFound} /> : <DataTable caption={s.admin.tabs.audit} class="inset audit" columns={columns()} rows={known} keyOf={(event) => event.seq} />
        }
      </Loaded>
      {hasMore && events !== null && <ShowMore onClick={() => void load(events.at(-1)?.seq ?? null)} />}
    </section>
  );
}

function columns(): readonly Column<AuditEvent>[] {
  return [
    { head: s.admin.number, class: "num wide muted", cell: (event) => fmt.number(event.seq) },
    {
      head: s.admin.action,
      class: "name",
      cell: (event) => (
        <>
          <span class="strong">{eventSentence(event.action)}</span>
          <span class="two" title={event.subject ?? ""}>
            {event.subject_name !== null && `${event.subject_name} · `}
            <span class="mono">{event.action}</span>
            {[event.subject_name === null ? event.subject : "", Object.keys(event.details).length > 0 ? JSON.stringify(event.details) : ""].filter(Boolean).map((part) => ` · ${part}`)}
          </span>
        </>
      ),
    },
    { head: s.admin.user, class: "wide", cell: (event) => event.actor_name ?? "–" },
    { head: s.admin.source, class: "wide nowrap", cell: (event) => event.source_address ?? "–" },
    {
      head: s.admin.time,
      class: "nowrap",
      cell: (event) => (
        <time dateTime={event.at} title={fmt.exact(new Date(event.at))}>
          {fmt.moment(new Date(event.at))}
        </time>
      ),
    },
  ];
}
