"""Re-encryption of the tokens of links, after which an old key can be removed."""

from typing import NamedTuple

from lambda_app.core.security.link_tokens import LinkTokenCipher
from lambda_app.repositories.sharing.link_tokens import TOKEN_COLUMNS, LinkTokenRepository

PAGE_ROWS = 500


class ReencryptedTokens(NamedTuple):
    """The result of a run."""

    current: int
    """Tokens that the current key had encrypted already."""
    changed: int
    unreadable: int
    """Tokens whose key was removed. Their links still work; their owners can give them a new address."""


class LinkTokenEncryption:
    """Encrypts stored tokens with the current key. For the operator's command line only."""

    def __init__(self, *, tokens: LinkTokenRepository, cipher: LinkTokenCipher) -> None:
        self._tokens = tokens
        self._cipher = cipher

    def reencrypt(self) -> ReencryptedTokens:
        """Encrypt every token with the current key. Safe while the API is running. Raises UnavailableError."""
        current = changed = unreadable = 0
        for column in TOKEN_COLUMNS:
            after = None
            while page := self._tokens.page(column, after=after, limit=PAGE_ROWS):
                for stored in page:
                    token = self._cipher.decrypt(stored.encrypted_token, row_id=stored.id)
                    if token is None:
                        unreadable += 1
                    elif self._cipher.is_current(stored.encrypted_token):
                        current += 1
                    else:
                        changed += self._tokens.replace(column, stored, self._cipher.encrypt(token, row_id=stored.id))
                after = page[-1].id
        return ReencryptedTokens(current, changed, unreadable)
