/** The audit log, newest first. */

import type { AuditEvent } from "@we-upload/client";
import { useEffect, useState } from "preact/hooks";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { location, navigate } from "../core/router";
import { SkeletonRows } from "../files/file-table";
import { Empty, ErrorNote } from "../ui/controls";
import { Icon } from "../ui/icon";

const AUDIT_STEP = 100;

export function AuditLog() {
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
