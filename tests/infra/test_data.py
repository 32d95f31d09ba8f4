"""Protection of the data: bucket, queues, database, proxy."""

import json
from typing import Any

import pytest

from infra.config import PROXY_BORROW_TIMEOUT_SECONDS
from tests.infra.conftest import Synthesised


def bucket_statements(stacks: Synthesised) -> dict[str, dict[str, Any]]:
    """The statements of the bucket policy by Sid; the TLS statement has none."""
    policy = stacks.only("AWS::S3::BucketPolicy")
    return {statement.get("Sid", f"unnamed-{index}"): statement for index, statement in enumerate(policy["PolicyDocument"]["Statement"])}


def test_bucket_cannot_be_public(prod: Synthesised) -> None:
    bucket = prod.only("AWS::S3::Bucket")

    assert bucket["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_bucket_refuses_plain_http_and_old_tls(prod: Synthesised) -> None:
    conditions = [statement["Condition"] for statement in bucket_statements(prod).values() if statement["Effect"] == "Deny"]

    assert {"Bool": {"aws:SecureTransport": "false"}} in conditions
    assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in conditions


def test_bucket_refuses_any_signature_but_version_4(prod: Synthesised) -> None:
    statement = bucket_statements(prod)["SignatureV4Only"]

    assert statement["Effect"] == "Deny"
    assert statement["Principal"] == {"AWS": "*"}
    assert statement["Action"] == "s3:*"
    assert len(statement["Resource"]) == 2
    assert statement["Condition"] == {"StringNotEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}


def test_bucket_refuses_signatures_older_than_fifteen_minutes(prod: Synthesised) -> None:
    statement = bucket_statements(prod)["SignatureAge"]

    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"NumericGreaterThan": {"s3:signatureAge": "900000"}}


def test_upload_can_be_written_once_even_by_multipart_upload(prod: Synthesised) -> None:
    statement = bucket_statements(prod)["WriteOnce"]

    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", {"AWS": "*"}, "s3:PutObject")
    assert json.dumps(statement["Resource"]).endswith('/uploads/*"]]}')
    assert statement["Condition"] == {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}


def test_bucket_expires_abandoned_parts_and_old_versions(prod: Synthesised) -> None:
    bucket = prod.only("AWS::S3::Bucket")
    rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}

    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert rules["abandoned-parts"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 70}
    assert rules["trash"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert rules["trash"]["ExpiredObjectDeleteMarker"] is True


def test_bucket_cors_allows_configured_origins_and_our_own_only(
    everything: Synthesised, behind_firewall: Synthesised, prod: Synthesised
) -> None:
    (rule,) = everything.only("AWS::S3::Bucket")["CorsConfiguration"]["CorsRules"]
    (own_rule,) = next(
        part["Properties"]["CorsConfiguration"]["CorsRules"]
        for part in behind_firewall.data["Resources"].values()
        if part["Type"] == "AWS::S3::Bucket"
    )

    assert rule["AllowedOrigins"] == ["https://app.example.com", "https://www.example.com", "https://files.example.com"]
    # The origin of the upload page, not the origin of the links in mail.
    assert own_rule["AllowedOrigins"] == ["https://files.example.com"]
    assert sorted(own_rule["AllowedMethods"]) == ["GET", "HEAD", "PUT"]
    # The headers that the page's script sends with the bytes.
    assert {"content-type", "if-none-match", "x-amz-checksum-*"} <= set(own_rule["AllowedHeaders"])
    assert {"ETag", "x-amz-checksum-sha256", "x-amz-checksum-crc64nvme"} <= set(rule["ExposedHeaders"])
    assert "CorsConfiguration" not in prod.only("AWS::S3::Bucket")


def test_data_is_retained_in_prod_and_deleted_in_dev(prod: Synthesised, dev: Synthesised) -> None:
    def deletion_policies(stacks: Synthesised, kind: str) -> set[str]:
        return {resource["DeletionPolicy"] for resource in stacks.resources.values() if resource["Type"] == kind}

    assert deletion_policies(prod, "AWS::S3::Bucket") == {"Retain"}
    assert deletion_policies(prod, "AWS::RDS::DBCluster") == {"Snapshot"}
    assert deletion_policies(prod, "AWS::SecretsManager::Secret") == {"Retain"}
    assert deletion_policies(dev, "AWS::S3::Bucket") == deletion_policies(dev, "AWS::RDS::DBInstance") == {"Delete"}


def test_link_key_is_generated_retained_with_the_signing_key_and_not_rotated(prod: Synthesised) -> None:
    secrets = {name: resource for name, resource in prod.data["Resources"].items() if resource["Type"] == "AWS::SecretsManager::Secret"}
    signing_key, link_key = (
        next(secret for name, secret in secrets.items() if name.startswith(prefix)) for prefix in ("SigningKey", "LinkKey")
    )
    rotated = [json.dumps(schedule["SecretId"]) for schedule in prod.of_type("AWS::SecretsManager::RotationSchedule")]

    assert link_key["Properties"]["GenerateSecretString"] == {"ExcludePunctuation": True, "PasswordLength": 64}
    assert link_key["DeletionPolicy"] == signing_key["DeletionPolicy"] == "Retain"
    assert (len(rotated), "SigningKey" in rotated[0]) == (1, True)


def test_only_s3_of_this_account_can_write_to_the_event_queues(prod: Synthesised) -> None:
    statements = [statement for policy in prod.of_type("AWS::SQS::QueuePolicy") for statement in policy["PolicyDocument"]["Statement"]]
    allowed = [statement for statement in statements if statement["Effect"] == "Allow"]

    assert [statement["Principal"] for statement in allowed] == [{"Service": "s3.amazonaws.com"}] * 5
    assert all(statement["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}} for statement in allowed)
    assert sum(statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}} for statement in statements) == 9


def test_upload_events_go_to_a_queue_with_a_dead_letter_queue(prod: Synthesised) -> None:
    bucket = next(resource for resource in prod.resources.values() if resource["Type"] == "AWS::S3::Bucket")
    notification, *_ = bucket["Properties"]["NotificationConfiguration"]["QueueConfigurations"]
    queue = prod.resources[f"data/{notification['Queue']['Fn::GetAtt'][0]}"]
    policies = [key.removeprefix("data/") for key, resource in prod.resources.items() if resource["Type"] == "AWS::SQS::QueuePolicy"]

    assert notification["Event"] == "s3:ObjectCreated:*"
    assert notification["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": "uploads/"}]
    assert queue["Properties"]["RedrivePolicy"]["maxReceiveCount"] == 5
    # S3 tests the queue when the configuration is set, which fails without the queue policy.
    assert set(bucket["DependsOn"]) & set(policies)


