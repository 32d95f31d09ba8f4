"""Deletion of old function versions, in the emulated account."""

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from infra.release.versions import main, superfluous_versions
from tests.e2e.deploy.cloud import Cloud, running_cloud

ROLE = "arn:aws:iam::000000000000:role/function"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running_cloud() as started:
        yield started


def code(text: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.py", f"def handler(event, context):\n    return {text!r}\n")
    return packed.getvalue()


class EmulatedSession:
    """A session whose stack contains one function."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def client(self, service: str) -> Any:
        return self._cloud.client(service)


def test_versions_that_no_alias_names_are_deleted_except_the_newest(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    bucket, client = "code", cloud.client("lambda")
    cloud.client("s3").create_bucket(Bucket=bucket)
    cloud.client("s3").put_object(Bucket=bucket, Key="code.zip", Body=code("0"))
    template = (
        '{"Resources": {"Api": {"Type": "AWS::Lambda::Function", "Properties": {"Runtime": "python3.13", "Handler": "index.handler",'
        f'"Role": "{ROLE}", "Code": {{"S3Bucket": "{bucket}", "S3Key": "code.zip"}}}}}}}}}}'
    )
    cloud.client("cloudformation").create_stack(StackName="WeUpload-dev-Api", TemplateBody=template)
    (name,) = [function["FunctionName"] for function in client.list_functions()["Functions"]]
    for number in range(1, 7):
        client.update_function_code(FunctionName=name, ZipFile=code(str(number)))
        client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="2")

    assert main(["--stage", "dev"], session=EmulatedSession(cloud)) == 0

    left = [version["Version"] for version in client.list_versions_by_function(FunctionName=name)["Versions"]]
    assert sorted(left) == ["$LATEST", "2", "6"]
    assert capsys.readouterr().out == f"{name}: deleted version 5, 4, 3, 1\n"


def test_both_versions_of_a_canary_are_in_use() -> None:
    alias = {"FunctionVersion": "3", "RoutingConfig": {"AdditionalVersionWeights": {"9": 0.1}}}

    assert superfluous_versions(["$LATEST", *map(str, range(1, 12))], [alias], kept=1) == ["10", "8", "7", "6", "5", "4", "2", "1"]
