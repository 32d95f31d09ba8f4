"""The restore of a stage, against an account in memory. Every request is validated by botocore's description of the API."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name  # type: ignore[import-untyped]  # botocore ships no types
from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # botocore ships no types
from botocore.session import Session  # type: ignore[import-untyped]  # botocore ships no types
from botocore.validate import validate_parameters  # type: ignore[import-untyped]  # botocore ships no types

from infra.recovery import steps
from infra.recovery.steps import Restore, RestoreError, Stage, beside, parse_label, parse_time

CLUSTER, WRITER, STANDBY = "data-cluster", "data-writer", "data-standby"
LABEL = "20261128"
QUEUE, OTHERS = "0b0e0b0e-0000-4000-8000-000000000001", "0b0e0b0e-0000-4000-8000-000000000002"
TAGS = [
    {"Key": "stage", "Value": "prod"},
    {"Key": "aws:cloudformation:stack-name", "Value": "WeUpload-prod-Data"},
    {"Key": "rds:note", "Value": "x"},
]
"""CloudFormation and RDS add tags of their own, which no request may contain."""
FUNCTIONS = {"Api": 500, "ObjectCreated": 5, "Migrate": 1, "Admin": None, "Sweep": 5}


class FakeAccount:
    """Databases, a proxy and functions. `calls` has the operations that change something, in order."""

    def __init__(self, *, fails_at: str | None = None) -> None:
        self.calls: list[str] = []
        self.fails_at = fails_at
        self.clusters: dict[str, dict[str, Any]] = {CLUSTER: self._source() | {"Content": "damaged"}}
        self.instances: dict[str, dict[str, Any]] = {name: self._member(name, CLUSTER) for name in (WRITER, STANDBY)}
        self.target: str | None = CLUSTER
        self.reserved: dict[str, int | None] = dict(FUNCTIONS)
        self.mappings = {QUEUE: True, OTHERS: True}
        self.invoked: list[tuple[str, Any]] = []

    @staticmethod
    def _source() -> dict[str, Any]:
        return {
            "Status": "available",
            "Engine": "aurora-postgresql",
            "DBSubnetGroup": "subnets",
            "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-1"}],
            "DBClusterParameterGroup": "parameters",
            "DeletionProtection": True,
            "ServerlessV2ScalingConfiguration": {"MinCapacity": 1.0, "MaxCapacity": 16.0, "SecondsUntilAutoPause": 300},
            "TagList": TAGS,
        }

    @staticmethod
    def _member(name: str, cluster: str) -> dict[str, Any]:
        return {
            "DBInstanceIdentifier": name,
            "DBInstanceStatus": "available",
            "Cluster": cluster,
            "DBSubnetGroup": {"DBSubnetGroupName": "subnets"},
            "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-1"}],
            "DBParameterGroups": [{"DBParameterGroupName": "parameters"}],
            "DBInstanceClass": "db.t4g.micro",
            "TagList": TAGS,
            "DeletionProtection": False,
        }

    def client(self, service: str) -> Any:
        return FakeClient(self, service)

    def call(self, service: str, operation: str, request: dict[str, Any]) -> Any:
        validate_parameters(request, input_shape(service, operation))
        require_what_rds_requires(request)
        if not operation.startswith(("describe", "get", "list")):
            self.calls.append(operation)
            if operation == self.fails_at:
                self.fails_at = None
                raise ClientError({"Error": {"Code": "InternalFailure", "Message": "x"}}, operation)
        return getattr(self, operation)(**request)

    def describe_db_clusters(self, *, DBClusterIdentifier: str) -> Any:
        if DBClusterIdentifier not in self.clusters:
            raise ClientError({"Error": {"Code": "DBClusterNotFoundFault", "Message": "x"}}, "DescribeDBClusters")
        return {"DBClusters": [self.clusters[DBClusterIdentifier]]}

    def describe_db_instances(self, *, DBInstanceIdentifier: str) -> Any:
        if DBInstanceIdentifier not in self.instances:
            raise ClientError({"Error": {"Code": "DBInstanceNotFound", "Message": "x"}}, "DescribeDBInstances")
        return {"DBInstances": [self.instances[DBInstanceIdentifier]]}

    def restore_db_cluster_to_point_in_time(self, *, DBClusterIdentifier: str, SourceDBClusterIdentifier: str, **settings: Any) -> None:
        assert settings["EnableIAMDatabaseAuthentication"] is True
        assert settings["DBClusterParameterGroupName"] == "parameters"
        scaling = {"ServerlessV2ScalingConfiguration": settings["ServerlessV2ScalingConfiguration"]}
        self.clusters[DBClusterIdentifier] = self._source() | scaling | {"Content": f"backup of {SourceDBClusterIdentifier}"}

    def create_db_instance(self, *, DBInstanceIdentifier: str, DBClusterIdentifier: str, **_: Any) -> None:
        self.instances[DBInstanceIdentifier] = self._member(DBInstanceIdentifier, DBClusterIdentifier)

    def restore_db_instance_to_point_in_time(self, *, TargetDBInstanceIdentifier: str, **settings: Any) -> None:
        assert settings["EnableIAMDatabaseAuthentication"] is True
        self.instances[TargetDBInstanceIdentifier] = self._member(TargetDBInstanceIdentifier, "") | {"Content": "backup"}

    def modify_db_cluster(self, *, DBClusterIdentifier: str, NewDBClusterIdentifier: str, **_: Any) -> None:
        self.clusters[NewDBClusterIdentifier] = self.clusters.pop(DBClusterIdentifier)

    def modify_db_instance(self, *, DBInstanceIdentifier: str, NewDBInstanceIdentifier: str, **_: Any) -> None:
        self.instances[NewDBInstanceIdentifier] = self.instances.pop(DBInstanceIdentifier)

    def deregister_db_proxy_targets(self, *, DBProxyName: str, **names: list[str]) -> None:
        assert DBProxyName == "we-upload-prod"
        if [self.target] not in names.values():
            raise ClientError({"Error": {"Code": "DBProxyTargetNotFoundFault", "Message": "x"}}, "DeregisterDBProxyTargets")
        self.target = None

    def register_db_proxy_targets(self, *, DBProxyName: str, **names: list[str]) -> None:
        assert self.target is None
        ((self.target,),) = names.values()

    def describe_db_proxy_targets(self, *, DBProxyName: str) -> Any:
        return {"Targets": [{"Type": "RDS_INSTANCE", "TargetHealth": {"State": "AVAILABLE"}}, {"Type": "TRACKED_CLUSTER"}]}

    def get_function_concurrency(self, *, FunctionName: str) -> Any:
        count = self.reserved[FunctionName]
        return {} if count is None else {"ReservedConcurrentExecutions": count}

    def put_function_concurrency(self, *, FunctionName: str, ReservedConcurrentExecutions: int) -> None:
        self.reserved[FunctionName] = ReservedConcurrentExecutions

    def delete_function_concurrency(self, *, FunctionName: str) -> None:
        self.reserved[FunctionName] = None

    def list_event_source_mappings(self) -> Any:
        arn = "arn:aws:lambda:eu-west-1:111122223333:function:"
        names = {QUEUE: "ObjectCreated:live", OTHERS: "ObjectCreated-of-another-product"}
        found = [
            {"UUID": key, "FunctionArn": arn + names[key], "State": "Enabled" if on else "Disabled"} for key, on in self.mappings.items()
        ]
        return {"EventSourceMappings": found}

    def update_event_source_mapping(self, *, UUID: str, Enabled: bool) -> None:
        self.mappings[UUID] = Enabled

    def invoke(self, *, FunctionName: str, Payload: bytes) -> Any:
        if FunctionName != "Migrate":
            assert self.reserved[FunctionName] != 0, f"{FunctionName} is stopped"
        self.invoked.append((FunctionName, json.loads(Payload)))
        answers = {
            "Migrate": {"after": "0028", "era": 2},
            "Sweep": {"lost_objects": 0},
            "Admin": {"exit_status": 0, "error": None, "output": ["valid"]},
        }
        return {"Payload": io.BytesIO(json.dumps(answers[FunctionName]).encode())}


def require_what_rds_requires(request: dict[str, Any]) -> None:
    """Fail where RDS would answer InvalidParameterValue: botocore's description of the API does not contain these rules."""
    for name, value in request.items():
        if name.endswith(("ClusterIdentifier", "InstanceIdentifier")):
            assert re.fullmatch("[a-z](-?[a-z0-9]){1,62}", value), f"{value} is not an identifier"
            assert len(value) <= 63
    assert not [tag for tag in request.get("Tags", []) if tag["Key"].startswith(("aws:", "rds:"))]