def test_archive_requests_go_to_their_own_queue(prod: Synthesised) -> None:
    bucket = prod.only("AWS::S3::Bucket")
    _, notification, *_ = bucket["NotificationConfiguration"]["QueueConfigurations"]
    queue = prod.resources[f"data/{notification['Queue']['Fn::GetAtt'][0]}"]["Properties"]

    assert notification["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": "archive-requests/"}]
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    # Six times the worker's timeout, as AWS recommends.
    assert queue["VisibilityTimeout"] == 6 * 900


def test_preview_requests_go_to_their_own_queue_and_results_to_that_of_uploads(prod: Synthesised) -> None:
    uploads, _, requests, results, *_ = prod.only("AWS::S3::Bucket")["NotificationConfiguration"]["QueueConfigurations"]
    queue = prod.resources[f"data/{requests['Queue']['Fn::GetAtt'][0]}"]["Properties"]

    assert requests["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": "preview-requests/"}]
    assert results["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": "preview-results/"}]
    assert results["Queue"] == uploads["Queue"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert queue["VisibilityTimeout"] == 6 * 60


def test_deleted_previews_cannot_be_restored_for_longer_than_a_day(prod: Synthesised) -> None:
    rules = {rule["Id"]: rule for rule in prod.only("AWS::S3::Bucket")["LifecycleConfiguration"]["Rules"]}

    assert rules["previews"]["Prefix"] == "previews/"
    assert "ExpirationInDays" not in rules["previews"]
    assert rules["previews"]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 1
    assert {rules[name]["ExpirationInDays"] for name in ("preview-requests", "preview-results")} == {1}


@pytest.mark.parametrize("prefix", ["webhook-work/", "webhook-results/"])
def test_webhook_objects_have_their_own_queue_and_expire(prod: Synthesised, prefix: str) -> None:
    bucket = prod.only("AWS::S3::Bucket")
    (notification,) = [
        found
        for found in bucket["NotificationConfiguration"]["QueueConfigurations"]
        if found["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": prefix}]
    ]
    queue = prod.resources[f"data/{notification['Queue']['Fn::GetAtt'][0]}"]["Properties"]
    (rule,) = [rule for rule in bucket["LifecycleConfiguration"]["Rules"] if rule.get("Prefix") == prefix]

    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert queue["VisibilityTimeout"] == 6 * 60
    assert (rule["ExpirationInDays"], rule["NoncurrentVersionExpiration"]["NoncurrentDays"]) == (1, 1)


