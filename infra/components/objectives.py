"""The service level objective, and alarms on how fast its error budget is spent.

99.9 % of the requests of 30 days get an answer that is not a 5xx. An alarm needs a long window, so that a short fault does not raise it,
and a short one, so that it ends soon after the fault (Google, The Site Reliability Workbook, chapter 5, "Alerting on SLOs").
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.components.http_api import HttpApi

OBJECTIVE = 0.999
REQUESTS_MIN = 20
"""In a window with fewer requests, one failed request must not raise an alarm."""


@dataclass(frozen=True)
class BurnRate:
    """An alarm when the budget is spent `factor` times faster than it may be, in both windows."""

    factor: float
    long: Duration
    short: Duration
    meaning: str


BURN_RATES: Mapping[str, BurnRate] = {
    "FastBurn": BurnRate(14.4, Duration.hours(1), Duration.minutes(5), "2 % of the month's error budget were spent in an hour."),
    "SlowBurn": BurnRate(6, Duration.hours(6), Duration.minutes(30), "5 % of the month's error budget were spent in six hours."),
}


class Objectives(Construct):
    """The burn-rate alarms."""

    def __init__(self, scope: Construct, construct_id: str, *, api: HttpApi, topic: sns.Topic) -> None:
        super().__init__(scope, construct_id)
        for name, burn in BURN_RATES.items():
            windows = {"Long": burn.long, "Short": burn.short}
            alarms = [self._window(f"{name}{which}", api, burn, window) for which, window in windows.items()]
            alarm = cloudwatch.CompositeAlarm(
                self,
                name,
                alarm_rule=cloudwatch.AlarmRule.all_of(*alarms),
                alarm_description=f"{burn.meaning} See docs/runbook.md#{name.lower()}",
            )
            alarm.add_alarm_action(actions.SnsAction(topic))
            alarm.add_ok_action(actions.SnsAction(topic))

    def _window(self, name: str, api: HttpApi, burn: BurnRate, window: Duration) -> cloudwatch.Alarm:
        share = cloudwatch.MathExpression(
            expression=f"IF(requests > {REQUESTS_MIN}, errors / requests, 0)",
            using_metrics={
                "errors": api.api.metric_server_error(statistic="Sum", period=window),
                "requests": api.api.metric_count(statistic="Sum", period=window),
            },
            period=window,
            label="share of failed requests",
        )
        return cloudwatch.Alarm(
            self,
            name,
            metric=share,
            threshold=round(burn.factor * (1 - OBJECTIVE), 6),
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description="Part of a burn-rate alarm. See docs/runbook.md#fastburn",
        )
