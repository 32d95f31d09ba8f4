"""The deployment step that migrates the database to the schema of the new code, or stops the deployment."""

from aws_cdk import CustomResource, Duration
from constructs import Construct

from infra.components.functions import AppFunction, FunctionContext, FunctionSpec, Permission, Trigger

MIGRATION_TIMEOUT_SECONDS = 600

MIGRATE = FunctionSpec(
    name="Migrate",
    handler="lambda_app.handlers.migrate.handler",
    trigger=Trigger.DEPLOY,
    permissions=Permission.NOTHING,
    concurrency=None,
    timeout_seconds=MIGRATION_TIMEOUT_SECONDS,
)


class Migration(Construct):
    """Invokes the migrate function when the package changes. Dependents wait, and do not change when it fails.

    The function is the custom resource's backend itself: a CDK provider would be a second function, outside the VPC, with the
    permission to invoke the first.
    """

    def __init__(self, scope: Construct, construct_id: str, *, context: FunctionContext) -> None:
        super().__init__(scope, construct_id)
        self.migrate = AppFunction(self, "Migrate", spec=MIGRATE, context=context)
        self.step = CustomResource(
            self,
            "Step",
            resource_type="Custom::DatabaseMigration",
            service_token=self.migrate.function.function_arn,
            # Without it, a function that ends without a response delays the deployment for an hour.
            service_timeout=Duration.seconds(MIGRATION_TIMEOUT_SECONDS + 60),
            properties={"Package": context.artifact.digest},
        )
        # Includes the role's policies: the function needs its log and the owner's secret when it is invoked.
        self.step.node.add_dependency(self.migrate.role)