def test_archives_expire_after_days(prod: Synthesised) -> None:
    rules = {rule["Id"]: rule for rule in prod.only("AWS::S3::Bucket")["LifecycleConfiguration"]["Rules"]}

    assert (rules["archives"]["Prefix"], rules["archives"]["ExpirationInDays"]) == ("archives/", 8)
    assert (rules["archive-requests"]["Prefix"], rules["archive-requests"]["ExpirationInDays"]) == ("archive-requests/", 1)
    assert {rules[name]["NoncurrentVersionExpiration"]["NoncurrentDays"] for name in ("archives", "archive-requests")} == {1}


def test_database_is_encrypted_backed_up_and_private(prod: Synthesised, dev: Synthesised) -> None:
    cluster, instance = (prod.only("AWS::RDS::DBCluster"), dev.only("AWS::RDS::DBInstance"))

    assert cluster["StorageEncrypted"] is instance["StorageEncrypted"] is True
    assert (cluster["BackupRetentionPeriod"], instance["BackupRetentionPeriod"]) == (35, 1)
    assert (cluster["DeletionProtection"], instance["DeletionProtection"]) == (True, False)
    assert [member["PubliclyAccessible"] for member in prod.of_type("AWS::RDS::DBInstance")] == [False, False]
    assert instance["PubliclyAccessible"] is False


def test_prod_has_a_standby_in_another_zone_that_scales_with_the_writer(prod: Synthesised) -> None:
    assert [member["PromotionTier"] for member in prod.of_type("AWS::RDS::DBInstance")] == [0, 1]


def test_rds_manages_the_owner_password(prod: Synthesised, dev: Synthesised) -> None:
    assert prod.only("AWS::RDS::DBCluster")["ManageMasterUserPassword"] is True
    assert dev.only("AWS::RDS::DBInstance")["ManageMasterUserPassword"] is True


def test_database_and_proxy_require_tls(prod: Synthesised, dev: Synthesised) -> None:
    assert prod.only("AWS::RDS::DBClusterParameterGroup")["Parameters"]["rds.force_ssl"] == "1"
    assert dev.only("AWS::RDS::DBParameterGroup")["Parameters"]["rds.force_ssl"] == "1"
    assert prod.only("AWS::RDS::DBProxy")["RequireTLS"] is True


def test_proxy_uses_iam_and_no_password(prod: Synthesised) -> None:
    proxy = prod.only("AWS::RDS::DBProxy")

    assert proxy["DefaultAuthScheme"] == "IAM_AUTH"
    assert "Auth" not in proxy
    assert prod.only("AWS::RDS::DBCluster")["EnableIAMDatabaseAuthentication"] is True


def test_proxy_can_sign_in_to_the_database_as_the_application_only(prod: Synthesised, dev: Synthesised) -> None:
    for stacks in (prod, dev):
        role = stacks.only("AWS::RDS::DBProxy")["RoleArn"]["Fn::GetAtt"][0]
        (policy,) = [policy for policy in stacks.of_type("AWS::IAM::Policy") if {"Ref": role} in policy["Roles"]]
        (statement,) = policy["PolicyDocument"]["Statement"]

        assert statement["Action"] == "rds-db:connect"
        assert statement["Resource"]["Fn::Join"][1][-1].endswith("-*/we_upload")


def test_resource_names_differ_between_stages(prod: Synthesised, dev: Synthesised) -> None:
    for kind, name in (("AWS::RDS::DBProxy", "DBProxyName"), ("AWS::ApiGatewayV2::Api", "Name")):
        assert prod.only(kind)[name] != dev.only(kind)[name]


def test_proxy_borrow_timeout_is_the_configured_one(prod: Synthesised) -> None:
    pool = prod.only("AWS::RDS::DBProxyTargetGroup")["ConnectionPoolConfigurationInfo"]

    assert pool["ConnectionBorrowTimeout"] == PROXY_BORROW_TIMEOUT_SECONDS


