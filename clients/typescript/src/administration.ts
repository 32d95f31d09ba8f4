/** Calls of superusers. They stand apart from the other calls, so that a page can load them when it needs them. */

import type * as api from "./api-types.js";
import type { CallOptions, Http } from "./http.js";

export function createAdministration({ http }: { readonly http: Http }) {
  return {
    users: (filters: api.UserFilters = {}, options?: CallOptions) => http.page("/api/v1/users/", { query: filters, ...options }),
    user: (userId: string, options?: CallOptions) => http.call("get", "/api/v1/users/{user_id}", { path: { user_id: userId }, ...options }),
    updateUser: (userId: string, body: api.UserUpdate) => http.call("put", "/api/v1/users/{user_id}", { path: { user_id: userId }, body }),
    usage: (userId: string, options?: CallOptions) =>
      http.call("get", "/api/v1/users/{user_id}/usage", { path: { user_id: userId }, ...options }),
    endSessions: (userId: string) => http.call("delete", "/api/v1/users/{user_id}/sessions", { path: { user_id: userId } }),
    stats: (options?: CallOptions) => http.call("get", "/api/v1/admin/stats", { ...options }),
    audit: (filters: api.AuditFilters = {}, options?: CallOptions) =>
      http.call("get", "/api/v1/admin/audit", { query: filters, ...options }),
  };
}