class FakeClient:
    """A boto3 client of the account."""

    def __init__(self, account: FakeAccount, service: str) -> None:
        self._account = account
        self._service = service

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        return lambda **request: self._account.call(self._service, operation, request)

    def get_paginator(self, operation: str) -> Any:
        call = getattr(self, operation)

        class Pages:
            def paginate(self, **request: Any) -> list[Any]:
                return [call(**request)]

        return Pages()


@cache
def input_shape(service: str, operation: str) -> Any:
    model = Session().get_service_model(service)
    (shape,) = [model.operation_model(name).input_shape for name in model.operation_names if xform_name(name) == operation]
    return shape


STAGE = Stage(
    name="prod",
    cluster=CLUSTER,
    instances=(WRITER, STANDBY),
    has_proxy=True,
    functions=tuple(FUNCTIONS),
    outputs={"MigrateFunction": "Migrate", "SweepFunction": "Sweep", "AdminFunction": "Admin"},
)


@pytest.fixture
def restore(tmp_path: Path) -> Callable[..., Restore]:
    def make(account: FakeAccount, stage: Stage = STAGE) -> Restore:
        return Restore(stage, None, account.client, LABEL, lambda _: None, tmp_path / "build" / "state.json", sleep=lambda _: None)

    return make


def test_restored_cluster_takes_the_place_of_the_damaged_one(restore: Callable[..., Restore]) -> None:
    account = FakeAccount()

    restore(account).run()

    assert account.clusters[CLUSTER]["Content"] == f"backup of {CLUSTER}"
    assert account.clusters[f"{CLUSTER}-damaged-{LABEL}"]["Content"] == "damaged"
    assert set(account.instances) == {WRITER, STANDBY, f"{WRITER}-damaged-{LABEL}", f"{STANDBY}-damaged-{LABEL}"}
    assert account.instances[WRITER]["Cluster"] == f"{CLUSTER}-restored-{LABEL}"
    assert account.target == CLUSTER


