"""The checks, in the order in which their causes would stop a deployment."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from infra.config import CLOUDFRONT_REGION, DatabaseKind
from infra.package.authorities import BUNDLE_URL, covered_regions
from infra.preflight.account import Account, or_none
from infra.preflight.findings import Finding, error, ok, warning

ROOT = Path(__file__).resolve().parents[2]
AUTHORITIES = ROOT / "build" / "lambda-arm64" / "tree" / "certs" / "rds-ca.pem"

WITHOUT_RDS_PROXY = frozenset({"use1-az3"})
"""Zone ids that RDS Proxy does not support (RDS user guide, "Quotas and limitations for RDS Proxy"). No API lists them."""
CONSTRAINED = frozenset({"use1-az3", "usw1-az2", "apne1-az3", "apne2-az2", "euw1-az4", "cac1-az3", "ilc1-az2"})
"""Older zones in which AWS no longer offers many services to new customers."""

BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
BOOTSTRAP_VERSION = 6
"""The minimum of the CDK's cloud assemblies (`requiresBootstrapStackVersion`)."""

UNRESERVED_MIN = 100
"""Lambda refuses reservations that leave less than this unreserved (Lambda developer guide, "Configuring reserved concurrency")."""
COMFORTABLE_CONCURRENCY = 50
WITHOUT_SNAPSTART = frozenset({"ap-east-2", "ap-southeast-6"})
"""Regions without SnapStart (Lambda developer guide, "Improving startup performance with Lambda SnapStart"). No API lists them."""
VPC_QUOTA = ("vpc", "L-F678F1CE")

IN_PROGRESS = "_IN_PROGRESS"
MUST_BE_DELETED = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED", "CREATE_FAILED")

Check = Callable[[Account], Iterator[Finding]]


def check_bootstrap(account: Account) -> Iterator[Finding]:
    """The resources that the CDK deploys with, in each region that the stage uses."""
    regions = {account.region, *(region for _, region in _other_stacks(account))}
    for region in sorted(regions):
        command = f"node_modules/.bin/cdk bootstrap aws://{account.account_id}/{region}"
        parameter = or_none(partial(account.client("ssm", region).get_parameter, Name=BOOTSTRAP_PARAMETER))
        if parameter is None:
            yield error("bootstrap", f"{region} is not bootstrapped for the CDK.", f"Run: {command}")
        elif int(parameter["Parameter"]["Value"]) < BOOTSTRAP_VERSION:
            found = parameter["Parameter"]["Value"]
            yield error("bootstrap", f"The bootstrap of {region} has version {found}; {BOOTSTRAP_VERSION} is needed.", f"Run: {command}")
        else:
            yield ok("bootstrap", f"{region} has version {parameter['Parameter']['Value']}.")


def check_stacks(account: Account) -> Iterator[Finding]:
    """The state of the stage's stacks."""
    for part, region in [("Network", None), ("Data", None), ("Api", None), *_other_stacks(account)]:
        name, status = account.stack_name(part), account.stack_status(part, region)
        if status in MUST_BE_DELETED:
            yield error("stacks", f"{name} is in the state {status}, which no deployment can continue.", f"Delete the stack {name} first.")
        elif status is not None and status.endswith(IN_PROGRESS):
            yield error("stacks", f"{name} is in the state {status}.", "Wait until the operation has ended.")
        else:
            yield ok("stacks", f"{name}: {status or 'does not exist yet'}.")


def _other_stacks(account: Account) -> list[tuple[str, str]]:
    """Return the stacks of the stage in other regions, with their region."""
    config = account.config
    stacks = [("Firewall", CLOUDFRONT_REGION)] if config.firewall else []
    return [*stacks, ("Recovery", config.recovery_region)] if config.recovery_region else stacks


