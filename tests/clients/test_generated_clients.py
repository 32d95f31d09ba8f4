"""Linters have no finding in the OpenAPI document, and three generators make clients of it that work."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from infra.toolchain import CLIENT_GENERATOR, CLIENTS
from lambda_app.storage.object_store import SINGLE_PUT_MAX_BYTES
from tests.support.api_document import DOCUMENT

TOOL_SECONDS = 120
PASSWORD = "a sentence is a good password"
SOURCES = CLIENTS / "src"


def run(command: list[str | Path], folder: Path, **environment: str) -> str:
    """Return the output of a tool; fail with it if the tool fails."""
    if not (CLIENTS / "node_modules").is_dir() or not CLIENT_GENERATOR.interpreter.exists():
        pytest.fail("The generators are not installed; run: make test-clients")
    node_folder = Path(sys.executable).parent
    # Colours and update notices off; the tools write caches into HOME.
    settings = {"PATH": f"{node_folder}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder), "NO_COLOR": "1", "CI": "1"}
    settings["REDOCLY_TELEMETRY"] = "off"
    finished = subprocess.run(
        command, cwd=folder, env={**settings, **environment}, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False
    )
    assert finished.returncode == 0, f"{finished.stdout}\n{finished.stderr}"
    return finished.stdout


def tool(name: str) -> list[str | Path]:
    return [Path(sys.executable).parent / "node", CLIENTS / "node_modules" / ".bin" / name]


def walk(command: list[str | Path], folder: Path, api_url: str, **environment: str) -> None:
    """Run the walk of a client, and verify its report."""
    email = f"generated-{uuid4()}@example.com"
    environment |= {"WE_UPLOAD_URL": api_url, "WE_UPLOAD_EMAIL": email, "WE_UPLOAD_PASSWORD": PASSWORD}
    report: dict[str, Any] = json.loads(run(command, folder, **environment))

    assert report == {
        "userEmail": email,
        "status": "available",
        "listed": ["walk.txt"],
        "nextCursor": None,
        "shared": ["walk.txt"],
        "missing": "file_not_found",
        "tooLarge": {"code": "single_upload_too_large", "maxBytes": SINGLE_PUT_MAX_BYTES},
        "invalid": {"code": "malformed_request", "field": "filename"},
        "refused": "not_authenticated",
    }


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A folder with the sources of the walks, in which the generators write."""
    for path in SOURCES.glob("*.ts"):
        shutil.copy(path, tmp_path)
    shutil.copy(CLIENTS / "tsconfig.json", tmp_path)
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    (tmp_path / "generated").mkdir()
    return tmp_path


def compile_typescript(source: str, workspace: Path) -> Path:
    """Check the types of a walk with its generated client, and return the compiled script."""
    settings = json.loads((workspace / "tsconfig.json").read_text())
    settings |= {"files": [source]}
    settings["compilerOptions"]["outDir"] = "out"
    (workspace / "tsconfig.json").write_text(json.dumps(settings))
    run([*tool("tsc"), "--project", workspace / "tsconfig.json"], workspace)
    return workspace / "out" / source.replace(".ts", ".js")


def test_redocly_has_no_finding(tmp_path: Path) -> None:
    # In a copy of the folder: the names in the ignore file are relative to it.
    shutil.copy(DOCUMENT, tmp_path / "openapi.json")
    for name in ("redocly-rules.yaml", ".redocly.lint-ignore.yaml"):
        shutil.copy(CLIENTS / name, tmp_path)

    report = json.loads(run([*tool("redocly"), "lint", "--config", "redocly-rules.yaml", "--format", "json", "openapi.json"], tmp_path))

    assert [problem for problem in report["problems"] if not problem.get("ignored")] == []


def test_spectral_has_no_finding(tmp_path: Path) -> None:
    command = [*tool("spectral"), "lint", "--ruleset", CLIENTS / "spectral.yaml", "--fail-severity", "hint", DOCUMENT]

    assert "No results" in run(command, tmp_path)


def test_client_of_openapi_typescript_works(workspace: Path, api_url: str) -> None:
    run([*tool("openapi-typescript"), DOCUMENT, "--output", "generated/openapi-typescript.d.ts"], workspace)

    walk([*tool("tsc")[:1], compile_typescript("openapi-typescript.ts", workspace)], workspace, api_url)


def test_client_of_hey_api_works(workspace: Path, api_url: str) -> None:
    run([*tool("openapi-ts"), "--input", DOCUMENT, "--output", "generated/hey-api", "--client", "@hey-api/client-fetch"], workspace)

    walk([*tool("tsc")[:1], compile_typescript("hey-api.ts", workspace)], workspace, api_url)


def test_client_of_openapi_python_client_works(tmp_path: Path, api_url: str) -> None:
    generator = CLIENT_GENERATOR.folder / "bin" / "openapi-python-client"
    path = f"{generator.parent}{os.pathsep}{os.environ['PATH']}"
    command: list[str | Path] = [
        generator,
        "generate",
        "--path",
        DOCUMENT,
        "--output-path",
        "we_upload_api",
        "--meta",
        "none",
        "--fail-on-warning",
    ]
    run(command, tmp_path, PATH=path)

    walk([CLIENT_GENERATOR.interpreter, SOURCES / "walk.py"], tmp_path, api_url, PYTHONPATH=str(tmp_path))
