"""The steps of a restore, in AWS. Each step can be repeated, so that a restore that was interrupted continues."""

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # botocore ships no types

DAMAGED = "damaged"
"""Part of the identifier that the replaced database gets. It is never deleted by the restore."""
RESTORED = "restored"
IDENTIFIER_LENGTH = 63
"""The longest identifier of a database (RDS user guide, "Naming constraints"). Those that CloudFormation chooses often have this length."""
LABELS = re.compile("[a-z0-9]{1,20}")
RESERVED_TAGS = ("aws:", "rds:")
"""Prefixes of tags that only AWS sets, for example on what CloudFormation creates. RDS refuses a request with them."""
POLL_SECONDS = 15.0
WAIT_SECONDS = 3600.0


class RestoreError(Exception):
    """The restore cannot continue; the message contains the cause and what to do."""


@dataclass(frozen=True)
class Stage:
    """The resources of a deployed stage, as CloudFormation knows them."""

    name: str
    cluster: str | None
    """Identifier of the Aurora cluster; None for a single instance."""
    instances: tuple[str, ...]
    """Writer first."""
    has_proxy: bool
    """Whether the functions reach the database through RDS Proxy."""
    functions: tuple[str, ...]
    outputs: dict[str, str]

    @property
    def proxy(self) -> str:
        """Name of the stage's RDS Proxy."""
        return f"we-upload-{self.name}"


def read_stage(cloudformation: Any, name: str) -> Stage:
    """Read the stage's resources from its stacks. Raises RestoreError when the data stack has no database."""

    def resources(part: str) -> list[dict[str, Any]]:
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=f"WeUpload-{name}-{part}")
        return [resource for page in pages for resource in page["StackResourceSummaries"]]

    def ids(found: list[dict[str, Any]], kind: str) -> list[str]:
        return [resource["PhysicalResourceId"] for resource in found if resource["ResourceType"] == kind]

    data, api = resources("Data"), resources("Api")
    (described,) = cloudformation.describe_stacks(StackName=f"WeUpload-{name}-Api")["Stacks"]
    # The logical ids of the members contain "writer" and "standby".
    members = sorted(
        (item for item in data if item["ResourceType"] == "AWS::RDS::DBInstance"),
        key=lambda item: "writer" not in item["LogicalResourceId"],
    )
    if not members:
        raise RestoreError(f"The stack WeUpload-{name}-Data has no database")
    return Stage(
        name=name,
        cluster=next(iter(ids(data, "AWS::RDS::DBCluster")), None),
        instances=tuple(item["PhysicalResourceId"] for item in members),
        has_proxy=bool(ids(data, "AWS::RDS::DBProxy")),
        functions=tuple(ids(api, "AWS::Lambda::Function")),
        outputs={output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])},
    )


@dataclass(frozen=True)
class Traffic:
    """The reservations of the functions (None: no reservation), and the queues that invoke them."""

    reserved: dict[str, int | None]
    mappings: list[str]


