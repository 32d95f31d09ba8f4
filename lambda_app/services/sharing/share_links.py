"""Access through share links. Each request checks all rules of the link; an unknown, revoked or expired link gives the same error."""

from dataclasses import dataclass, field
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.errors import AppError, LinkNotFoundError, MalformedRequestError, NotAuthenticatedError, PermissionDeniedError
from lambda_app.core.identity.assertions import BadAssertionError
from lambda_app.core.request_context import request_context
from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.core.security.share_tokens import ShareToken, ShareTokens, SignedShareToken
from lambda_app.models import OpenShare, Share, ShareAudience, User
from lambda_app.repositories.accounts.callers import Caller
from lambda_app.repositories.archives.archives import NoSuchArchiveError
from lambda_app.repositories.audit import AuditRepository
from lambda_app.repositories.files.file_access import AccessContext
from lambda_app.repositories.files.previews import PreviewRepository
from lambda_app.repositories.sharing.share_links import LINK_DOWNLOAD_URL_TTL_SECONDS, FoundShare, ShareLinkRepository
from lambda_app.schemas.sharing.shares import ShareCredentials
from lambda_app.services.accounts.identities import IdentityService
from lambda_app.services.accounts.login_throttle import LoginThrottle, attempt_keys, network_of
from lambda_app.services.accounts.sessions import SessionService
from lambda_app.services.archives.archives import CONTENT_TYPE as ARCHIVE_CONTENT_TYPE
from lambda_app.services.files.files import sign_download
from lambda_app.services.files.preview_requests import is_previewable
from lambda_app.services.files.previews import sign_preview_image
from lambda_app.services.files.scans import withheld_error
from lambda_app.storage.keys import preview_keys
from lambda_app.storage.object_store import ObjectStore, PresignedRequest

THUMBNAIL_URL_TTL_SECONDS = 300
"""Lifetime of the presigned URLs of thumbnails: long enough for a slow connection that loads a page with many of them."""


class NoSuchLinkError(LinkNotFoundError):
    """The link does not exist, was revoked, has expired, or excludes this visitor. The error does not reveal which."""


class SharePasswordRequiredError(PermissionDeniedError):
    """The link has a password, and the visitor has no share token for its current password."""

    code = "share_password_required"
    message = "This link is protected by a password"


class WrongSharePasswordError(PermissionDeniedError):
    """The submitted password is not the link's password."""

    code = "wrong_share_password"
    message = "The password is wrong"


class ListingOnlyError(PermissionDeniedError):
    """The link lists its files and does not allow downloads."""

    code = "share_listing_only"
    message = "This link only lists its files; it does not allow downloads"


@dataclass(frozen=True, slots=True)
class ProviderSignIn:
    """The sign-in of a visitor at an identity provider, as the browser has it in its cookie."""

    assertion: str = field(repr=False)
    binding: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Visitor:
    """A visitor of a link: the signed-in user, or None, and the share token if the request has one."""

    user: User | Caller | None
    share_token: str | None


