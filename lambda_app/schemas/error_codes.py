"""The error codes of the API: the status of each, what it means, and the members that its problem document has besides the common ones.

Routes name their codes in `problem_responses`; the OpenAPI document describes each one as a schema of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]


def _whole_number(description: str) -> Schema:
    return {"type": "integer", "description": description}


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}


def _ids(description: str) -> Schema:
    return {"type": "array", "items": {"type": "string", "format": "uuid"}, "description": description}


def _texts(description: str) -> Schema:
    return {"type": "array", "items": {"type": "string"}, "description": description}


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """The status, meaning and further members of an error code. A member in `optional` is present only where it applies."""

    status: int
    description: str
    members: Mapping[str, Schema] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()


_MISSING_COUNT = _whole_number("How many there are in all. The list has only the first ones.")
_FILE_STATUS = _text("The status of the file.")
_SCAN_STATUS = _text("The result of the malware scan.")
_FILE_ID = {"type": "string", "format": "uuid", "description": "The file, where the request names several."}
_FILE_OF_SEVERAL: dict[str, Any] = {"members": {"file_id": _FILE_ID}, "optional": frozenset({"file_id"})}
_MAX_BYTES = _whole_number("The largest allowed size, in bytes.")
_FIELD_ERRORS = {
    "type": "array",
    "items": {"$ref": "#/components/schemas/FieldProblem"},
    "description": "The invalid fields, at most 20. Absent where the error is not about one field.",
}

WITHHELD = ("file_not_scanned", "file_infected", "file_unscannable")
"""Errors of requests for the content of a file that a malware scan withholds."""

GLOBAL_ERRORS: dict[str, ErrorSpec] = {
    "internal_error": ErrorSpec(500, "An unexpected error. Report it with the `request_id`."),
    "no_such_route": ErrorSpec(404, "No route has this path, or the path contains a percent-encoded character."),
    "method_not_allowed": ErrorSpec(405, "The path does not support this method; `Allow` lists those that it supports."),
    "http_error": ErrorSpec(400, "The request is not valid HTTP for this server."),
    "malformed_event": ErrorSpec(400, "The gateway sent an event that is not a request."),
    "cors_refused": ErrorSpec(
        403, "The preflight request is from an origin that is not allowed, or asks for a method or header that is not."
    ),
    "side_door": ErrorSpec(403, "The request did not come through the public address of the service."),
}
"""Errors of requests that reach no route, or that any route can return. Only those with parameters in their path list `no_such_route`."""

ERRORS: dict[str, ErrorSpec] = {
    **GLOBAL_ERRORS,
    # Of each request with a body, with credentials or with a query.
    "bad_request": ErrorSpec(400, "The body cannot be read."),
    "body_too_large": ErrorSpec(413, "The body is larger than 256 KiB. Send file content to the upload URL, not to the API."),
    "unsupported_media_type": ErrorSpec(415, "The body has another media type than the route needs."),
    "malformed_request": ErrorSpec(422, "A field or parameter is not valid.", {"errors": _FIELD_ERRORS}, frozenset({"errors"})),
    "unknown_parameter": ErrorSpec(422, "The route has no query parameter of this name."),
    "bad_cursor": ErrorSpec(422, "The cursor is not one of this list. Request the first page again."),
    "skip_with_cursor": ErrorSpec(422, "`skip` and `cursor` cannot be combined."),
    "before_with_cursor": ErrorSpec(422, "`before` and `cursor` cannot be combined."),
    "conflicting_filters": ErrorSpec(422, "`owner_id`, `all` and `shared` cannot be combined."),
    "list_too_long": ErrorSpec(422, "No index supports these filters in this order, and the list has more than 5,000 files."),
    "not_authenticated": ErrorSpec(401, "The access token or API key is missing, invalid, expired or revoked."),
    "insufficient_scope": ErrorSpec(
        403,
        "The API key lacks the scope that the request needs.",
        {"required_scope": _text("The scope that the request needs.")},
    ),
    "permission_denied": ErrorSpec(403, "The caller may not do this."),
    "not_found": ErrorSpec(404, "The resource does not exist, or is closed. The response does not tell which."),
    "conflict": ErrorSpec(409, "Another request changed the resource at the same time. Repeat the request."),
    "gone": ErrorSpec(410, "The resource is permanently gone."),
    "precondition_failed": ErrorSpec(412, "The condition of the request does not hold."),
    "too_large": ErrorSpec(413, "The file is larger than the server can store.", {"max_bytes": _MAX_BYTES}, frozenset({"max_bytes"})),
    "too_many_requests": ErrorSpec(429, "The caller sends too many requests."),
    "unavailable": ErrorSpec(503, "A service that the API needs does not respond. Repeat the request."),
    "database_unavailable": ErrorSpec(503, "The database does not respond or has no free connection. Repeat the request."),
    "database_starting": ErrorSpec(503, "The database was paused and is starting. Nothing was changed. Repeat the request."),
    "database_unreachable": ErrorSpec(503, "The health check could not reach the database."),
    "serialization_conflict": ErrorSpec(503, "Another request changed the same rows at the same time. Repeat the request."),
    "store_unavailable": ErrorSpec(503, "The object store does not respond. Repeat the request."),
    "mail_not_configured": ErrorSpec(503, "The server cannot send mail."),
    # Accounts and sessions.
    "bad_credentials": ErrorSpec(401, "The e-mail address or the password is wrong."),
    "email_not_verified": ErrorSpec(403, "The e-mail address must be confirmed before the first sign-in."),
    "too_many_attempts": ErrorSpec(429, "Too many failed attempts with a password. Wait before the next one."),
    "second_factor_required": ErrorSpec(403, "The account has a second factor: send a code as `otp`."),
    "bad_second_factor": ErrorSpec(401, "The code of the second factor is wrong, or was used before."),
    "second_factor_enrolment_required": ErrorSpec(
        403, "The account must have a second factor: set it up, then refresh the session. Until then it can do nothing else."
    ),
    "second_factor_mandatory": ErrorSpec(409, "The account must have a second factor."),
    "second_factor_on": ErrorSpec(409, "The second factor is already on."),
    "second_factor_off": ErrorSpec(409, "The account has no second factor, or its set-up was not started."),
    "own_second_factor": ErrorSpec(409, "Superusers turn off their own second factor with its code."),
    "account_deletion_pending": ErrorSpec(
        403,
        "The owner asked to delete the account: sign in with `keep_account` to keep it.",
        {"deletion_at": {"type": ["string", "null"], "format": "date-time", "description": "When the account is deleted."}},
    ),
    "deletion_pending": ErrorSpec(409, "The account is going to be deleted: cancel the deletion first."),
    "no_deletion_pending": ErrorSpec(409, "No deletion of the account was requested, or it has begun."),
    "last_superuser": ErrorSpec(409, "The only active superuser cannot leave."),
    "bad_refresh_token": ErrorSpec(401, "The refresh token is unknown or its session has ended. Sign in again."),
    "refresh_token_reused": ErrorSpec(401, "The refresh token was used before, so its session has ended. Sign in again."),
    "refresh_token_superseded": ErrorSpec(401, "A newer refresh token was used before this one, so the session has ended. Sign in again."),
    "too_many_refreshes": ErrorSpec(429, "The session was refreshed too often. Wait before the next refresh."),
    "password_sign_in_closed": ErrorSpec(403, "This server accepts no passwords. Sign in with one of its sign-in providers."),
    "bad_assertion": ErrorSpec(401, "The assertion has expired, was used, or is of another browser. Start the sign-in again."),
    "sign_in_expired": ErrorSpec(403, "The browser has no started sign-in at this provider. Start it again."),
    "no_provider_sign_out": ErrorSpec(403, "The provider offers no sign-out to this service."),
    "sign_in_cancelled": ErrorSpec(403, "The person cancelled the sign-in at the provider, or the provider refused it."),
    "bad_id_token": ErrorSpec(401, "The provider sent an ID token that cannot be accepted."),
    "provider_unavailable": ErrorSpec(503, "The sign-in provider does not respond as expected. Try again later."),
    "no_account": ErrorSpec(403, "No account belongs to the identity, and none can be created; or the account is disabled."),
    "fresh_sign_in_required": ErrorSpec(403, "The change needs a fresh proof of the user: `POST /users/me/proof`."),
    "identity_taken": ErrorSpec(409, "The identity is linked to an account already."),
    "identity_not_found": ErrorSpec(404, "The caller has no linked identity with this id."),
    "last_sign_in_method": ErrorSpec(409, "The identity is the only way to sign in to the account."),
    "too_many_identities": ErrorSpec(409, "The account has the maximum number of linked identities."),
    "no_session": ErrorSpec(401, "The request has no session cookie."),
    "session_header_missing": ErrorSpec(403, "The header `X-We-Upload-Session: 1` is missing."),
    "cross_origin_session": ErrorSpec(403, "A page of another origin sent the request."),
    "cross_site_form": ErrorSpec(403, "A page of another site sent the form."),
    "session_not_found": ErrorSpec(404, "The caller has no session with this id."),
    "link_expired": ErrorSpec(410, "The link of the mail was used before or has expired."),
    "password_required": ErrorSpec(403, "The account has no confirmed owner: send a password, or the access token of the account."),
    "current_password_required": ErrorSpec(403, "`current_password` is missing or wrong."),
    "weak_password": ErrorSpec(422, "The password is too easy to guess."),
    "registration_closed": ErrorSpec(403, "Only a superuser can create accounts on this server."),
    "too_many_registrations": ErrorSpec(429, "Too many registrations from this network or for this mailbox."),
    "email_taken": ErrorSpec(409, "Another account has this e-mail address."),
    "user_not_found": ErrorSpec(404, "No account has this id or e-mail address."),
    "own_role": ErrorSpec(409, "Superusers cannot change their own role."),
    "invitation_not_found": ErrorSpec(404, "The caller has no invitation with this id."),
    "invitations_closed": ErrorSpec(403, "Users cannot send invitations on this server."),
    "too_many_invitations": ErrorSpec(409, "The account has the maximum number of invitations that wait for their recipients."),
    "too_many_invitation_mails": ErrorSpec(429, "Too many invitations were sent. Wait before the next one."),
    "sign_in_required": ErrorSpec(403, "The invited address has an account: send its access token."),
    "transfer_not_found": ErrorSpec(404, "The caller has no transfer with this id that the caller can change so."),
    "transfer_open": ErrorSpec(409, "Another transfer of the account waits for consent or is in progress."),
    "transfer_to_self": ErrorSpec(409, "The files belong to the recipient already."),
    "transfer_closed": ErrorSpec(409, "The transfer was declined or withdrawn, or has expired."),
    "authorization_pending": ErrorSpec(400, "No user has approved the sign-in yet. Ask again after `interval` seconds."),
    "access_denied": ErrorSpec(400, "The user denied the sign-in."),
    "expired_token": ErrorSpec(400, "The device code is unknown, expired or used. Start the sign-in again."),
    "device_login_not_found": ErrorSpec(404, "No program waits for this code."),
    "too_many_device_logins": ErrorSpec(429, "Too many sign-ins from this network wait for approval."),
    "api_key_not_found": ErrorSpec(404, "The caller has no API key with this id."),
    "too_many_api_keys": ErrorSpec(409, "The account has the maximum number of API keys."),
    "webhook_not_found": ErrorSpec(404, "The caller has no webhook with this id."),
    "webhook_delivery_not_found": ErrorSpec(404, "The webhook has no delivery with this id."),
    "webhook_disabled": ErrorSpec(409, "The webhook is disabled. Enable it first."),
    "webhook_test_pending": ErrorSpec(409, "A test of this webhook is pending. Wait for its delivery, or replay it."),
    "too_many_webhooks": ErrorSpec(409, "The account has the maximum number of webhooks."),
    "bad_webhook_url": ErrorSpec(422, "The address must be a public https URL without user name, password and fragment."),
    # Files and uploads.
    "file_not_found": ErrorSpec(404, "The file does not exist, or the caller may not know that it exists.", **_FILE_OF_SEVERAL),
    "file_forbidden": ErrorSpec(403, "The caller may see the file, but not do this with it.", **_FILE_OF_SEVERAL),
    "file_changed": ErrorSpec(412, "The file has another version than `If-Match` names. Read it again."),
    "file_not_available": ErrorSpec(
        409,
        "The file has a status in which this is not possible.",
        {"file_status": _FILE_STATUS, "file_id": _FILE_ID},
        frozenset({"file_status", "file_id"}),
    ),
    "not_in_trash": ErrorSpec(409, "The file is not in the trash.", {"file_status": _FILE_STATUS}),
    "file_not_scanned": ErrorSpec(409, "The file is being scanned for malware. Repeat the request."),
    "file_infected": ErrorSpec(403, "The malware scan found a threat. The content is not served."),
    "file_unscannable": ErrorSpec(403, "The malware scan was not possible. The content is not served."),
    "file_not_withheld": ErrorSpec(409, "No result of a malware scan withholds the file.", {"scan_status": _SCAN_STATUS}),
    "receipt_not_found": ErrorSpec(
        404, "The audit log has no event of this file: it is not available, or was completed by an earlier version."
    ),
    "receipt_not_ready": ErrorSpec(409, "The event is not sealed yet. Repeat the request after the seconds in `Retry-After`."),
    "quota_exceeded": ErrorSpec(
        413,
        "The file exceeds the storage quota.",
        {
            "bytes_left": _whole_number("Bytes that are left of the quota."),
            "files_left": _whole_number("Number of files that are left of the quota."),
        },
    ),
    "deletion_allowance_used": ErrorSpec(429, "The account deleted so much that uploads are refused for a time."),
    "single_upload_too_large": ErrorSpec(413, "The file is too large for one request. Upload it in parts.", {"max_bytes": _MAX_BYTES}),
    "too_large_for_one_upload": ErrorSpec(413, "The file is too large for one request."),
    "upload_token_not_found": ErrorSpec(404, "The caller has no valid upload token with this id."),
    "too_many_upload_tokens": ErrorSpec(409, "The account has the maximum number of valid upload tokens."),
    "token_quota_exceeded": ErrorSpec(
        413,
        "The upload exceeds the quota of the upload token.",
        {
            "bytes_left": _whole_number("Bytes that can still be uploaded with the token."),
            "files_left": _whole_number("Number of uploads that can still be started with the token."),
        },
    ),
    "idempotency_key_in_flight": ErrorSpec(409, "A request with this `Idempotency-Key` is in progress. Repeat it in a moment."),
    "idempotency_key_reused": ErrorSpec(422, "The `Idempotency-Key` was used for a request with another body. Use a new key."),
    "idempotent_file_gone": ErrorSpec(410, "The file of this `Idempotency-Key` no longer exists. Use a new key."),
    "idempotent_share_gone": ErrorSpec(410, "The share link of this `Idempotency-Key` is no longer available. Use a new key."),
    "idempotent_request_gone": ErrorSpec(410, "The file request of this `Idempotency-Key` cannot be shown again. Use a new key."),
    "no_such_part": ErrorSpec(422, "The upload has no part with this number."),
    "part_digests_differ": ErrorSpec(422, "A part lacks its SHA-256, or has one although the upload has none."),
    "not_in_parts": ErrorSpec(409, "The file has no multipart upload in progress.", {"file_status": _FILE_STATUS}),
    "parts_missing": ErrorSpec(
        409,
        "Some parts have not been uploaded.",
        {
            "missing_parts": {"type": "array", "items": {"type": "integer"}, "description": "The first missing part numbers."},
            "missing_count": _MISSING_COUNT,
        },
    ),
    "upload_missing": ErrorSpec(409, "Nothing has been uploaded for the file yet."),
    "upload_rejected": ErrorSpec(409, "The content does not match the declaration and was deleted. Start a new upload."),
    "upload_lost": ErrorSpec(409, "The object store has lost the upload. Delete the file and start a new upload."),
    "upload_withheld": ErrorSpec(409, "The upload is being scanned. The file becomes available by itself."),
    # Share links, grants and file requests.
    "share_not_found": ErrorSpec(404, "The share link does not exist, or is not one of the caller."),
    "share_revoked": ErrorSpec(409, "The share link is revoked."),
    "share_has_slug": ErrorSpec(409, "A share link with a slug keeps its address."),
    "slug_taken": ErrorSpec(409, "Another share link has this slug."),
    "too_many_shares": ErrorSpec(409, "The account has the maximum number of share links."),
    "too_many_slugs": ErrorSpec(409, "The account has the maximum number of slugs."),
    "too_many_link_files": ErrorSpec(
        409, "The share link would open too many files.", {"file_count": _whole_number("How many files the link has now.")}
    ),
    "share_expired": ErrorSpec(409, "The share link has expired."),
    "share_address_unknown": ErrorSpec(409, "The server cannot read the address of the share link. Give it a new one."),
    "sender_not_verified": ErrorSpec(403, "The caller has not confirmed the own e-mail address."),
    "too_many_mails": ErrorSpec(429, "The account has sent too many mails. Wait before the next one."),
    "recipient_not_found": ErrorSpec(404, "Some recipients have no account.", {"unknown": _texts("The recipients that have no account.")}),
    "expired_already": ErrorSpec(422, "`expires_at` is in the past."),
    "link_not_found": ErrorSpec(404, "The link does not exist, is closed, or is not for this caller. The response does not tell which."),
    "share_password_required": ErrorSpec(403, "The link needs a password. Exchange it for a share pass with `POST /s/{token}`."),
    "wrong_share_password": ErrorSpec(403, "The password of the link is wrong."),
    "share_listing_only": ErrorSpec(403, "The link only lists its files."),
    "no_account_needed": ErrorSpec(422, "The link needs no account; send only its password."),
    "robots_get_no_files": ErrorSpec(403, "Robots and prefetching browsers cannot download."),
    "own_file": ErrorSpec(409, "The user owns the file and needs no grant."),
    "too_many_grants": ErrorSpec(409, "The file has the maximum number of grants."),
    "grant_not_found": ErrorSpec(404, "The file is not shared with this user."),
    "file_request_not_found": ErrorSpec(404, "The caller has no file request with this id."),
    "too_many_file_requests": ErrorSpec(409, "The account has the maximum number of file requests."),
    "bad_expiry": ErrorSpec(422, "`expires_at` is in the past or too far in the future."),
    "file_too_large": ErrorSpec(
        413,
        "The file is larger than the file request or the upload token allows.",
        {"max_size_bytes": _whole_number("Largest allowed file, in bytes.")},
    ),
    "content_type_refused": ErrorSpec(
        409,
        "The file request or the upload token does not accept this content type.",
        {"allowed_content_types": _texts("The allowed types and families of types.")},
    ),
    "file_request_full": ErrorSpec(409, "The file request accepts no more files."),
    "no_room": ErrorSpec(409, "The owner of the link has no storage left for the file or the archive."),
    "too_many_uploads": ErrorSpec(429, "Too many uploads from this network."),
    # Archives.
    "archive_not_found": ErrorSpec(404, "The archive does not exist, or is not one of the caller."),
    "too_many_exports": ErrorSpec(429, "An account can be exported once a day."),
    "archive_expired": ErrorSpec(410, "The archive has expired. Request a new one."),
    "archive_too_large": ErrorSpec(413, "The files are too large for one archive.", {"max_bytes": _MAX_BYTES}),
    "too_many_archives": ErrorSpec(
        429, "Too many archives are unfinished.", {"max_archives": _whole_number("The maximum number of unfinished archives.")}
    ),
    "files_not_found": ErrorSpec(
        404, "Some files do not exist.", {"file_ids": _ids("The first missing files."), "missing_count": _MISSING_COUNT}
    ),
    "files_not_available": ErrorSpec(
        409, "Some files cannot be downloaded.", {"file_ids": _ids("The first of these files."), "missing_count": _MISSING_COUNT}
    ),
}
"""All error codes, in the order of the OpenAPI document's list."""
