"""Coroutines in tests that must not touch the event loop of the current thread."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_in_new_loop(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in another thread: asyncio.run would replace the current event loop of this thread, which Mangum needs."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
