"""Request bodies: not nullable, and described. Their examples are on the models."""

from typing import Any

from lambda_app.routers.http.openapi.schemas import without_null


def complete(operation: dict[str, Any]) -> None:
    """Complete the request body and the successful responses of an operation."""
    body = operation.get("requestBody")
    if body is not None:
        for content in body["content"].values():
            # FastAPI makes an optional body nullable, and generated clients would send null.
            content["schema"] = without_null(content["schema"])
            content["schema"].pop("title", None)
    for response in operation["responses"].values():
        for content in response.get("content", {}).values():
            content.get("schema", {}).pop("title", None)
        if response.get("description") == "Successful Response":
            response["description"] = "Success" if "content" in response else "Success, without content"
