"""`ls` and `rm`."""

from itertools import islice
from typing import Any

from we_upload.cli.downloading import open_link
from we_upload.cli.output import UsageError, print_json, print_lines, printable, say
from we_upload.cli.parser import exit_status
from we_upload.cli.store import account
from we_upload.cli.values import require_ids
from we_upload.errors import NotSignedInError, ProblemError


def ls(options: Any) -> None:
    """List the own files, or those of a link."""
    if options.url:
        if options.query or options.status:
            raise UsageError("--query and --status are for the own files, not for a link.")
        client, link = open_link(options.url, options)
        with client:
            opened = link.open()
        files = opened.files[: options.limit]
        if options.json:
            print_json([file.to_json() for file in files])
        else:
            print_lines([f"{file.id}\t{file.size_bytes}\t{file.filename}" for file in files])
        return
    filters = {name: value for name, value in (("q", options.query), ("status", options.status)) if value}
    if options.limit:
        filters["limit"] = min(100, options.limit)
    with account(options).client as client:
        own = islice(client.files(**filters), options.limit)
        if options.json:
            print_json([file.to_json() for file in own])
            return
        for file in own:
            state = "" if file.status == "available" else f" ({file.status})"
            print_lines([f"{file.id}\t{file.size_bytes}\t{file.created_at:%Y-%m-%d %H:%M}\t{file.filename}{state}"])


def rm(options: Any) -> int:
    """Move files to the trash, or delete them."""
    require_ids(options.ids)
    status, removed = 0, []
    with account(options).client as client:
        for file_id in options.ids:
            try:
                client.delete(file_id, permanent=options.permanent)
                removed.append(file_id)
            except NotSignedInError:
                raise
            except ProblemError as error:
                say(printable(f"{file_id}: {error.message}"))
                status = status or exit_status(error)
    if options.json:
        print_json({"removed": removed})
    return status
