"""Opening a share link: every rule is looked at each time, and all that is not open looks the same."""

from dataclasses import dataclass
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.errors import AppError, MalformedRequestError, NotAuthenticatedError, NotFoundError, PermissionDeniedError
from lambda_app.core.request_context import request_context
from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.core.security.share_tokens import ShareToken, ShareTokens, SignedShareToken
from lambda_app.models import File, Share, ShareAudience, User
from lambda_app.repositories.archives.archives import NoSuchArchiveError
from lambda_app.repositories.audit import AuditRepository
from lambda_app.repositories.files.file_access import AccessContext
from lambda_app.repositories.sharing.share_links import Look, Opened, ShareLinkRepository
from lambda_app.schemas.sharing.shares import ShareCredentials
from lambda_app.services.accounts.login_throttle import LoginThrottle, network_of
from lambda_app.services.accounts.sessions import SessionService
from lambda_app.services.archives.archives import CONTENT_TYPE as ARCHIVE_CONTENT_TYPE
from lambda_app.services.files.files import served_as
from lambda_app.storage.object_store import DownloadMethod, ObjectStore, PresignedRequest

LINK_DOWNLOAD_SECONDS = 60
"""How long the address of the bytes lives: it is used at once, by a redirect."""


class NoSuchLinkError(NotFoundError):
    """The link is wrong, over, or not for this visitor; which of them, nobody is told."""

    code = "link_not_found"
    message = "There is no such link, or it is not open any more"


class SharePasswordRequiredError(PermissionDeniedError):
    """The link has a password, and this visitor has not proven that they know it as it is now."""

    code = "share_password_required"
    message = "This link has a password"


class WrongSharePasswordError(PermissionDeniedError):
    """It is not the link's password."""

    code = "wrong_share_password"
    message = "This is not the link's password"


