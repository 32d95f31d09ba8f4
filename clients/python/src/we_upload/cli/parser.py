"""The command line: commands, options, help, and exit statuses. It imports nothing that is slow, because `--help` uses it alone."""

import argparse
from typing import Any

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_NOT_SIGNED_IN = 3
EXIT_NOT_FOUND = 4
EXIT_UNREACHABLE = 5
EXIT_LIMIT = 6
EXIT_MISMATCH = 7
EXIT_INTERRUPTED = 130

EPILOG = """\
exit status:
  0 done   1 failed   2 wrong usage   3 not signed in   4 not found or not allowed
  5 no answer from the server   6 limit or quota   7 wrong content   130 interrupted

environment:
  WE_UPLOAD_URL, WE_UPLOAD_API_KEY   server and API key, instead of those of login
  WE_UPLOAD_PASSWORD                 password for --password, where there is no terminal
  https_proxy, no_proxy              proxy

An interrupted transfer continues when you run the same command again.
"""


def exit_status(error: Exception) -> int:
    """Return the exit status for an error."""
    from we_upload import errors

    statuses: list[tuple[tuple[type[Exception], ...], int]] = [
        ((errors.NotSignedInError,), EXIT_NOT_SIGNED_IN),
        ((errors.NotFoundError, errors.NotAllowedError), EXIT_NOT_FOUND),
        ((errors.ConnectionFailedError, errors.ServerError), EXIT_UNREACHABLE),
        ((errors.LimitExceededError, errors.RateLimitedError), EXIT_LIMIT),
        ((errors.DigestMismatchError, errors.FileChangedError), EXIT_MISMATCH),
        ((errors.CancelledError,), EXIT_INTERRUPTED),
    ]
    if getattr(error, "code", "") == "file_request_full":
        return EXIT_LIMIT
    return next((status for kinds, status in statuses if isinstance(error, kinds)), EXIT_FAILURE)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser. `runs` names the function of a command, which is imported when the command runs."""
    parser = argparse.ArgumentParser(
        prog="we-upload",
        description="Upload, download and share files.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_account_commands(commands)
    _add_transfer_commands(commands)
    _add_link_commands(commands)
    _add_other_commands(commands)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from we_upload import __version__

        parser.exit(0, f"we-upload {__version__}\n")


def _command(commands: Any, usage: str, runs: str, summary: str, description: str = "") -> argparse.ArgumentParser:
    """Add a command. `usage` is its name and its arguments."""
    name, _, arguments = usage.partition(" ")
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        usage=f"we-upload {name} [options]{' ' if arguments else ''}{arguments}",
        allow_abbrev=False,
    )
    command.set_defaults(runs=runs)
    command.add_argument("--server", metavar="URL", help="server, if you are signed in to several")
    if name not in ("login", "logout", "completion"):
        command.add_argument("--json", action="store_true", help="print the result as JSON")
    return command


def _add_account_commands(commands: Any) -> None:
    login = _command(
        commands,
        "login [URL]",
        "account:log_in",
        "sign in to a server",
        "Sign in with the web app in a browser, with an e-mail address and a password, or with an API key. Without a terminal, name "
        "--email or --api-key; the secret is the first line of standard input, and a one-time code the second.",
    )
    login.add_argument("url", nargs="?", metavar="URL", help="address of the server, such as https://files.example.com")
    way = login.add_mutually_exclusive_group()
    way.add_argument("--email", metavar="ADDRESS", help="sign in with this address and a password")
    login.add_argument("--no-browser", action="store_true", help="only print the address for the browser")
    # A key after the option is refused with an explanation. What follows it may also be the URL.
    way.add_argument("--api-key", nargs="?", const="", help="sign in with an API key (scopes files:read, files:write, shares)", metavar="")
    _command(commands, "logout", "account:log_out", "sign out and delete the stored credentials")


def _add_transfer_commands(commands: Any) -> None:
    up = _command(
        commands,
        "up FILE...",
        "uploading:up",
        "upload files and folders",
        "Upload files and folders, and print the id of each file, or the link with --share. - is standard input.",
    )
    up.add_argument("paths", nargs="+", metavar="FILE", help="file or folder; - is standard input")
    _add_upload_options(up)
    up.add_argument("--name", help="name for a single file or for standard input")
    up.add_argument("--content-type", metavar="TYPE", help="media type for all files, instead of the one of the extension")
    up.add_argument("--public", action="store_true", help="let everyone who knows the id download the files")
    up.add_argument("--no-wait", action="store_true", help="do not wait until the server has verified many small files")
    up.add_argument("--share", action="store_true", help="create one link to all files (at most 100) and print it")
    _add_share_options(up)
    up.add_argument("--request", metavar="URL", help="upload to this file request instead of your account, as send-to does")

    send = _command(commands, "send-to URL FILE...", "uploading:send_to", "upload to a file request of another person; needs no account")
    send.add_argument("url", metavar="URL", help="link of the file request, https://…/r/TOKEN")
    send.add_argument("paths", nargs="+", metavar="FILE", help="file or folder; - is standard input")
    _add_upload_options(send)
    send.add_argument("--name", help="name for a single file or for standard input")

    sync = _command(
        commands,
        "sync DIR",
        "syncing:sync",
        "upload what is new or has changed in a folder",
        "Upload what is new or has changed in a folder since the last sync from this computer. Replaced versions go to the trash.",
    )
    sync.add_argument("folder", metavar="DIR", help="folder to upload")
    sync.add_argument("--delete", action="store_true", help="move files to the trash that were deleted from the folder")
    sync.add_argument("--dry-run", action="store_true", help="print what would be done")
    _add_upload_options(sync)

    down = _command(
        commands,
        "down URL|ID",
        "downloading:down",
        "download a file or the files of a link",
        "Download a file by its id, or all files of a link (https://…/s/TOKEN or https://…/p/ID), and print the paths.",
    )
    down.add_argument("what", metavar="URL|ID", help="link, or id of a file")
    down.add_argument("-o", "--output", metavar="PATH", help="file or folder to write to; - is standard output")
    down.add_argument("--force", action="store_true", help="replace files that exist")
    _add_password_options(down)
    _add_lanes(down)


def _add_upload_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--include", action="append", default=[], metavar="GLOB", help="in folders, upload only files that match; repeatable"
    )
    command.add_argument(
        "--exclude", action="append", default=[], metavar="GLOB", help="in folders, leave out files that match; repeatable"
    )
    _add_lanes(command)


def _add_lanes(command: argparse.ArgumentParser) -> None:
    command.add_argument("--lanes", type=_lanes, metavar="N", help="parallel requests, 1 to 64 (default: 4 to 10, as the network allows)")


def _lanes(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError("must be a number from 1 to 64")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError("must be a number from 1")
    return int(text)


def _add_password_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--password", action="store_true", help="enter the password of the link")
    command.add_argument("--password-file", metavar="PATH", help="read the password of the link from the first line of a file")


def _add_share_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--expires", metavar="TIME", help="when the link closes: 30m, 12h, 7d, 2w, or a date such as 2030-01-31")
    command.add_argument("--max-downloads", type=_positive, metavar="N", help="close the link after so many downloads")
    command.add_argument("--note", metavar="TEXT", help="text that visitors of the link see")
    command.add_argument("--slug", metavar="NAME", help="chosen end of the link; it can be guessed")
    _add_password_options(command)


def _add_link_commands(commands: Any) -> None:
    share = _command(commands, "share ID...", "sharing:share", "create a link to files and print it")
    share.add_argument("ids", nargs="+", metavar="ID", help="id of a file, at most 100")
    _add_share_options(share)
    links = _command(commands, "links", "sharing:links", "list the own links and file requests, or close one")
    links.add_argument("--revoke", metavar="ID", help="close the link or file request with this id")
    request = _command(
        commands, "request TITLE", "sharing:request", "create a file request, through which others upload to you, and print its link"
    )
    request.add_argument("title", metavar="TITLE", help="what visitors see first")
    request.add_argument("--expires", metavar="TIME", help="when the request closes (default: in 30 days)")
    request.add_argument("--max-files", type=_positive, metavar="N", help="number of files in all (default: 100)")
    request.add_argument("--max-size", metavar="SIZE", help="size of one file, such as 200MB (default: 1 GiB)")
    request.add_argument(
        "--type", action="append", default=[], dest="types", metavar="TYPE", help="accepted media type, such as image/*; repeatable"
    )
    request.add_argument("--note", metavar="TEXT", help="text that visitors see")


def _add_other_commands(commands: Any) -> None:
    listing = _command(
        commands, "ls [URL]", "listing:ls", "list files", "List the own files, newest first, or the files of a link: id, size, time, name."
    )
    listing.add_argument("url", nargs="?", metavar="URL", help="a share link, instead of the own files")
    listing.add_argument("-q", "--query", metavar="TEXT", help="part of the name")
    listing.add_argument("--status", choices=("pending", "available", "rejected", "expired", "trashed"), help="only files with this status")
    listing.add_argument("-n", "--limit", type=_positive, metavar="N", help="print at most so many")
    _add_password_options(listing)
    remove = _command(commands, "rm ID...", "listing:rm", "move files to the trash")
    remove.add_argument("ids", nargs="+", metavar="ID", help="id of a file")
    remove.add_argument("--permanent", action="store_true", help="delete the files for ever")
    verify = _command(commands, "verify RECEIPT [FILE]", "verification:verify", "check a receipt, and optionally that it belongs to a file")
    verify.add_argument("receipt", metavar="RECEIPT", help="a receipt as JSON; - is standard input")
    verify.add_argument("file", nargs="?", metavar="FILE", help="the file that the receipt must describe")
    verify.add_argument("--key", metavar="PATH", help="public key of the server's log (default: fetched from the server)")
    completion = _command(
        commands, "completion bash|zsh|fish", "completion:completion", "print a script that completes commands and options in a shell"
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="your shell")
