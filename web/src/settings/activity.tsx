/** What happened with the own account. */

import type { OwnAuditEvent } from "@we-upload/client";
import { useEffect, useState } from "preact/hooks";
import { accounts } from "../core/account-services";
import { eventSentence } from "../core/event-texts";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { Empty } from "../ui/controls";
import { Loaded, ShowMore } from "../ui/data-table";
import { Section } from "./section";

const ACTIVITY_STEP = 20;

export function Activity() {
  const [events, setEvents] = useState<readonly OwnAuditEvent[] | null>(null);
  const [next, setNext] = useState<string | null>(null);
  const [error, setError] = useState<unknown>(null);
  const load = (cursor: string | null) => {
    setError(null);
    accounts.activity({ limit: ACTIVITY_STEP, ...(cursor === null ? {} : { cursor }) }).then(({ items, nextCursor }) => {
      setEvents((before) => (cursor === null ? items : [...(before ?? []), ...items]));
      setNext(nextCursor);
    }, setError);
  };
  useEffect(() => load(null), []);
  return (
    <Section id="activity">
      <p class="soft">{s.leaving.activity.text}</p>
      <Loaded value={events} error={error} onRetry={() => load(null)} skeletonCount={3}>
        {(known) =>
          known.length === 0 ? (
            <Empty title={t.files.nothingFound} />
          ) : (
            <ul class="card list">
              {known.map((event) => (
                <li key={event.seq}>
                  <span class="grow">
                    <span class="strong">{eventSentence(event.action)}</span>
                    <span class="two wrapit">
                      {[event.subject_name, event.is_own ? "" : s.leaving.activity.byOthers, event.network && s.settings.network(event.network)].filter(Boolean).map((part) => `${part} · `)}
                      <span class="mono">{event.action}</span>
                    </span>
                  </span>
                  <time class="muted sm nowrap" dateTime={event.at} title={fmt.exact(new Date(event.at))}>
                    {fmt.moment(new Date(event.at))}
                  </time>
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
      {next !== null && <ShowMore onClick={() => load(next)} />}
    </Section>
  );
}
