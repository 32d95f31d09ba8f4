"""Synthesised stacks, once per set of settings."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App

from infra.app import add_stacks
from infra.config import stage_config
from infra.package.artifact import Artifact

ROOT = Path(__file__).resolve().parents[2]

EVERYTHING = {
    "stage": "prod",
    "uses_kms": "true",
    "scans_for_malware": "true",
    "reads_from_standby": "true",
    "alarm_email": "ops@example.com",
    "cors_origins": "https://app.example.com,https://www.example.com",
    "domain_name": "files.example.com",
    "certificate_arn": "arn:aws:acm:eu-central-1:111122223333:certificate/0b0e0b0e-0000-4000-8000-000000000000",
}
"""Prod with every option that can be combined."""

BEHIND_FIREWALL = {
    "stage": "staging",
    "firewall": "true",
    "origin_key": "3",
    "domain_name": "files.example.com",
    "certificate_arn": "arn:aws:acm:us-east-1:111122223333:certificate/0b0e0b0e-0000-4000-8000-000000000000",
    "mail_from": "files@mail.example.com",
    "makes_mail_identity": "true",
    "public_url": "https://app.example.com",
    "abuse_email": "abuse@example.com",
    "brand_name": "Studio Nord",
    "default_language": "de",
    "brand_accent": "#7a1fa2",
    "brand_logo": str(ROOT / "web" / "src" / "assets" / "logo.svg"),
    "recovery_region": "eu-west-1",
    "replicates_objects": "true",
    "vault_lock": "compliance",
    "identity_providers": '[{"id": "company", "name": "Company", "issuer": "https://login.example.com", "client_id": "we-upload"}]',
    "identity_secrets": "arn:aws:secretsmanager:eu-central-1:111122223333:secret:client-secrets-AbCdEf",
    "password_sign_in": "false",
}
"""Staging behind CloudFront, with mail, an identity provider, and copies in another region."""


SMALL = {
    "stage": "small",
    "uses_kms": "true",
    "scans_for_malware": "true",
    "serves_unscannable": "true",
    "alarm_email": "me@example.com",
    "domain_name": "files.example.com",
    "certificate_arn": "arn:aws:acm:us-east-1:111122223333:certificate/0b0e0b0e-0000-4000-8000-000000000000",
    "recovery_region": "eu-west-1",
    "vault_lock": "governance",
    "checkpoint_lock_days": "365",
}
"""The stage whose database pauses, with every option that can be combined with it."""


@dataclass(frozen=True)
class Synthesised:
    """The templates of one set of settings, and the folder of the cloud assembly."""

    network: dict[str, Any]
    data: dict[str, Any]
    api: dict[str, Any]
    firewall: dict[str, Any]
    """Empty if the stage has no firewall."""
    recovery: dict[str, Any]
    """Empty if the stage has no recovery region."""
    assembly: Path

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        """All resources, by stack and logical id."""
        parts = {"network": self.network, "data": self.data, "api": self.api, "firewall": self.firewall, "recovery": self.recovery}
        return {f"{name}/{key}": value for name, part in parts.items() for key, value in part.get("Resources", {}).items()}

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """Properties of every resource of `kind`."""
        return [resource.get("Properties", {}) for resource in self.resources.values() if resource["Type"] == kind]

    def only(self, kind: str) -> dict[str, Any]:
        """Properties of the one resource of `kind`."""
        (found,) = self.of_type(kind)
        return found


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """An empty package: templates do not read its contents."""
    path = tmp_path_factory.mktemp("package") / "package.zip"
    path.write_bytes(b"")
    return Artifact(zip=path, digest="0" * 64, architecture="arm64", python_version="3.13")


@pytest.fixture(scope="session")
def synthesise(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Synthesised]:
    """Synthesise with the context of cdk.json and the given settings."""

    @cache
    def build(settings: tuple[tuple[str, str], ...]) -> Synthesised:
        context = json.loads((ROOT / "cdk.json").read_text())["context"] | dict(settings)
        assembly = tmp_path_factory.mktemp("assembly")
        app = App(context=context, outdir=str(assembly))
        config = stage_config(app.node.try_get_context)
        stage = add_stacks(app, config, artifact, artifact if config.makes_previews else None)
        app.synth()
        network, data, api, firewall, recovery = (
            json.loads((assembly / stack.template_file).read_text()) if stack else {} for stack in stage
        )
        return Synthesised(network, data, api, firewall, recovery, assembly)

    def from_settings(**settings: str) -> Synthesised:
        return build(tuple(sorted(settings.items())))

    return from_settings


@pytest.fixture(scope="session")
def prod(synthesise: Callable[..., Synthesised]) -> Synthesised:
    """The stacks of prod with default settings."""
    return synthesise(stage="prod")


@pytest.fixture(scope="session")
def dev(synthesise: Callable[..., Synthesised]) -> Synthesised:
    """The stacks of dev with default settings."""
    return synthesise(stage="dev")


@pytest.fixture(scope="session")
def small(synthesise: Callable[..., Synthesised]) -> Synthesised:
    """The stacks of small with default settings."""
    return synthesise(stage="small")


@pytest.fixture(scope="session")
def behind_firewall(synthesise: Callable[..., Synthesised]) -> Synthesised:
    """Staging behind CloudFront, with mail."""
    return synthesise(**BEHIND_FIREWALL)


@pytest.fixture(scope="session")
def everything(synthesise: Callable[..., Synthesised]) -> Synthesised:
    """Prod with every option enabled."""
    return synthesise(**EVERYTHING)