@dataclass(frozen=True)
class Restore:
    """A restore of one stage to a point in time. `clients` returns a boto3 client by service name."""

    stage: Stage
    moment: datetime | None
    """None: the latest restorable time."""
    clients: Callable[[str], Any]
    label: str
    """Distinguishes this restore in the identifiers of databases, for example `20261128`."""
    report: Callable[[str], None]
    state: Path
    """File that keeps the state of the functions while they are stopped."""
    sleep: Callable[[float], None] = time.sleep

    def run(self) -> None:
        """Execute all steps. Raises RestoreError, and botocore's ClientError; run it again after the cause is removed."""
        before = self.stop_traffic()
        try:
            self.create_database()
            self.exchange_databases()
            if self.stage.has_proxy:
                self.connect_proxy()
            self.migrate()
        except BaseException:
            self.report("The functions stay stopped. Correct the cause and run the same command again, with the same --label.")
            raise
        self.start_traffic(before)
        self.verify()

    def stop_traffic(self) -> Traffic:
        """Stop all functions except the migration, and their queues, so that no message is lost to the dead-letter queue meanwhile.

        The state before is kept in a file: a repeated run finds stopped functions, and must not take that for the state to return to.
        """
        client = self.clients("lambda")
        names = [name for name in self.stage.functions if name != self.stage.outputs.get("MigrateFunction")]
        if self.state.is_file():
            before = Traffic(**json.loads(self.state.read_text()))
        else:
            reserved = {name: client.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions") for name in names}
            pages = client.get_paginator("list_event_source_mappings").paginate()
            mappings = [
                mapping["UUID"]
                for page in pages
                for mapping in page["EventSourceMappings"]
                if mapping["State"] != "Disabled" and any(f":function:{name}:" in f"{mapping['FunctionArn']}:" for name in names)
            ]
            before = Traffic(reserved=reserved, mappings=mappings)
            self.state.parent.mkdir(parents=True, exist_ok=True)
            self.state.write_text(json.dumps(asdict(before)))
        for mapping in before.mappings:
            client.update_event_source_mapping(UUID=mapping, Enabled=False)
        for name in before.reserved:
            client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        self.report(f"Stopped {len(before.reserved)} functions and {len(before.mappings)} queues; {self.state} has the state before")
        return before

    def create_database(self) -> None:
        """Restore the backup to a new database beside the damaged one, with its settings, and wait for it."""
        if self.stage.cluster:
            self._create_cluster(self.stage.cluster)
        else:
            self._create_instance(self.stage.instances[0])
        for identifier in self.stage.instances:
            self._wait_for_instance(self._new(identifier))

    def _create_cluster(self, identifier: str) -> None:
        rds = self.clients("rds")
        if self._cluster(self._damaged(identifier)) is not None:
            return  # An earlier run has exchanged the clusters already.
        source = self._cluster(identifier)
        if source is None:
            raise RestoreError(f"The cluster {identifier} does not exist. Restore its last snapshot under this name first.")
        if self._cluster(self._new(identifier)) is None:
            scaling = source["ServerlessV2ScalingConfiguration"]
            rds.restore_db_cluster_to_point_in_time(
                DBClusterIdentifier=self._new(identifier),
                SourceDBClusterIdentifier=identifier,
                **self._point_in_time(),
                DBSubnetGroupName=source["DBSubnetGroup"],
                VpcSecurityGroupIds=[group["VpcSecurityGroupId"] for group in source["VpcSecurityGroups"]],
                DBClusterParameterGroupName=source["DBClusterParameterGroup"],
                # Without it, neither the proxy nor the migration can sign in.
                EnableIAMDatabaseAuthentication=True,
                CopyTagsToSnapshot=True,
                DeletionProtection=source["DeletionProtection"],
                ServerlessV2ScalingConfiguration={
                    key: scaling[key] for key in ("MinCapacity", "MaxCapacity", "SecondsUntilAutoPause") if key in scaling
                },
                Tags=_own_tags(source),
            )
            self.report(f"Restoring {identifier} to {self._new(identifier)}")
        for tier, instance in enumerate(self.stage.instances):
            if self._instance(self._new(instance)) is None:
                rds.create_db_instance(
                    DBInstanceIdentifier=self._new(instance),
                    DBClusterIdentifier=self._new(identifier),
                    DBInstanceClass="db.serverless",
                    Engine=source["Engine"],
                    PromotionTier=tier,
                    PubliclyAccessible=False,
                    EnablePerformanceInsights=self.stage.has_proxy,
                    Tags=_own_tags(source),
                )

    def _create_instance(self, identifier: str) -> None:
        if self._instance(self._new(identifier)) is None and self._instance(self._damaged(identifier)) is None:
            source = self._instance(identifier)
            if source is None:
                raise RestoreError(f"The database {identifier} does not exist. Restore its last snapshot under this name first.")
            self.clients("rds").restore_db_instance_to_point_in_time(
                TargetDBInstanceIdentifier=self._new(identifier),
                SourceDBInstanceIdentifier=identifier,
                **self._point_in_time(instance=True),
                DBSubnetGroupName=source["DBSubnetGroup"]["DBSubnetGroupName"],
                VpcSecurityGroupIds=[group["VpcSecurityGroupId"] for group in source["VpcSecurityGroups"]],
                DBParameterGroupName=source["DBParameterGroups"][0]["DBParameterGroupName"],
                DBInstanceClass=source["DBInstanceClass"],
                EnableIAMDatabaseAuthentication=True,
                PubliclyAccessible=False,
                MultiAZ=False,
                CopyTagsToSnapshot=True,
                DeletionProtection=source["DeletionProtection"],
                AutoMinorVersionUpgrade=True,
                Tags=_own_tags(source),
            )
            self.report(f"Restoring {identifier} to {self._new(identifier)}")

    def exchange_databases(self) -> None:
        """Rename the damaged database, then give the restored one its identifiers, which CloudFormation and the proxy know."""
        if self.stage.cluster:
            self._exchange(self.stage.cluster, self._cluster, self._rename_cluster)
        for identifier in self.stage.instances:
            self._exchange(identifier, self._instance, self._rename_instance)

    def _exchange(self, identifier: str, find: Callable[[str], Any], rename: Callable[[str, str], None]) -> None:
        damaged = self._damaged(identifier)
        if find(damaged) is None and find(self._new(identifier)) is not None:
            rename(identifier, damaged)
            self._wait(lambda: find(damaged) is not None and find(identifier) is None, f"{identifier} is renamed to {damaged}")
        if find(identifier) is None:
            rename(self._new(identifier), identifier)
        self._wait(lambda: (found := find(identifier)) is not None and _status(found) == "available", f"{identifier} is available")

    def _rename_cluster(self, old: str, new: str) -> None:
        self.clients("rds").modify_db_cluster(DBClusterIdentifier=old, NewDBClusterIdentifier=new, ApplyImmediately=True)

    def _rename_instance(self, old: str, new: str) -> None:
        self.clients("rds").modify_db_instance(DBInstanceIdentifier=old, NewDBInstanceIdentifier=new, ApplyImmediately=True)

    def connect_proxy(self) -> None:
        """Register the restored database with the proxy: its target still is the damaged one, under any name."""
        rds = self.clients("rds")
        by_kind = (
            {"DBClusterIdentifiers": [self.stage.cluster]} if self.stage.cluster else {"DBInstanceIdentifiers": list(self.stage.instances)}
        )
        damaged = {kind: [self._damaged(name) for name in names] for kind, names in by_kind.items()}
        for names in (damaged, by_kind):
            try:
                rds.deregister_db_proxy_targets(DBProxyName=self.stage.proxy, **names)
            except ClientError as error:
                if not error.response["Error"]["Code"].endswith(("NotFoundFault", "NotFound")):
                    raise
        rds.register_db_proxy_targets(DBProxyName=self.stage.proxy, **by_kind)
        self._wait(self._proxy_is_available, f"the proxy {self.stage.proxy} reaches the database")

    def _proxy_is_available(self) -> bool:
        targets = self.clients("rds").describe_db_proxy_targets(DBProxyName=self.stage.proxy)["Targets"]
        members = [target for target in targets if target["Type"] == "RDS_INSTANCE"]
        return any(target.get("TargetHealth", {}).get("State") == "AVAILABLE" for target in members)

    def migrate(self) -> None:
        """Bring the restored schema to the revision of the code, which also checks the sign-in as the owner, and start a new era.

        Without a new era the audit log would not be sealed any more: the copies of its checkpoints are ahead of the restored database.
        """
        result = self._invoke("MigrateFunction", {"new_era": f"restore {self.label}"})
        self.report(f"The schema is at revision {result.get('after')}, and the audit log in era {result.get('era')}")

    def start_traffic(self, before: Traffic) -> None:
        """Give each function its reservation back, and start the queues."""
        client = self.clients("lambda")
        for name, count in before.reserved.items():
            if count is None:
                client.delete_function_concurrency(FunctionName=name)
            else:
                client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=count)
        for mapping in before.mappings:
            client.update_event_source_mapping(UUID=mapping, Enabled=True)
        self.state.unlink(missing_ok=True)
        self.report("The functions and the queues run again")

    def verify(self) -> None:
        """Compare rows with objects, the counters with the rows, and the audit log with itself."""
        self.report(f"sweep, dry run: {json.dumps(self._invoke('SweepFunction', {'dry_run': True}))}")
        for command in ("recount-usage", "verify-audit"):
            result = self._invoke("AdminFunction", {"command": command})
            self.report(f"{command}: exit status {result['exit_status']} {result['error'] or ''} {' '.join(result['output'][-1:])}".strip())

    def _invoke(self, output: str, event: dict[str, Any]) -> dict[str, Any]:
        answer = self.clients("lambda").invoke(FunctionName=self.stage.outputs[output], Payload=json.dumps(event).encode())
        payload: dict[str, Any] = json.loads(answer["Payload"].read() or b"{}")
        if "FunctionError" in answer:
            raise RestoreError(f"{output} failed: {payload.get('errorMessage')}. See its log group.")
        return payload

    def _point_in_time(self, *, instance: bool = False) -> dict[str, Any]:
        if self.moment is None:
            return {"UseLatestRestorableTime": True}
        return {"RestoreTime" if instance else "RestoreToTime": self.moment}

    def _new(self, identifier: str) -> str:
        return beside(identifier, f"{RESTORED}-{self.label}")

    def _damaged(self, identifier: str) -> str:
        return beside(identifier, f"{DAMAGED}-{self.label}")

    def _cluster(self, identifier: str) -> dict[str, Any] | None:
        return _only(self.clients("rds"), "describe_db_clusters", "DBClusters", DBClusterIdentifier=identifier)

    def _instance(self, identifier: str) -> dict[str, Any] | None:
        return _only(self.clients("rds"), "describe_db_instances", "DBInstances", DBInstanceIdentifier=identifier)

    def _wait_for_instance(self, identifier: str) -> None:
        def is_ready() -> bool:
            found = self._instance(identifier)
            return found is not None and _status(found) == "available"

        # Already exchanged by an interrupted run.
        if self._instance(identifier) is not None:
            self._wait(is_ready, f"{identifier} is available")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        waited = 0.0
        while not condition():
            if waited >= WAIT_SECONDS:
                raise RestoreError(f"After {WAIT_SECONDS / 60:.0f} minutes it is still not true that {what}")
            self.sleep(POLL_SECONDS)
            waited += POLL_SECONDS
        self.report(f"{what[0].upper()}{what[1:]}")


