"""The tables, as Markdown, with their arithmetic."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.config import STAGES, DatabaseKind, StageConfig
from infra.costs import assumptions as use

ROOT = Path(__file__).resolve().parents[2]
PRICES = Path(__file__).with_name("prices.toml")
COUNTS = ROOT / "tests" / "infra" / "resource_counts.json"
"""The number of alarms and secrets of each stage, as the template tests verify them."""

API_GB, WORKER_GB, PREVIEW_GB = 1.73, 0.5, 2.0
BILLED_STAGES = ("small", "dev", "staging", "prod")
MILLION = 1_000_000

COUNTED_AS = {"small": "small", "dev": "dev", "staging": "prod", "prod": "prod"}
"""The recorded set of settings with the same resources as the stage. Staging has those of prod, in two zones."""


@dataclass(frozen=True)
class Item:
    """One item of a table: its arithmetic and its amount in dollars."""

    arithmetic: str
    amount: float

    def __str__(self) -> str:
        return f"{self.arithmetic} = {self.amount:,.2f}" if self.arithmetic else f"{self.amount:,.2f}"


NONE = Item("none", 0.0)
"""What a stage does not have."""


def read_prices(path: Path = PRICES) -> dict[str, dict[str, Any]]:
    """Return the prices by service and name."""
    return tomllib.loads(path.read_text())


def idle_items(stage: StageConfig, prices: dict[str, dict[str, Any]], counts: dict[str, dict[str, int]]) -> dict[str, Item]:
    """Return what a stage costs in a month without requests."""
    resources = counts[COUNTED_AS[stage.name]]
    pauses = stage.pauses_when_idle
    endpoint_zones = stage.availability_zones if stage.protects_data else 1
    hour, cache = prices["network"]["endpoint_zone_hour"], prices["lambda"]["snapshot_cache_gb_second"]
    # RDS creates the secret of the owner's password.
    secrets, alarms = resources.get("AWS::SecretsManager::Secret", 0) + (not pauses), resources["AWS::CloudWatch::Alarm"]
    cloudwatch = prices["cloudwatch"]
    metrics = 0 if pauses else 1
    # A burn-rate alarm compares two metrics in each of its two windows, and each metric is billed as an alarm.
    composites = resources.get("AWS::CloudWatch::CompositeAlarm", 0)
    alarms += 2 * composites
    runs = use.HOURS / 24 * use.DAILY_STARTS if pauses else use.HOURS * 60 / use.SWEEP_MINUTES
    poll = prices["sqs"]["request_million"]
    queues = resources["AWS::Lambda::EventSourceMapping"]
    polls = queues * use.POLLS_IN_PARALLEL * use.SECONDS / use.POLL_SECONDS / MILLION
    sweep = runs * (prices["lambda"]["request_million"] / MILLION + use.SWEEP_SECONDS * WORKER_GB * prices["lambda"]["gb_second_arm"])
    return {
        "database": _database(stage, prices),
        "storage and backups of 10 GB": _storage(stage, prices),
        "RDS Proxy": _proxy(stage, prices),
        "endpoint for Secrets Manager": NONE
        if pauses
        else Item(f"{endpoint_zones} zones × {hour} × {use.HOURS}".replace("1 zones", "1 zone"), endpoint_zones * hour * use.HOURS),
        "snapshots of the Api function, two versions": NONE
        if pauses
        else Item(
            f"{use.KEPT_SNAPSHOTS} × {API_GB} GB × {cache:.10f} × {use.SECONDS:,} s", use.KEPT_SNAPSHOTS * API_GB * cache * use.SECONDS
        ),
        "secrets, alarms, metrics": Item(
            f"{secrets} × {prices['secrets']['secret_month']:.2f} + {alarms} × {cloudwatch['alarm_month']:.2f}"
            f" + {composites} × {cloudwatch['composite_alarm_month']:.2f} + {metrics} × {cloudwatch['metric_month']:.2f}",
            secrets * prices["secrets"]["secret_month"]
            + alarms * cloudwatch["alarm_month"]
            + composites * cloudwatch["composite_alarm_month"]
            + metrics * cloudwatch["metric_month"],
        ),
        "sweep": Item(f"{runs:,.0f} runs of {use.SWEEP_SECONDS:.0f} s", sweep),
        "Lambda's polling of the queues": Item(f"{queues} queues: {polls:.2f} M × {poll:.2f}", polls * poll),
    }


def _database(stage: StageConfig, prices: dict[str, dict[str, Any]]) -> Item:
    database = prices["database"]
    if stage.database is DatabaseKind.INSTANCE:
        hour = database["t4g_micro_hour"]
        return Item(f"{stage.instance_class} {hour} × {use.HOURS}", hour * use.HOURS)
    hour = database["acu_hour"]
    if stage.pauses_when_idle:
        starts, awake = use.HOURS / 24 * use.DAILY_STARTS, use.AWAKE_MINUTES / 60
        return Item(
            f"{starts:.0f} starts × {use.AWAKE_MINUTES} min × {use.AWAKE_CAPACITY_UNITS} ACU × {hour}",
            starts * awake * use.AWAKE_CAPACITY_UNITS * hour,
        )
    return Item(f"2 × {stage.min_capacity_units:g} ACU × {hour} × {use.HOURS}", 2 * stage.min_capacity_units * hour * use.HOURS)


def _storage(stage: StageConfig, prices: dict[str, dict[str, Any]]) -> Item:
    database = prices["database"]
    if stage.database is DatabaseKind.INSTANCE:
        gigabytes, price = 20, database["instance_storage_gb_month"]
        return Item(f"{gigabytes} GB × {price}; backups up to that size are free", gigabytes * price)
    kept = (stage.backup_days - 1) * use.DATABASE_GB * use.DAILY_CHANGE
    storage, backup = database["aurora_storage_gb_month"], database["backup_gb_month"]
    return Item(f"{use.DATABASE_GB} × {storage} + {kept:.0f} GB × {backup}", use.DATABASE_GB * storage + kept * backup)


def _proxy(stage: StageConfig, prices: dict[str, dict[str, Any]]) -> Item:
    if stage.pauses_when_idle:
        return NONE
    database = prices["database"]
    hour = database["proxy_vcpu_hour"]
    if stage.database is DatabaseKind.INSTANCE:
        return Item(f"{database['proxy_min_vcpu']} vCPU × {hour} × {use.HOURS}", database["proxy_min_vcpu"] * hour * use.HOURS)
    return Item(f"{database['proxy_min_acu']} ACU × {hour} × {use.HOURS}", database["proxy_min_acu"] * hour * use.HOURS)


def upload_items(prices: dict[str, dict[str, Any]]) -> dict[str, Item]:
    """Return what a million uploads of a month cost, spread evenly over it."""
    calls = use.CALLS_PER_UPLOAD
    function, s3 = prices["lambda"], prices["s3"]
    second = function["gb_second_arm"]
    log_gb = calls * use.LOG_KB_PER_CALL
    sampled = use.SECONDS + (MILLION * (calls + 1) - use.SECONDS) * use.TRACE_SHARE
    secret_calls = 2 * use.SECONDS / use.SECRET_CALL_SECONDS
    secrets = prices["secrets"]["call_ten_thousand"]
    return {
        "HTTP API": Item(f"{calls} M × {prices['gateway']['request_million']:.2f}", calls * prices["gateway"]["request_million"]),
        "Lambda, Api": Item(
            f"{calls} M × {function['request_million']:.2f} + {calls} M × {use.FUNCTION_SECONDS} s × {API_GB} GB × {second:.10f}",
            calls * function["request_million"] + calls * MILLION * use.FUNCTION_SECONDS * API_GB * second,
        ),
        "Lambda, events, one in each batch": Item(
            f"1 M × {function['request_million']:.2f} + 1 M × {use.FUNCTION_SECONDS} s × {WORKER_GB} GB × {second:.10f}",
            function["request_million"] + MILLION * use.FUNCTION_SECONDS * WORKER_GB * second,
        ),
        "S3 requests": Item(
            f"1 M PUT × {s3['put_thousand'] * 1000:.2f} + {use.READS_PER_UPLOAD} M × {s3['get_thousand'] * 1000:.2f}",
            1000 * (s3["put_thousand"] + use.READS_PER_UPLOAD * s3["get_thousand"]),
        ),
        "queue": Item(f"3 M × {prices['sqs']['request_million']:.2f}", 3 * prices["sqs"]["request_million"]),
        "logs": Item(
            f"{calls} M × {use.LOG_KB_PER_CALL} kB = {log_gb:.1f} GB × {prices['cloudwatch']['log_gb']:.2f}",
            log_gb * prices["cloudwatch"]["log_gb"],
        ),
        "traces: one a second, and 5 % of the rest": Item(
            f"{sampled / MILLION:.2f} M × {prices['xray']['trace_million']:.2f}", sampled / MILLION * prices["xray"]["trace_million"]
        ),
        "reading two secrets, one instance": Item(
            f"{secret_calls:,.0f} calls × {secrets} / 10,000, under 0.1 GB through the endpoint", secret_calls / 10_000 * secrets
        ),
        "database I/O (Aurora)": Item(
            f"about {use.DATABASE_IO_PER_UPLOAD} M × {prices['database']['aurora_io_million']:.2f}",
            use.DATABASE_IO_PER_UPLOAD * prices["database"]["aurora_io_million"],
        ),
    }


def option_items(prices: dict[str, dict[str, Any]]) -> dict[str, Item]:
    """Return what each option adds, and what the bytes cost."""
    waf, calls, gigabytes = prices["waf"], use.CALLS_PER_UPLOAD, use.FILE_MB * MILLION / 1000
    cloudfront, kms = prices["cloudfront"], prices["kms"]
    forwarded = cloudfront["request_ten_thousand"] * 100 + cloudfront["function_million"] + waf["request_million"]
    endpoint = prices["network"]["endpoint_zone_hour"] * use.HOURS
    return {
        "`firewall`, each month: web ACL, four rules, a secret": Item(
            f"{waf['acl_month']:.2f} + 4 × {waf['rule_month']:.2f} + {prices['secrets']['secret_month']:.2f}",
            waf["acl_month"] + 4 * waf["rule_month"] + prices["secrets"]["secret_month"],
        ),
        "`firewall`, a million uploads": Item(
            f"{calls} M × (CloudFront {cloudfront['request_ten_thousand'] * 100:.2f} + its function {cloudfront['function_million']:.2f}"
            f" + WAF {waf['request_million']:.2f})",
            calls * forwarded,
        ),
        "`mail_from`, each month and zone: endpoint for SES": Item(f"{prices['network']['endpoint_zone_hour']} × {use.HOURS}", endpoint),
        "a thousand mails": Item("", prices["mail"]["thousand"]),
        "`uses_kms`, each month": Item("", kms["key_month"]),
        "`scans_for_malware`, a million uploads of 10 MB": _scans(prices, gigabytes),
        "`recovery_region`, each month: daily copies of a database of 10 GB, as long as in prod": _copies(prices),
        "`replicates_objects`, a million uploads of 10 MB, and a month of their copies": Item(
            f"{gigabytes:,.0f} GB × {prices['network']['other_region_gb']:.2f} + 1 M PUT × {prices['s3']['put_thousand'] * 1000:.2f}"
            f" + {gigabytes:,.0f} GB × {prices['s3']['storage_gb_month']}",
            gigabytes * prices["network"]["other_region_gb"]
            + 1000 * prices["s3"]["put_thousand"]
            + gigabytes * prices["s3"]["storage_gb_month"],
        ),
        "`makes_previews`, a million photos of 10 MB": _previews(prices),
        "a thousand cold starts of the Api function": Item(
            f"1,000 × {API_GB} GB × {prices['lambda']['snapshot_restore_gb']}", 1000 * API_GB * prices["lambda"]["snapshot_restore_gb"]
        ),
        "a million files of 10 MB, stored for a month": Item(
            f"{gigabytes:,.0f} GB × {prices['s3']['storage_gb_month']}", gigabytes * prices["s3"]["storage_gb_month"]
        ),
        "the same files, each downloaded once": Item(
            f"{gigabytes:,.0f} GB × {prices['network']['internet_gb']}", gigabytes * prices["network"]["internet_gb"]
        ),
    }


def _scans(prices: dict[str, dict[str, Any]], gigabytes: float) -> Item:
    """GuardDuty reads each object once and writes a tag, which S3 bills as requests and by the month."""
    guard, s3 = prices["guardduty"], prices["s3"]
    return Item(
        f"1,000,000 × {guard['object_thousand']} / 1,000 + {gigabytes:,.0f} GB × {guard['gb']:.2f}"
        f" + 1 M PUT × {s3['put_thousand'] * 1000:.2f} + 1 M × {s3['get_thousand'] * 1000:.2f}"
        f" + 1 M tags × {s3['tag_ten_thousand_month']} / 10,000",
        1000 * (guard["object_thousand"] + s3["put_thousand"] + s3["get_thousand"])
        + gigabytes * guard["gb"]
        + 100 * s3["tag_ten_thousand_month"],
    )


def _copies(prices: dict[str, dict[str, Any]]) -> Item:
    """Each copy of an Aurora snapshot is a full one. In the stage's own region, snapshots within the retention of its backups are free."""
    kept, backup, transfer = STAGES["prod"].backup_days, prices["database"]["backup_gb_month"], prices["network"]["other_region_gb"]
    days = round(use.HOURS / 24)
    return Item(
        f"{kept} × {use.DATABASE_GB} GB × {backup} + {days} × {use.DATABASE_GB} GB × {transfer:.2f}",
        kept * use.DATABASE_GB * backup + days * use.DATABASE_GB * transfer,
    )


