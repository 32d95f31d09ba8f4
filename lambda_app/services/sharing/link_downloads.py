"""Downloads through share links, each in one statement."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.security.share_tokens import ShareTokens
from lambda_app.repositories.accounts.callers import Caller, Credential
from lambda_app.repositories.sharing.caller_links import CallerLinkRepository, GrantedFile
from lambda_app.repositories.sharing.share_links import LINK_DOWNLOAD_URL_TTL_SECONDS
from lambda_app.services.accounts.callers import CallerService, SubmittedCredential
from lambda_app.services.files.files import sign_download
from lambda_app.services.sharing.share_links import ShareLinkService, Visitor, visitor_hash
from lambda_app.storage.object_store import ObjectStore, PresignedRequest


class LinkDownloadService:
    """Counts and signs downloads for visitors that are authenticated by the same statement.

    `ShareLinkService` finds the reason of a refusal.
    """

    def __init__(
        self,
        *,
        links: CallerLinkRepository,
        callers: CallerService,
        share_tokens: ShareTokens,
        store: ObjectStore,
        in_steps: Callable[[], AbstractContextManager[ShareLinkService]],
    ) -> None:
        self._links = links
        self._callers = callers
        self._share_tokens = share_tokens
        self._store = store
        self._in_steps = in_steps

    def start_download(
        self, address: str, file_id: UUID, submitted: SubmittedCredential | None, share_token: str | None, *, is_resumption: bool
    ) -> PresignedRequest:
        """Count a download and sign it.

        `is_resumption`: the visitor requests the rest of a file. If the same visitor started that download before, it is not counted
        again. Raises NotAuthenticatedError, ScopeMissingError, ListingOnlyError and the errors of `ShareLinkService.open`.
        """
        proven = None if share_token is None else self._share_tokens.read(share_token, address=address)
        credential, caller = None, None
        viewer_id = None if proven is None else proven.user_id
        if submitted is not None:
            credential = self._callers.read(submitted)
            # The statement authenticates a session. The user of an API key must be known before: the hash of the visitor depends on it.
            viewer_id = credential.user_id or self._callers.authenticate(submitted).id
        visitor, now = visitor_hash(address, viewer_id), clock.now()
        for is_resumed in (True, False) if is_resumption else (False,):
            granted = self._links.grant(
                address, file_id, at=now, proven=proven, credential=credential, visitor=visitor, is_resumption=is_resumed
            )
            if submitted is not None and credential is not None:
                caller = self._accept(submitted, credential, granted)
            if granted.file is not None:
                return sign_download(self._store, granted.file, lifetime_seconds=LINK_DOWNLOAD_URL_TTL_SECONDS).request
        with self._in_steps() as links:
            raise links.refusal_of_download(address, Visitor(caller, share_token), file_id)

    def sign_head(self, address: str, file_id: UUID, submitted: SubmittedCredential | None, share_token: str | None) -> PresignedRequest:
        """Sign a HEAD request, which is not counted. Raises the errors of `start_download`."""
        visitor = Visitor(None if submitted is None else self._callers.authenticate(submitted), share_token)
        with self._in_steps() as links:
            return links.sign_head(address, file_id, visitor)

    def _accept(self, submitted: SubmittedCredential, credential: Credential, granted: GrantedFile) -> Caller:
        if granted.is_rolled_back:
            return self._callers.authenticate(submitted)
        return self._callers.accept(submitted, credential, granted.caller)