def beside(identifier: str, ending: str) -> str:
    """Return the identifier of another database, with the ending, as long as RDS allows. A digest replaces what does not fit."""
    full = f"{identifier}-{ending}"
    if len(full) <= IDENTIFIER_LENGTH:
        return full
    digest = hashlib.sha256(identifier.encode()).hexdigest()[:8]
    # RDS refuses two hyphens in a row.
    kept = identifier[: IDENTIFIER_LENGTH - len(f"-{digest}-{ending}")].rstrip("-")
    return f"{kept}-{digest}-{ending}"


def parse_label(text: str) -> str:
    """Return the label. Raises RestoreError for one that cannot be part of an identifier."""
    if not LABELS.fullmatch(text):
        raise RestoreError(f"{text} is not a label: use up to 20 lower-case letters and digits")
    return text


def _own_tags(found: dict[str, Any]) -> list[dict[str, str]]:
    return [tag for tag in found.get("TagList", []) if not tag["Key"].startswith(RESERVED_TAGS)]


def _only(rds: Any, operation: str, key: str, **request: str) -> dict[str, Any] | None:
    try:
        found: list[dict[str, Any]] = getattr(rds, operation)(**request)[key]
    except ClientError as error:
        # RDS names them DBClusterNotFoundFault and DBInstanceNotFound.
        if not error.response["Error"]["Code"].endswith(("NotFoundFault", "NotFound")):
            raise
        return None
    return found[0] if found else None


def _status(found: dict[str, Any]) -> str:
    return str(found.get("Status") or found.get("DBInstanceStatus"))


def parse_time(text: str | None) -> datetime | None:
    """Return an aware time; None means the latest. Raises RestoreError for a time without a zone."""
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise RestoreError(f"{text} is not a time such as 2026-11-28T04:00:00Z") from error
    if parsed.tzinfo is None:
        raise RestoreError(f"{text} has no time zone; write for example {text}Z")
    return parsed.astimezone(UTC)
