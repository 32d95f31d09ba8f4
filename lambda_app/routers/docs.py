"""The interactive API documentation: one pinned version of Swagger UI. The browser verifies its digest before running it."""

from html import escape

from fastapi import Request
from starlette.responses import HTMLResponse

from lambda_app.routers.http.router import Router
from lambda_app.routers.http.templating import source_digest

router = Router(include_in_schema=False)

_BUNDLE = "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.35.0"
_SCRIPT_DIGEST = "sha384-gjRm0bEPMeTmMh5jT2cHccIwCUZSTd8YC+j0d0sXw0MdGEfScduGpSyF3ZSSLkX9"
_STYLE_DIGEST = "sha384-WlYgdmXYOOBWL5apwjDEZwN+U3HmXSSu5R6V5aGxEcf7z+KuRNwBhoxKVN1i3D5I"

# Constant, so that the policy can name it by its digest. The address of the OpenAPI document depends on the stage and is in the page.
_START = 'const node = document.getElementById("ui"); SwaggerUIBundle({ domNode: node, url: node.dataset.openapi, deepLinking: true });'

_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src {_BUNDLE}/swagger-ui-bundle.js '{source_digest(_START)}'",
        f"style-src {_BUNDLE}/swagger-ui.css 'unsafe-inline'",
        "img-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{bundle}/swagger-ui.css" integrity="{style_digest}" crossorigin="anonymous">
</head>
<body>
<div id="ui" data-openapi="{openapi_url}"></div>
<script src="{bundle}/swagger-ui-bundle.js" integrity="{script_digest}" crossorigin="anonymous"></script>
<script>{start}</script>
</body>
</html>
"""


@router.get("/docs")
def show_docs(request: Request) -> HTMLResponse:
    """Return the page of the interactive documentation."""
    page = _PAGE.format(
        title=escape(request.app.title),
        bundle=_BUNDLE,
        style_digest=_STYLE_DIGEST,
        script_digest=_SCRIPT_DIGEST,
        openapi_url=escape(f"{request.scope.get('root_path', '')}{request.app.openapi_url}"),
        start=_START,
    )
    return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})
