"""`verify`: check a receipt."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from we_upload.cli.output import UsageError, print_json, say
from we_upload.cli.store import account
from we_upload.errors import UploadError

KEY_PATH = "/.well-known/we-upload/log-key"


def verify(options: Any) -> None:
    """Check a receipt with the public key of the server's log."""
    try:
        receipts = import_module("we_upload.receipts")
    except ImportError as error:
        raise UploadError("Receipts are not available in this version of we-upload.", code="not_available") from error
    try:
        text = sys.stdin.read() if options.receipt == "-" else Path(options.receipt).read_text(encoding="utf-8")
        receipt = json.loads(text)
    except (OSError, ValueError) as error:
        raise UsageError(f"{options.receipt} is not a receipt: {error}") from None
    key = Path(options.key).read_bytes() if options.key else _fetched_key(options)
    result = receipts.verify(receipt, key, Path(options.file) if options.file else None)
    if options.json:
        print_json({"verified": True, "result": str(result) if result is not None else None})
    else:
        say("The receipt is valid." if not options.file else "The receipt is valid and belongs to the file.")


def _fetched_key(options: Any) -> bytes:
    client = account(options).client
    with client:
        return client.api.call("GET", f"{client.api.base_url}{KEY_PATH}").body
