"""What has been transferred, on disk, so that the same command continues after a break.

The journal is a SQLite file. A crash can lose the last entries: the same step is then repeated, which the upload contract allows.
"""

import sqlite3
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

KEPT_SECONDS = 7 * 24 * 3600
"""Entries without a change for so long are deleted. The server ends unfinished uploads earlier."""
IDEMPOTENCY_SECONDS = 23 * 3600
"""How long a start is repeated with the same key. The server keeps keys for 24 hours."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS uploads (
    run TEXT, path TEXT, size_bytes INTEGER, mtime_ns INTEGER, key TEXT, file_id TEXT, state TEXT, request TEXT, changed_at REAL,
    PRIMARY KEY (run, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS downloads (target TEXT PRIMARY KEY, source TEXT, etag TEXT, size_bytes INTEGER, chunks TEXT, changed_at REAL);
CREATE TABLE IF NOT EXISTS synced (
    root TEXT, path TEXT, size_bytes INTEGER, mtime_ns INTEGER, file_id TEXT, PRIMARY KEY (root, path)
) WITHOUT ROWID;
"""

STARTED, SENT, DONE = "started", "sent", "done"


@dataclass(slots=True)
class UploadEntry:
    """The upload of one file. `state` is empty before the start, then STARTED, SENT (all bytes are in the store) and DONE."""

    run: str
    path: str
    size_bytes: int
    mtime_ns: int
    key: str = field(default_factory=lambda: uuid4().hex)
    file_id: str = ""
    state: str = ""
    request: str = ""
    """JSON of what a guest needs to continue: token and presigned request."""
    changed_at: float = field(default_factory=time.time)

    def restart(self) -> None:
        """Begin again with a new file on the server."""
        self.key, self.file_id, self.state, self.request = uuid4().hex, "", "", ""


@dataclass(slots=True)
class DownloadEntry:
    """The chunks of a partly downloaded file, by number."""

    target: str
    source: str
    etag: str
    size_bytes: int
    chunks: set[int]


@dataclass(frozen=True, slots=True)
class SyncedFile:
    """A file that `sync` has uploaded."""

    path: str
    size_bytes: int
    mtime_ns: int
    file_id: str


class Journal:
    """A journal in a file, or in memory without one. Safe for several threads and processes."""

    def __init__(self, path: Path | None = None) -> None:
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path or ":memory:", timeout=30, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(_SCHEMA)
        for table in ("uploads", "downloads"):
            self._run(f"DELETE FROM {table} WHERE changed_at < ?", time.time() - KEPT_SECONDS)  # noqa: S608 - a constant name

    def _run(self, statement: str, *values: object) -> list[tuple[str, ...]]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()

    def uploads_of(self, run: str) -> dict[str, UploadEntry]:
        """Return the entries of one run by path. A run is one command with its arguments."""
        rows = self._run("SELECT run, path, size_bytes, mtime_ns, key, file_id, state, request, changed_at FROM uploads WHERE run = ?", run)
        return {row[1]: UploadEntry(*row) for row in rows}  # type: ignore[arg-type]  # sqlite3 returns the types that were stored

    def save(self, entries: Iterable[UploadEntry]) -> None:
        """Store entries, in one transaction."""
        rows = [
            (
                entry.run,
                entry.path,
                entry.size_bytes,
                entry.mtime_ns,
                entry.key,
                entry.file_id,
                entry.state,
                entry.request,
                entry.changed_at,
            )
            for entry in entries
        ]
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._database.execute("COMMIT")

    def forget_run(self, run: str) -> None:
        """Delete the entries of a finished run, so that the same command uploads again."""
        self._run("DELETE FROM uploads WHERE run = ?", run)

    def download_to(self, target: str) -> DownloadEntry | None:
        """Return the entry of a download."""
        rows = self._run("SELECT target, source, etag, size_bytes, chunks FROM downloads WHERE target = ?", target)
        if not rows:
            return None
        target, source, etag, size_bytes, chunks = rows[0]
        return DownloadEntry(target, source, etag, int(size_bytes), {int(number) for number in chunks.split(",") if number})

    def save_download(self, entry: DownloadEntry) -> None:
        """Store the entry of a download."""
        chunks = ",".join(map(str, sorted(entry.chunks)))
        values = (entry.target, entry.source, entry.etag, entry.size_bytes, chunks, time.time())
        self._run("INSERT OR REPLACE INTO downloads VALUES (?, ?, ?, ?, ?, ?)", *values)

    def forget_download(self, target: str) -> None:
        """Delete the entry of a download."""
        self._run("DELETE FROM downloads WHERE target = ?", target)

    def synced(self, root: str) -> dict[str, SyncedFile]:
        """Return the uploaded files of a synchronised folder, by path."""
        rows = self._run("SELECT path, size_bytes, mtime_ns, file_id FROM synced WHERE root = ?", root)
        return {row[0]: SyncedFile(*row) for row in rows}  # type: ignore[arg-type]  # as above

    def save_synced(self, root: str, file: SyncedFile) -> None:
        """Store an uploaded file of a synchronised folder."""
        self._run("INSERT OR REPLACE INTO synced VALUES (?, ?, ?, ?, ?)", root, file.path, file.size_bytes, file.mtime_ns, file.file_id)

    def forget_synced(self, root: str, path: str) -> None:
        """Delete a file of a synchronised folder."""
        self._run("DELETE FROM synced WHERE root = ? AND path = ?", root, path)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __del__(self) -> None:
        # Python 3.13 warns about a database that is not closed; a journal in memory has no other end. There is none if `__init__` failed.
        with suppress(AttributeError):
            self._database.close()