def test_restored_databases_keep_the_tags_of_the_stage(restore: Callable[..., Restore], monkeypatch: pytest.MonkeyPatch) -> None:
    account = FakeAccount()
    tags: list[Any] = []
    call = FakeAccount.call

    def recording(self: FakeAccount, service: str, operation: str, request: dict[str, Any]) -> Any:
        tags.append(request.get("Tags"))
        return call(self, service, operation, request)

    monkeypatch.setattr(FakeAccount, "call", recording)

    restore(account).run()

    assert [given for given in tags if given is not None] == [[{"Key": "stage", "Value": "prod"}]] * 3


@pytest.mark.parametrize("length", [45, 46, 63])
def test_names_of_cloudformation_leave_room_for_the_ending(length: int) -> None:
    head = "weupload-staging-data-databasecluster"
    writer, standby = (f"{head}{role}5b53a178-1a2b3c4d5e6f7g8h9i"[:length] for role in ("writer", "standby"))

    cut_at_a_hyphen = f"{'a' * 35}-{'b' * 27}"
    names = {beside(name, f"{kind}-{LABEL}") for name in (writer, standby, cut_at_a_hyphen) for kind in ("restored", "damaged")}

    assert len(names) == 6
    assert all(len(name) <= 63 and "--" not in name and name.endswith(f"-{LABEL}") for name in names)


@pytest.mark.parametrize("length", [45, 63])
def test_cluster_with_names_of_cloudformation_is_restored(restore: Callable[..., Restore], length: int) -> None:
    cluster, writer = (f"weupload-staging-data-databasecluster{role}5b53a178-1a2b3c4d5e6f7g8h9i0j"[:length] for role in ("", "writer"))
    account = FakeAccount()
    account.clusters = {cluster: account.clusters[CLUSTER]}
    account.instances = {writer: FakeAccount._member(writer, cluster)}
    account.target = cluster

    restore(account, replace(STAGE, cluster=cluster, instances=(writer,))).run()

    assert account.clusters[cluster]["Content"] == f"backup of {cluster}"
    assert len(account.clusters) == len(account.instances) == 2
    assert account.target == cluster


@pytest.mark.parametrize("label", ["", "Friday", "a-b", "x" * 21])
def test_label_must_fit_into_an_identifier(label: str) -> None:
    with pytest.raises(RestoreError, match="lower-case letters and digits"):
        parse_label(label)
    assert parse_label(LABEL) == LABEL


