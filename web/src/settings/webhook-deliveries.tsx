/** What was sent to a webhook, and the answers. */

import { createWebhooks, type Webhook, type WebhookDelivery } from "@we-upload/client";
import { useEffect, useState } from "preact/hooks";
import { api } from "../core/api";
import { fmt } from "../core/language";
import { showProblem } from "../core/problems";
import { showToast } from "../core/toasts";
import { Badge } from "../ui/controls";
import { Loaded, ShowMore } from "../ui/data-table";
import { Dialog } from "../ui/dialog";
import { w } from "./webhook-texts";

const hooks = createWebhooks(api);
const PAGE = 20;

export function DeliveriesDialog({ hook, onClose }: { readonly hook: Webhook; readonly onClose: () => void }) {
  const [deliveries, setDeliveries] = useState<readonly WebhookDelivery[] | null>(null);
  const [hasMore, setHasMore] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const load = async (known: readonly WebhookDelivery[]) => {
    setError(null);
    try {
      const last = known.at(-1);
      const page = await hooks.deliveries(hook.id, { limit: PAGE, ...(last === undefined ? {} : { before: last.event_id }) });
      setDeliveries([...known, ...page]);
      setHasMore(page.length === PAGE);
    } catch (cause) {
      setError(cause);
    }
  };
  useEffect(() => void load([]), []);
  const replay = async (delivery: WebhookDelivery) => {
    try {
      const changed = await hooks.replay(hook.id, delivery.id);
      setDeliveries((before) => before?.map((other) => (other.id === changed.id ? changed : other)) ?? null);
      showToast(w.replayed, { icon: "retry" });
    } catch (cause) {
      showProblem(cause);
    }
  };
  return (
    <Dialog
      title={w.deliveries}
      subtitle={hook.url}
      size="wide"
      onClose={onClose}
      footer={
        <button type="button" class="btn" onClick={() => void load([])}>
          {w.refresh}
        </button>
      }
    >
      <Loaded value={deliveries} error={error} onRetry={() => void load([])} skeletonCount={3}>
        {(known) =>
          known.length === 0 ? (
            <p class="soft dlg-text">{w.noDeliveries}</p>
          ) : (
            <>
              <ul class="list" aria-label={w.deliveriesOf(hook.url)}>
                {known.map((delivery) => (
                  <li key={delivery.id}>
                    <span class="grow">
                      <span class="strong mono wrapit">{delivery.event_type}</span>
                      <span class="two wrapit">{detailsOf(delivery)}</span>
                      {delivery.error !== null && delivery.response_body && (
                        <span class="two wrapit mono" dir="auto">
                          {delivery.response_body.slice(0, 200)}
                        </span>
                      )}
                    </span>
                    <span class="acts row">
                      <State delivery={delivery} />
                      {hook.is_enabled && delivery.status !== "pending" && (
                        <button type="button" class="btn small" aria-label={w.replayOf(delivery.event_type)} onClick={() => void replay(delivery)}>
                          {w.replay}
                        </button>
                      )}
                    </span>
                  </li>
                ))}
              </ul>
              {hasMore && <ShowMore onClick={() => void load(known)} />}
            </>
          )
        }
      </Loaded>
    </Dialog>
  );
}

function detailsOf(delivery: WebhookDelivery): string {
  const errors: Readonly<Record<string, string>> = w.errors;
  const parts = [
    delivery.attempted_at === null ? "" : fmt.moment(new Date(delivery.attempted_at)),
    delivery.attempts === 0 ? "" : w.attempts(delivery.attempts),
    delivery.error === null ? "" : (errors[delivery.error] ?? delivery.error),
    delivery.response_status === null ? "" : w.answered(delivery.response_status),
    delivery.duration_ms === null ? "" : w.took(delivery.duration_ms),
    delivery.next_attempt_at === null || delivery.attempts === 0 ? "" : w.next(fmt.moment(new Date(delivery.next_attempt_at))),
  ];
  return parts.filter((part) => part !== "").join(" · ");
}

function State({ delivery }: { readonly delivery: WebhookDelivery }) {
  if (delivery.status === "delivered") {
    return (
      <Badge tone="ok" icon="check">
        {w.delivered}
      </Badge>
    );
  }
  return delivery.status === "failed" ? (
    <Badge tone="bad" icon="alert">
      {w.failed}
    </Badge>
  ) : (
    <Badge tone={delivery.error === null ? "line" : "warn"} icon="clock">
      {w.pending}
    </Badge>
  );
}
