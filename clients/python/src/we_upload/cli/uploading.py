"""`up` and `send-to`."""

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from we_upload.cli.output import Display, UsageError, print_json, print_lines, printable, say, size_text
from we_upload.cli.parser import exit_status
from we_upload.cli.selection import select
from we_upload.cli.sharing import FILES_PER_LINK, share_options
from we_upload.cli.store import account, anonymous, open_journal, prepare_transfer
from we_upload.journal import Journal
from we_upload.progress import Progress
from we_upload.transfer.destinations import split_link
from we_upload.transfer.jobs import UploadItem, UploadResult
from we_upload.transfer.sources import SPOOL_MAX_BYTES, FileSource, spool

STDIN = "-"
ERRORS_SHOWN = 20


def up(options: Any) -> int:
    """Upload files to the account."""
    if options.request:
        for name in ("share", "public", "content_type", "no_wait"):
            if getattr(options, name):
                raise UsageError(f"--{name.replace('_', '-')} cannot be used with --request.")
        options.url = options.request
        return send_to(options)
    link_options = share_options(options)
    if link_options and not options.share:
        raise UsageError(
            "These options need --share: --" + ", --".join(sorted(name.replace("_at", "").replace("_", "-") for name in link_options))
        )
    found = account(options)
    client = found.client
    with ExitStack() as stack:
        stack.enter_context(client)
        items, is_resumable = selected_items(options, stack)
        if options.share and len(items) > FILES_PER_LINK:
            raise UsageError(f"A link opens at most {FILES_PER_LINK} files, and these are {len(items):,}. Upload them without --share.")
        for item in items:
            item.content_type, item.is_public = options.content_type or "", options.public
        prepare_transfer(client)
        journal = open_journal() if is_resumable else Journal()
        stack.callback(journal.close)
        run = run_name(options, client.api.base_url, found.identity)
        is_waiting = options.share or not options.no_wait
        results = transfer(
            lambda **context: client.upload_many(items, is_waiting=is_waiting, keeps_run=True, **context),
            journal=journal,
            run=run,
            options=options,
        )
        failures = [result for result in results if result.error]
        share = None
        if not failures:
            # A refused link, for example with a slug that is taken, does not upload the files again.
            share = client.share([result.file_id for result in results], **link_options) if options.share else None
            journal.forget_run(run)
    if options.json:
        print_json({"files": [described(result) for result in results], "share": share.to_json() if share else None})
    elif share is not None:
        print_lines([share.url or ""])
    else:
        print_lines([result.file_id for result in results if not result.error])
    return report(failures)


def send_to(options: Any) -> int:
    """Upload files to a file request."""
    try:
        server, token = split_link(options.url, "r")
    except ValueError as error:
        raise UsageError(f"{error}.") from None
    with ExitStack() as stack:
        client = stack.enter_context(anonymous(server))
        prepare_transfer(client)
        items, is_resumable = selected_items(options, stack)
        journal = open_journal() if is_resumable else Journal()
        stack.callback(journal.close)
        run = run_name(options, server, hashlib.sha256(token.encode()).hexdigest())
        results = transfer(
            lambda **context: client.send_to(options.url, items, **context),
            journal=journal,
            run=run,
            options=options,
        )
    failures = [result for result in results if result.error]
    if options.json:
        print_json({"files": [described(result) for result in results]})
    else:
        print_lines([result.file_id for result in results if not result.error])
    return report(failures)


def selected_items(options: Any, stack: ExitStack) -> tuple[list[UploadItem], bool]:
    """Return the items of the arguments, and whether a later run can continue them. Standard input cannot be read again."""
    if STDIN in options.paths:
        if options.paths != [STDIN]:
            raise UsageError("- (standard input) cannot be combined with files.")
        if sys.stdin.isatty():
            say("Reading from the terminal; Ctrl-D ends the input.")
        path = spool(sys.stdin.buffer, max_bytes=SPOOL_MAX_BYTES)
        stack.callback(path.unlink)
        return [UploadItem(FileSource(path), "stdin", options.name or "stdin")], False
    selected = select(options.paths, include=options.include, exclude=options.exclude)
    if options.name and len(selected) != 1:
        raise UsageError("--name needs a single file.")
    items = []
    for file in selected:
        try:
            source = FileSource(file.path)
        except OSError as error:
            raise UsageError(f"{file.path}: {error.strerror}") from None
        name = getattr(options, "name", None) or file.path.name
        items.append(UploadItem(source, str(file.path), name, description=printable(file.folder_path) if file.folder_path else None))
    return items, True


def run_name(options: Any, server: str, identity: str) -> str:
    """Return the name of a run in the journal: the same for the same command with the same arguments."""
    # Also as they were written, because the journal has the files of a run by these paths.
    paths = [(path, str(Path(path).resolve())) for path in options.paths]
    chosen = {name: value for name, value in vars(options).items() if name in ("include", "exclude", "name", "content_type", "public")}
    return hashlib.sha256(json.dumps([server, identity, paths, chosen], sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()


def transfer(upload: Callable[..., list[UploadResult]], *, journal: Journal, run: str, options: Any) -> list[UploadResult]:
    """Upload with the progress on the terminal."""
    progress = Progress()
    with Display(progress, "Uploaded"):
        return upload(journal=journal, run=run, progress=progress, lanes=options.lanes)


def described(result: UploadResult) -> dict[str, Any]:
    """Return a result as JSON."""
    values: dict[str, Any] = {
        "path": result.item.path,
        "id": result.file_id or None,
        "name": result.item.declaration().filename,
        "size_bytes": result.item.source.size_bytes,
    }
    if result.sha256 is not None:
        values["sha256"] = result.sha256
    if result.error is not None:
        values["error"] = {"code": result.error.code, "message": result.error.message}
    return values


def report(failures: Sequence[UploadResult]) -> int:
    """Print the errors and return the exit status."""
    for result in failures[:ERRORS_SHOWN]:
        error = result.error
        if error is not None:
            path = result.item.path
            message = error.message.removeprefix(f"{path}: ")
            say(printable(f"{path} ({size_text(result.item.source.size_bytes)}): {message}"))
            if error.advice:
                say(f"  {error.advice}")
    if len(failures) > ERRORS_SHOWN:
        say(f"… and {len(failures) - ERRORS_SHOWN:,} more errors.")
    first = failures[0].error if failures else None
    return exit_status(first) if first else 0
