"""An httpx transport that converts each request to an API Gateway event and calls the Lambda handler."""

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import httpx

from tests.support.api_document import assert_documented
from tests.support.log_watch import WATCH

LambdaHandler = Callable[[dict[str, Any], Any], dict[str, Any]]
MakeEvent = Callable[[httpx.Request], dict[str, Any]]


def unused_address() -> str:
    """Return a random address, so that the throttling of sign-ins by address does not affect other tests."""
    raw = uuid4().bytes
    return f"10.{raw[0]}.{raw[1]}.{raw[2]}"


def payload_v2(request: httpx.Request, *, stage: str = "$default", source_ip: str = "203.0.113.7") -> dict[str, Any]:
    """Return the HTTP API event (payload format 2.0) for a request, as documented by AWS."""
    path = request.url.path
    raw_path = path if stage == "$default" else f"/{stage}{path}"
    body = request.read()
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": raw_path,
        "rawQueryString": request.url.query.decode(),
        "headers": _joined_headers(request),
        "queryStringParameters": {name: ",".join(values) for name, values in _query(request).items()} or None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "domainName": "api-id.execute-api.us-east-1.amazonaws.com",
            "http": {"method": request.method, "path": raw_path, "protocol": "HTTP/1.1", "sourceIp": source_ip, "userAgent": "test"},
            "requestId": f"request-{uuid4()}",
            "routeKey": "$default",
            "stage": stage,
            "time": "12/Mar/2026:19:03:58 +0000",
            "timeEpoch": 1773342238000,
        },
        **_body_members(body),
    }


def payload_v1(request: httpx.Request, *, stage: str = "dev", source_ip: str = "203.0.113.7") -> dict[str, Any]:
    """Return the REST API event (payload format 1.0) for a request, as documented by AWS."""
    path = request.url.path
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.multi_items():
        headers.setdefault(name, []).append(value)
    query = _query(request)
    return {
        "version": "1.0",
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "id",
            "httpMethod": request.method,
            "identity": {"sourceIp": source_ip, "userAgent": "test"},
            "path": f"/{stage}{path}",
            "protocol": "HTTP/1.1",
            "requestId": f"request-{uuid4()}",
            "resourcePath": "/{proxy+}",
            "stage": stage,
        },
        "pathParameters": {"proxy": path.lstrip("/")},
        **_body_members(request.read()),
    }


class GatewayTransport(httpx.BaseTransport):
    """Sends httpx requests to the Lambda handler, like API Gateway."""

    def __init__(self, handler: LambdaHandler, make_event: MakeEvent = payload_v2) -> None:
        self._handler = handler
        self._make_event = make_event

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Serve one request in process."""
        # Serialised to JSON and back in both directions, as between API Gateway and the Lambda runtime.
        event = json.loads(json.dumps(self._make_event(request)))
        answer = json.loads(json.dumps(self._handler(event, None)))
        headers = [*(answer.get("headers") or {}).items()]
        headers += [(name, value) for name, values in (answer.get("multiValueHeaders") or {}).items() for value in values]
        headers += [("set-cookie", cookie) for cookie in answer.get("cookies") or []]
        body = answer.get("body") or ""
        content = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
        WATCH.record(path=str(request.url.raw_path, "ascii"), headers=request.headers, body=request.content)
        WATCH.record(path="", headers=httpx.Headers(headers), body=content)
        response = httpx.Response(answer["statusCode"], headers=headers, content=content, request=request)
        assert_documented(response)
        return response


def _joined_headers(request: httpx.Request) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in request.headers.multi_items():
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _query(request: httpx.Request) -> dict[str, list[str]]:
    return parse_qs(request.url.query.decode(), keep_blank_values=True)


def _body_members(body: bytes) -> dict[str, Any]:
    if not body:
        return {"body": None, "isBase64Encoded": False}
    try:
        return {"body": body.decode(), "isBase64Encoded": False}
    except UnicodeDecodeError:
        return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
