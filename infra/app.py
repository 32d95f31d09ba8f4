"""The CDK app: `cdk deploy --all -c stage=dev`."""

from pathlib import Path

from aws_cdk import App, Tags, Validations
from cdk_nag import AwsSolutionsChecks

from infra.config import StageConfig, stage_config
from infra.package.artifact import Artifact
from infra.stacks.api import ApiStack
from infra.stacks.data import DataStack
from infra.stacks.network import NetworkStack

PACKAGE = Path(__file__).resolve().parents[1] / "build" / "lambda-arm64"


def add_stacks(app: App, config: StageConfig, artifact: Artifact) -> tuple[NetworkStack, DataStack, ApiStack]:
    """Put the three stacks of a stage into `app`. They name no account or region: the deploying credentials do."""
    prefix = f"WeUpload-{config.name}"
    network = NetworkStack(app, f"{prefix}-Network", config=config)
    data = DataStack(app, f"{prefix}-Data", config=config, network=network.network)
    api = ApiStack(app, f"{prefix}-Api", config=config, network=network, data=data, artifact=artifact)
    for stack in (network, data, api):
        for key, value in {"project": "we-upload", "stage": config.name}.items():
            # The one resource of ours that CloudFormation knows no tags for, though CDK writes them.
            Tags.of(stack).add(key, value, exclude_resource_types=["AWS::RDS::DBProxyTargetGroup"])
    demand_good_practice(app)
    return network, data, api


def demand_good_practice(app: App) -> None:
    """Make synthesis fail on every finding of cdk-nag's AwsSolutions rules that nobody acknowledged."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))


def main() -> None:
    """Synthesise what the context asks for."""
    app = App()
    package = app.node.try_get_context("package")
    add_stacks(app, stage_config(app.node.try_get_context), Artifact.read(Path(package) if package else PACKAGE))
    app.synth()


if __name__ == "__main__":
    main()
