/** Types of requests and answers, taken from the OpenAPI document by path and method, so that schema names may change. */

import type { paths } from "./generated/schema.js";

export type Path = keyof paths;
export type Method = "get" | "post" | "put" | "patch" | "delete";

type Operation<P extends Path, M extends Method> = NonNullable<paths[P][M]>;
type JsonContent<T> = T extends { content: { "application/json": infer J } } ? J : undefined;
type Member<T, K extends string> = T extends { [key in K]?: infer V } ? NonNullable<V> : never;

type Nullable<T> = { [K in keyof T]: T[K] | null | undefined };

/** The JSON body of a successful answer; `undefined` where there is none. */
export type Result<P extends Path, M extends Method> =
  Operation<P, M> extends { responses: infer R } ? JsonContent<R[keyof R & (200 | 201 | 202 | 204)]> : never;
/** The JSON body of a request. */
export type Body<P extends Path, M extends Method> = NonNullable<JsonContent<Member<Operation<P, M>, "requestBody">>>;
/** The query parameters of a request. The client leaves out those that are null or undefined. */
export type Query<P extends Path, M extends Method> = Nullable<Member<Member<Operation<P, M>, "parameters">, "query">>;
/** The parameters in the path of a request. */
export type PathParams<P extends Path, M extends Method> = Member<Member<Operation<P, M>, "parameters">, "path">;

export type User = Result<"/api/v1/users/me", "get">;
export type UserUpdate = Body<"/api/v1/users/{user_id}", "put">;
export type SelfUpdate = Body<"/api/v1/users/me", "put">;
export type UserCreate = Body<"/api/v1/users/", "post">;
export type ServerConfig = Result<"/api/v1/config", "get">;
export type Usage = Result<"/api/v1/users/me/usage", "get">;
export type SessionInfo = Result<"/api/v1/users/me/sessions", "get">[number];
export type NotificationSettings = Result<"/api/v1/users/me/notifications", "get">;
export type NotificationSettingsUpdate = Body<"/api/v1/users/me/notifications", "patch">;
export type ApiKey = Result<"/api/v1/users/me/api-keys", "get">[number];
export type ApiKeyCreate = Body<"/api/v1/users/me/api-keys", "post">;
export type NewApiKey = Result<"/api/v1/users/me/api-keys", "post">;
export type Webhook = Result<"/api/v1/webhooks", "get">[number];
export type WebhookCreate = Body<"/api/v1/webhooks", "post">;
export type WebhookUpdate = Body<"/api/v1/webhooks/{webhook_id}", "patch">;
export type WebhookWithSecret = Result<"/api/v1/webhooks", "post">;
export type WebhookDelivery = Result<"/api/v1/webhooks/{webhook_id}/deliveries", "get">[number];
export type EventType = NonNullable<NonNullable<WebhookCreate["event_types"]>>[number];
export type Scope = ApiKey["scopes"][number];
export type FactorSetup = Result<"/api/v1/users/me/second-factor", "post">;
export type FactorProof = Body<"/api/v1/users/me/second-factor/disable", "post">;
export type AccountProof = Body<"/api/v1/users/me", "delete">;
export type AccountExport = Result<"/api/v1/users/me/export", "post">;
export type OwnAuditEvent = Result<"/api/v1/users/me/audit", "get">[number];
export type ActivityFilters = Query<"/api/v1/users/me/audit", "get">;
export type Invitation = Result<"/api/v1/invitations", "get">[number];
export type InvitationFilters = Query<"/api/v1/invitations", "get">;
export type FileInvitationCreate = Body<"/api/v1/files/{file_id}/invitations", "post">;
export type Transfer = Result<"/api/v1/transfers", "get">[number];
export type TransferCreate = Body<"/api/v1/users/{user_id}/transfer", "post">;
export type SignInMethods = Result<"/api/v1/users/me/identities", "get">;
export type LinkedIdentity = SignInMethods["identities"][number];
export type UserProof = Body<"/api/v1/users/me/proof", "post">;
/** What a sign-in at a provider is started for. Its assertion is of use for this only. */
export type SignInPurpose = "sign_in" | "link" | "proof";
export type TokenPair = Result<"/api/v1/login/token", "post">;

