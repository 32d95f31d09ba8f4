/** Calls about webhooks. They stand apart from the other calls, so that a page can load them when it needs them. */

import type * as api from "./api-types.js";
import type { Http } from "./http.js";

export type Webhooks = ReturnType<typeof createWebhooks>;

export function createWebhooks({ http }: { readonly http: Http }) {
  const path = (webhookId: string) => ({ webhook_id: webhookId });
  return {
    list: () => http.call("get", "/api/v1/webhooks"),
    /** The answer has the secret, which is not shown again. */
    create: (body: api.WebhookCreate) => http.call("post", "/api/v1/webhooks", { body }),
    update: (webhookId: string, body: api.WebhookUpdate) => http.call("patch", "/api/v1/webhooks/{webhook_id}", { path: path(webhookId), body }),
    delete: (webhookId: string) => http.call("delete", "/api/v1/webhooks/{webhook_id}", { path: path(webhookId) }),
    /** The answer has the new secret. The old one signs too for a day. */
    rotateSecret: (webhookId: string) => http.call("post", "/api/v1/webhooks/{webhook_id}/rotate-secret", { path: path(webhookId) }),
    test: (webhookId: string) => http.call("post", "/api/v1/webhooks/{webhook_id}/test", { path: path(webhookId) }),
    /** The newest event first; `before` is the `event_id` of the last one that is known. */
    deliveries: (webhookId: string, query: { readonly before?: number; readonly limit?: number } = {}) =>
      http.call("get", "/api/v1/webhooks/{webhook_id}/deliveries", { path: path(webhookId), query }),
    replay: (webhookId: string, deliveryId: string) =>
      http.call("post", "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay", { path: { webhook_id: webhookId, delivery_id: deliveryId } }),
  };
}
