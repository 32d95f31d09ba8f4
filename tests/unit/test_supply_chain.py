"""The lock files and the waivers of advisories."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements"

LOAD_AND_SIGN = """
import json, os, sys
from datetime import timedelta
from uuid import uuid4
os.environ.update(ENVIRONMENT="local", DATABASE_URL="postgresql://u:p@127.0.0.1/d", SECRET_KEY="k", S3_BUCKET_NAME="bucket")
import lambda_app.main
from lambda_app.core.security.keys import SigningKeys
from lambda_app.core.security.tokens import AccessTokens
tokens = AccessTokens(keys=SigningKeys.fixed("x" * 48), lifetime=timedelta(minutes=1))
tokens.read(tokens.issue(uuid4(), session_id=uuid4(), token_epoch=0).value)
json.dump(sorted({name.partition(".")[0] for name in sys.modules}), sys.stdout)
"""


def waivers() -> dict[str, str]:
    lines = [line for line in (REQUIREMENTS / "waivers.txt").read_text().splitlines() if line and not line.startswith("#")]
    return {identifier: reason for identifier, _, reason in (line.partition("  ") for line in lines)}


@pytest.mark.parametrize("lock", sorted(REQUIREMENTS.glob("*.txt"), key=str), ids=lambda path: path.name)
def test_lock_files_pin_every_package_with_hashes_and_without_urls(lock: Path) -> None:
    if lock.name == "waivers.txt":
        pytest.skip("not a lock file")
    text = lock.read_text()
    pins = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]

    assert pins
    assert all(re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+", pin) and "--hash=sha256:" in pin for pin in pins)
    assert "://" not in text


def test_every_waiver_has_an_advisory_and_a_reason() -> None:
    assert waivers()
    for identifier, reason in waivers().items():
        assert re.fullmatch(r"(GHSA(-[0-9a-z]{4}){3}|CVE-\d{4}-\d+|PYSEC-\d{4}-\d+)", identifier)
        assert len(reason) > 40


def test_waived_packages_are_never_imported() -> None:
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", LOAD_AND_SIGN], text=True, cwd=REQUIREMENTS.parent))

    assert {"jose", "fastapi"} <= set(loaded)
    assert not {"ecdsa", "rsa", "pyasn1"} & set(loaded)