def _previews(prices: dict[str, dict[str, Any]]) -> Item:
    function, s3, queue = prices["lambda"], prices["s3"], prices["sqs"]["request_million"]
    second, puts, gets = function["gb_second_arm"], use.PREVIEW_S3_PUTS, use.PREVIEW_S3_GETS
    return Item(
        f"2 M × {function['request_million']:.2f} + 1 M × {use.PREVIEW_SECONDS:g} s × {PREVIEW_GB:g} GB × {second:.10f}"
        f" + {puts} M PUT × {s3['put_thousand'] * 1000:.2f} + {gets} M × {s3['get_thousand'] * 1000:.2f} + 6 M × {queue:.2f}",
        2 * function["request_million"]
        + MILLION * use.PREVIEW_SECONDS * PREVIEW_GB * second
        + 1000 * (puts * s3["put_thousand"] + gets * s3["get_thousand"])
        + 6 * queue,
    )


def render() -> dict[str, str]:
    """Return the tables by name."""
    prices, counts = read_prices(), json.loads(COUNTS.read_text())
    stages = [idle_items(STAGES[name], prices, counts) for name in BILLED_STAGES]
    idle = ["| | " + " | ".join(BILLED_STAGES) + " |", "|---" * 4 + "|"]
    idle += [f"| {name} | " + " | ".join(str(stage[name]) for stage in stages) + " |" for name in stages[0]]
    sums = [f"**{sum(item.amount for item in stage.values()):,.2f}**" for stage in stages]
    idle += ["| **sum** | " + " | ".join(sums) + " |"]
    uploads, options = upload_items(prices), option_items(prices)
    total = sum(item.amount for item in uploads.values())
    head = ["| | arithmetic | |", "|---|---|---|"]
    uploaded = head + [_row(name, item) for name, item in uploads.items()] + [f"| **sum** | | **{total:,.2f}** |"]
    return {
        "idle": "\n".join(idle),
        "uploads": "\n".join(uploaded),
        "options": "\n".join(head + [_row(name, item) for name, item in options.items()]),
    }


def _row(name: str, item: Item) -> str:
    return f"| {name} | {item.arithmetic} | {item.amount:,.2f} |"