def test_network_has_no_internet_access(prod: Synthesised) -> None:
    kinds = {resource["Type"] for resource in prod.resources.values()}

    assert not kinds & {"AWS::EC2::NatGateway", "AWS::EC2::InternetGateway", "AWS::EC2::EIP", "AWS::EC2::EgressOnlyInternetGateway"}
    assert len(prod.of_type("AWS::EC2::Subnet")) == 3
    assert {endpoint["VpcEndpointType"] for endpoint in prod.of_type("AWS::EC2::VPCEndpoint")} == {"Gateway", "Interface"}


def test_no_security_group_allows_an_address_range(prod: Synthesised) -> None:
    rules = prod.of_type("AWS::EC2::SecurityGroupIngress")
    rules += [rule for group in prod.of_type("AWS::EC2::SecurityGroup") for rule in group.get("SecurityGroupIngress", [])]

    assert len(rules) == 4
    assert all("CidrIp" not in rule and "SourceSecurityGroupId" in rule for rule in rules)


def test_no_security_group_rule_is_duplicated(prod: Synthesised, dev: Synthesised) -> None:
    # EC2 refuses a duplicate, and the deployment fails. A port written as a reference is that of the database, 5432.
    for stacks in (prod, dev):
        for kind, end in (("Ingress", "SourceSecurityGroupId"), ("Egress", "DestinationSecurityGroupId")):
            rules = stacks.of_type(f"AWS::EC2::SecurityGroup{kind}")
            ports = [5432 if isinstance(rule["FromPort"], dict) else rule["FromPort"] for rule in rules]
            seen = [json.dumps([rule["GroupId"], rule[end], port]) for rule, port in zip(rules, ports, strict=True)]
            assert len(seen) == len(set(seen))


def test_s3_endpoint_refuses_buckets_of_other_accounts(prod: Synthesised) -> None:
    (endpoint,) = [endpoint for endpoint in prod.of_type("AWS::EC2::VPCEndpoint") if endpoint["VpcEndpointType"] == "Gateway"]
    own, cloudformation = endpoint["PolicyDocument"]["Statement"]

    assert own["Condition"] == {"StringEquals": {"aws:ResourceAccount": {"Ref": "AWS::AccountId"}}}
    assert cloudformation["Action"] == "s3:PutObject"
    assert "cloudformation-custom-resource-response-" in json.dumps(cloudformation["Resource"])


def test_bucket_uses_a_customer_managed_key_when_configured(everything: Synthesised) -> None:
    (rule,) = everything.only("AWS::S3::Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"]

    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert rule["BucketKeyEnabled"] is True
    assert everything.only("AWS::KMS::Key")["EnableKeyRotation"] is True


def test_object_without_a_clean_scan_result_cannot_be_read(everything: Synthesised, prod: Synthesised) -> None:
    statement = bucket_statements(everything)["OnlyCleanObjects"]

    assert statement["Effect"] == "Deny"
    assert statement["Action"] == ["s3:GetObject", "s3:GetObjectVersion"]
    assert statement["Condition"]["StringNotEquals"] == {
        "s3:ExistingObjectTag/GuardDutyMalwareScanStatus": ["NO_THREATS_FOUND", "RELEASED"],
        "aws:PrincipalTag/WeUploadUnscanned": "read",
    }
    assert list(statement["Condition"]["ArnNotEquals"]) == ["aws:PrincipalArn"]
    assert "OnlyCleanObjects" not in bucket_statements(prod)


def test_only_functions_that_serve_no_bytes_can_read_unscanned_objects(everything: Synthesised) -> None:
    tag = {"Key": "WeUploadUnscanned", "Value": "read"}
    roles = {name: part.get("Properties", {}) for name, part in everything.resources.items() if part["Type"] == "AWS::IAM::Role"}
    tagged = {name for name, role in roles.items() if tag in role.get("Tags", [])}

    assert {name.partition("Role")[0] for name in tagged} == {"api/ObjectCreated", "api/Sweep"}


