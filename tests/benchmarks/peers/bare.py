"""A handler without framework, ORM or AWS library: the application's SQL through pg8000's native interface, and signatures by hand.

It serves only the requests of the benchmarks. It validates nothing, handles no errors, and has no throttle or audit log. It is the lower
bound: the cost of PostgreSQL, of the event and of the signatures.
"""

import base64
import hashlib
import hmac
import json
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from uuid import uuid4

import pg8000.native  # type: ignore[import-untyped]  # ships no type information

BUCKET = os.environ["S3_BUCKET_NAME"]
REGION = os.environ["AWS_REGION"]
ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
SECRET = os.environ["SECRET_KEY"].encode()
FILE_COLUMNS = (
    "id, filename, content_type, size_bytes, sha256, description, is_public, s3_key, owner_id, status, detected_content_type, purge_at, "
    "created_at, updated_at"
)
USER_COLUMNS = '"user".id, email, is_active, is_superuser, "user".created_at, "user".updated_at'

SELECT_USER = f"""
SELECT {USER_COLUMNS}, hashed_password, "user".token_epoch FROM "user"
JOIN user_session ON user_session.user_id = "user".id AND revoked_at IS NULL AND expires_at > now()
    AND user_session.token_epoch = "user".token_epoch AND is_active
WHERE "user".id = :user_id AND user_session.id = :session_id AND "user".token_epoch = :epoch
"""
SELECT_FILE = f"""
SELECT {FILE_COLUMNS}, owner_id = :user_id OR (is_public AND status != 'trashed') FROM file WHERE id = :file_id AND status != 'deleting'
"""
SELECT_FILES = f"""
SELECT {FILE_COLUMNS} FROM file WHERE owner_id = :user_id AND status NOT IN ('deleting', 'trashed')
ORDER BY created_at DESC, id DESC LIMIT :limit OFFSET :skip
"""
INSERT_FILE = """
WITH reserved AS (
    UPDATE "user" SET bytes_used = bytes_used + CAST(:size AS bigint), files_count = files_count + 1
    WHERE id = :user_id AND bytes_used + CAST(:size AS bigint) <= coalesce(quota_bytes, 107374182400)
        AND files_count < coalesce(quota_files, 100000) RETURNING id
)
INSERT INTO file (id, filename, content_type, size_bytes, is_public, s3_key, status, upload_expires_at, has_part_digests, revision,
    created_at, updated_at, owner_id)
SELECT CAST(:id AS uuid), :filename, :content_type, :size, false, :key, 'pending', CAST(:expires_at AS timestamptz), false, 1,
    CAST(:now AS timestamptz), CAST(:now AS timestamptz), reserved.id FROM reserved RETURNING id
"""
UPDATE_FILE = f"""
UPDATE file SET description = :description, updated_at = now(), revision = revision + 1
WHERE id = :file_id AND status != 'deleting' AND owner_id = :user_id RETURNING {FILE_COLUMNS}
"""
INSERT_SESSION = """
INSERT INTO user_session (id, user_id, token_epoch, created_at, last_used_at, expires_at)
VALUES (:id, :user_id, :epoch, now(), now(), now() + interval '14 days')
"""

_connections: list[Any] = []


def _run(sql: str, **values: Any) -> list[list[Any]]:
    if not _connections:
        url = urlsplit(os.environ["DATABASE_URL"])
        _connections.append(
            pg8000.native.Connection(
                url.username, host=url.hostname, port=url.port, password=url.password, database=url.path.lstrip("/"), ssl_context=False
            )
        )
    rows: list[list[Any]] = _connections[0].run(sql, **values)
    return rows


def _encode(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _sign(text: str) -> str:
    return base64.urlsafe_b64encode(hmac.digest(SECRET, text.encode(), hashlib.sha256)).rstrip(b"=").decode()


def _token(user_id: str, session_id: str, epoch: int) -> str:
    text = f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode({'sub': user_id, 'sid': session_id, 'epoch': epoch})}"
    return f"{text}.{_sign(text)}"


def _caller(event: dict[str, Any]) -> list[Any]:
    text, _, signature = event["headers"]["authorization"].removeprefix("Bearer ").rpartition(".")
    if not hmac.compare_digest(signature, _sign(text)):
        raise PermissionError
    body = text.partition(".")[2]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return _run(SELECT_USER, user_id=claims["sub"], session_id=claims["sid"], epoch=claims["epoch"])[0]