def check_zones(account: Account) -> Iterator[Finding]:
    """Whether RDS Proxy, Lambda, the database and the endpoints exist in the stage's zones."""
    filters = [{"Name": "zone-type", "Values": ["availability-zone"]}, {"Name": "state", "Values": ["available"]}]
    described = account.client("ec2").describe_availability_zones(Filters=filters)["AvailabilityZones"]
    ids = {zone["ZoneName"]: zone["ZoneId"] for zone in described}
    missing = [zone for zone in account.config.zones if zone not in ids]
    if missing:
        yield error("zones", f"{account.region} has no zone {', '.join(missing)}.", f"Choose among {', '.join(sorted(ids))}.")
        return
    # CloudFormation's Fn::GetAZs returns the zones in this order.
    chosen = list(account.config.zones) or sorted(ids)[: account.config.availability_zones]
    lacking = _lacking(account, set(ids))
    unusable = {
        zone: lacks for zone in chosen if (lacks := [service for service, zones in lacking.items() if ids[zone] in zones or zone in zones])
    }
    usable = [
        zone
        for zone in sorted(ids, key=lambda name: (ids[name] in CONSTRAINED, name))
        if not any(ids[zone] in zones or zone in zones for zones in lacking.values())
    ]
    suggestion = ",".join(sorted(usable[: account.config.availability_zones]))
    if len(usable) < account.config.availability_zones:
        remedy = f"Deploy to another region: {account.region} has only {len(usable)} usable zones."
    else:
        remedy = f'Deploy with CDK="-c zones={suggestion}", or add zones to the stage in infra/config.py.'
    for zone, lacks in unusable.items():
        yield error("zones", f"{zone} ({ids[zone]}) lacks {', '.join(lacks)}.", remedy)
    for zone in chosen:
        if zone not in unusable and ids[zone] in CONSTRAINED:
            yield warning("zones", f"{zone} ({ids[zone]}) is an older zone that lacks services.", remedy)
    if not unusable:
        yield ok("zones", f"{', '.join(f'{zone} ({ids[zone]})' for zone in chosen)} have all services.")


def _lacking(account: Account, zones: set[str]) -> dict[str, set[str]]:
    """Return the zones, by id or name, that lack each service."""
    offered = {zone["Name"] for option in _orderable(account) for zone in option["AvailabilityZones"]}
    if account.config.pauses_when_idle:
        return {"the database": zones - offered}
    names = ["secretsmanager", *(["email"] if account.config.mail_from else [])]
    lacking = {}
    for service in (f"com.amazonaws.{account.region}.{name}" for name in names):
        # A region that does not offer the service answers InvalidServiceName.
        described = or_none(partial(account.client("ec2").describe_vpc_endpoint_services, ServiceNames=[service]))
        found = described["ServiceDetails"] if described else []
        lacking[f"the endpoint {service}"] = zones - {zone for detail in found for zone in detail["AvailabilityZones"]}
    return {"RDS Proxy": set(WITHOUT_RDS_PROXY), "the database": zones - offered, **lacking}


def _engine(account: Account) -> tuple[str, str]:
    """Return the engine and the instance class of the stage's database."""
    is_instance = account.config.database is DatabaseKind.INSTANCE
    return ("postgres", f"db.{account.config.instance_class}") if is_instance else ("aurora-postgresql", "db.serverless")


def _default_version(account: Account) -> str | None:
    engine, _ = _engine(account)
    versions = account.client("rds").describe_db_engine_versions(Engine=engine, EngineVersion=POSTGRES_MAJOR, DefaultOnly=True)
    found = [version["EngineVersion"] for version in versions["DBEngineVersions"]]
    return found[0] if found else None


def _orderable(account: Account) -> list[dict[str, Any]]:
    engine, instance_class = _engine(account)
    version = _default_version(account)
    if version is None:
        return []
    request = {"Engine": engine, "EngineVersion": version, "DBInstanceClass": instance_class, "Vpc": True}
    options: list[dict[str, Any]] = account.client("rds").describe_orderable_db_instance_options(**request)["OrderableDBInstanceOptions"]
    return options


POSTGRES_MAJOR = "17"
"""As in infra/components/database.py, which a test compares; that module needs the CDK."""


def check_engine(account: Account) -> Iterator[Finding]:
    """Whether the region offers the database engine, its version and its size."""
    engine, instance_class = _engine(account)
    version = _default_version(account)
    if version is None:
        yield error("engine", f"{account.region} does not offer {engine} {POSTGRES_MAJOR}.", "Deploy to another region.")
    elif not _orderable(account):
        yield error(
            "engine",
            f"{account.region} does not offer {engine} {version} as {instance_class}.",
            "Choose another `instance_class` in infra/config.py, or another region.",
        )
    else:
        yield ok("engine", f"{engine} {version} as {instance_class}.")


