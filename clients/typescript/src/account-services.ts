/** Leaving, inviting and administering: calls of screens that few people open, apart so that an app need not load them at its start. */

import type * as api from "./api-types.js";
import type { PageOptions } from "./client.js";
import type { CallOptions, Http } from "./http.js";

export type AccountServices = ReturnType<typeof createAccountServices>;

/** Return the calls. `http` is that of the client. */
export function createAccountServices(http: Http) {
  return {
    /** Request a zip with all data and files of the account; poll `exportState` until it is ready. */
    requestExport: (body: api.AccountProof) => http.call("post", "/api/v1/users/me/export", { body }),
    exportState: (options?: CallOptions) => http.call("get", "/api/v1/users/me/export", { ...options }),
    /** The events of the own account, newest first. */
    activity: (filters: api.ActivityFilters = {}, options?: CallOptions) => http.page("/api/v1/users/me/audit", { query: filters, ...options }),
    invitations: invitationCalls(http),
    transfers: transferCalls(http),
    admin: adminCalls(http),
    ofUser: userCalls(http),
  };
}

function invitationCalls(http: Http) {
  return {
    /** Invite an address to create an account. Superusers only. */
    send: (email: string) => http.call("post", "/api/v1/invitations", { body: { email } }),
    /** Share a file with an address, which need not have an account. */
    sendForFile: (fileId: string, body: api.FileInvitationCreate) =>
      http.call("post", "/api/v1/files/{file_id}/invitations", { path: { file_id: fileId }, body }),
    list: (filters: api.InvitationFilters = {}, options?: CallOptions) => http.page("/api/v1/invitations", { query: filters, ...options }),
    resend: (invitationId: string) =>
      http.call("post", "/api/v1/invitations/{invitation_id}/resend", { path: { invitation_id: invitationId } }),
    withdraw: (invitationId: string) =>
      http.call("delete", "/api/v1/invitations/{invitation_id}", { path: { invitation_id: invitationId } }),
    /** Needs a password for a new account, or the session of the existing account. */
    accept: (token: string, options: { readonly password?: string } = {}) =>
      http.call("post", "/api/v1/invitations/accept", { body: { token, ...options }, isAnonymous: options.password !== undefined }),
  };
}

function transferCalls(http: Http) {
  const ofTransfer = (transferId: string) => ({ path: { transfer_id: transferId } });
  return {
    /** Offer all files of an account to another account. */
    offer: (userId: string, body: api.TransferCreate) =>
      http.call("post", "/api/v1/users/{user_id}/transfer", { path: { user_id: userId }, body }),
    list: (page: PageOptions = {}, options?: CallOptions) => http.page("/api/v1/transfers", { query: page, ...options }),
    accept: (transferId: string) => http.call("post", "/api/v1/transfers/{transfer_id}/accept", ofTransfer(transferId)),
    decline: (transferId: string) => http.call("post", "/api/v1/transfers/{transfer_id}/decline", ofTransfer(transferId)),
    withdraw: (transferId: string) => http.call("delete", "/api/v1/transfers/{transfer_id}", ofTransfer(transferId)),
  };
}

/** One account, for superusers. */
function userCalls(http: Http) {
  return {
    sessions: (userId: string, page: PageOptions = {}) =>
      http.page("/api/v1/users/{user_id}/sessions", { path: { user_id: userId }, query: page }),
    endSession: (userId: string, sessionId: string) =>
      http.call("delete", "/api/v1/users/{user_id}/sessions/{session_id}", { path: { user_id: userId, session_id: sessionId } }),
    shares: (userId: string, page: PageOptions = {}) =>
      http.page("/api/v1/users/{user_id}/shares", { path: { user_id: userId }, query: page }),
    fileRequests: (userId: string, page: PageOptions = {}) =>
      http.page("/api/v1/users/{user_id}/file-requests", { path: { user_id: userId }, query: page }),
    revokeFileRequest: (userId: string, requestId: string) =>
      http.call("delete", "/api/v1/users/{user_id}/file-requests/{request_id}", { path: { user_id: userId, request_id: requestId } }),
    /** Close an account and delete it later. */
    deleteUser: (userId: string, body: api.AccountProof) =>
      http.call("delete", "/api/v1/users/{user_id}", { path: { user_id: userId }, body }),
  };
}

function adminCalls(http: Http) {
  return {
    users: (filters: api.UserFilters = {}, options?: CallOptions) => http.page("/api/v1/users/", { query: filters, ...options }),
    user: (userId: string, options?: CallOptions) => http.call("get", "/api/v1/users/{user_id}", { path: { user_id: userId }, ...options }),
    updateUser: (userId: string, body: api.UserUpdate) => http.call("put", "/api/v1/users/{user_id}", { path: { user_id: userId }, body }),
    usage: (userId: string, options?: CallOptions) =>
      http.call("get", "/api/v1/users/{user_id}/usage", { path: { user_id: userId }, ...options }),
    endSessions: (userId: string) => http.call("delete", "/api/v1/users/{user_id}/sessions", { path: { user_id: userId } }),
    /** Totals, and the traffic of each of the last days: 30, or another number up to 90. */
    stats: (query: { readonly days?: number } = {}, options?: CallOptions) => http.call("get", "/api/v1/admin/stats", { query, ...options }),
    audit: (filters: api.AuditFilters = {}, options?: CallOptions) =>
      http.call("get", "/api/v1/admin/audit", { query: filters, ...options }),
  };
}