export type FileInfo = Result<"/api/v1/files/{file_id}", "get">;
export type FileStatus = FileInfo["status"];
export type FileFilters = Query<"/api/v1/files", "get">;
export type FileUpdate = Body<"/api/v1/files/{file_id}", "put">;
export type FileCreate = Body<"/api/v1/files/upload", "post">;
export type FileUpload = Result<"/api/v1/files/upload", "post">;
export type MultipartCreate = Body<"/api/v1/files/multipart", "post">;
export type MultipartUpload = Result<"/api/v1/files/multipart", "post">;
export type PartRequest = Body<"/api/v1/files/{file_id}/parts", "post">["parts"][number];
export type SignedPart = Result<"/api/v1/files/{file_id}/parts", "post">["parts"][number];
export type UploadedParts = Result<"/api/v1/files/{file_id}/parts", "get">;
export type UploadCompletion = Body<"/api/v1/files/{file_id}/complete", "post">;
/** To verify it, keep it as compact JSON with the members in their order: `JSON.stringify(receipt)`. */
export type Receipt = Result<"/api/v1/files/{file_id}/receipt", "get">;
export type FileDownload = Result<"/api/v1/files/download/{file_id}", "get">;

export type FileResult = Result<"/api/v1/files/delete", "post">["results"][number];
export type Preview = Result<"/api/v1/files/{file_id}/preview", "get">;
export type PreviewResult = Result<"/api/v1/files/previews", "post">["results"][number];
export type ChangedStatus = NonNullable<FileResult["status"]>;
export type ItemError = NonNullable<FileResult["error"]>;
export type FileState = Result<"/api/v1/files/status", "post">["files"][number];
export type UploadBatch = Body<"/api/v1/files/uploads", "post">;
export type StartedUpload = Result<"/api/v1/files/uploads", "post">["results"][number];

export type Share = Result<"/api/v1/shares/{share_id}", "get">;
export type ShareCreate = Body<"/api/v1/shares", "post">;
export type ShareUpdate = Body<"/api/v1/shares/{share_id}", "patch">;
export type ShareMail = Body<"/api/v1/shares/{share_id}/mail", "post">;
export type ShareAudience = Share["audience"];
export type OpenedShare = Result<"/s/{token}", "get">;
export type ShareToken = Result<"/s/{token}", "post">;

export type Grant = Result<"/api/v1/files/{file_id}/grants", "put">;
export type GrantCreate = Body<"/api/v1/files/{file_id}/grants", "put">;

export type FileRequest = Result<"/api/v1/file-requests/{request_id}", "get">;
export type FileRequestCreate = Body<"/api/v1/file-requests", "post">;
export type NewFileRequest = Result<"/api/v1/file-requests", "post">;
export type FileRequestUpdate = Body<"/api/v1/file-requests/{request_id}", "patch">;

export type Archive = Result<"/api/v1/archives", "get">[number];
export type ArchiveCreate = Body<"/api/v1/archives", "post">;
export type ArchiveState = Result<"/api/v1/archives/{archive_id}", "get">;
export type ArchiveStatus = Archive["status"];

export type Stats = Result<"/api/v1/admin/stats", "get">;
export type AuditEvent = Result<"/api/v1/admin/audit", "get">[number];
export type AuditFilters = Query<"/api/v1/admin/audit", "get">;
export type UserFilters = Query<"/api/v1/users/", "get">;

export type OpenedFileRequest = Result<"/r/{token}", "get">;
export type GuestFileCreate = Body<"/r/{token}/files", "post">;
export type GuestMultipartCreate = Body<"/r/{token}/multipart", "post">;
export type GuestPartsBody = Body<"/r/{token}/files/{file_id}/parts", "post">;
export type GuestUpload = Result<"/r/{token}/files", "post">;
export type GuestFile = Result<"/r/{token}/files/{file_id}/complete", "post">;

/** One page of a list. */
export interface Page<T> {
  readonly items: readonly T[];
  /** Pass it as `cursor` for the next page; null on the last one. */
  readonly nextCursor: string | null;
  /** How many items there are on all pages, where the request asked for a count. */
  readonly totalCount: number | null;
}