def check_pausing(account: Account) -> Iterator[Finding]:
    """Whether the engine pauses and lets the owner sign in by IAM, which a stage whose database pauses needs."""
    if not account.config.pauses_when_idle:
        return
    engine, _ = _engine(account)
    version = _default_version(account)
    found = account.client("rds").describe_db_engine_versions(Engine=engine, EngineVersion=version)["DBEngineVersions"] if version else []
    smallest = min((item.get("ServerlessV2FeaturesSupport", {}).get("MinCapacity", 0.5) for item in found), default=None)
    if smallest is None:
        return  # `check_engine` reports it.
    if smallest > 0:
        yield error("pausing", f"{engine} {version} does not pause: its smallest capacity is {smallest:g}.", "Deploy to another region.")
    else:
        yield ok("pausing", f"{engine} {version} pauses when it is idle.")


def check_concurrency(account: Account) -> Iterator[Finding]:
    """Whether the account's concurrency limit admits the stage's reservations."""
    limit = account.client("lambda").get_account_settings()["AccountLimit"]
    total, unreserved = limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]
    quota = "Service Quotas → AWS Lambda → Concurrent executions"
    if not account.config.reserves_concurrency:
        if total < COMFORTABLE_CONCURRENCY:
            yield warning("concurrency", f"The account runs at most {total} functions at a time.", f"Request 1,000: {quota}.")
        else:
            yield ok("concurrency", f"{total} concurrent executions; the stage reserves none.")
        return
    if account.stack_status("Api") is not None:
        yield ok("concurrency", f"{unreserved} of {total} concurrent executions are unreserved; the stage has its reservations already.")
        return
    needed = account.config.reserved_executions + UNRESERVED_MIN
    if unreserved < needed:
        yield error(
            "concurrency",
            f"{unreserved} of {total} concurrent executions are unreserved. The stage reserves {account.config.reserved_executions}, and "
            f"Lambda keeps {UNRESERVED_MIN}.",
            f"Request {total - unreserved + needed} or more: {quota}.",
        )
    else:
        yield ok("concurrency", f"{unreserved} of {total} concurrent executions are unreserved; {needed} are needed.")


def check_snapshots(account: Account) -> Iterator[Finding]:
    """Whether the region offers the snapshots from which the API starts."""
    if account.config.pauses_when_idle:
        return
    if account.region in WITHOUT_SNAPSTART:
        yield error("snapshots", f"Lambda has no SnapStart in {account.region}.", "Deploy to another region.")
    else:
        yield ok("snapshots", f"Lambda has SnapStart in {account.region}.")


def check_backups(account: Account) -> Iterator[Finding]:
    """Whether AWS Backup may back up the cluster. Without the account's opt-in it skips the cluster and reports no error.

    An instance needs none: its ARN names its type, which that of a cluster does not (AWS Backup guide, "Assign resources").
    """
    if account.config.recovery_region is None or account.config.database is DatabaseKind.INSTANCE:
        return
    settings = account.client("backup").describe_region_settings()["ResourceTypeOptInPreference"]
    if settings.get("Aurora"):
        yield ok("backups", "AWS Backup has the opt-in for Aurora.")
    else:
        yield error(
            "backups",
            f"AWS Backup has no opt-in for Aurora in {account.region}, so that it would create no backup.",
            "Run: aws backup update-region-settings --resource-type-opt-in-preference Aurora=true",
        )


def check_names(account: Account) -> Iterator[Finding]:
    """Whether names and quotas of the account are free for a new stage."""
    if not account.config.pauses_when_idle:
        yield _proxy_name(account)
    if account.stack_status("Network") is not None:
        return
    service, code = VPC_QUOTA
    quota = or_none(lambda: account.client("service-quotas").get_service_quota(ServiceCode=service, QuotaCode=code))
    used, allowed = len(account.client("ec2").describe_vpcs()["Vpcs"]), int(quota["Quota"]["Value"]) if quota else 5
    if used >= allowed:
        yield error(
            "names", f"The region has {used} of {allowed} VPCs.", "Delete an unused VPC, or request more: Service Quotas → VPCs per Region."
        )
    else:
        yield ok("names", f"The region has {used} of {allowed} VPCs.")


def _proxy_name(account: Account) -> Finding:
    proxy = f"we-upload-{account.config.name}"
    if account.stack_status("Data") is None and or_none(lambda: account.client("rds").describe_db_proxies(DBProxyName=proxy)):
        return error("names", f"An RDS Proxy {proxy} exists, but not the stack that would own it.", f"Delete the proxy {proxy}.")
    return ok("names", f"The name {proxy} is free, or belongs to the stage.")


