"""A handler without framework that sends one statement in one flush, from which PostgreSQL returns the JSON of the response.

It is the lower bound of this design, as `bare` is that of plain pg8000. It uses the application's connection and, like `bare`, validates
nothing, handles no errors, and has no throttle or audit log.
"""

import base64
import json
import os
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import bare  # type: ignore[import-not-found]  # beside this file in the measured layout

from lambda_app.db.connection import TransactionMode, WireConnection
from lambda_app.db.transport import Address, Transport

CALLER = """
SELECT "user".id FROM "user" JOIN user_session ON user_session.user_id = "user".id AND revoked_at IS NULL AND expires_at > now()
    AND user_session.token_epoch = "user".token_epoch AND is_active
WHERE "user".id = $1::uuid AND user_session.id = $2::uuid AND "user".token_epoch = $3::int
"""
# ruff: noqa: S608  # the parts are constants
SHOWN = f"(SELECT row_to_json(shown) FROM (SELECT {', '.join(f'file.{name}' for name in bare.FILE_COLUMNS.split(', '))}) AS shown)::text"
MAY_READ = "(file.owner_id = caller.id OR (file.is_public AND file.status != 'trashed'))"
OF_CALLER = f"FROM ({CALLER}) AS caller JOIN file ON file.id = $4::uuid AND file.status != 'deleting'"
GET = f"SELECT {SHOWN}, {MAY_READ} {OF_CALLER}"
DOWNLOAD = f"SELECT file.filename, file.content_type, file.s3_key, {MAY_READ} {OF_CALLER}"
LIST = f"""
SELECT {SHOWN} FROM ({CALLER}) AS caller JOIN file ON file.owner_id = $1::uuid AND file.status NOT IN ('deleting', 'trashed')
ORDER BY file.created_at DESC, file.id DESC LIMIT $4::int
"""
ME = f"""
SELECT (SELECT row_to_json(shown) FROM (SELECT "user".id, email, is_active, is_superuser, created_at, updated_at) AS shown)::text
FROM ({CALLER}) AS caller JOIN "user" ON "user".id = caller.id
"""
UPLOAD = f"""
WITH reserved AS (
    UPDATE "user" SET bytes_used = bytes_used + $4::bigint, files_count = files_count + 1
    WHERE id IN ({CALLER}) AND bytes_used + $4::bigint <= coalesce(quota_bytes, 107374182400)
        AND files_count < coalesce(quota_files, 100000) RETURNING id
)
INSERT INTO file (id, filename, content_type, size_bytes, is_public, s3_key, status, upload_expires_at, has_part_digests, revision,
    created_at, updated_at, owner_id)
SELECT $5::uuid, $6, $7, $4::bigint, false, $8, 'pending', $9::timestamptz, false, 1, now(), now(), reserved.id FROM reserved RETURNING id
"""
UPDATE = f"""
UPDATE file SET description = $5, updated_at = now(), revision = revision + 1 FROM ({CALLER}) AS caller
WHERE file.id = $4::uuid AND file.status != 'deleting' AND file.owner_id = caller.id RETURNING {SHOWN}
"""

_connections: list[WireConnection] = []


def _run(sql: str, event: dict[str, Any], *values: Any, mode: TransactionMode = TransactionMode.READ) -> list[list[Any]]:
    if not _connections:
        url = urlsplit(os.environ["DATABASE_URL"])
        address = Address(url.hostname or "", url.port or 5432)
        _connections.append(
            WireConnection(
                open_transport=partial(Transport.open, address, tls=None, timeout_seconds=30.0),
                user=url.username or "",
                password=lambda: url.password or "",
                database=url.path.lstrip("/"),
                application_name="floor",
            )
        )
    rows: list[list[Any]] = _connections[0].execute_statement(sql, (*_claims(event), *values), mode).rows
    return rows


def _claims(event: dict[str, Any]) -> tuple[Any, ...]:
    text, _, signature = event["headers"]["authorization"].removeprefix("Bearer ").rpartition(".")
    if not bare.hmac.compare_digest(signature, bare._sign(text)):
        raise PermissionError
    body = text.partition(".")[2]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims["sub"], claims["sid"], claims["epoch"]


def _start_upload(event: dict[str, Any]) -> str:
    metadata = json.loads(event["body"])
    file_id = str(uuid4())
    key, expires_at = f"files/{file_id}", datetime.now(UTC) + timedelta(seconds=900)  # the peers do not use core.clock
    headers = {"Content-Length": str(metadata["size_bytes"]), "Content-Type": metadata["content_type"], "If-None-Match": "*"}
    url = bare._presigned("PUT", key, headers, {})
    values = (metadata["size_bytes"], file_id, metadata["filename"], metadata["content_type"], key, expires_at)
    _run(UPLOAD, event, *values, mode=TransactionMode.OWN_TRANSACTION)
    answer = {"upload_url": url, "file_id": file_id, "method": "PUT", "headers": headers, "expires_at": expires_at.isoformat()}
    return json.dumps(answer)


def _start_download(event: dict[str, Any], file_id: str) -> str:
    filename, content_type, key, _ = _run(DOWNLOAD, event, file_id)[0]
    query = {
        "response-content-disposition": f'attachment; filename="{filename}"',
        "response-content-encoding": "identity",
        "response-content-type": content_type,
    }
    return json.dumps({"download_url": bare._presigned("GET", key, {}, query), "filename": filename, "content_type": content_type})


def _answer(event: dict[str, Any]) -> str:
    method, path = event["requestContext"]["http"]["method"], event["rawPath"].removeprefix("/api/v1")
    if path == "/files/upload":
        return _start_upload(event)
    if path == "/files":
        rows = _run(LIST, event, int((event.get("queryStringParameters") or {}).get("limit", 100)))
        return f"[{','.join(row[0] for row in rows)}]"
    file_id = path.rpartition("/")[2]
    if path.startswith("/files/download/"):
        return _start_download(event, file_id)
    if method == "PUT":
        description = json.loads(event["body"])["description"]
        return str(_run(UPDATE, event, file_id, description, mode=TransactionMode.OWN_TRANSACTION)[0][0])
    return str((_run(ME, event) if path == "/users/me" else _run(GET, event, file_id))[0][0])


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Handle an HTTP API event (payload 2.0)."""
    if event["rawPath"].endswith("/login/token"):
        response: dict[str, Any] = bare.handler(event, context)
        return response
    status = 201 if event["rawPath"].endswith("/upload") else 200
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": _answer(event), "isBase64Encoded": False}
