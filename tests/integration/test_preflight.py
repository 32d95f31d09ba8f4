"""The check of an account against the emulated one. What the emulator does not offer must be reported, never raised."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from infra.config import STAGES
from infra.preflight.__main__ import main, run_checks
from infra.preflight.account import Account
from tests.e2e.deploy.cloud import ACCOUNT, REGION, Cloud, running_cloud


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running_cloud() as started:
        yield started


class EmulatedSession:
    """A botocore session with the emulator's credentials and address."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def get_config_variable(self, _: str) -> str:
        return REGION

    def create_client(self, service: str, region_name: str) -> Any:
        assert region_name == REGION
        return self._cloud.client(service)


@pytest.mark.slow
def test_account_that_is_not_bootstrapped_is_reported(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--stage", "dev"], open_session=partial(EmulatedSession, cloud))

    output = capsys.readouterr().out
    assert status == 1
    assert output.startswith(f"Account {ACCOUNT}, region {REGION}, stage dev\n")
    assert f"cdk bootstrap aws://{ACCOUNT}/{REGION}" in output


@pytest.mark.slow
def test_bootstrapped_account_and_its_stacks_are_found(cloud: Cloud) -> None:
    cloud.client("ssm").put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String")
    template = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'
    cloud.client("cloudformation").create_stack(StackName="WeUpload-dev-Network", TemplateBody=template)
    account = Account(ACCOUNT, REGION, STAGES["dev"], lambda service, _region=REGION: cloud.client(service))

    found = list(run_checks(account))

    messages = [finding.message for finding in found]
    assert f"{REGION} has version 30." in messages
    assert "WeUpload-dev-Network: CREATE_COMPLETE." in messages
    assert "WeUpload-dev-Data: does not exist yet." in messages
    assert {finding.check for finding in found} == {
        "bootstrap",
        "stacks",
        "zones",
        "engine",
        "concurrency",
        "snapshots",
        "names",
        "domain",
        "mail",
        "authorities",
    }
