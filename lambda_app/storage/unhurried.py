"""The object store as a unit of work sees it: asked only while no database connection is held."""

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from lambda_app.db.session import release_connection
from lambda_app.storage.object_store import ObjectStore


class UnhurriedStore:
    """Stands in front of a store and gives the session's connection back before each call that goes over the network.

    A slow S3 would otherwise keep connections away from requests that need no S3, one in Lambda's proxy and all of a small
    pool. It also keeps a rule: a call inside an open transaction is a RuntimeError, in tests and everywhere. Signing is
    local, and passes.
    """

    def __init__(self, store: ObjectStore, session: Session) -> None:
        self._store = store
        self._session = session

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return the store's method of this name, behind the release of the connection."""
        method: Callable[..., Any] = getattr(self._store, name)
        if name.startswith("presign_"):
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            release_connection(self._session)
            return method(*args, **kwargs)

        return call
