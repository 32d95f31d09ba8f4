"""The step of a deployment that brings the database to the schema of the new code, or stops the deployment."""

from aws_cdk import CustomResource, Duration
from constructs import Construct

from infra.components.functions import AppFunction, FunctionSpec, May, Runs, Surroundings

MIGRATION_TIMEOUT_SECONDS = 600

MIGRATE = FunctionSpec(
    name="Migrate",
    handler="lambda_app.handlers.migrate.handler",
    runs=Runs.ON_DEPLOY,
    may=May.NOTHING,
    concurrency=None,
    timeout_seconds=MIGRATION_TIMEOUT_SECONDS,
)


class Migration(Construct):
    """Runs the migrate function whenever the package changes; what depends on it waits, and is not touched when it fails.

    The function is the custom resource's own backend: a provider of CDK's would be a second function, outside the network, with the
    right to call the first.
    """

    def __init__(self, scope: Construct, construct_id: str, *, around: Surroundings) -> None:
        super().__init__(scope, construct_id)
        self.migrate = AppFunction(self, "Migrate", spec=MIGRATE, around=around)
        self.step = CustomResource(
            self,
            "Step",
            resource_type="Custom::DatabaseMigration",
            service_token=self.migrate.function.function_arn,
            # A function that dies without an answer would otherwise hold the deployment for an hour.
            service_timeout=Duration.seconds(MIGRATION_TIMEOUT_SECONDS + 60),
            properties={"Package": around.artifact.digest},
        )
        # With its policies: the function must be able to write its log and read the owner's secret before it is called.
        self.step.node.add_dependency(self.migrate.role)
