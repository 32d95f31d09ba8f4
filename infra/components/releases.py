"""A release of the API moves a tenth of the traffic first, and goes back when callers get errors or wait too long."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_codedeploy as codedeploy
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.components.http_api import HttpApi
from infra.components.nag_suppressions import suppress_nag
from infra.config import StageConfig

MINUTE = Duration.minutes(1)
OVER = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
SLOW_MILLISECONDS = 2000


class CanaryRelease(Construct):
    """The deployment group of the API's alias, and the alarms that end a release. CloudFormation waits for the release.

    These alarms have periods of a minute and no recipients: the alarms of `Observability` are too slow for a canary of five minutes.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig, alias: lambda_.Alias, api: HttpApi) -> None:
        super().__init__(scope, construct_id)
        metrics: dict[str, tuple[cloudwatch.IMetric, float]] = {
            "FunctionErrors": (alias.metric_errors(statistic="Sum", period=MINUTE), 0),
            "ServerErrors": (api.api.metric_server_error(statistic="Sum", period=MINUTE), 2),
            "Latency": (alias.metric_duration(statistic="p95", period=MINUTE), SLOW_MILLISECONDS),
        }
        self.alarms = [
            cloudwatch.Alarm(
                self,
                name,
                metric=metric,
                threshold=over,
                comparison_operator=OVER,
                evaluation_periods=1 if name == "FunctionErrors" else 2,
                treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
                alarm_description="Ends a release of the API. See docs/runbook.md#release",
            )
            for name, (metric, over) in metrics.items()
        ]
        application = codedeploy.LambdaApplication(self, "Application", application_name=f"we-upload-{config.name}")
        self.group = codedeploy.LambdaDeploymentGroup(
            self,
            "Group",
            application=application,
            alias=alias,
            deployment_config=codedeploy.LambdaDeploymentConfig.CANARY_10_PERCENT_5_MINUTES,
            alarms=self.alarms,
            auto_rollback=codedeploy.AutoRollbackConfig(failed_deployment=True, stopped_deployment=True, deployment_in_alarm=True),
        )
        suppress_nag(
            self.group,
            "AwsSolutions-IAM4",
            "Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSCodeDeployRoleForLambdaLimited",
            reason="The policy that AWS maintains for CodeDeploy: it shifts aliases, reads alarms, and cannot change code.",
        )