class ShareLinkService:
    """Opens links, checks their passwords, and signs downloads, for visitors."""

    def __init__(
        self,
        *,
        links: ShareLinkRepository,
        audit: AuditRepository,
        login_throttle: LoginThrottle,
        sessions: SessionService,
        identities: IdentityService,
        share_tokens: ShareTokens,
        store: ObjectStore,
        previews: PreviewRepository | None,
    ) -> None:
        self._previews = previews
        self._links = links
        self._audit = audit
        self._login_throttle = login_throttle
        self._sessions = sessions
        self._identities = identities
        self._share_tokens = share_tokens
        self._store = store

    def open(self, address: str, visitor: Visitor, *, is_counted: bool) -> OpenShare:
        """Return the link's files. Raises NoSuchLinkError, NotAuthenticatedError, SharePasswordRequiredError."""
        access = self._access_context(address, visitor)
        opened = self._links.open(address, access) if is_counted else self._links.preview(address, access)
        if opened is None:
            self._require_open(address, access)
            raise NoSuchLinkError
        return opened

    def sign_thumbnails(self, opened: OpenShare) -> dict[UUID, PresignedRequest]:
        """Sign the small previews of the files of a link that allows downloads, by the ids of the files that have one.

        Only the small ones: the large preview of a document is its content, and would not count as a download. Raises UnavailableError.
        """
        file_ids = [file.id for file in opened.files if is_previewable(file)]
        if self._previews is None or not opened.share.allows_download or not file_ids:
            return {}
        return {
            file_id: sign_preview_image(self._store, preview_keys(file_id)[0], lifetime_seconds=THUMBNAIL_URL_TTL_SECONDS)
            for file_id in self._previews.list_ready(file_ids)
        }

    def sign_head(self, address: str, file_id: UUID, visitor: Visitor) -> PresignedRequest:
        """Sign a HEAD request for a download, which is not counted. Raises ListingOnlyError and the errors of `open`."""
        file = self._links.check(address, file_id, self._access_context(address, visitor))
        if file is None:
            raise self.refusal_of_download(address, visitor, file_id)
        return sign_download(self._store, file, method="HEAD", lifetime_seconds=LINK_DOWNLOAD_URL_TTL_SECONDS).request

    def refusal_of_download(self, address: str, visitor: Visitor, file_id: UUID) -> AppError:
        """Return the error for a download that was not granted, or raise one of the errors of `open`.

        The error is ListingOnlyError, or that of a file which a malware scan withholds.
        """
        access = self._access_context(address, visitor)
        found = self._require_open(address, access)
        if not found.share.allows_download:
            return ListingOnlyError()
        withheld = self._links.get_withheld(address, file_id, access)
        return (None if withheld is None else withheld_error(withheld)) or NoSuchLinkError()

    def open_for_download(self, address: str, visitor: Visitor) -> OpenShare:
        """Return the link's files if the link allows downloads, without counting. Raises ListingOnlyError and the errors of `open`."""
        opened = self.open(address, visitor, is_counted=False)
        if not opened.share.allows_download:
            raise ListingOnlyError
        return opened

    def start_archive_download(self, address: str, archive_id: UUID, visitor: Visitor, *, is_resumption: bool) -> PresignedRequest:
        """Count the download of an archive of the link as one download, and sign it.

        `is_resumption`: see `LinkDownloadService.start_download`.

        Raises NoSuchArchiveError if the archive is not ready or the link no longer opens all its files, ListingOnlyError, and the
        errors of `open`.
        """
        access = self._access_context(address, visitor)
        hashed = visitor_hash(address, access.viewer_id)
        archive = self._links.resume_archive(address, archive_id, access, visitor=hashed) if is_resumption else None
        archive = archive or self._links.grant_archive(address, archive_id, access, visitor=hashed)
        if archive is None:
            self.open_for_download(address, visitor)
            raise NoSuchArchiveError
        return self._store.presign_download(
            key=archive.s3_key, filename=archive.filename, content_type=ARCHIVE_CONTENT_TYPE, lifetime_seconds=LINK_DOWNLOAD_URL_TTL_SECONDS
        )

    def unlock(
        self, address: str, credentials: ShareCredentials, visitor: Visitor, provider_sign_in: ProviderSignIn | None
    ) -> SignedShareToken:
        """Exchange the link's password, the credentials of an account, or a sign-in at a provider for a share token.

        Raises:
            NoSuchLinkError, NotAuthenticatedError: checked before any password.
            WrongSharePasswordError, BadCredentialsError, EmailNotVerifiedError, ThrottledError.
            BadAssertionError, NoAccountError: no valid sign-in at a provider, or no account belongs to it.
            MalformedRequestError: account credentials for a link that is open to anyone.
        """
        access = self._access_context(address, visitor)
        found = self._links.find(address, access)
        if found is None:
            raise NoSuchLinkError
        share = found.share
        # The new token also contains what an earlier token for this link has proven.
        previous = access.proven if access.proven is not None and access.proven.share_id == share.id else ShareToken(share.id)
        if credentials.password is not None:
            _require_audience(found)
            self._require_password(share, credentials.password)
            token = ShareToken(share.id, share.password_version, previous.user_id, previous.token_epoch)
            return self._share_tokens.sign(token, address=address)
        if share.audience == ShareAudience.ANYONE:
            raise MalformedRequestError("This link needs no account; send only its password, if it has one", code="no_account_needed")
        if credentials.sign_in is not None:
            if provider_sign_in is None:
                raise BadAssertionError
            user = self._identities.verify_visitor(provider_sign_in.assertion, binding=provider_sign_in.binding, otp=credentials.otp)
            self._links.record_sign_in(share, user, attempt=None)
        else:
            email = credentials.email or ""
            user = self._sessions.verify_visitor(email=email, password=credentials.account_password or "", otp=credentials.otp)
            self._links.record_sign_in(share, user, attempt=attempt_keys(email))
        return self._share_tokens.sign(ShareToken(share.id, previous.password_version, user.id, user.token_epoch), address=address)

    def _access_context(self, address: str, visitor: Visitor) -> AccessContext:
        proven = None if visitor.share_token is None else self._share_tokens.read(visitor.share_token, address=address)
        if visitor.user is None and proven is not None and proven.user_id is not None:
            context = request_context()
            context.actor_id, context.credential = proven.user_id, f"share_pass:{proven.share_id}"
        return AccessContext(clock.now(), visitor.user, proven)

    def _require_open(self, address: str, access: AccessContext) -> FoundShare:
        """Raise the error for a link that returned no rows, or return the link if the visitor has access to it."""
        found = self._links.find(address, access)
        if found is None:
            raise NoSuchLinkError
        _require_audience(found)
        if not found.is_proven:
            raise SharePasswordRequiredError
        return found

    def _require_password(self, share: Share, password: str) -> None:
        if share.hashed_password is None or self._login_throttle.verify_link_password(share, password):
            return
        self._audit.add_durably("share_password.failed", subject=f"share:{share.id}")
        raise WrongSharePasswordError


def visitor_hash(address: str, viewer_id: UUID | None) -> str:
    """Return the hash that identifies a visitor at this link. It differs per link, so visitors cannot be correlated across links.

    The network is the narrowest, not one that a throttle counts: visitors who share a hash resume each other's downloads uncounted.
    """
    context = request_context()
    return hash_secret(f"visitor|{address}|{viewer_id}|{network_of(context.source_address)}|{context.user_agent}")


def _require_audience(found: FoundShare) -> None:
    if found.is_for_visitor:
        return
    refusal: AppError = NoSuchLinkError() if found.is_signed_in else NotAuthenticatedError("Sign in to open this link")
    raise refusal
