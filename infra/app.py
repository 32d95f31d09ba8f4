"""The CDK app: `cdk deploy --all -c stage=dev`."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from aws_cdk import App, Stack, Tags, Validations
from cdk_nag import AwsSolutionsChecks

from infra.config import LOCAL, STAGES, StageConfig, stage_config
from infra.package.artifact import Artifact
from infra.package.authorities import require_region
from infra.package.contents import DATABASE_AUTHORITIES
from infra.stacks.api import ApiStack
from infra.stacks.data import DataStack
from infra.stacks.firewall import FirewallStack
from infra.stacks.local import Addresses, LocalApiStack, LocalDataStack
from infra.stacks.network import NetworkStack
from infra.stacks.recovery import RecoveryStack

PACKAGE = Path(__file__).resolve().parents[1] / "build" / "lambda-arm64"
PREVIEW_PACKAGE = PACKAGE.with_name("previews-arm64")

IN_CONTAINERS = Addresses(
    app_database="postgresql://we_upload:we_upload@pgbouncer:6432/we_upload?sslmode=disable",
    owner_database="postgresql://postgres:postgres@postgres:5432/we_upload?sslmode=disable",
    aws="http://localstack:4566",
    public_s3="http://127.0.0.1:4566",
)
"""The addresses of localstack-compose.yml; a context value of the same name replaces each."""


class Stage(NamedTuple):
    """The stacks of one stage."""

    network: NetworkStack
    data: DataStack
    api: ApiStack
    firewall: FirewallStack | None
    recovery: RecoveryStack | None = None

    @property
    def stacks(self) -> list[Stack]:
        """All stacks of the stage; the firewall and recovery stacks only if the stage has them."""
        return [stack for stack in self if stack is not None]


def add_stacks(app: App, config: StageConfig, artifact: Artifact, previews: Artifact | None) -> Stage:
    """Add the stacks of a stage to `app`. `previews` is the package of the preview worker; None for a stage without one.

    Account and region come from the deploying credentials; only the firewall and recovery stacks name their regions.
    """
    prefix = f"WeUpload-{config.name}"
    firewall = FirewallStack(app, f"{prefix}-Firewall", config=config) if config.firewall else None
    recovery = RecoveryStack(app, f"{prefix}-Recovery", config=config) if config.recovery_region else None
    network = NetworkStack(app, f"{prefix}-Network", config=config)
    data = DataStack(app, f"{prefix}-Data", config=config, network=network.network)
    if recovery:
        # The vault and the bucket must exist before the data stack's plan and replication name them.
        data.add_stack_dependency(recovery)
    api = ApiStack(app, f"{prefix}-Api", config=config, network=network, data=data, firewall=firewall, artifact=artifact, previews=previews)
    stage = Stage(network, data, api, firewall, recovery)
    for stack in stage.stacks:
        for key, value in {"project": "we-upload", "stage": config.name}.items():
            # CloudFormation does not accept the tags that the CDK writes for this type.
            Tags.of(stack).add(key, value, exclude_resource_types=["AWS::RDS::DBProxyTargetGroup"])
    add_nag_checks(app)
    return stage


def add_local_stacks(app: App, artifact: Artifact, addresses: Addresses) -> tuple[LocalDataStack, LocalApiStack]:
    """Add the stacks of the `local` stage to `app`, without cdk-nag: they are never deployed to AWS."""
    config = STAGES[LOCAL]
    data = LocalDataStack(app, "WeUpload-local-Data", config=config)
    return data, LocalApiStack(app, "WeUpload-local-Api", config=config, data=data, artifact=artifact, addresses=addresses)


def add_nag_checks(app: App) -> None:
    """Make synthesis fail on every finding of cdk-nag's AwsSolutions rules that is not suppressed."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))


def main() -> None:
    """Synthesise the stage that the context names."""
    app = App()
    context = app.node.try_get_context
    config = stage_config(context)
    artifact = Artifact.read(Path(context("package") or PACKAGE))
    if config.name == LOCAL:
        addresses = {name: context(name) or default for name, default in asdict(IN_CONTAINERS).items()}
        add_local_stacks(app, artifact, Addresses(**addresses))
    else:
        # The cdk command sets it when it has credentials. Synthesis without an account has no region.
        region = os.environ.get("CDK_DEFAULT_REGION")  # noqa: TID251 - an input of the cdk command, not a setting of ours
        if region:
            require_region(artifact.zip.parent / "tree" / DATABASE_AUTHORITIES, region)
        previews = Artifact.read(Path(context("preview_package") or PREVIEW_PACKAGE)) if config.makes_previews else None
        add_stacks(app, config, artifact, previews)
    app.synth()


if __name__ == "__main__":
    main()