class ListingOnlyError(PermissionDeniedError):
    """The link shows what there is and gives nothing out."""

    code = "share_listing_only"
    message = "This link only shows its files; they cannot be downloaded"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who opens a link: a signed-in user or nobody in particular, and perhaps with a pass."""

    user: User | None
    share_pass: str | None


class ShareLinkService:
    """What may be done with a link by whoever has it."""

    def __init__(
        self,
        *,
        links: ShareLinkRepository,
        audit: AuditRepository,
        login_throttle: LoginThrottle,
        sessions: SessionService,
        share_tokens: ShareTokens,
        store: ObjectStore,
    ) -> None:
        self._links = links
        self._audit = audit
        self._login_throttle = login_throttle
        self._sessions = sessions
        self._share_tokens = share_tokens
        self._store = store

    def open(self, address: str, visitor: Visitor, *, is_counted: bool) -> Opened:
        """Return what the link opens. Raises NoSuchLinkError, NotAuthenticatedError, SharePasswordRequiredError."""
        visit = self._visit(address, visitor)
        opened = self._links.open(address, visit) if is_counted else self._links.peek(address, visit)
        if opened is None:
            self._require_open(address, visit)
            raise NoSuchLinkError
        return opened

    def start_download(
        self, address: str, file_id: UUID, visitor: Visitor, *, method: DownloadMethod, is_resumption: bool
    ) -> PresignedRequest:
        """Grant a download and sign the address of the bytes, or for a HEAD an address that gives none and is not counted.

        `is_resumption` says that the visitor asks for the rest of a file; if they were granted its beginning, that is the same download.
        Raises ListingOnlyError, and as `open`.
        """
        visit = self._visit(address, visitor)
        file = self._find(address, file_id, visit, method=method, is_resumption=is_resumption)
        if file is None:
            if not self._require_open(address, visit).share.allows_download:
                raise ListingOnlyError
            raise NoSuchLinkError
        return self._store.presign_download(
            key=file.s3_key, filename=file.filename, content_type=served_as(file), method=method, lifetime_seconds=LINK_DOWNLOAD_SECONDS
        )

    def open_for_download(self, address: str, visitor: Visitor) -> Opened:
        """Return what the link lets be downloaded; nothing is counted. Raises ListingOnlyError, and as `open`."""
        opened = self.open(address, visitor, is_counted=False)
        if not opened.share.allows_download:
            raise ListingOnlyError
        return opened

    def start_archive_download(self, address: str, archive_id: UUID, visitor: Visitor, *, is_resumption: bool) -> PresignedRequest:
        """Grant the download of a zip that was asked for at the link, which counts as one, and sign the address of its bytes.

        The rest of one is the same download, as in `start_download`.
        Raises NoSuchArchiveError for one that is not ready, or not whole any more, ListingOnlyError, and as `open`.
        """
        visit = self._visit(address, visitor)
        mark = _mark_of(address, visit)
        archive = self._links.resume_archive(address, archive_id, visit, visitor=mark) if is_resumption else None
        archive = archive or self._links.grant_archive(address, archive_id, visit, visitor=mark)
        if archive is None:
            self.open_for_download(address, visitor)
            raise NoSuchArchiveError
        return self._store.presign_download(
            key=archive.s3_key, filename=archive.filename, content_type=ARCHIVE_CONTENT_TYPE, lifetime_seconds=LINK_DOWNLOAD_SECONDS
        )

    def prove(self, address: str, proof: ShareCredentials, visitor: Visitor) -> SignedShareToken:
        """Exchange the link's password, or an account's, for a pass.

        Raises:
            NoSuchLinkError, NotAuthenticatedError: before any password is looked at.
            WrongSharePasswordError, BadCredentialsError, EmailNotVerifiedError, ThrottledError.
            MalformedRequestError: an account where the link asks for none.
        """
        visit = self._visit(address, visitor)
        look = self._links.look(address, visit)
        if look is None:
            raise NoSuchLinkError
        share = look.share
        # What an earlier pass for this link proves is still proven.
        kept = visit.proven if visit.proven is not None and visit.proven.share_id == share.id else ShareToken(share.id)
        if proof.password is not None:
            _require_audience(look)
            self._require_password(share, proof.password)
            return self._share_tokens.sign(ShareToken(share.id, share.password_version, kept.user_id, kept.token_epoch), address=address)
        if share.audience == ShareAudience.ANYONE:
            raise MalformedRequestError("This link asks for no account", code="no_account_needed")
        email = proof.email or ""
        user = self._sessions.verify_credentials(email=email, password=proof.account_password or "")
        self._links.record_sign_in(share, user, self._login_throttle.release(email))
        return self._share_tokens.sign(ShareToken(share.id, kept.password_version, user.id, user.token_epoch), address=address)

    def _find(self, address: str, file_id: UUID, visit: AccessContext, *, method: DownloadMethod, is_resumption: bool) -> File | None:
        if method == "HEAD":
            return self._links.inspect(address, file_id, visit)
        mark = _mark_of(address, visit)
        resumed = self._links.resume(address, file_id, visit, visitor=mark) if is_resumption else None
        return resumed or self._links.grant(address, file_id, visit, visitor=mark)

    def _visit(self, address: str, visitor: Visitor) -> AccessContext:
        proven = None if visitor.share_pass is None else self._share_tokens.read(visitor.share_pass, address=address)
        if visitor.user is None and proven is not None and proven.user_id is not None:
            origin = request_context()
            origin.actor_id, origin.credential = proven.user_id, f"share_pass:{proven.share_id}"
        return AccessContext(clock.now(), visitor.user, proven)

    def _require_open(self, address: str, visit: AccessContext) -> Look:
        """Look at a link that gave nothing, and say why, where the visitor may know."""
        look = self._links.look(address, visit)
        if look is None:
            raise NoSuchLinkError
        _require_audience(look)
        if not look.is_proven:
            raise SharePasswordRequiredError
        return look

    def _require_password(self, share: Share, password: str) -> None:
        if share.hashed_password is None or self._login_throttle.try_link_password(share, password):
            return
        self._audit.add_durably("share_password.failed", subject=f"share:{share.id}")
        raise WrongSharePasswordError


def _mark_of(address: str, visit: AccessContext) -> str:
    """Return what a visitor is known by at this link; at another it is different, so that nobody sees that one person opened two."""
    origin = request_context()
    return hash_secret(f"visitor|{address}|{visit.viewer_id}|{network_of(origin.source_address)}|{origin.user_agent}")


def _require_audience(look: Look) -> None:
    if look.is_for_visitor:
        return
    refusal: AppError = NoSuchLinkError() if look.is_known else NotAuthenticatedError("Sign in to open this link")
    raise refusal
