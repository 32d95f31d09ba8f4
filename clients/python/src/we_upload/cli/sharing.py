"""`share`, `links` and `request`."""

from typing import Any

from we_upload.cli.output import print_json, print_lines, say
from we_upload.cli.store import account
from we_upload.cli.values import parse_expiry, parse_size, read_password, require_ids
from we_upload.errors import NotFoundError
from we_upload.models import FileRequest, Share

FILES_PER_LINK = 100


def share_options(options: Any) -> dict[str, Any]:
    """Return the rules of a new link from the options that were given."""
    values = {
        "expires_at": parse_expiry(options.expires),
        "password": read_password(options, is_new=True),
        "max_downloads": options.max_downloads,
        "slug": options.slug,
        "note": options.note,
    }
    return {name: value for name, value in values.items() if value is not None}


def share(options: Any) -> None:
    """Create a link to files."""
    require_ids(options.ids)
    rules = share_options(options)
    with account(options).client as client:
        made = client.share(options.ids, **rules)
    if options.json:
        print_json(made.to_json())
    else:
        print_lines([made.url or ""])


def links(options: Any) -> None:
    """List links and file requests, or close one."""
    require_ids([options.revoke] if options.revoke else [])
    with account(options).client as client:
        if options.revoke:
            try:
                client.revoke_share(options.revoke)
            except NotFoundError:
                client.revoke_file_request(options.revoke)
            if options.json:
                print_json({"revoked": options.revoke})
            else:
                say(f"Closed {options.revoke}.")
            return
        shares, requests = list(client.shares()), list(client.file_requests())
    if options.json:
        print_json({"shares": [made.to_json() for made in shares], "file_requests": [made.to_json() for made in requests]})
    else:
        print_lines([_share_line(made) for made in shares if made.revoked_at is None] + [_request_line(made) for made in requests])


def _share_line(made: Share) -> str:
    rules = [f"{len(made.file_ids)} files" if len(made.file_ids) != 1 else "1 file"]
    limit = f" of {made.max_downloads}" if made.max_downloads else ""
    rules.append(f"{made.download_count}{limit} downloads")
    rules += ["password"] if made.has_password else []
    rules += [f"until {made.expires_at:%Y-%m-%d %H:%M} UTC"] if made.expires_at else []
    return f"{made.id}\t{made.url or '(address unknown)'}\t{', '.join(rules)}"


def _request_line(made: FileRequest) -> str:
    return (
        f"{made.id}\t{made.url or '(address unknown)'}\t"
        f"{made.title}: {made.file_count} of {made.max_files} files, until {made.expires_at:%Y-%m-%d %H:%M} UTC"
    )


def request(options: Any) -> None:
    """Create a file request."""
    expires_at, max_size = parse_expiry(options.expires), parse_size(options.max_size)
    with account(options).client as client:
        made = client.request_files(
            options.title,
            note=options.note,
            expires_at=expires_at,
            max_files=options.max_files,
            max_size_bytes=max_size,
            content_types=options.types,
        )
    if options.json:
        print_json(made.to_json())
    else:
        print_lines([made.url or ""])