def _presigned(method: str, key: str, headers: dict[str, str], query: dict[str, str]) -> str:
    """Return a URL with Signature Version 4 in its query (AWS: Authenticating Requests, Using Query Parameters)."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{now[:8]}/{REGION}/s3/aws4_request"
    host = urlsplit(ENDPOINT).netloc
    signed = dict(sorted({"host": host, **{name.lower(): value for name, value in headers.items()}}.items()))
    names = ";".join(signed)
    parameters = query | {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}",
        "X-Amz-Date": now,
        "X-Amz-Expires": "900",
        "X-Amz-SignedHeaders": names,
    }
    text = urlencode(sorted(parameters.items()), quote_via=quote, safe="")
    lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
    canonical = f"{method}\n/{BUCKET}/{key}\n{text}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
    to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    secret = f"AWS4{os.environ['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), hashlib.sha256)
    signature = hmac.new(secret, to_sign.encode(), hashlib.sha256).hexdigest()
    return f"{ENDPOINT}/{BUCKET}/{key}?{text}&X-Amz-Signature={signature}"


def _file_fields(row: list[Any]) -> dict[str, Any]:
    return dict(zip(FILE_COLUMNS.split(", "), row, strict=False))


def _sign_in(event: dict[str, Any]) -> dict[str, Any]:
    from argon2 import PasswordHasher

    body = base64.b64decode(event["body"]).decode() if event["isBase64Encoded"] else event["body"]
    form = parse_qs(body)
    query = 'SELECT id, hashed_password, token_epoch FROM "user" WHERE email = :email'
    user_id, hashed, epoch = _run(query, email=form["username"][0])[0]
    PasswordHasher().verify(hashed, form["password"][0])
    session_id = str(uuid4())
    _run(INSERT_SESSION, id=session_id, user_id=user_id, epoch=epoch)
    return {"access_token": _token(str(user_id), session_id, epoch), "token_type": "bearer"}


def _start_upload(event: dict[str, Any], user: list[Any]) -> dict[str, Any]:
    metadata = json.loads(event["body"])
    file_id, now = uuid4(), datetime.now(UTC)  # the peers do not use core.clock
    key = f"files/{file_id}"
    headers = {
        "Content-Length": str(metadata["size_bytes"]),
        "Content-Type": metadata["content_type"],
        "If-None-Match": "*",
    }
    url = _presigned("PUT", key, headers, {})
    expires_at = now + timedelta(seconds=900)
    values = {"filename": metadata["filename"], "content_type": metadata["content_type"], "size": metadata["size_bytes"]}
    _run(INSERT_FILE, id=str(file_id), user_id=user[0], key=key, now=now, expires_at=expires_at, **values)
    return {"upload_url": url, "file_id": file_id, "method": "PUT", "headers": headers, "expires_at": expires_at}


def _start_download(file_id: str, user: list[Any]) -> dict[str, Any]:
    file = _file_fields(_run(SELECT_FILE, file_id=file_id, user_id=user[0])[0])
    query = {
        "response-content-disposition": f'attachment; filename="{file["filename"]}"',
        "response-content-encoding": "identity",
        "response-content-type": file["content_type"],
    }
    return {
        "download_url": _presigned("GET", file["s3_key"], {}, query),
        "filename": file["filename"],
        "content_type": file["content_type"],
    }


def _route(event: dict[str, Any]) -> Any:  # noqa: PLR0911  # one return for each route
    method, path = event["requestContext"]["http"]["method"], event["rawPath"].removeprefix("/api/v1")
    if path == "/login/token":
        return _sign_in(event)
    user = _caller(event)
    if path == "/users/me":
        return dict(zip(("id", "email", "is_active", "is_superuser", "created_at", "updated_at"), user, strict=False))
    if path == "/files/upload":
        return _start_upload(event, user)
    if path == "/files":
        query = event.get("queryStringParameters") or {}
        rows = _run(SELECT_FILES, user_id=user[0], limit=int(query.get("limit", 100)), skip=int(query.get("skip", 0)))
        return [_file_fields(row) for row in rows]
    file_id = path.rpartition("/")[2]
    if path.startswith("/files/download/"):
        return _start_download(file_id, user)
    if method == "PUT":
        return _file_fields(_run(UPDATE_FILE, file_id=file_id, user_id=user[0], **json.loads(event["body"]))[0])
    return _file_fields(_run(SELECT_FILE, file_id=file_id, user_id=user[0])[0])


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Handle an HTTP API event (payload 2.0)."""
    body = json.dumps(_route(event), default=lambda value: value.isoformat() if isinstance(value, datetime) else str(value))
    status = 201 if event["rawPath"].endswith("/upload") else 200
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": body, "isBase64Encoded": False}
