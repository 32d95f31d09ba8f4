"""The distribution: its operator command and its data files."""

import tomllib
from importlib import import_module
from pathlib import Path

import click

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())


def test_installed_command_is_the_operator_command_line() -> None:
    module, _, name = PROJECT["project"]["scripts"]["we-upload-admin"].partition(":")
    command = getattr(import_module(module), name)

    assert isinstance(command, click.Group)
    assert {"create-superuser", "reset-password", "verify-audit", "migrate", "openapi", "purge", "recount-usage"} <= command.commands.keys()


def test_package_contains_every_data_file() -> None:
    package = Path(__file__).parents[2] / "lambda_app"
    others = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}

    templates = {f"{name}.html" for name in ("base", "docs", "file_request", "icons", "notice", "share")}
    sources = {"docs.css", "docs.js", "file_request.css", "file_request.js", "share.css", "tokens.css"}
    pages = {f"routers/pages/{name}" for name in templates | sources}
    assert others == {"core/security/common_passwords.txt", *pages}
    assert PROJECT["tool"]["setuptools"]["package-data"] == {"lambda_app.core.security": ["*.txt"], "lambda_app.routers": ["pages/*"]}
