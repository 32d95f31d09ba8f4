"""Parameters: descriptions of the ids in paths, and schemas without null, which no parameter can be."""

from typing import Any

from lambda_app.dependencies.share_links import SHARE_TOKEN_HEADER
from lambda_app.routers.http.openapi.schemas import without_null

PATH_DESCRIPTIONS = {
    "file_id": "Id of the file.",
    "user_id": "Id of the user.",
    "share_id": "Id of the share link. It is not the token of its URL.",
    "request_id": "Id of the file request. It is not the token of its URL.",
    "archive_id": "Id of the archive.",
    "identity_id": "Id of the linked identity.",
    "invitation_id": "Id of the invitation.",
    "transfer_id": "Id of the transfer.",
    "key_id": "Id of the API key.",
    "session_id": "Id of the session.",
    "webhook_id": "Id of the webhook.",
    "delivery_id": "Id of the delivery, which is the `webhook-id` of its message.",
    "upload_token_id": "Id of the upload token. It is not the token itself.",
    "token": "The token of the link, from its URL.",
}
"""By name: a name means the same in all paths."""


def complete(operation: dict[str, Any]) -> None:
    """Complete the parameters of an operation."""
    parameters = operation.get("parameters")
    if parameters is None:
        return
    # The security scheme describes this header.
    parameters[:] = [parameter for parameter in parameters if parameter["name"] != SHARE_TOKEN_HEADER]
    for parameter in parameters:
        parameter["schema"] = schema = without_null(parameter["schema"])
        schema.pop("title", None)
        # FastAPI repeats the description in the schema.
        schema.pop("description", None)
        if parameter["in"] == "path":
            parameter.setdefault("description", PATH_DESCRIPTIONS.get(parameter["name"], ""))
    if not parameters:
        del operation["parameters"]
