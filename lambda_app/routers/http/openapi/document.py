"""Completes the OpenAPI document that FastAPI generates. Clients are generated from it, so its names are public API.

Each module of this package adds one aspect. A route declares what is special about it; what follows from its dependencies, parameters
and statuses is added here. `tests/integration/api/test_openapi.py` names what a route lacks.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

TAGS = {
    "files": "Upload, list, change, delete and download files.",
    "shares": "Links by which people without an account open files.",
    "sharing": "Grants: files that are shared with other users.",
    "file requests": "Links by which people without an account upload files.",
    "archives": "Several files as one zip.",
    "login": "Sign in and out, refresh tokens, reset a password, confirm an e-mail address.",
    "users": "Accounts and their storage usage.",
    "sign-in providers": "Sign-in with identity providers: linked identities, and fresh proofs of the user.",
    "invitations": "Invitations by mail: to create an account, or to use a file.",
    "transfers": "All files of one account, handed over to another account.",
    "second factor": "One-time codes of an authenticator app at sign-in.",
    "credentials": "The caller's own sessions and API keys.",
    "receipts": "Signed proofs of what was stored and downloaded, and the keys that verify them.",
    "events": "What happened to the caller's files, links, requests, archives and account.",
    "webhooks": "Addresses that receive the caller's events, and deliveries to them.",
    "admin": "Statistics and the audit log, for superusers.",
    "share links": "What visitors of a share link use. Browsers get pages, programs JSON.",
    "public uploads": "What guests of a file request use. No account is needed.",
    "upload tokens": "Short-lived tokens with which a page uploads files for the caller.",
    "uppy": "What stock Uppy 6 calls with its option `companionEndpoint`, below an upload token.",
    "public files": "The permanent links of public files.",
    "notifications": "Pages behind the links in notifications, for people and mail programs.",
    "config": "What the server offers, and its limits.",
    "health": "Checks for monitoring and load balancers.",
}
"""The tags of the document, and their order."""
DESCRIPTION = """\
Upload files straight to S3, and share them.

File content never passes through this API: it signs URLs, and clients exchange the content with the object store. Errors are problem \
documents (RFC 9457); their `code` is stable and meant for programs, and each operation lists its codes. Times are in UTC (RFC 3339), \
sizes in bytes. Lists are paged by cursor: `X-Next-Cursor` and `Link` lead to the next page.
"""
SERVERS = [{"url": "/", "description": "The server that serves this document."}]
LICENSE = {"name": "MIT", "identifier": "MIT"}
CONTACT = {"name": "The We-Upload contributors"}


def operation_id(route: APIRoute) -> str:
    """Return the id of an operation: the name of its function in camel case. Generated clients name their functions by it."""
    first, *others = route.name.split("_")
    return first + "".join(word.capitalize() for word in others)


def complete_document(app: FastAPI) -> None:
    """Replace `app.openapi` by a function that returns the completed document."""
    generate = app.openapi
    completed: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        # Generated once. FastAPI generates it again when a route was added since.
        generated = generate()
        if completed.get("of") is not generated:
            completed.update(of=generated, document=_complete(generated, app))
        document: dict[str, Any] = completed["document"]
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents


def _complete(document: dict[str, Any], app: FastAPI) -> dict[str, Any]:
    # Imported with the first document, which most processes never generate.
    from lambda_app.routers.http.openapi import bodies, errors, headers, parameters, schemas, security

    document["info"] |= {"description": DESCRIPTION, "license": LICENSE, "contact": CONTACT}
    document["servers"] = SERVERS
    used: set[str] = set()
    for operation, route, method in _operations(document, app):
        bodies.complete(operation)
        security.complete(operation, route, method)
        parameters.complete(operation)
        errors.complete(operation, route)
        headers.complete(operation)
        used.update(operation.get("tags", ()))
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items() if name in used]
    components = document.setdefault("components", {})
    components["securitySchemes"] = security.SCHEMES
    components["headers"] = headers.COMPONENTS
    components["schemas"] = schemas.complete(components.get("schemas", {}), document["paths"])
    return document


def _operations(document: dict[str, Any], app: FastAPI) -> Iterator[tuple[dict[str, Any], RouteContext, str]]:
    for route in iter_route_contexts(app.routes):
        for method in route.methods or ():
            operation = document["paths"].get(route.path_format, {}).get(method.lower())
            if operation is not None:
                yield operation, route, method
