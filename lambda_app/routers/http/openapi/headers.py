"""The response headers that clients use."""

from typing import Any

_WHOLE_NUMBER = {"type": "integer", "minimum": 0}

COMPONENTS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {"description": "Id of the request. Name it when you report a problem.", "schema": {"type": "string"}},
    "ETag": {"description": 'Version of the resource, for `If-Match` and `If-None-Match`: `"3"`.', "schema": {"type": "string"}},
    "Link": {
        "description": 'Relative reference to the next page (RFC 8288): `<?limit=…&cursor=…>; rel="next"`.',
        "schema": {"type": "string"},
    },
    "X-Next-Cursor": {"description": "Pass it as `cursor` to get the next page. Absent on the last page.", "schema": {"type": "string"}},
    "X-Total-Count": {"description": "Number of matching items, up to 1,000, if the request asked for it.", "schema": _WHOLE_NUMBER},
    "X-Total-Count-Relation": {
        "description": "`eq` if `X-Total-Count` is exact; `gt` if there are more.",
        "schema": {"type": "string", "enum": ["eq", "gt"]},
    },
    "Location": {"description": "Where to go on.", "schema": {"type": "string", "format": "uri-reference"}},
    "Retry-After": {"description": "Seconds to wait before the next attempt.", "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"description": "The scheme of the credentials: `Bearer`.", "schema": {"type": "string"}},
}
_BY_STATUS = {
    "302": ("Location",),
    "303": ("Location",),
    "304": ("ETag",),
    "401": ("WWW-Authenticate",),
    "429": ("Retry-After",),
    "503": ("Retry-After",),
}
_BY_PARAMETER = {
    "cursor": ("Link", "X-Next-Cursor"),
    "count": ("X-Total-Count", "X-Total-Count-Relation"),
    "If-Match": ("ETag",),
    "If-None-Match": ("ETag",),
}
"""Headers of the response with status 200, by parameters of the request."""

LOCATION: dict[str, Any] = {"headers": {"Location": {"$ref": "#/components/headers/Location"}}}
"""Declaration for a response that creates a resource: `responses={202: LOCATION}`."""


def complete(operation: dict[str, Any]) -> None:
    """Add the headers to the responses of an operation."""
    for status, response in operation["responses"].items():
        names = ["X-Request-Id", *_BY_STATUS.get(status, ())]
        if status == "200":
            names += [name for parameter in operation.get("parameters", ()) for name in _BY_PARAMETER.get(parameter["name"], ())]
        declared = response.setdefault("headers", {})
        for name in names:
            declared.setdefault(name, {"$ref": f"#/components/headers/{name}"})
