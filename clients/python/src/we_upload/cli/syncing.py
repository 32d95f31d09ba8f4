"""`sync`: upload what is new or has changed in a folder."""

from contextlib import closing
from pathlib import Path
from typing import Any

from we_upload.cli.output import UsageError, print_json, print_lines, printable
from we_upload.cli.selection import files_of
from we_upload.cli.store import account, open_journal, prepare_transfer
from we_upload.cli.uploading import report, run_name, transfer
from we_upload.client import Client
from we_upload.errors import NotFoundError
from we_upload.journal import Journal, SyncedFile
from we_upload.transfer.destinations import AccountUploads
from we_upload.transfer.jobs import UploadItem, UploadResult
from we_upload.transfer.sources import FileSource

STATUSES_MAX = 100
"""Files whose status one request returns."""


def sync(options: Any) -> int:
    """Upload new and changed files; with `--delete`, move others to the trash."""
    folder = Path(options.folder)
    if not folder.is_dir():
        raise UsageError(f"{options.folder} is not a folder.")
    found = account(options)
    root = f"{found.client.api.base_url} {found.identity} {folder.resolve()}"
    journal = open_journal()
    with found.client as client, closing(journal):
        prepare_transfer(client)
        known = _still_stored(client, journal.synced(root))
        here = {below: FileSource(folder / below) for below in files_of(folder, include=options.include, exclude=options.exclude)}
        changed = [below for below, source in here.items() if not _is_same(known.get(below), source)]
        # A file that is left out by a pattern but still exists is not deleted.
        gone = [below for below in known if not (folder / below).is_file()] if options.delete else []
        if options.dry_run:
            _print(options, [("upload", "", below) for below in changed] + [("delete", known[below].file_id, below) for below in gone])
            return 0
        items = [_item(folder, below, here[below]) for below in changed]
        options.paths = [options.folder]
        run = run_name(options, client.api.base_url, f"sync {found.identity}")
        results = _upload(client, items, options, journal=journal, run=run)
        done = []
        for below, result in zip(changed, results, strict=True):
            if result.error is None:
                replaced = known.get(below)
                journal.save_synced(root, SyncedFile(below, here[below].size_bytes, here[below].mtime_ns, result.file_id))
                if replaced is not None:
                    _delete(client, replaced.file_id)
                done.append(("upload", result.file_id, below))
        for below in gone:
            _delete(client, known[below].file_id)
            journal.forget_synced(root, below)
            done.append(("delete", known[below].file_id, below))
    _print(options, done)
    return report([result for result in results if result.error])


def _still_stored(client: Client, known: dict[str, SyncedFile]) -> dict[str, SyncedFile]:
    """Return the files that the server still has, so that a file that was deleted elsewhere is uploaded again."""
    ids = [file.file_id for file in known.values()]
    uploads = AccountUploads(client.api)
    statuses: dict[str, str] = {}
    for start in range(0, len(ids), STATUSES_MAX):
        statuses |= uploads.statuses(ids[start : start + STATUSES_MAX])
    return {below: file for below, file in known.items() if statuses.get(file.file_id) == "available"}


def _is_same(known: SyncedFile | None, source: FileSource) -> bool:
    return known is not None and (known.size_bytes, known.mtime_ns) == (source.size_bytes, source.mtime_ns)


def _item(folder: Path, below: str, source: FileSource) -> UploadItem:
    path = folder / below
    return UploadItem(source, str(path), path.name, description=printable(f"{folder.resolve().name}/{below}"))


def _upload(client: Client, items: list[UploadItem], options: Any, *, journal: Journal, run: str) -> list[UploadResult]:
    if not items:
        return []
    return transfer(lambda **context: client.upload_many(items, **context), journal=journal, run=run, options=options)


def _delete(client: Client, file_id: str) -> None:
    try:
        client.delete(file_id)
    except NotFoundError:
        # It was deleted elsewhere.
        return


def _print(options: Any, changes: list[tuple[str, str, str]]) -> None:
    if options.json:
        print_json([{"action": action, "id": file_id or None, "path": below} for action, file_id, below in changes])
    else:
        print_lines([f"{action}\t{file_id}\t{below}" for action, file_id, below in changes])
