"""An S3 emulator of the test session's own, with signatures checked and the bucket set up as production has it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.bootstrap import EMULATOR
from infra.local.object_store import ObjectStoreServer, start_object_store


@contextmanager
def running_object_store() -> Iterator[ObjectStoreServer]:
    """Start the emulator in a temporary folder; it and its objects are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="we-upload-s3-") as name:
        folder = Path(name)
        store = start_object_store(folder / "objects", log=folder / "log", temporary=folder / "tmp", interpreter=EMULATOR.interpreter)
        try:
            yield store
        finally:
            store.server.kill()
