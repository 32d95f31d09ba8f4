"""The guards: for each, the function that holds it, what goes when it is removed, and the tests that must not let that pass."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import true

from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError, PermissionDeniedError
from lambda_app.core.identity import assertions, id_tokens
from lambda_app.core.outbound import addresses
from lambda_app.core.security import notification_tokens, password_rules, passwords, share_tokens, tokens
from lambda_app.core.security.keys import SigningKeys
from lambda_app.core.security.log_keys import LogVerifier
from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.db import engine, roles
from lambda_app.db import errors as db_errors
from lambda_app.dependencies import browser_sessions, same_origin
from lambda_app.dependencies import callers as caller_dependencies
from lambda_app.dependencies.auth import BearerScheme
from lambda_app.handlers import admin
from lambda_app.handlers.rotate_signing_key import RotationRefusedError, SigningKeyRotation
from lambda_app.models import (
    Archive,
    ArchiveStatus,
    File,
    FileGrant,
    FileRequest,
    FileStatus,
    GrantRole,
    IdempotencyKey,
    MailToken,
    RefreshToken,
    Share,
    ShareArchiveDownload,
    ShareDownload,
    ShareRecipient,
    UploadToken,
    UploadTokenFile,
    User,
    UserSession,
)
from lambda_app.models.files.files import CHARGED
from lambda_app.repositories import audit
from lambda_app.repositories.accounts import callers as caller_rows
from lambda_app.repositories.accounts import current_user, mail_tokens
from lambda_app.repositories.accounts import identities as identity_rows
from lambda_app.repositories.accounts import invitations as invitation_rows
from lambda_app.repositories.accounts import sessions as session_rows
from lambda_app.repositories.accounts.api_keys import ApiKeyRepository
from lambda_app.repositories.accounts.attempt_counters import count_attempts
from lambda_app.repositories.accounts.sign_in_attempts import FREE_ATTEMPTS_PER_ADDRESS
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.repositories.archives import transitions as archive_transitions
from lambda_app.repositories.audit_log import AuditLogRepository
from lambda_app.repositories.files import batch_transitions, file_access, transitions
from lambda_app.repositories.files import batches as batch_reads
from lambda_app.repositories.files import files as file_rows
from lambda_app.repositories.files import idempotency as idempotency_rows
from lambda_app.repositories.files import upload_tokens as upload_token_rows
from lambda_app.repositories.files.sweep import SweepRepository
from lambda_app.repositories.notifications import digests as digest_rows
from lambda_app.repositories.notifications import prolongation
from lambda_app.repositories.sharing import caller_links, guest_throttle
from lambda_app.repositories.sharing import share_links as share_link_rows
from lambda_app.repositories.sharing import shares as share_rows
from lambda_app.repositories.sharing.recipient_lookup import RecipientLookupRepository
from lambda_app.routers.http import costly_routes, problems, request_middleware, security_headers, templating
from lambda_app.routers.sharing import file_request_pages, share_links
from lambda_app.services.accounts import (
    api_keys,
    authentication,
    callers,
    exports,
    identities,
    identity_flows,
    invitations,
    login_throttle,
    recovery,
    second_factor,
    sessions,
    transfers,
    users,
)
from lambda_app.services.accounts import callers as caller_services
from lambda_app.services.accounts.factor_policy import EnrolmentRequiredError
from lambda_app.services.accounts.login_throttle import LoginThrottle
from lambda_app.services.archives import archives, builds
from lambda_app.services.audit_sealing import AuditSealer, LogMismatchError
from lambda_app.services.files import (
    batch_changes,
    caller_files,
    files,
    idempotency,
    scans,
    sweep,
    upload_tokens,
    upload_verification,
    uploads,
)
from lambda_app.services.files.previews import PreviewService
from lambda_app.services.files.quota import QuotaExceededError
from lambda_app.services.files.upload_completion import FileNotAvailableError
from lambda_app.services.notifications.settings import NotificationSettingService
from lambda_app.services.sharing import shares
from lambda_app.storage import content, signed_headers, sniffing
from lambda_preview import images
from tests.mutation import behaviours
from tests.mutation.edits import DropArgument, DropCheck, DropCondition, Edit, Read, Replace


@dataclass(frozen=True, slots=True)
class Guard:
    """What stands between an attacker, or an accident, and harm."""

    name: str
    target: Callable[..., Any]
    """The function that holds it."""
    without: tuple[Edit, ...]
    """What removes it from there."""
    tests: tuple[str, ...]
    """Below `tests`; at least one of them has to fail then."""


INFECTED = "test_infected_file_is_refused_everywhere_and_listed_for_the_owner_and_administrators"
API = "integration/api/"
IDENTITY = f"{API}test_identity_sign_in.py::"
ID_TOKENS = "unit/core/identity/test_id_tokens.py"

GUARDS = (
    # Leaving and inviting
    Guard(
        "a session that must set up a second factor does nothing else, where the statement authenticates",
        caller_services.CallerService.read,
        (DropCheck(EnrolmentRequiredError),),
        (f"{API}test_required_second_factor.py::test_setting_for_all_applies_to_users",),
    ),
    Guard(
        "a session that must set up a second factor does nothing else",
        authentication.AuthenticationService._by_access_token,
        (DropCheck(EnrolmentRequiredError),),
        (f"{API}test_required_second_factor.py::test_session_without_the_factor_can_only_set_it_up",),
    ),
    Guard(
        "the mail of an invitation alone does not open an account that exists",
        invitations.InvitationService.accept,
        (DropCheck(invitations.SignInRequiredError),),
        (f"{API}test_invitations.py::test_owner_of_the_account_accepts_when_signed_in",),
    ),
    Guard(
        "an invitation ends with the right of its inviter",
        invitation_rows._valid,
        (Read(invitation_rows._in_force, instead=lambda _, **__: ()),),
        (f"{API}test_invitations.py::test_invitation_that_is_not_in_force_creates_no_account",),
    ),
    Guard(
        "users hand over only their own files",
        transfers.TransferService.offer,
        (DropCheck(PermissionDeniedError),),
        (f"{API}test_transfers.py::test_superuser_hands_over_the_files_of_an_account_that_is_closed",),
    ),
    Guard(
        "files that are handed over fit into the quota",
        transfers.TransferService._require_acceptable,
        (DropCheck(QuotaExceededError),),
        (f"{API}test_transfers.py::test_files_must_fit_into_the_quota_of_the_recipient",),
    ),
    Guard(
        "an account is exported once a day",
        exports.ExportService.start,
        (DropCheck(exports.TooManyExportsError),),
        (f"{API}test_exports.py::test_account_is_exported_once_a_day",),
    ),
    # Ownership
    Guard(
        "only the owner manages a file",
        file_access.manageable_by,
        (Replace(lambda *_: true()),),
        (f"{API}test_files.py::test_file_route_returns_the_expected_status_for_each_caller",),
    ),
    Guard(
        "a batch reads only the states of files that the caller may read",
        batch_reads._statuses,
        (DropCondition(file_access.readable_by),),
        (f"{API}test_file_batches.py::test_unknown_and_foreign_files_have_the_same_status",),
    ),
    Guard(
        "a batch signs only the downloads of files that the caller may read",
        batch_reads._readable,
        (Read(file_access.readable_by, instead=lambda _: true()),),
        (f"{API}test_file_batches.py::test_each_file_has_the_status_and_download_of_the_single_route",),
    ),
    Guard(
        "only the owner deletes files in a batch",
        batch_transitions._start_deleting,
        (Read(file_access.manageable_by, instead=lambda _: true()),),
        ("integration/lifecycle/test_batches.py::test_files_of_others_and_unknown_ids_are_refused_and_stay",),
    ),
    Guard(
        "only the owner restores files in a batch",
        batch_transitions._restore,
        (Read(file_access.manageable_by, instead=lambda _: true()),),
        ("integration/lifecycle/test_batches.py::test_files_of_others_and_unknown_ids_are_refused_and_stay",),
    ),
    Guard(
        "a change of visibility in a batch needs the scope shares",
        batch_changes.FileBatchChangeService.set_visibility,
        (Read(authentication.require_scope, instead=lambda _: None),),
        (f"{API}test_file_batches.py::test_changes_need_the_scopes_of_the_single_routes",),
    ),
    Guard(
        "emptying the trash keeps a file that was restored meanwhile",
        batch_changes.FileBatchChangeService.empty_trash,
        (DropArgument("only"),),
        ("integration/lifecycle/test_batches.py::test_file_that_is_restored_while_the_trash_is_emptied_stays",),
    ),
    Guard(
        "only superusers list the files of others",
        files.FileService.page_files,
        (DropCheck(PermissionDeniedError),),
        (f"{API}test_files.py::test_only_superusers_list_the_files_of_others",),
    ),
    Guard(
        "only an available file can be downloaded",
        caller_files.CallerFileService.start_download,
        (DropCheck(FileNotAvailableError),),
        (f"{API}test_files.py::test_only_available_files_can_be_downloaded",),
    ),
    Guard(
        "an Idempotency-Key is scoped to its user and route",
        idempotency_rows._get,
        (DropCondition(IdempotencyKey.route),),
        (f"{API}test_idempotency.py::test_key_is_scoped_to_user_and_route",),
    ),
    Guard(
        "an Idempotency-Key with another body is refused",
        idempotency.IdempotencyService.get_done,
        (DropCheck(idempotency.IdempotencyKeyReusedError),),
        (f"{API}test_idempotency.py::test_key_with_another_body_is_refused",),
    ),
    Guard(
        "a conditional change checks the revision",
        file_rows._update,
        (DropCondition(File.revision),),
        (f"{API}test_file_lists.py::test_conditional_update_returns_412_after_another_update",),
    ),
    # Uploads and content
    Guard(
        "an upload URL works once",
        signed_headers.upload_headers,
        (Replace(behaviours.without_header("If-None-Match")),),
        (f"{API}test_files.py::test_upload_url_works_once",),
    ),
    Guard(
        "the digest is part of the signature",
        signed_headers._digest_header,
        (Replace(lambda *_: {}),),
        (f"{API}test_files.py::test_s3_refuses_content_that_was_not_declared",),
    ),
    Guard(
        "the length is part of the signature",
        signed_headers.upload_headers,
        (Replace(behaviours.without_header("Content-Length")),),
        (f"{API}test_files.py::test_upload_response_lists_all_required_headers", "unit/storage", "integration/storage"),
    ),
    Guard(
        "the size of the stored object is verified",
        upload_verification._is_as_declared,
        (Replace(behaviours.any_size),),
        (f"{API}test_files.py::test_object_that_differs_from_the_declaration_is_rejected_and_deleted",),
    ),
    Guard(
        "the digest of the stored object is verified",
        upload_verification._is_as_declared,
        (Replace(behaviours.any_digest),),
        (f"{API}test_files.py::test_object_that_differs_from_the_declaration_is_rejected_and_deleted",),
    ),
    Guard(
        "only files with a digest are found by a listing",
        upload_verification.UploadVerification._is_decided_by_size,
        (Replace(behaviours.listed_without_a_digest),),
        ("integration/lifecycle/test_batch_completion.py",),
    ),
    Guard(
        "only files of any type are found by a listing",
        upload_verification.UploadVerification._is_decided_by_size,
        (DropCondition(sniffing.can_be_contradicted),),
        ("integration/lifecycle/test_batch_completion.py",),
    ),
    Guard(
        "only one's own uploads are completed together",
        file_rows._pending,
        (Read(file_access.manageable_by, instead=lambda _: true()),),
        (f"{API}test_file_batches.py", "integration/lifecycle/test_batch_completion.py"),
    ),
    Guard(
        "only a pending file becomes available",
        transitions._accept,
        (DropCondition(FileStatus.PENDING),),
        (f"{API}test_races.py", "integration/lifecycle/test_event_orders.py"),
    ),
    Guard(
        "a row is removed only after its object is deleted",
        transitions._remove,
        (DropCondition(File.status),),
        ("integration/lifecycle/test_steps.py",),
    ),
    Guard(
        "active content is served as octet-stream",
        content.served_content_type,
        (Replace(lambda _, content_type: content_type.partition(";")[0].strip().lower()),),
        ("unit/storage/test_content.py", f"{API}test_files.py::test_active_content_is_served_as_an_attachment_of_octet_stream"),
    ),
    Guard(
        "a file name cannot break its header",
        content.content_disposition,
        (Replace(lambda _, filename: f'attachment; filename="{content.safe_filename(filename)}"'),),
        ("unit/storage/test_content.py",),
    ),
    Guard(
        "invisible characters are removed from a file name",
        content._visible,
        (Replace(behaviours.show_all),),
        ("unit/storage/test_content.py",),
    ),
    # Limits
    Guard(
        "the quota limits bytes",
        transitions.has_room_for,
        (DropCondition(User.bytes_used),),
        (f"{API}test_quota.py",),
    ),
    Guard(
        "the quota limits files",
        transitions.has_room_for,
        (DropCondition(User.files_count),),
        (f"{API}test_quota.py",),
    ),
    Guard(
        "only a charged file releases quota",
        transitions._moves,
        (DropCondition(CHARGED),),
        (f"{API}test_quota.py", "integration/lifecycle"),
    ),
    Guard(
        "the request body has a size limit",
        request_middleware._read_body,
        (DropCheck(request_middleware.BODY_MAX_BYTES, at=1),),
        (f"{API}test_bad_input.py",),
    ),
    Guard(
        "a long list is not read without an index",
        files.FileService._require_bounded,
        (DropCheck(files.ListTooLongError),),
        (f"{API}test_file_lists.py::test_list_without_an_index_is_refused_if_it_is_long",),
    ),
    Guard(
        "the sweep keeps live uploads",
        SweepRepository.list_overdue,
        (Replace(behaviours.list_in_a_year),),
        ("integration/lifecycle/test_sweep.py",),
    ),
    Guard(
        "the sweep keeps recent orphans",
        sweep._Run._abort_orphans,
        (Replace(behaviours.abort_orphans_at_once),),
        ("integration/lifecycle/test_sweep.py",),
    ),
    # Authentication
    Guard(
        "a revoked session is refused",
        session_rows.is_live_session,
        (DropCondition(UserSession.revoked_at),),
        (f"{API}test_sessions.py",),
    ),
    Guard(
        "a disabled user is refused",
        session_rows.is_live_session,
        (DropCondition(User.is_active),),
        (f"{API}test_login.py::test_disabled_user_is_refused_on_the_next_request",),
    ),
    Guard(
        "a new token epoch ends every token",
        session_rows.is_live_session,
        (DropCondition(UserSession.token_epoch, User.token_epoch),),
        (f"{API}test_sessions.py::test_every_credential_is_refused_on_the_next_request",),
    ),
    Guard(
        "a refresh token has one successor",
        session_rows._rotate,
        (DropCondition(RefreshToken.used_at),),
        (f"{API}test_sessions.py::test_concurrent_refreshes_all_get_the_same_successor",),
    ),
    Guard(
        "a reused refresh token ends its session",
        session_rows._revoke_reused,
        (Replace(lambda *_: None),),
        (f"{API}test_sessions.py::test_reused_refresh_token_ends_the_session_and_is_audited",),
    ),
    Guard(
        "a refresh token cannot be repeated after its grace period",
        sessions.SessionService._repeat_exchange,
        (Read(sessions.REFRESH_GRACE, instead=timedelta(days=1)),),
        (f"{API}test_sessions.py::test_reused_refresh_token_ends_the_session_and_is_audited",),
    ),
    Guard(
        "a refresh token cannot be repeated once its successor was used",
        sessions.SessionService._repeat_exchange,
        (DropCheck(sessions.RefreshTokenSupersededError),),
        (f"{API}test_sessions.py::test_reused_refresh_token_ends_the_session_and_is_audited",),
    ),
    Guard(
        "replays of a refresh token do not fill the audit log",
        session_rows._revoke_reused,
        (Read(session_rows.REUSE_AUDIT_INTERVAL, instead=timedelta(0)),),
        (f"{API}test_sessions.py::test_replays_of_a_used_token_add_one_audit_event_per_delay",),
    ),
    Guard(
        "refreshes of a session are limited",
        session_rows.SessionRepository.rotate,
        (Read(session_rows.REFRESHES_PER_WINDOW, instead=10**9),),
        (f"{API}test_sessions.py::test_refreshing_in_a_loop_is_limited_and_keeps_the_session",),
    ),
    Guard(
        "a browser session needs the header that other origins cannot send",
        browser_sessions.require_same_origin_session,
        (DropCheck(browser_sessions.SessionHeaderMissingError),),
        (f"{API}test_browser_sessions.py::test_cross_site_request_is_refused_and_changes_nothing",),
    ),
    Guard(
        "a browser session is used by pages of its own origin",
        browser_sessions.require_same_origin_session,
        (DropCheck(browser_sessions.CrossOriginSessionError),),
        (f"{API}test_browser_sessions.py::test_cross_site_request_is_refused_and_changes_nothing",),
    ),
    Guard(
        "the Origin of a form without Sec-Fetch-Site is checked",
        same_origin._own_origins,
        (Replace(lambda _, request, _own_url: {request.headers["origin"]}),),
        (f"{API}test_same_origin.py::test_form_of_another_origin_is_refused",),
    ),
    Guard(
        "an encoded path is not routed",
        request_middleware._refuse_other_spelling,
        (Replace(lambda *_: None),),
        (f"{API}test_path_spellings.py",),
    ),
    Guard(
        "a costly route is not reached past the gateway's rate limit",
        costly_routes.is_costly,
        (Replace(lambda *_: False),),
        (f"{API}test_path_spellings.py::test_costly_route_is_refused_on_the_default_route_of_the_gateway",),
    ),
    Guard(
        "a token's header has no other members",
        tokens.AccessTokens._find_key,
        (DropCondition(tokens.ALGORITHM),),
        ("unit/core/test_tokens.py", f"{API}test_forgeries.py"),
    ),
    Guard(
        "a token ends at its expiry",
        tokens.AccessTokens._validate_claims,
        (DropCheck(clock.now, at=1),),
        ("unit/core/test_tokens.py",),
    ),
    Guard(
        "a token's type and audience are verified",
        tokens.AccessTokens._validate_claims,
        (DropCheck(tokens.ACCESS_TOKEN_TYPE),),
        ("unit/core/test_tokens.py",),
    ),
    Guard(
        "a token that is too long is not parsed",
        tokens.AccessTokens.read,
        (DropCondition(tokens.TOKEN_MAX_BYTES),),
        ("unit/core/test_tokens.py", f"{API}test_forgeries.py"),
    ),
    Guard(
        "old signing keys are not used when new ones cannot be fetched",
        SigningKeys._fetch_ring,
        (Replace(behaviours.keep_old_keys),),
        ("unit/core/test_keys.py",),
    ),
    Guard(
        "unknown key ids do not fetch the keys without limit",
        SigningKeys._read,
        (Replace(behaviours.fetch_whenever_forced),),
        ("unit/core/test_keys.py",),
    ),
    Guard(
        "an API key is limited to its scopes",
        authentication.require_scope,
        (DropCheck(authentication.ScopeMissingError),),
        (f"{API}test_api_keys.py::test_key_gives_access_within_its_scopes_only",),
    ),
    Guard(
        "a statement accepts no caller whose credential is not in force",
        callers.CallerService.accept,
        (DropCheck(NotAuthenticatedError),),
        (f"{API}test_sessions.py::test_every_credential_is_refused_on_the_next_request",),
    ),
    Guard(
        "a request that a takeover overtakes opens nothing",
        current_user.lock_current,
        (DropCheck(NotAuthenticatedError),),
        (f"{API}test_takeover_races.py::test_request_that_a_takeover_overtakes_changes_nothing",),
    ),
    Guard(
        "an invalid credential is refused before any other error of the request",
        caller_dependencies.refusal_before,
        (Replace(behaviours.refuse_nothing),),
        (f"{API}test_one_trip.py::test_credential_is_checked_before_other_errors",),
    ),
    Guard(
        "an upload with an API key needs the scopes in the statement that inserts the file",
        caller_rows.may,
        (Replace(lambda *_: true()),),
        (f"{API}test_one_trip.py::test_upload_without_scope_inserts_nothing",),
    ),
    Guard(
        "a superuser's file key is limited to their own files",
        caller_rows.select_caller,
        (DropCondition(caller_rows.key_has_scope),),
        (f"{API}test_api_keys.py::test_superusers_key_without_admin_scope_reads_only_their_own_files",),
    ),
    Guard(
        "a superuser's file key changes only their own files",
        ApiKeyRepository.drop_superuser,
        (Replace(lambda *_: None),),
        (f"{API}test_api_keys.py::test_superusers_key_without_admin_scope_reads_only_their_own_files",),
    ),
    Guard(
        "an API key cannot create a key with a scope that it lacks",
        api_keys.ApiKeyService.create,
        (Read(authentication.require_scope, instead=lambda _: None),),
        (f"{API}test_credential_power.py::test_key_cannot_be_made_with_a_scope_that_its_maker_lacks",),
    ),
    Guard(
        "an API key that another key created expires with it",
        api_keys.ApiKeyService.create,
        (Read(min, instead=max),),
        (f"{API}test_credential_power.py::test_key_made_by_a_key_expires_with_it",),
    ),
    Guard(
        "revoking an API key revokes the keys that it created",
        api_keys.ApiKeyService.create,
        (Read(authentication.current_api_key_id, instead=lambda: None),),
        (f"{API}test_credential_power.py::test_revoked_key_takes_the_keys_that_it_made_with_it",),
    ),
    Guard(
        "a change of visibility needs the scope shares",
        files.FileService.update_file,
        (DropCheck(authentication.require_scope),),
        (f"{API}test_credential_power.py::test_change_of_visibility_requires_the_scope_shares",),
    ),
    Guard(
        "a public upload needs the scope shares",
        uploads.require_scopes,
        (DropCheck(authentication.require_scope),),
        (f"{API}test_credential_power.py::test_public_upload_requires_the_scope_shares",),
    ),
    Guard(
        "a change of the role ends keys and tokens",
        UserRepository.update,
        (Replace(behaviours.keep_sessions_on_role_change),),
        (f"{API}test_credential_power.py::test_change_of_the_role_ends_keys_and_tokens",),
    ),
    Guard(
        "broken credentials are not anonymous",
        BearerScheme.read_token,
        (Replace(behaviours.take_broken_for_none),),
        (f"{API}test_login.py::test_public_file_refuses_malformed_credentials",),
    ),
    # Sharing
    Guard(
        "a viewer changes nothing",
        file_access.changeable_by,
        (DropCondition(GrantRole.EDITOR),),
        (f"{API}test_grants.py::test_viewer_can_read_and_cannot_change",),
    ),
    Guard(
        "an editor does not change the visibility",
        file_access.changeable_by,
        (DropCondition(file_access.EDITORS_FIELDS),),
        (f"{API}test_grants.py::test_editor_can_change_only_name_and_description",),
    ),
    Guard(
        "files of a disabled account are not readable by others",
        file_access._has_active_owner,
        (Replace(lambda _: true()),),
        (f"{API}test_grants.py::test_file_of_a_disabled_owner_is_not_accessible_to_grantees",),
    ),
    Guard(
        "a grant to an unconfirmed address gives no access",
        file_access.granted_to,
        (DropCondition(FileGrant.is_pending),),
        (f"{API}test_proven_addresses.py::test_squatter_does_not_get_what_is_shared_with_the_address",),
    ),
    Guard(
        "a link is closed to a recipient who has not confirmed the address",
        file_access.link_is_for,
        (DropCondition(ShareRecipient.is_pending),),
        (f"{API}test_proven_addresses.py::test_named_link_is_closed_to_an_unconfirmed_address",),
    ),
    Guard(
        "a mail alone does not confirm an account that another person may have registered",
        recovery.RecoveryService.complete_email_verification,
        (DropCheck(recovery.PasswordRequiredError),),
        (f"{API}test_proven_addresses.py::test_confirmation_without_a_password_asks_for_one_and_keeps_the_link_valid",),
    ),
    Guard(
        "registrations are limited",
        users.UserService.register,
        (DropCheck(users.TooManyRegistrationsError),),
        (f"{API}test_address_questions.py::test_registrations_of_one_network_are_limited_before_the_password_is_hashed",),
    ),
    Guard(
        "questions by a change of address are limited",
        RecipientLookupRepository.count,
        (Replace(lambda *_: None),),
        (f"{API}test_address_questions.py::test_change_of_address_asks_only_a_limited_number_of_times",),
    ),
    Guard(
        "recipients are looked up only after access to the file is verified",
        share_rows.ShareRepository.can_share,
        (Replace(lambda *_: True),),
        (f"{API}test_shares.py::test_recipients_are_looked_up_only_after_the_files_are_authorised",),
    ),
    Guard(
        "unknown recipients are counted",
        RecipientLookupRepository.find,
        (Replace(behaviours.admit_every_lookup),),
        (f"{API}test_shares.py::test_recipient_lookups_of_shares_and_grants_share_one_limit",),
    ),
    Guard(
        "a batch of unknown recipients is limited like single ones",
        RecipientLookupRepository._find_emails,
        (Read(FREE_ATTEMPTS_PER_ADDRESS, instead=sys.maxsize),),
        (f"{API}test_shares.py::test_too_many_unknown_recipients_in_one_request_are_not_listed",),
    ),
    Guard(
        "a guest's refused uploads count more",
        guest_throttle.count_guest_upload,
        (Replace(behaviours.count_tries_alike),),
        (f"{API}test_file_requests.py::test_guests_cannot_probe_the_owners_quota",),
    ),
    Guard(
        "guests from one IPv6 site are counted together",
        guest_throttle.source_parameters,
        (Read(guest_throttle.FREE_POINTS_OF_WIDER_NETWORK, instead=dict.fromkeys(guest_throttle.FREE_POINTS_OF_WIDER_NETWORK, 10**9)),),
        (f"{API}test_file_requests.py::test_guests_of_one_ipv6_site_probe_the_quota_together",),
    ),
    Guard(
        "a blocked guest cannot start an upload",
        count_attempts,
        (DropArgument("where"),),
        (f"{API}test_file_requests.py::test_concurrent_probes_reveal_no_more_than_sequential_ones",),
    ),
    Guard(
        "retries of an archive build are limited",
        builds.ArchiveBuildService._schedule_retry,
        (DropCheck(builds.PAUSES_SECONDS),),
        ("integration/lifecycle/test_archives.py::test_retries_back_off_while_s3_fails",),
    ),
    Guard(
        "a revoked or expired link is not found",
        file_access.link_is_live,
        (
            DropCondition(Share.revoked_at),
            DropCondition(Share.expires_at, times=2),
        ),
        (f"{API}test_share_links.py",),
    ),
    Guard(
        "a link's download limit holds",
        file_access.link_has_downloads_left,
        (Replace(lambda _: true()),),
        (f"{API}test_share_links.py",),
    ),
    Guard(
        "a link is limited to its audience",
        file_access.link_is_for,
        (Replace(lambda *_: true()),),
        (f"{API}test_share_links.py",),
    ),
    Guard(
        "a changed link password ends earlier share tokens",
        file_access.link_password_is_proven,
        (DropCondition(Share.password_version),),
        (f"{API}test_share_links.py::test_changed_password_invalidates_every_share_pass",),
    ),
    Guard(
        "a link gives only files that its owner may share",
        file_access.offered_by,
        (Replace(lambda *_: File.status == FileStatus.AVAILABLE),),
        (f"{API}test_share_links.py::test_link_of_a_superuser_serves_others_files_only_while_a_superuser",),
    ),
    Guard(
        "a promotion gives earlier links no more files",
        file_access.offered_by,
        (Replace(behaviours.offer_by_current_role),),
        (f"{API}test_credential_power.py::test_promotion_gives_earlier_links_no_power",),
    ),
    Guard(
        "a demotion revokes the links that needed the role",
        share_rows.ShareRepository.revoke_all_that_need_superuser,
        (Replace(lambda *_: None),),
        (f"{API}test_credential_power.py::test_demotion_revokes_the_links_that_needed_the_role",),
    ),
    Guard(
        "an API key without admin cannot manage a link that needed the role",
        file_access.links_manageable_by,
        (DropCondition(Share.needs_superuser),),
        (f"{API}test_credential_power.py::test_key_without_admin_cannot_reach_a_link_that_needed_the_role",),
    ),
    Guard(
        "the expiry of a link is not changed to the past",
        shares.ShareService.update,
        (Read(shares._require_future, instead=lambda _: None),),
        (f"{API}test_shares.py::test_changed_expiry_must_be_in_the_future",),
    ),
    Guard(
        "the slug of a revoked link is kept for its owner",
        share_rows._release_slug,
        (DropCondition(Share.owner_id),),
        (f"{API}test_shares.py::test_slug_of_a_revoked_link_is_kept_for_its_owner_for_thirty_days",),
    ),
    Guard(
        "a share token is valid for one link",
        share_tokens._signature,
        (Replace(lambda sign, secret, payload, _: sign(secret, payload, "")),),
        ("unit/core/test_share_tokens.py", f"{API}test_share_links.py::test_share_pass_of_another_link_is_ignored"),
    ),
    Guard(
        "revoking a link ends its archives",
        share_rows._revoked,
        (Read(ArchiveStatus.DELETING, instead=Archive.status),),
        ("integration/lifecycle/test_share_archives.py::test_revoking_a_link_deletes_its_archives",),
    ),
    Guard(
        "links of an owner with a quota of 0 make no archives",
        archives.ArchiveService.start_for_link,
        (DropCheck(archives.NoRoomForArchiveError),),
        (f"{API}test_share_archives.py::test_zip_of_a_link_is_refused_when_its_owner_has_a_quota_of_zero",),
    ),
    Guard(
        "archives of all links of an owner share one limit",
        archives._new_archive,
        (Replace(behaviours.count_by_link),),
        ("integration/lifecycle/test_share_archives.py",),
    ),
    Guard(
        "an archive counts until its object is deleted",
        archive_transitions._start,
        (Read(ArchiveStatus.FAILED, instead=ArchiveStatus.DELETING),),
        ("integration/lifecycle/test_share_archives.py::test_archives_of_revoked_links_count_until_their_bytes_are_deleted",),
    ),
    Guard(
        "only the same visitor resumes an archive download",
        share_link_rows._ArchiveDownload.was_granted,
        (Replace(behaviours.grant_to_all(ShareArchiveDownload)),),
        (f"{API}test_share_archives.py::test_resumed_zip_download_is_audited_and_not_counted",),
    ),
    Guard(
        "only the same visitor resumes a file download",
        share_link_rows.FileDownload.was_granted,
        (Replace(behaviours.grant_to_all(ShareDownload)),),
        (f"{API}test_share_links.py::test_resumed_download_is_audited_and_not_counted",),
    ),
    Guard(
        "a repeated download is not counted",
        caller_links.CallerLinkRepository.grant,
        (Read(share_link_rows.REPEAT_WITHIN, instead=timedelta(0)),),
        (f"{API}test_share_links.py::test_repeated_download_within_the_minute_counts_once",),
    ),
    Guard(
        "a download cannot be repeated after its URL has expired",
        caller_links.CallerLinkRepository.grant,
        (Read(share_link_rows.REPEAT_WITHIN, instead=share_link_rows.RESUME_WITHIN),),
        (f"{API}test_share_links.py::test_resumed_download_is_audited_and_not_counted",),
    ),
    Guard(
        "simultaneous first downloads of a visitor are counted once",
        share_link_rows._recorded,
        (DropArgument("where"),),
        (f"{API}test_share_races.py::test_simultaneous_first_downloads_of_one_visitor_count_once",),
    ),
    Guard(
        "a granted or repeated download obeys every rule of the link",
        share_link_rows.grant_statement,
        (DropCondition(share_link_rows._is_downloadable, times=2),),
        (
            f"{API}test_share_races.py::test_download_that_waited_for_a_revocation_is_refused",
            f"{API}test_share_links.py::test_repeated_download_obeys_every_other_rule",
        ),
    ),
    Guard(
        "a resumed download obeys every other rule of the link",
        share_link_rows._granted_before,
        (DropCondition(share_link_rows._is_downloadable),),
        (f"{API}test_share_links.py::test_resumed_download_is_audited_and_not_counted",),
    ),
    Guard(
        "automated requests cannot download",
        share_links.download_shared_file,
        (DropCheck(share_links.AutomatedRequestError),),
        (f"{API}test_share_links.py::test_automated_requests_are_not_counted_and_get_no_files",),
    ),
    Guard(
        "a file request limits the number of files",
        transitions._accepts,
        (DropCondition(FileRequest.file_count),),
        (f"{API}test_file_requests.py::test_size_count_and_quota_limits_are_enforced",),
    ),
    Guard(
        "a file request limits the file size",
        transitions._accepts,
        (DropCondition(FileRequest.max_size_bytes),),
        (f"{API}test_file_requests.py::test_size_count_and_quota_limits_are_enforced",),
    ),
    Guard(
        "an upload token reaches only the uploads that it started",
        upload_token_rows._file,
        (DropCondition(UploadTokenFile.upload_token_id),),
        (f"{API}test_upload_tokens.py::test_other_token_of_the_same_user_reaches_no_upload",),
    ),
    Guard(
        "an upload token ends with all sessions of its owner",
        upload_token_rows._with_owner,
        (DropCondition(UploadToken.token_epoch),),
        (f"{API}test_upload_tokens.py::test_token_ends_with_all_sessions_of_its_owner",),
    ),
    Guard(
        "an upload token limits the total size",
        upload_token_rows._reserve,
        (DropCondition(UploadToken.max_bytes),),
        (f"{API}test_upload_tokens.py::test_limits_of_the_token_are_enforced",),
    ),
    Guard(
        "an upload token limits the file size",
        upload_tokens._require_allowed,
        (DropCheck(upload_tokens.TokenFileTooLargeError),),
        (f"{API}test_upload_tokens.py::test_limits_of_the_token_are_enforced",),
    ),
    Guard(
        "the upload page connects to the bucket only",
        file_request_pages._policy,
        (Replace(behaviours.connect_anywhere),),
        (f"{API}test_file_request_page.py::test_page_runs_only_its_own_script_and_reaches_only_the_bucket",),
    ),
    Guard(
        "the upload page escapes the owner's text",
        templating.load_template,
        (DropArgument("autoescape"),),
        (f"{API}test_file_request_page.py::test_hostile_titles_and_notes_are_escaped",),
    ),
    # Passwords
    Guard(
        "a sign-in takes as long for unknown users",
        passwords.PasswordHasher.verify,
        (Replace(behaviours.refuse_unknown_at_once),),
        (f"{API}test_login_timing.py",),
    ),
    Guard(
        "the login throttle runs before the password check",
        LoginThrottle._admit,
        (Replace(lambda _, self, keys, email, **_rest: self._attempts.admit(keys, email=email)),),
        (f"{API}test_throttle.py",),
    ),
    Guard(
        "common passwords are refused",
        password_rules._common_passwords,
        (Replace(lambda _: frozenset()),),
        (f"{API}test_recovery.py::test_common_password_is_refused",),
    ),
    Guard(
        "a link in a mail works once",
        mail_tokens._is_valid,
        (DropCondition(MailToken.used_at),),
        (f"{API}test_proven_addresses.py::test_confirmation_link_works_once_even_if_the_address_is_unconfirmed_again",),
    ),
    Guard(
        "a changed password ends the links in mails",
        mail_tokens._consume,
        (DropCondition(User.token_epoch, MailToken.token_epoch),),
        (f"{API}test_recovery.py::test_link_that_a_concurrent_password_change_ended_cannot_be_redeemed",),
    ),
    Guard(
        "a user cannot change another account",
        users.UserService.update_user,
        (DropCheck(PermissionDeniedError),),
        (f"{API}test_users.py", f"{API}test_authorisation.py"),
    ),
    Guard(
        "a user cannot confirm the own address",
        users.UserService._refuse_role_change,
        (DropCheck(PermissionDeniedError, at=1),),
        (f"{API}test_proven_addresses.py",),
    ),
    Guard(
        "a user cannot lift the demand for a second factor",
        users.UserService._refuse_role_change,
        (DropCheck(PermissionDeniedError, at=2),),
        (f"{API}test_required_second_factor.py::test_superuser_requires_the_factor_of_one_account",),
    ),
    Guard(
        "a user cannot become a superuser",
        users.UserService._refuse_role_change,
        (DropCheck(PermissionDeniedError, at=3),),
        (f"{API}test_users.py",),
    ),
    Guard(
        "a user cannot raise their quota",
        users.UserService._refuse_role_change,
        (DropCheck(users.QUOTA_FIELDS),),
        (f"{API}test_quota.py::test_users_cannot_set_quotas_or_read_usage_of_others",),
    ),
    Guard(
        "a new password needs the current one",
        login_throttle.LoginThrottle.require_password,
        (Replace(lambda *_, **__: None),),
        (f"{API}test_users.py", f"{API}test_credential_power.py"),
    ),
    Guard(
        "a sign-in needs the code of the second factor",
        second_factor.SecondFactorVerifier.require,
        (Replace(lambda *_: None),),
        (f"{API}test_second_factor.py",),
    ),
    Guard(
        "codes of the second factor are throttled",
        login_throttle.LoginThrottle.count_code,
        (Replace(lambda *_: None),),
        (f"{API}test_second_factor.py",),
    ),
    Guard(
        "codes of programs are throttled",
        login_throttle.LoginThrottle.count_user_code,
        (Replace(lambda *_: None),),
        (f"{API}test_device_logins.py::test_guessing_user_codes_is_throttled",),
    ),
    # Identity providers
    Guard(
        "an ID token is for this client",
        id_tokens._validate_recipient,
        (Replace(lambda *_: None),),
        (ID_TOKENS,),
    ),
    Guard(
        "an ID token has not expired",
        id_tokens._validate_time,
        (Replace(lambda *_: None),),
        (ID_TOKENS,),
    ),
    Guard(
        "an ID token has the nonce of this sign-in",
        id_tokens._validate_sign_in,
        (Replace(lambda *_: None),),
        (ID_TOKENS,),
    ),
    Guard(
        "keys of another type or size do not verify ID tokens",
        id_tokens._algorithm_of,
        (Replace(lambda _, member: id_tokens.ALGORITHMS.get(str(member.get("kty"))) if isinstance(member, dict) else None),),
        (ID_TOKENS,),
    ),
    Guard(
        "an assertion is bound to the browser",
        assertions._content,
        (DropCheck(hash_secret),),
        (f"{IDENTITY}test_stolen_fragment_is_of_no_use_in_another_browser",),
    ),
    Guard(
        "an assertion serves one purpose",
        assertions._content,
        (
            Replace(
                lambda content, claims, *, binding, purpose: content({**claims, "purpose": purpose.value}, binding=binding, purpose=purpose)
            ),
        ),
        (f"{IDENTITY}test_assertion_serves_only_the_purpose_it_was_started_for",),
    ),
    Guard(
        "an assertion is used once",
        identity_rows.IdentityRepository.use_assertion,
        (Replace(lambda *_, **__: True),),
        (f"{IDENTITY}test_assertion_is_accepted_once",),
    ),
    Guard(
        "a response belongs to a sign-in that this browser started",
        identity_flows.IdentityFlows.find_flow,
        (DropCheck(identity_flows.SignInExpiredError),),
        (f"{IDENTITY}test_response_of_another_sign_in_is_refused",),
    ),
    Guard(
        "an address counts only if a trusted provider has verified it",
        identities._proven_address,
        (Replace(lambda *arguments: arguments[1].email),),
        (f"{IDENTITY}test_unproven_address_leads_to_no_account",),
    ),
    Guard(
        "a sign-in at a provider opens a link only for a confirmed address",
        identities.IdentityService.verify_visitor,
        (DropCheck(identities.NoAccountError, at=0),),
        (f"{IDENTITY}test_sign_in_without_a_usable_account_opens_no_link",),
    ),
    Guard(
        "a sign-in at a provider opens no link for a disabled account",
        identities.IdentityService.verify_visitor,
        (DropCheck(identities.NoAccountError, at=1),),
        (f"{IDENTITY}test_sign_in_without_a_usable_account_opens_no_link",),
    ),
    Guard(
        "linking needs a fresh proof",
        identities.IdentityService._require_fresh_proof,
        (Replace(lambda *_: None),),
        (f"{IDENTITY}test_user_links_and_unlinks_an_identity_with_a_fresh_proof",),
    ),
    Guard(
        "a closed sign-in with passwords refuses the right password",
        sessions.SessionService.verify_credentials,
        (DropCheck(sessions.PasswordSignInClosedError),),
        (f"{IDENTITY}test_closed_password_sign_in_refuses_every_use_of_a_password",),
    ),
    # Disclosure
    Guard(
        "a validation error does not repeat the input",
        problems._field_problems,
        (Replace(behaviours.echo),),
        (f"{API}test_bad_input.py::test_error_never_echoes_the_value",),
    ),
    Guard(
        "an unexpected error is not disclosed",
        problems.problem_response,
        (Replace(behaviours.raise_on),),
        (f"{API}test_gateway_events.py::test_unexpected_error_returns_a_problem_without_details",),
    ),
    Guard(
        "the access log has the route, not the path",
        request_middleware._log_access,
        (Replace(behaviours.log_path),),
        (f"{API}test_gateway_events.py::test_access_log_contains_the_route_and_never_the_path",),
    ),
    Guard(
        "database errors do not contain values",
        engine.create_endpoint_engine,
        (DropArgument("hide_parameters"),),
        ("integration/db/test_sign_in.py::test_statement_errors_contain_no_values",),
    ),
    Guard(
        "the log does not contain the refused row",
        db_errors.server_error,
        (Read(db_errors.DETAIL, instead=""),),
        ("integration/db/test_sign_in.py::test_error_does_not_contain_the_rejected_row",),
    ),
    Guard(
        "a connection that failed between two messages is discarded",
        engine._discard_interrupted,
        (Replace(lambda *_: None),),
        ("integration/db", f"{API}test_hostile_strings.py"),
    ),
    Guard(
        "the admin function refuses other commands",
        admin.handler,
        (DropCheck(admin.COMMANDS),),
        ("integration/handlers/test_admin.py::test_other_commands_and_arguments_are_refused",),
    ),
    Guard(
        "only a rotation of the current keys becomes current",
        SigningKeyRotation._finish,
        (DropCheck(RotationRefusedError),),
        ("unit/handlers/test_rotate_signing_key.py",),
    ),
    Guard(
        "every response has the security headers",
        security_headers.set_defaults,
        (Replace(lambda *_: None),),
        (f"{API}test_security_headers.py",),
    ),
    Guard(
        "sealing stops when the bucket is ahead of the database",
        AuditSealer._seal_batch,
        (DropCheck(LogMismatchError, at=2),),
        ("integration/audit/test_sealing.py::test_sealing_stops_when_the_database_was_set_back",),
    ),
    Guard(
        "sealing stops when a later version covers a locked copy",
        AuditSealer._compare_with_copies,
        (DropCheck(LogMismatchError, at=1),),
        ("integration/audit/test_locked_copies.py::test_version_over_a_copy_stops_sealing",),
    ),
    Guard(
        "sealing stops when transaction ids start again",
        AuditSealer._seal_batch,
        (DropCheck(LogMismatchError, at=0),),
        ("integration/audit/test_sealing.py::test_sealing_stops_when_transaction_ids_start_again",),
    ),
    Guard(
        "sealing stops when an event appears below the last checkpoint",
        AuditSealer._seal_batch,
        (DropCheck(LogMismatchError, at=1),),
        ("integration/audit/test_sealing.py::test_event_below_the_last_checkpoint_stops_sealing",),
    ),
    Guard(
        "the sealer creates the partitions of the log",
        AuditLogRepository.extend_partitions,
        (Replace(lambda *_: 5_000_001),),
        ("integration/audit/test_partitions.py::test_sealer_creates_the_next_partition_when_half_of_one_is_used",),
    ),
    Guard(
        "the application's role has no access to a single partition",
        roles.grant_application,
        (Read(roles.PARTITIONS, instead="SELECT relname FROM pg_class WHERE false"),),
        ("integration/audit/test_partitions.py::test_application_role_cannot_write_around_the_log",),
    ),
    Guard(
        "a checkpoint needs a valid signature",
        LogVerifier.verifies,
        (Replace(lambda *_: True),),
        ("unit/core/test_log_keys.py",),
    ),
    Guard(
        "a receipt is for users who may manage the file",
        files.FileService.get_managed_file,
        (Replace(lambda self, _, file_id: self._files.get(file_id)),),
        ("integration/audit/test_receipts.py::test_receipt_is_for_users_who_may_manage_the_file",),
    ),
    Guard(
        "a file is not signed for download while a malware scan withholds it",
        scans.withheld_error,
        (Replace(lambda _: None),),
        ("integration/handlers/test_scan_results.py::test_file_is_withheld_until_its_scan_finds_no_threat",),
    ),
    Guard(
        "a withheld file is neither zipped nor downloaded through links",
        file_access.is_served,
        (Replace(true),),
        (f"integration/handlers/test_scan_results.py::{INFECTED}",),
    ),
    Guard(
        "only superusers list and release withheld files",
        scans._require_superuser,
        (Replace(lambda _: None),),
        ("integration/handlers/test_scan_results.py::test_superuser_releases_a_false_alarm",),
    ),
    Guard(
        "an image with too many pixels is not decoded for its preview",
        images._require_decodable,
        (Replace(lambda *_: None),),
        ("unit/preview/test_decoder.py::test_image_with_too_many_pixels_is_not_decoded",),
    ),
    Guard(
        "the preview of a file is for callers who may read the file",
        PreviewService._sign,
        (DropCheck(file_rows.NoSuchFileError, file_rows.FileForbiddenError),),
        (f"{API}test_previews.py::test_preview_has_the_permissions_of_its_file",),
    ),
    Guard(
        "a webhook reaches public addresses only",
        addresses.is_permitted,
        (Replace(lambda *_, **__: True),),
        ("unit/core/test_outbound_addresses.py",),
    ),
    Guard(
        "a change and its audit event are one statement",
        audit.audited_change,
        (Replace(behaviours.change_without_event),),
        (f"{API}test_audit.py",),
    ),
    # Notifications
    Guard(
        "the link of a notification is signed for one purpose",
        notification_tokens._signature,
        (Replace(lambda *_: "x" * 43),),
        ("unit/core/test_notification_tokens.py",),
    ),
    Guard(
        "the link of a notification ends with the address",
        NotificationSettingService._is_addressed_to,
        (Replace(lambda *_: True),),
        (f"{API}test_notification_links.py::test_refused_links_show_the_same_page",),
    ),
    Guard(
        "the link of a notification prolongs a link once",
        prolongation._expiring,
        (Replace(lambda model, id_, owner_id, _at: (model.id == id_, model.owner_id == owner_id, model.revoked_at.is_(None))),),
        (f"{API}test_notification_links.py::test_link_is_not_prolonged",),
    ),
    Guard(
        "the link of a notification prolongs a link of its user",
        prolongation._expiring,
        (Replace(lambda model, id_, _owner_id, at: (model.id == id_, model.expires_at == at, model.revoked_at.is_(None))),),
        (f"{API}test_notification_links.py::test_link_is_not_prolonged",),
    ),
    Guard(
        "notifications need a confirmed address",
        digest_rows._recipient,
        (DropCondition(User.email_verified_at),),
        ("integration/audit/test_notifications.py::test_unproven_and_disabled_accounts_get_no_mail",),
    ),
)
