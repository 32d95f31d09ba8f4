"""What users do: a dashboard row for each journey, and saved queries. Both read the request log, which costs only when it is read."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.config import StageConfig

JOURNEYS: Mapping[str, str] = {
    "Uploads": r"method = 'POST' and route like /files\/(upload|multipart)$|files\/\{file_id\}\/complete$/",
    "Downloads": r"route like /files\/download\/\{file_id\}$/",
    "Links": r"route like /^\/(s|p|r)\/\{/ or route like /\/(shares|file-requests)/",
    "Sign-ins": r"method = 'POST' and route like /login\/(token|refresh)$|\/session(\/refresh)?$/",
}
"""The filter of each journey on the `request` lines of the API's log."""

FIGURES: Mapping[str, str] = {
    "completed_uploads": r"method = 'POST' and status = 200 and route like /\{file_id\}\/complete$/",
    "downloads": r"status < 400 and route like /files\/download\/\{file_id\}$/",
    "link_downloads": r"method = 'GET' and status < 400 and route like /^\/s\/\{token\}\/files\//",
    "new_links": r"method = 'POST' and status = 201 and route like /shares$/",
    "sign_ins": r"method = 'POST' and status = 200 and route like /login\/token$|\/session$/",
    "new_accounts": r"method = 'POST' and status = 201 and route like /\/users\/?$/",
}
"""Business figures: what is counted of each."""

OUTCOMES = ("fields status >= 500 as is_failed", "fields status >= 400 and status < 500 as is_refused")
REQUEST = "filter message = 'request'"

QUERIES: Mapping[str, Sequence[str]] = {
    "one-request": ["fields @timestamp, level, message, route, status, ms, exception", "filter request_id = 'THE-ID'", "sort @timestamp"],
    "errors": ["fields @timestamp, message, request_id, exception", "filter level = 'ERROR'", "sort @timestamp desc", "limit 100"],
    "failures-by-route": [REQUEST, "filter status >= 500", "stats count(*) as failures by route, status", "sort failures desc"],
    "slowest-routes": [REQUEST, "stats count(*) as requests, pct(ms, 50), pct(ms, 95), max(ms) by method, route", "sort requests desc"],
    "refused-sign-ins": [REQUEST, r"filter route like /login|session/", "filter status in [401, 429]", "stats count(*) by status, bin(5m)"],
    "operator-commands": ["fields @timestamp, message, command, exit_status", "filter message = 'ran an operator command'"],
}
"""Saved queries of CloudWatch Logs Insights."""


class Journeys(Construct):
    """The queries, and the dashboard's widgets."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: StageConfig, requests: logs.ILogGroup, others: Sequence[logs.ILogGroup]
    ) -> None:
        super().__init__(scope, construct_id)
        for name, lines in QUERIES.items():
            logs.CfnQueryDefinition(
                self,
                "".join(word.capitalize() for word in name.split("-")),
                name=f"we-upload-{config.name}/{name}",
                query_string="\n| ".join(lines),
                log_group_names=[group.log_group_name for group in (requests, *others)],
            )
        dashboard = cloudwatch.Dashboard(self, "Dashboard", default_interval=Duration.days(1))
        counted = [f"fields {condition} as is_{name}" for name, condition in FIGURES.items()]
        sums = ", ".join(f"sum(is_{name}) as {name}" for name in FIGURES)
        dashboard.add_widgets(
            cloudwatch.LogQueryWidget(
                title="Figures by hour",
                log_group_names=[requests.log_group_name],
                query_lines=[REQUEST, *counted, f"stats {sums} by bin(1h)"],
                view=cloudwatch.LogQueryVisualizationType.TABLE,
                width=24,
            )
        )
        for name, condition in JOURNEYS.items():
            dashboard.add_widgets(
                *(
                    cloudwatch.LogQueryWidget(
                        title=f"{name}: {title}",
                        log_group_names=[requests.log_group_name],
                        query_lines=[REQUEST, f"filter {condition}", *OUTCOMES, f"stats {figure} by bin(5m)"],
                        view=cloudwatch.LogQueryVisualizationType.LINE,
                        width=8,
                    )
                    for title, figure in {
                        "requests": "count(*) as requests",
                        "failures": "sum(is_failed) as failed, sum(is_refused) as refused",
                        "milliseconds": "pct(ms, 50) as p50, pct(ms, 95) as p95",
                    }.items()
                )
            )
