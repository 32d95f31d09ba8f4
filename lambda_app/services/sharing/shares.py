"""Share links, for the users who share files. `services/sharing/share_links` serves the visitors."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, GoneError, MalformedRequestError, NotFoundError, PermissionDeniedError, UnavailableError
from lambda_app.core.security.link_tokens import LinkTokenCipher
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.core.security.random_tokens import hash_secret, new_link_token
from lambda_app.core.security.share_tokens import ShareTokens
from lambda_app.models import FileStatus, Share, ShareDetails, User
from lambda_app.repositories.files.files import FileForbiddenError, FileRepository, NoSuchFileError
from lambda_app.repositories.sharing.recipient_lookup import FoundRecipients
from lambda_app.repositories.sharing.shares import NoSuchShareError, ShareLimits, ShareRepository
from lambda_app.schemas.files.file_lists import FileOrder, Order
from lambda_app.schemas.page import Cursor
from lambda_app.schemas.sharing.shares import ShareOptions, ShareUpdate
from lambda_app.schemas.sharing.states import LinkFilter, LinkState
from lambda_app.services.files.idempotency import IdempotencyService, KeyedRequest, RequestInProgressError
from lambda_app.services.files.upload_completion import FileNotAvailableError
from lambda_app.services.sharing.recipient_lookup import RecipientLookup

SHARES_PER_USER = 1000
"""Maximum number of links of one user that are not revoked."""
SLUGS_PER_USER = 100
"""Maximum number of slugs that the links of one user hold, with those of revoked links that are still kept."""
SLUG_RETENTION = timedelta(days=30)
"""How long no other user can take the slug of a revoked link."""

_NEWEST_FIRST = FileOrder.of(Order.NEWEST_FIRST)


class TooManySharesError(ConflictError):
    """The user has reached the limit of share links."""

    code = "too_many_shares"
    message = f"An account can have at most {SHARES_PER_USER} share links; revoke one first"


class TooManySlugsError(ConflictError):
    """The user has reached the limit of custom names."""

    code = "too_many_slugs"
    message = (
        f"An account can have at most {SLUGS_PER_USER} custom names, including those of links revoked in the last "
        f"{SLUG_RETENTION.days} days; create the link without a custom name"
    )


class UnknownRecipientError(NotFoundError):
    """Some recipients have no active account; `unknown` lists them."""

    code = "recipient_not_found"
    message = "Some recipients have no account"


class ShareRevokedError(ConflictError):
    """The link was revoked and cannot be changed."""

    code = "share_revoked"
    message = "This share link was revoked; create a new one"


class FixedAddressError(ConflictError):
    """The link has a slug, which cannot be replaced."""

    code = "share_has_slug"
    message = "A link with a slug keeps its address; revoke it and create a new link"


@dataclass(frozen=True, slots=True)
class SharedLink:
    """A link, and the last segment of its URL: the slug, or the token if the reader is its owner and it can be decrypted."""

    details: ShareDetails
    address: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class SharePage:
    """One page of links, and the cursor of the next page if there is one."""

    shares: list[SharedLink]
    next_cursor: Cursor | None


class ShareService:
    """Creates, reads, changes and revokes share links."""

    def __init__(
        self,
        *,
        shares: ShareRepository,
        files: FileRepository,
        idempotency: IdempotencyService,
        passwords: PasswordHasher,
        share_tokens: ShareTokens,
        cipher: LinkTokenCipher,
        recipient_lookup: RecipientLookup,
    ) -> None:
        self._shares = shares
        self._files = files
        self._idempotency = idempotency
        self._passwords = passwords
        self._share_tokens = share_tokens
        self._cipher = cipher
        self._recipient_lookup = recipient_lookup

    def create(
        self, user: User, file_ids: Sequence[UUID], options: ShareOptions, *, route: str, idempotency_key: str | None = None
    ) -> SharedLink:
        """Create a link to these files. With an idempotency key, a repeated request returns the same link.

        Raises:
            NoSuchFileError, FileForbiddenError, FileNotAvailableError: the user cannot share one of the files.
            UnknownRecipientError, ThrottledError: recipients are looked up only if the user can share all files.
            SlugTakenError, TooManySlugsError, TooManySharesError, MalformedRequestError.
            RequestInProgressError, IdempotencyKeyReusedError: as `IdempotencyService.claim`.
            GoneError: the link of the idempotency key was revoked, or its token cannot be derived any more.
        """
        _require_future(options.expires_at)
        share_id = uuid4()
        keyed = None if idempotency_key is None else self._keyed_request(user, route, idempotency_key, options)
        existing_id = None if keyed is None else self._idempotency.claim(keyed, share_id)
        if keyed is not None and existing_id is not None:
            return self._get_created(user, existing_id, keyed)
        with self._idempotency.release_on_error(keyed, share_id):
            if options.recipients and not self._shares.can_share(file_ids, user):
                raise self._refusal(user, file_ids, with_key=keyed is not None)
            found = self._find_recipients(user, options.recipients)
            user_ids = found.user_ids
            address = options.slug or new_link_token()
            share = self._new_share(user, share_id, options, address)
            details = ShareDetails(share, list(file_ids), sorted(user_ids), sorted(found.unconfirmed & user_ids.keys()))
            limits = ShareLimits(SHARES_PER_USER, SLUGS_PER_USER, slug_kept_since=share.created_at - SLUG_RETENTION)
            created = self._shares.add(details, user, user_ids, limits=limits, with_key=keyed is not None)
            if created is None:
                raise self._refusal(user, file_ids, with_key=keyed is not None, slug=options.slug)
        return SharedLink(created, address)

    def get(self, user: User, share_id: UUID) -> SharedLink:
        """Return a link that the user may manage. Raises NoSuchShareError."""
        return self._with_address(user, self._shares.require(share_id, user))

    def page(self, user: User, filters: LinkFilter, *, limit: int, after: Cursor | None) -> SharePage:
        """Return the user's own links, newest first. Raises MalformedRequestError for a cursor of another order."""
        rows = self._shares.page_of_owner(user, filters, limit=limit + 1, after=_checked(after))
        return self._page(user, rows, limit)

    def page_of_user(self, viewer: User, owner_id: UUID, *, state: LinkState | None, limit: int, after: Cursor | None) -> SharePage:
        """Return the links of any user, without their addresses; superusers only. Raises PermissionDeniedError, MalformedRequestError."""
        if not viewer.is_superuser:
            raise PermissionDeniedError
        return self._page(viewer, self._shares.page_of_user(owner_id, state=state, limit=limit + 1, after=_checked(after)), limit)

    def page_of_file(self, user: User, file_id: UUID, *, limit: int, after: Cursor | None) -> SharePage:
        """Return the links of all users to a file. Raises NoSuchFileError, FileForbiddenError, MalformedRequestError."""
        rows = self._shares.page_of_file(file_id, user, limit=limit + 1, after=_checked(after))
        if not rows:
            self._files.require_manageable(file_id, user)
        return self._page(user, rows, limit)

    def update(self, user: User, share_id: UUID, update: ShareUpdate) -> SharedLink:
        """Change the rules that are set in `update`. They apply from the next request of a visitor.

        Raises MalformedRequestError, NoSuchShareError, ShareRevokedError, UnknownRecipientError, ThrottledError. Recipients are looked
        up only if the user can change the link.
        """
        _require_future(update.expires_at)
        changes = update.model_dump(exclude_unset=True)
        if not changes:
            return self.get(user, share_id)
        fields = sorted(changes)
        names = changes.pop("recipients", None)
        if "password" in changes:
            password = changes.pop("password")
            changes["hashed_password"] = None if password is None else self._passwords.hash(password)
        if names and self._shares.require(share_id, user).share.revoked_at is not None:
            raise ShareRevokedError
        user_ids = None if names is None else self._find_recipients(user, names).user_ids
        details = self._shares.update(share_id, user, changes, user_ids=user_ids, fields=fields)
        if details is None:
            self._shares.require(share_id, user)
            raise ShareRevokedError
        # The statement does not see its own changes to the recipients.
        return self._with_address(user, details if user_ids is None else self._shares.require(share_id, user))

    def replace_address(self, user: User, share_id: UUID) -> SharedLink:
        """Give one of the user's own links a new token. The previous address is unknown from the next request on.

        Raises NoSuchShareError, ShareRevokedError, FixedAddressError.
        """
        token = new_link_token()
        encrypted = self._cipher.encrypt(token, row_id=share_id)
        details = self._shares.replace_token(share_id, user, token_hash=hash_secret(token), encrypted_token=encrypted)
        if details is not None:
            return SharedLink(details, token)
        share = self._shares.require(share_id, user).share
        if share.owner_id != user.id:
            # Superusers may manage the link, but its address is for its owner.
            raise NoSuchShareError
        raise ShareRevokedError if share.revoked_at is not None else FixedAddressError

    def revoke(self, user: User, share_id: UUID) -> None:
        """Revoke a link permanently; idempotent. Raises NoSuchShareError."""
        if not self._shares.revoke(share_id, user):
            self._shares.require(share_id, user)

    def revoke_all_of_file(self, user: User, file_id: UUID) -> None:
        """Revoke the links of all users to a file. Raises NoSuchFileError, FileForbiddenError."""
        if not self._shares.revoke_all_of_file(file_id, user):
            self._files.require_manageable(file_id, user)

    def require_shareable(self, user: User, file_ids: Sequence[UUID]) -> None:
        """Raise NoSuchFileError, FileForbiddenError or FileNotAvailableError for the first file that the user may not share."""
        files = {file.id: file for file in self._files.list_states(file_ids, user)}
        for file_id in file_ids:
            if file_id not in files:
                raise NoSuchFileError(extra={"file_id": str(file_id)})
            if not files[file_id].is_manageable:
                raise FileForbiddenError(extra={"file_id": str(file_id)})
            if files[file_id].status != FileStatus.AVAILABLE:
                raise FileNotAvailableError(
                    "Only available files can be shared", extra={"file_id": str(file_id), "file_status": files[file_id].status}
                )

    def _refusal(self, user: User, file_ids: Sequence[UUID], *, with_key: bool, slug: str | None = None) -> Exception:
        """Return the error for a link that could not be created, or raise that of a file."""
        self.require_shareable(user, file_ids)
        if self._shares.count_live(user.id) >= SHARES_PER_USER:
            return TooManySharesError()
        if slug is not None and self._shares.count_slugs(user.id, kept_since=clock.now() - SLUG_RETENTION) >= SLUGS_PER_USER:
            return TooManySlugsError()
        # The obstacle is gone meanwhile, or another request took over the key while this one was suspended.
        return RequestInProgressError() if with_key else UnavailableError()

    def _new_share(self, user: User, share_id: UUID, options: ShareOptions, address: str) -> Share:
        now = clock.now()
        return Share(
            id=share_id,
            owner_id=user.id,
            token_hash=None if options.slug else hash_secret(address),
            encrypted_token=None if options.slug else self._cipher.encrypt(address, row_id=share_id),
            slug=options.slug,
            hashed_password=None if options.password is None else self._passwords.hash(options.password),
            password_version=0,
            expires_at=options.expires_at,
            max_downloads=options.max_downloads,
            download_count=0,
            open_count=0,
            audience=options.audience,
            allows_download=options.allows_download,
            title=options.title,
            note=options.note,
            notify_on_download=options.notify_on_download,
            created_at=now,
            updated_at=now,
        )

    def _find_recipients(self, user: User, names: Sequence[str]) -> FoundRecipients:
        """Return the users with these names, each once. Raises UnknownRecipientError, ThrottledError."""
        if not names:
            return FoundRecipients({}, is_admitted=True, blocked_until=None)
        found = self._recipient_lookup.find(user, names)
        unknown = [name for name in names if name not in found.user_ids]
        if unknown:
            raise UnknownRecipientError(extra={"unknown": unknown})
        # A user who was named by address and by id is one recipient. The id counts: it is no address that must be confirmed first.
        by_id = {found.user_ids[name]: name for name in sorted(found.user_ids, key=lambda name: "@" not in name)}
        return replace(found, user_ids={name: user_id for user_id, name in by_id.items()})

    def _keyed_request(self, user: User, route: str, key: str, options: ShareOptions) -> KeyedRequest:
        # Without the choices that earlier versions did not know, a request is the same as before the upgrade.
        unknown = {"notify_on_download"} if options.notify_on_download is None else set()
        body: dict[str, Any] = options.model_dump(mode="json", exclude={"password", *unknown})
        # The fingerprint is stored, and an unkeyed fast hash would expose the password to guessing. So the password is hashed with
        # a signing key: one fingerprint for each key that may have been current at the first request.
        passwords = [None] if options.password is None else self._share_tokens.derive_link_tokens("fingerprint", key, options.password)
        bodies = [repr(sorted({**body, "password": password}.items())) for password in passwords]
        return KeyedRequest.of(user_id=user.id, route=route, key=key, body=bodies[0], other_bodies=bodies[1:])

    def _tokens(self, keyed: KeyedRequest, share_id: UUID) -> list[str]:
        return self._share_tokens.derive_link_tokens(keyed.user_id, keyed.route, keyed.key, share_id)

    def _with_address(self, user: User, details: ShareDetails) -> SharedLink:
        share = details.share
        if share.slug is not None or share.owner_id != user.id:
            return SharedLink(details, share.slug)
        return SharedLink(details, self._cipher.decrypt(share.encrypted_token, row_id=share.id))

    def _page(self, user: User, rows: list[ShareDetails], limit: int) -> SharePage:
        shares = [self._with_address(user, details) for details in rows[:limit]]
        last = shares[-1].details.share if len(rows) > limit else None
        return SharePage(shares, None if last is None else Cursor(_NEWEST_FIRST, last.created_at, last.id))

    def _get_created(self, user: User, share_id: UUID, keyed: KeyedRequest) -> SharedLink:
        try:
            found = self.get(user, share_id)
        except NoSuchShareError:
            raise _gone() from None
        if found.details.share.revoked_at is not None:
            raise _gone()
        if found.address is not None:
            return found
        # A version that did not store tokens created the link, or its key was removed.
        tokens = (token for token in self._tokens(keyed, share_id) if hash_secret(token) == found.details.share.token_hash)
        address = next(tokens, None)
        if address is None:
            raise _gone()
        return SharedLink(found.details, address)


def _require_future(expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= clock.now():
        raise MalformedRequestError("expires_at must be in the future; revoke the link to close it now", code="expired_already")


def _gone() -> GoneError:
    return GoneError("The link of this Idempotency-Key is no longer available; use a new key", code="idempotent_share_gone")


def _checked(after: Cursor | None) -> Cursor | None:
    if after is not None:
        after.value_for(_NEWEST_FIRST)
    return after
