"""An S3 emulator for the test session, which verifies signatures; its bucket is configured as in production."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.bootstrap import EMULATOR
from infra.local.object_store import ObjectStoreServer, start_object_store


@contextmanager
def running_object_store() -> Iterator[ObjectStoreServer]:
    """Run the emulator in a temporary folder; both are deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="we-upload-s3-") as name:
        folder = Path(name)
        store = start_object_store(folder / "objects", log=folder / "log", temporary=folder / "tmp", interpreter=EMULATOR.interpreter)
        try:
            yield store
        finally:
            store.server.kill()
