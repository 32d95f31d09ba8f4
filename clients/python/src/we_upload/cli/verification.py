"""`verify`: check a receipt."""

import sys
from pathlib import Path
from typing import Any

from we_upload.cli.output import UsageError, print_json, say
from we_upload.cli.store import account
from we_upload.errors import UploadError

KEY_PATH = "/.well-known/we-upload/log-key"


def verify(options: Any) -> None:
    """Check a receipt with the public keys of the server's log, without a connection if `--key` names a file with them."""
    # Imported with this command only, because no other needs it.
    from we_upload.receipts import ReceiptError, verify_receipt

    try:
        receipt = sys.stdin.buffer.read() if options.receipt == "-" else Path(options.receipt).read_bytes()
        keys = Path(options.key).read_text(encoding="ascii") if options.key else _fetched_keys(options)
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{options.key or 'The answer of the server'} has no public key of a log.") from None
    file = Path(options.file) if options.file else None
    if file is not None and not file.is_file():
        raise UsageError(f"{file} is not a file.")
    try:
        events = verify_receipt(receipt, keys, file=file)
    except ReceiptError as error:
        raise UploadError(f"The receipt is not valid: {error}", code="receipt_invalid") from error
    if options.json:
        print_json(
            {"valid": True, "events": [{"action": one.action, "at": one.at, "subject": one.subject, **one.details} for one in events]}
        )
        return
    for event in events:
        named = f" {event.details['filename']}" if "filename" in event.details else ""
        say(f"{event.action}{named} at {event.at}, sealed at {event.sealed_at} by {event.log}")
    say("The receipt is valid." if file is None else "The receipt is valid and belongs to the file.")


def _fetched_keys(options: Any) -> str:
    client = account(options).client
    with client:
        return client.api.call("GET", f"{client.api.base_url}{KEY_PATH}").body.decode("ascii")
