"""Alarms, each with an entry in docs/runbook.md, and one dashboard."""

from collections.abc import Sequence

from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.components.backups import vault_name
from infra.components.functions import AppFunction
from infra.components.http_api import HttpApi
from infra.config import DatabaseKind, StageConfig
from infra.stacks.data import DataStack

FIVE_MINUTES = Duration.minutes(5)
OVER = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD


FEW_ALARMS = ("ApiErrorLines", "SealErrorLines", "SweepErrorLines", "ServerErrors", "DeadLetters", "ArchiveDeadLetters", "ScanDeadLetters")
"""The alarms of a stage whose database pauses: each alarm has a monthly price, also while nothing happens."""
STARTING_ERRORS = 30
"""5xx answers in five minutes that such a stage may give: while the database starts, callers get 503 and repeat the request."""


class Observability(Construct):
    """The alarms, their topic and the dashboard."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: StageConfig, functions: Sequence[AppFunction], api: HttpApi, data: DataStack
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self.topic = sns.Topic(self, "Alarms", enforce_ssl=True)
        # enforce_ssl adds a topic policy, which replaces the default policy that lets CloudWatch publish.
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsOfThisAccount",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        if config.alarm_email:
            self.topic.add_subscription(subscriptions.EmailSubscription(config.alarm_email))
        self.alarms: dict[str, cloudwatch.Alarm] = {}
        self._watch_functions(functions)
        request_times = self._add_log_metrics(functions)
        self._watch_gateway(api)
        self._watch_queue(data)
        self._watch_database(data)
        if config.scans_for_malware:
            self._watch_malware_plan(data)
        if config.recovery_region:
            self._watch_backups()
        dashboard = cloudwatch.Dashboard(self, "Dashboard", default_interval=Duration.hours(12))
        alarms = list(self.alarms.values())
        if request_times:
            dashboard.add_widgets(cloudwatch.GraphWidget(title="Request time from the application log, ms", left=request_times, width=24))
        dashboard.add_widgets(cloudwatch.AlarmStatusWidget(alarms=alarms, title="Alarms", width=24))
        dashboard.add_widgets(*(cloudwatch.GraphWidget(title=name, left=[alarm.metric], width=6) for name, alarm in self.alarms.items()))

    def _alarm(  # each is a part of the alarm
        self,
        name: str,
        metric: cloudwatch.IMetric,
        *,
        over: float,
        periods: int = 1,
        meaning: str,
        entry: str = "",
        is_always_measured: bool = False,
    ) -> None:
        if self._config.pauses_when_idle and name not in FEW_ALARMS:
            return
        alarm = cloudwatch.Alarm(
            self,
            name,
            metric=metric,
            threshold=over,
            comparison_operator=OVER,
            evaluation_periods=periods,
            # For most of these, missing data means that nothing happened.
            treat_missing_data=cloudwatch.TreatMissingData.BREACHING if is_always_measured else cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=f"{meaning} See docs/runbook.md#{(entry or name).lower()}",
        )
        action = actions.SnsAction(self.topic)
        alarm.add_alarm_action(action)
        alarm.add_ok_action(action)
        self.alarms[name] = alarm

    def _watch_functions(self, functions: Sequence[AppFunction]) -> None:
        for function in functions:
            name = function.spec.name
            errors = function.function.metric_errors(statistic="Sum", period=FIVE_MINUTES)
            throttles = function.function.metric_throttles(statistic="Sum", period=FIVE_MINUTES)
            self._alarm(f"{name}Errors", errors, over=0, entry="FunctionErrors", meaning=f"{name} raised an error or timed out.")
            self._alarm(
                f"{name}Throttles",
                throttles,
                over=0,
                entry="FunctionThrottles",
                meaning=f"{name} was throttled: it reached its concurrency limit.",
            )

    def _add_log_metrics(self, functions: Sequence[AppFunction]) -> list[cloudwatch.IMetric]:
        """Add metric filters on the logs, which cost a request nothing. Return the metrics of the request time."""
        request_times: list[cloudwatch.IMetric] = []
        for function in functions:
            name = function.spec.name
            lines = function.log_group.add_metric_filter(
                "ErrorLines",
                filter_pattern=logs.FilterPattern.string_value("$.level", "=", "ERROR"),
                metric_namespace=f"WeUpload/{self._config.name}",
                metric_name=f"{name}ErrorLines",
            )
            found = lines.metric(statistic="Sum", period=FIVE_MINUTES)
            self._alarm(f"{name}ErrorLines", found, over=0, entry="ErrorLines", meaning=f"{name} logged an unexpected error.")
            # A metric has a price in each month in which it has values. And a database that pauses is not sealed each minute.
            if self._config.pauses_when_idle:
                continue
            if name == "Seal":
                self._watch_sealing(function)
            if name == "Api":
                times = function.log_group.add_metric_filter(
                    "RequestTime",
                    filter_pattern=logs.FilterPattern.string_value("$.message", "=", "request"),
                    metric_namespace=f"WeUpload/{self._config.name}",
                    metric_name="RequestMilliseconds",
                    metric_value="$.ms",
                )
                request_times = [times.metric(statistic=statistic, period=FIVE_MINUTES) for statistic in ("p50", "p95", "p99")]
        return request_times

    def _watch_sealing(self, sealer: AppFunction) -> None:
        ages = sealer.log_group.add_metric_filter(
            "UnsealedAge",
            filter_pattern=logs.FilterPattern.string_value("$.message", "=", "seal"),
            metric_namespace=f"WeUpload/{self._config.name}",
            metric_name="OldestUnsealedSeconds",
            metric_value="$.oldest_unsealed_seconds",
        )
        self._alarm(
            "AuditSealing",
            ages.metric(statistic="Maximum", period=FIVE_MINUTES),
            over=600,
            periods=2,
            meaning="An audit event has waited for over ten minutes to be sealed, or the sealer does not run.",
            is_always_measured=True,
        )

    def _watch_gateway(self, api: HttpApi) -> None:
        failures = api.api.metric_server_error(statistic="Sum", period=FIVE_MINUTES)
        latency = api.api.metric_latency(statistic="p95", period=FIVE_MINUTES)
        most = STARTING_ERRORS if self._config.pauses_when_idle else 5
        self._alarm("ServerErrors", failures, over=most, meaning="Callers received 5xx responses.")
        self._alarm("Latency", latency, over=2000, periods=3, meaning="5 % of the requests take over two seconds.")

    def _watch_queue(self, data: DataStack) -> None:
        files = data.files
        age = files.events.metric_approximate_age_of_oldest_message(statistic="Maximum", period=FIVE_MINUTES)
        dead = files.dead_letters.metric_approximate_number_of_messages_visible(statistic="Maximum", period=FIVE_MINUTES)
        self._alarm("QueueAge", age, over=900, periods=2, meaning="Upload events wait for over 15 minutes.")
        self._alarm("DeadLetters", dead, over=0, meaning="The processing of an upload event failed five times.")

        waiting = files.archive_requests.metric_approximate_age_of_oldest_message(statistic="Maximum", period=FIVE_MINUTES)
        lost = files.archive_dead_letters.metric_approximate_number_of_messages_visible(statistic="Maximum", period=FIVE_MINUTES)
        self._alarm("ArchiveQueueAge", waiting, over=7200, periods=2, meaning="An archive request has waited for over two hours.")
        self._alarm("ArchiveDeadLetters", lost, over=0, meaning="An archive request failed five times.")

        unseen = files.preview_requests.metric_approximate_age_of_oldest_message(statistic="Maximum", period=FIVE_MINUTES)
        failed = files.preview_dead_letters.metric_approximate_number_of_messages_visible(statistic="Maximum", period=FIVE_MINUTES)
        # A withheld file is tried for up to half an hour.
        self._alarm("PreviewQueueAge", unseen, over=7200, periods=2, meaning="A preview request has waited for over two hours.")
        self._alarm("PreviewDeadLetters", failed, over=0, meaning="A preview request failed five times.")

        if files.webhook_work and files.webhook_results and files.webhook_dead_letters:
            for name, queue in (("WebhookWorkAge", files.webhook_work), ("WebhookResultsAge", files.webhook_results)):
                waits = queue.metric_approximate_age_of_oldest_message(statistic="Maximum", period=FIVE_MINUTES)
                meaning = "Webhook messages wait for over 15 minutes."
                self._alarm(name, waits, over=900, periods=2, entry="WebhookQueueAge", meaning=meaning)
            unsent = files.webhook_dead_letters.metric_approximate_number_of_messages_visible(statistic="Maximum", period=FIVE_MINUTES)
            self._alarm("WebhookDeadLetters", unsent, over=0, meaning="The sending of webhooks or the recording of their results failed.")

    def _watch_malware_plan(self, data: DataStack) -> None:
        """Notify when GuardDuty cannot scan the bucket any more, or results are not recorded: new files then stay unreadable."""
        if data.files.scan_dead_letters:
            lost = data.files.scan_dead_letters.metric_approximate_number_of_messages_visible(statistic="Maximum", period=FIVE_MINUTES)
            self._alarm("ScanDeadLetters", lost, over=0, meaning="The processing of a scan result failed five times.")
        self._notify(
            "MalwarePlan",
            "The malware scan of the bucket does not work.",
            events.EventPattern(
                source=["aws.guardduty"],
                detail_type=["GuardDuty Malware Protection Resource Status Warning", "GuardDuty Malware Protection Resource Status Error"],
                detail={"s3BucketDetails": {"bucketName": [data.files.bucket.bucket_name]}},
            ),
        )

    def _watch_backups(self) -> None:
        """Notify when the daily backup or its copy fails. No event tells of a backup that never starts; the preflight checks the opt-in."""
        name = vault_name(self._config)
        for kind, vault in (
            ("Backup", {"backupVaultName": [name]}),
            ("Copy", {"sourceBackupVaultArn": [{"suffix": f":backup-vault:{name}"}]}),
        ):
            self._notify(
                f"{kind}Jobs",
                f"A {kind.lower()} job of the database has failed.",
                events.EventPattern(
                    source=["aws.backup"],
                    detail_type=[f"{kind} Job State Change"],
                    detail={"state": ["FAILED", "ABORTED", "EXPIRED"], **vault},
                ),
                entry="BackupJobs",
            )

    def _notify(self, name: str, meaning: str, pattern: events.EventPattern, *, entry: str = "") -> None:
        """Send the events to the topic of the alarms."""
        description = f"{meaning} See docs/runbook.md#{(entry or name).lower()}"
        rule = events.Rule(self, name, description=description, event_pattern=pattern)
        # By role: a statement for EventBridge in the topic's policy cannot be limited to this account.
        rule.add_target(targets.SnsTopic(self.topic, authorize_using_role=True))

    def _watch_database(self, data: DataStack) -> None:
        database = data.database
        if database.proxy is None:
            return
        proxy = {"ProxyName": database.proxy.db_proxy_name}

        def metric(name: str, dimensions: dict[str, str], statistic: str) -> cloudwatch.Metric:
            return cloudwatch.Metric(
                namespace="AWS/RDS", metric_name=name, dimensions_map=dimensions, statistic=statistic, period=FIVE_MINUTES
            )

        # In microseconds.
        borrow = metric("DatabaseConnectionsBorrowLatency", proxy, "Average")
        pinned = metric("DatabaseConnectionsCurrentlySessionPinned", proxy, "Maximum")
        self._alarm("BorrowTime", borrow, over=500_000, periods=2, meaning="The proxy takes over 0.5 s to provide a connection.")
        self._alarm(
            "Pinning", pinned, over=5, periods=3, meaning="The proxy pinned connections to one client: a statement set session state."
        )
        capacity = "ACUUtilization" if self._config.database is DatabaseKind.AURORA else "CPUUtilization"
        self._alarm(
            "DatabaseLoad",
            metric(capacity, database.dimensions, "Average"),
            over=80,
            periods=3,
            meaning="The database is near its capacity.",
        )
