"""Upload, download and share files of a We-Upload server.

from we_upload import Client

with Client("https://files.example.com", api_key="wup_…") as client:
    file = client.upload("big.bin")
    print(client.share([file.id], max_downloads=5).url)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from we_upload.client import Client
    from we_upload.errors import (
        ConflictError,
        ConnectionFailedError,
        DigestMismatchError,
        FileChangedError,
        LimitExceededError,
        MalformedRequestError,
        NotAllowedError,
        NotFoundError,
        NotSignedInError,
        ProblemError,
        RateLimitedError,
        ServerError,
        StorageRefusedError,
        UploadError,
    )
    from we_upload.journal import Journal
    from we_upload.links import FileRequestLink, ShareLink
    from we_upload.models import File, FileRequest, Link, LinkedFile, Part, PartPlan, ServerConfig, Share, Usage, User
    from we_upload.progress import Progress, Transfer
    from we_upload.transfer.jobs import UploadItem, UploadResult

__version__ = "0.2.0"

_HOMES = {
    "client": ["Client"],
    "errors": [
        "ConflictError",
        "ConnectionFailedError",
        "DigestMismatchError",
        "FileChangedError",
        "LimitExceededError",
        "MalformedRequestError",
        "NotAllowedError",
        "NotFoundError",
        "NotSignedInError",
        "ProblemError",
        "RateLimitedError",
        "ServerError",
        "StorageRefusedError",
        "UploadError",
    ],
    "journal": ["Journal"],
    "links": ["FileRequestLink", "ShareLink"],
    "models": ["File", "FileRequest", "Link", "LinkedFile", "Part", "PartPlan", "ServerConfig", "Share", "Usage", "User"],
    "progress": ["Progress", "Transfer"],
    "transfer.jobs": ["UploadItem", "UploadResult"],
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Client",
    "ConflictError",
    "ConnectionFailedError",
    "DigestMismatchError",
    "File",
    "FileChangedError",
    "FileRequest",
    "FileRequestLink",
    "Journal",
    "LimitExceededError",
    "Link",
    "LinkedFile",
    "MalformedRequestError",
    "NotAllowedError",
    "NotFoundError",
    "NotSignedInError",
    "Part",
    "PartPlan",
    "ProblemError",
    "Progress",
    "RateLimitedError",
    "ServerConfig",
    "ServerError",
    "Share",
    "ShareLink",
    "StorageRefusedError",
    "Transfer",
    "UploadError",
    "UploadItem",
    "UploadResult",
    "Usage",
    "User",
]


def __getattr__(name: str) -> Any:
    # Imported on first use: the command's `--help` must not pay for the HTTP library.
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
