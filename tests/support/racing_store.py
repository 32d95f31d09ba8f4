"""An object store that lets another request run at a chosen moment."""

from collections.abc import Callable
from typing import Any


class RacingStore:
    """An object store that runs `before` once, just before the first call of `method`."""

    def __init__(self, store: Any, method: str, before: Callable[[], Any]) -> None:
        self._store, self._method, self._before = store, method, before

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name != self._method:
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            before, self._before = self._before, lambda: None
            before()
            return method(*args, **kwargs)

        return call