def check_domain(account: Account) -> Iterator[Finding]:
    """Whether the certificate is valid for the domain, and the domain is free."""
    config = account.config
    if config.domain_name is None or config.certificate_arn is None:
        yield ok("domain", "No custom domain.")
        return
    region = config.certificate_arn.split(":")[3]
    wanted = CLOUDFRONT_REGION if config.firewall else account.region
    if region != wanted:
        yield error("domain", f"The certificate is in {region}.", f"Create a certificate for {config.domain_name} in {wanted} (ACM).")
        return
    described = or_none(lambda: account.client("acm", region).describe_certificate(CertificateArn=config.certificate_arn))
    if described is None:
        yield error("domain", "The certificate does not exist.", f"Create a certificate for {config.domain_name} in {wanted} (ACM).")
        return
    certificate = described["Certificate"]
    if certificate["Status"] != "ISSUED":
        yield error(
            "domain", f"The certificate is {certificate['Status']}.", "Add the DNS records that ACM shows, and wait until it is issued."
        )
    names = {certificate["DomainName"], *certificate.get("SubjectAlternativeNames", [])}
    parent = f"*.{config.domain_name.partition('.')[2]}"
    if not names & {config.domain_name, parent}:
        yield error(
            "domain", f"The certificate is for {', '.join(sorted(names))}.", f"Create one for {config.domain_name} in {wanted} (ACM)."
        )
    elif certificate["Status"] == "ISSUED":
        yield ok("domain", f"The certificate is valid for {config.domain_name}.")
    if not config.firewall and account.stack_status("Api") is None:
        taken = or_none(lambda: account.client("apigatewayv2").get_domain_name(DomainName=config.domain_name))
        if taken is not None:
            yield error(
                "domain", f"API Gateway has {config.domain_name} already.", "Delete that custom domain name, or choose another one."
            )


def check_mail(account: Account) -> Iterator[Finding]:
    """Whether SES may send as the stage's sender to any recipient."""
    config = account.config
    if config.mail_from is None:
        yield ok("mail", "The stage sends no mail.")
        return
    ses = account.client("sesv2")
    state = ses.get_account()
    if not state["SendingEnabled"]:
        yield error("mail", "SES has paused sending for this account.", "See SES → Account dashboard for the reason.")
    if not state["ProductionAccessEnabled"]:
        yield warning(
            "mail",
            "SES is in the sandbox: it sends to verified recipients only.",
            "Request production access: SES → Account dashboard. It takes about a day.",
        )
    sender = config.verified_sender
    identity = or_none(lambda: ses.get_email_identity(EmailIdentity=sender))
    if config.makes_mail_identity:
        if identity is not None and account.stack_status("Data") is None:
            yield error("mail", f"The identity {sender} exists already.", "Deploy without makes_mail_identity.")
        else:
            yield ok("mail", f"The data stack creates the identity {sender}; add its DNS records afterwards.")
    elif identity is None:
        yield error(
            "mail", f"SES has no identity {sender} in {account.region}.", "Create and verify it, or deploy with makes_mail_identity=true."
        )
    elif not identity["VerifiedForSendingStatus"]:
        yield error("mail", f"The identity {sender} is not verified.", "Add the DNS records that SES shows.")
    else:
        yield ok("mail", f"The identity {sender} is verified.")


def check_authorities(account: Account) -> Iterator[Finding]:
    """Whether the package has the certificate authorities of RDS for the region."""
    if not AUTHORITIES.is_file():
        yield warning("authorities", "The package is not built yet.", "Run make package, then make preflight again.")
    elif account.region not in covered_regions(AUTHORITIES.read_text()):
        url = BUNDLE_URL.format(region=account.region)
        yield error(
            "authorities",
            f"The package lacks the authorities of RDS for {account.region}.",
            f"Download {url}; deploy with AUTHORITIES=file.",
        )
    else:
        yield ok("authorities", f"The package has the authorities of RDS for {account.region}.")


CHECKS: tuple[Check, ...] = (
    check_bootstrap,
    check_stacks,
    check_zones,
    check_engine,
    check_pausing,
    check_concurrency,
    check_snapshots,
    check_backups,
    check_names,
    check_domain,
    check_mail,
    check_authorities,
)