def test_functions_are_stopped_before_the_restore_and_started_after_the_migration(restore: Callable[..., Restore]) -> None:
    account = FakeAccount()

    restore(account).run()

    order = account.calls
    assert order.index("put_function_concurrency") < order.index("restore_db_cluster_to_point_in_time")
    assert order.index("register_db_proxy_targets") < order.index("invoke") < order.index("delete_function_concurrency")
    assert account.reserved == FUNCTIONS
    assert account.mappings == {QUEUE: True, OTHERS: True}
    assert [name for name, _ in account.invoked] == ["Migrate", "Sweep", "Admin", "Admin"]
    # Otherwise the log would not be sealed: the copies of its checkpoints are ahead of the restored database.
    assert account.invoked[0] == ("Migrate", {"new_era": f"restore {LABEL}"})
    assert account.invoked[1:] == [
        ("Sweep", {"dry_run": True}),
        ("Admin", {"command": "recount-usage"}),
        ("Admin", {"command": "verify-audit"}),
    ]


CHANGES = (
    "put_function_concurrency",
    "update_event_source_mapping",
    "restore_db_cluster_to_point_in_time",
    "create_db_instance",
    "modify_db_cluster",
    "modify_db_instance",
    "deregister_db_proxy_targets",
    "register_db_proxy_targets",
    "invoke",
)


@pytest.mark.parametrize("operation", CHANGES)
def test_restore_that_failed_anywhere_continues_when_it_is_repeated(restore: Callable[..., Restore], operation: str) -> None:
    account = FakeAccount(fails_at=operation)
    with pytest.raises(ClientError):
        restore(account).run()
    assert account.mappings[OTHERS]

    restore(account).run()

    assert account.clusters[CLUSTER]["Content"] == f"backup of {CLUSTER}"
    assert set(account.instances) == {WRITER, STANDBY, f"{WRITER}-damaged-{LABEL}", f"{STANDBY}-damaged-{LABEL}"}
    assert account.target == CLUSTER
    # The state before the first run, not that of the stopped functions.
    assert (account.reserved, account.mappings[QUEUE]) == (FUNCTIONS, True)


def test_single_instance_is_restored(restore: Callable[..., Restore]) -> None:
    account = FakeAccount()
    account.clusters.clear()
    del account.instances[STANDBY]
    account.target = WRITER

    restore(account, replace(STAGE, cluster=None, instances=(WRITER,))).run()

    assert account.instances[WRITER]["Content"] == "backup"
    assert set(account.instances) == {WRITER, f"{WRITER}-damaged-{LABEL}"}
    assert account.target == WRITER


def test_missing_database_stops_the_restore_with_what_to_do(restore: Callable[..., Restore]) -> None:
    account = FakeAccount()
    account.clusters.clear()

    with pytest.raises(RestoreError, match="Restore its last snapshot"):
        restore(account).run()


def test_database_that_never_becomes_available_stops_the_restore(restore: Callable[..., Restore], monkeypatch: pytest.MonkeyPatch) -> None:
    account = FakeAccount()
    monkeypatch.setattr(FakeAccount, "describe_db_proxy_targets", lambda *_, **__: {"Targets": []})

    with pytest.raises(RestoreError, match="After 60 minutes it is still not true that the proxy we-upload-prod"):
        restore(account).run()
    assert account.reserved["Api"] == 0


@pytest.mark.parametrize("text", ["yesterday", "2026-11-28T04:00:00"])
def test_time_without_a_zone_is_refused(text: str) -> None:
    with pytest.raises(RestoreError):
        parse_time(text)


def test_time_is_in_utc() -> None:
    assert parse_time(None) is None
    assert str(parse_time("2026-11-28T05:00:00+01:00")) == "2026-11-28 04:00:00+00:00"
    assert steps.WAIT_SECONDS >= 1800


def test_stage_without_a_proxy_is_restored_and_keeps_its_pause(restore: Callable[..., Restore]) -> None:
    account = FakeAccount()
    scaling = {"MinCapacity": 0.0, "MaxCapacity": 2.0, "SecondsUntilAutoPause": 300}
    account.clusters[CLUSTER]["ServerlessV2ScalingConfiguration"] = scaling
    proxied = account.target

    restore(account, replace(STAGE, instances=(WRITER,), has_proxy=False)).run()

    assert account.clusters[CLUSTER]["Content"] == f"backup of {CLUSTER}"
    assert account.clusters[CLUSTER]["ServerlessV2ScalingConfiguration"] == scaling
    assert account.target == proxied