def test_only_the_scanner_can_write_a_scan_result_and_only_the_api_can_release(everything: Synthesised, prod: Synthesised) -> None:
    statements = bucket_statements(everything)
    conditions = {
        "OnlyTheScannerTags": {"aws:PrincipalTag/WeUploadReleases": "allowed"},
        "OnlyReleasesByOthers": {"s3:RequestObjectTag/GuardDutyMalwareScanStatus": "RELEASED"},
    }

    for sid, condition in conditions.items():
        assert statements[sid]["Effect"] == "Deny"
        assert statements[sid]["Action"] == ["s3:PutObjectTagging", "s3:PutObjectVersionTagging"]
        assert statements[sid]["Condition"]["StringNotEquals"] == condition
        assert list(statements[sid]["Condition"]["ArnNotEquals"]) == ["aws:PrincipalArn"]
    tag = {"Key": "WeUploadReleases", "Value": "allowed"}
    roles = {name: part.get("Properties", {}) for name, part in everything.resources.items() if part["Type"] == "AWS::IAM::Role"}
    assert [name.partition("Role")[0] for name, role in roles.items() if tag in role.get("Tags", [])] == ["api/Api"]
    # A PUT could also set tags, but the API signs no x-amz-tagging header.
    written = [
        statement
        for policy in everything.of_type("AWS::IAM::Policy")
        for statement in policy["PolicyDocument"]["Statement"]
        if "s3:PutObjectTagging" in statement["Action"]
    ]
    conditions_of_writers = {json.dumps(statement.get("Condition")) for statement in written}
    assert conditions_of_writers == {"null", json.dumps({"StringEquals": {"s3:RequestObjectTag/GuardDutyMalwareScanStatus": "RELEASED"}})}
    assert len(written) == 2
    assert not [policy for policy in prod.of_type("AWS::IAM::Policy") if "ObjectTagging" in json.dumps(policy)]


def test_scan_results_reach_a_function_that_can_read_tags_and_no_content(everything: Synthesised, prod: Synthesised) -> None:
    (rule,) = [rule for rule in everything.of_type("AWS::Events::Rule") if "Object Scan Result" in json.dumps(rule.get("EventPattern"))]
    policies = [json.dumps(part) for name, part in everything.resources.items() if name.startswith("api/ScanResultsRoleDefaultPolicy")]
    mappings = [mapping for mapping in everything.of_type("AWS::Lambda::EventSourceMapping") if "ScanResultsLive" in json.dumps(mapping)]

    assert rule["EventPattern"]["detail"] == {"s3ObjectDetails": {"bucketName": [{"Ref": bucket_id(everything)}]}}
    assert "ScanResults" in json.dumps(rule["Targets"])
    assert [mapping["FunctionResponseTypes"] for mapping in mappings] == [["ReportBatchItemFailures"]]
    assert len(policies) == 1
    assert "s3:GetObjectTagging" in policies[0]
    assert not any(action in policies[0] for action in ('"s3:GetObject"', "s3:PutObject", "s3:DeleteObject"))
    assert not [function for function in prod.of_type("AWS::Lambda::Function") if "scan_results" in function["Handler"]]


def test_standby_serves_reads_of_the_api_through_a_read_only_endpoint(everything: Synthesised, prod: Synthesised) -> None:
    endpoint = everything.only("AWS::RDS::DBProxyEndpoint")
    informed = {
        function["Handler"]
        for function in everything.of_type("AWS::Lambda::Function")
        if "DATABASE_READ_HOST" in function["Environment"]["Variables"]
    }

    assert endpoint["TargetRole"] == "READ_ONLY"
    assert len(endpoint["VpcSubnetIds"]) == 3
    assert len(endpoint["VpcSecurityGroupIds"]) == 1
    assert informed == {"lambda_app.main.handler"}
    assert not prod.of_type("AWS::RDS::DBProxyEndpoint")


def bucket_id(stacks: Synthesised) -> str:
    """The logical id of the bucket of the files."""
    (found,) = [name for name, part in stacks.data["Resources"].items() if part["Type"] == "AWS::S3::Bucket"]
    return str(found)


def test_prod_stacks_have_termination_protection(prod: Synthesised, dev: Synthesised) -> None:
    def protected(stacks: Synthesised) -> set[bool]:
        manifest = json.loads((stacks.assembly / "manifest.json").read_text())["artifacts"]
        return {part["properties"].get("terminationProtection", False) for part in manifest.values() if part["type"].endswith(":stack")}

    assert protected(prod) == {True}
    assert protected(dev) == {False}
