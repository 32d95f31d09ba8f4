"""The entry point: parse, run a command, and turn errors into a message and an exit status."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

from we_upload.cli.parser import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_USAGE, build_parser, exit_status

KEY_ADVICE = "Check WE_UPLOAD_API_KEY: the key may be wrong, revoked or expired."


def run() -> NoReturn:
    """Run the command of this process."""
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of a pipe has ended. Without this, Python would report the error again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_FAILURE
    sys.exit(status)


def main(arguments: Sequence[str]) -> int:
    """Run a command and return its exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return EXIT_USAGE
    module, _, function = str(options.runs).partition(":")
    from we_upload.cli.output import UsageError
    from we_upload.errors import NotSignedInError, UploadError

    try:
        return int(getattr(import_module(f"we_upload.cli.{module}"), function)(options) or 0)
    except UsageError as error:
        _complain(options.command, str(error), None)
        return error.status
    except UploadError as error:
        is_key = isinstance(error, NotSignedInError) and os.environ.get("WE_UPLOAD_API_KEY")
        _complain(options.command, error.message, KEY_ADVICE if is_key else error.advice)
        return exit_status(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        _complain(options.command, f"{error.filename}: {error.strerror}" if error.filename else str(error), None)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        _complain(options.command, "Interrupted.", "Run the same command again to continue.")
        return EXIT_INTERRUPTED


def _complain(command: str, message: str, advice: str | None) -> None:
    with suppress(OSError):
        from we_upload.cli.output import printable

        # The message may be one of the server.
        sys.stderr.write(f"we-upload {command}: {printable(message)}\n" + (f"  {advice}\n" if advice else ""))
