"""The check of log lines for secrets, which runs in all tests, finds them."""

import json
import logging
from uuid import UUID

import httpx
import pytest

from tests.support.log_watch import LogWatch

LOGGER = logging.getLogger("lambda_app.watched")


@pytest.mark.parametrize(
    "line",
    [
        "https://bucket.s3.eu-west-1.amazonaws.com/key?X-Amz-Signature=0",
        "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "key wup_abcdefghijklmnop",
        "hash $argon2id$v=19$m=19456",
        "Authorization: Bearer abcdefghijkl",
        "postgresql://api:hunter22@db.example.com/we_upload",
        "requested /s/3wGm1r8ZkQvT0b9sYp2LxA",
        "typed Corr3ct h\\u00f6rse",
        "described as Quarterly figures of 2026",
    ],
)
def test_secret_in_a_log_line_is_found(log_watch: LogWatch, line: str) -> None:
    body = {"password": "Corr3ct hörse", "nested": [{"description": "Quarterly figures of 2026"}]}
    log_watch.record(path="/s/3wGm1r8ZkQvT0b9sYp2LxA", headers=httpx.Headers(), body=json.dumps(body).encode())

    LOGGER.warning("%s", line.encode().decode("unicode_escape"))

    assert len(log_watch.findings()) == 1
    log_watch.clear()


def test_ids_statuses_and_times_are_no_secrets(log_watch: LogWatch) -> None:
    response = {"id": str(UUID(int=7)), "status": "available", "code": "file_not_found", "created_at": "2026-01-01T00:00:00Z"}
    log_watch.record(path=f"/api/v1/files/{UUID(int=7)}", headers=httpx.Headers(), body=json.dumps(response).encode())

    LOGGER.warning("file %s is available since 2026-01-01T00:00:00Z (file_not_found)", UUID(int=7))

    assert log_watch.findings() == []


def test_log_lines_of_other_loggers_are_checked(log_watch: LogWatch) -> None:
    logging.getLogger("third.party").warning("wup_abcdefghijklmnop")

    assert len(log_watch.findings()) == 1
    log_watch.clear()
