"""Settings of each stage, typed and frozen; `-c stage=NAME` selects one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from lambda_app.core.brand import require_brand_name, require_logo
from lambda_app.core.colours import require_readable_accent
from lambda_app.core.identity.providers import parse_providers, require_consistent
from lambda_app.core.places import require_places

BUCKET_METHODS = ("GET", "HEAD", "PUT")
"""Methods that web pages may use with a presigned URL (bucket CORS)."""
BUCKET_REQUEST_HEADERS = ("content-type", "content-length", "if-none-match", "x-amz-checksum-*", "x-amz-sdk-checksum-algorithm", "range")
"""Request headers that their scripts may send."""
BUCKET_EXPOSED_HEADERS = ("ETag", "Content-Disposition", "x-amz-checksum-sha256", "x-amz-checksum-crc64nvme", "x-amz-version-id")
"""Response headers that their scripts may read."""
BUCKET_CORS_SECONDS = 3600
"""How long a browser may cache the preflight response."""
GATEWAY_TIMEOUT_SECONDS = 29
"""HTTP API ends every request after 30 s; a longer timeout has no effect."""
FUNCTION_TIMEOUT_SECONDS = 20
WEBHOOK_TIMEOUT_SECONDS = 60
"""Longer than a batch of webhook messages may take: 20 s and one more attempt."""
ARCHIVE_TIMEOUT_SECONDS = 900
"""One run of the archive worker: Lambda's maximum. The worker stops earlier and requeues the archive."""
PREVIEW_TIMEOUT_SECONDS = 60
"""One run of the preview worker. Its decoder is killed after 20 s; the rest is reading and writing."""
PROXY_BORROW_TIMEOUT_SECONDS = 5
"""How long a statement waits for a connection from the proxy. The default of 120 s is longer than any request."""
REPLY_TIMEOUT_SECONDS = 10
"""How long the application waits for one reply of the database: the wait for a connection, then the statement, then the network.

Timeouts nest: statement 4 s (set by the migration, `db/roles`) < wait for a connection < reply < function < gateway. The innermost
expires first, so that the caller gets its error, and the database does not continue with a statement that has no client.
"""
PRESIGNED_URL_SECONDS = 900

PLACES_MAX_BYTES = 180_000_000
"""Largest database of places. A function and its layers may have 250 MiB together, of which the package takes 63 MB."""
FREE_VARIABLES_BYTES = 2000
"""Room for `identity_providers` and `cors_origins` together. A function's variables have at most 4 kB (Lambda developer guide, "Lambda
quotas"), and the others need up to half of them."""

HEALTH_REQUEST = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/health",
    "rawQueryString": "",
    "headers": {"host": "localhost"},
    "requestContext": {
        "http": {"method": "GET", "path": "/health", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "schedule"},
        "requestId": "schedule",
        "stage": "$default",
    },
    "isBase64Encoded": False,
}
"""A request as the gateway sends it (payload format 2.0), with which a schedule invokes functions that have a snapshot."""

CLOUDFRONT_REGION = "us-east-1"
"""CloudFront reads web ACLs and certificates from this region only."""

STARTING_TIMEOUT_SECONDS = 120
"""Timeout of a function that waits for a paused database to start, where no caller waits."""
STARTING_SIGN_IN_SECONDS = 45
"""How long such a function waits; the last attempt may take as long again.

Aurora starts in about 15 s, and in 30 s or more after a day without connections (Aurora user guide, "Auto-pause").
"""
PAUSED_SIGN_IN_SECONDS = 2
"""How long the API waits for a database that pauses, before it returns 503."""
AUTO_PAUSE_SECONDS = 300
"""Idle time after which the database pauses: the shortest that Aurora allows."""
IDLE_SESSION_SECONDS = 60
"""Idle time after which a database that pauses closes a connection. A function that Lambda has frozen cannot close its own."""

MAX_LOCK_DAYS = 3650
"""Longest lock of a checkpoint: ten years, as in the API's settings."""

SHARED_WORKERS, SINGLE_WORKERS = 3, 5
"""Functions with `worker_concurrency` each, and functions that run one at a time (infra/components/functions.py, migration.py)."""

RESERVED_CONNECTION_SHARE = 0.2
"""Share of the database's connections kept for operators, backups and the proxy's health checks."""


class DatabaseKind(StrEnum):
    """`instance` is one small server; `aurora` is Aurora Serverless v2 in two zones."""

    INSTANCE = "instance"
    AURORA = "aurora"


class VaultLock(StrEnum):
    """`governance`: a principal with `backup:DeleteBackupVaultLockConfiguration` can remove it. `compliance`: after 3 days, none can."""

    NONE = "none"
    GOVERNANCE = "governance"
    COMPLIANCE = "compliance"


class ConfigError(ValueError):
    """A stage with invalid settings; the message names the setting."""


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """Settings of one stage. Every default is the safe choice."""

    name: str
    environment: str
    availability_zones: int = 2
    zones: tuple[str, ...] = ()
    """Names of the availability zones, for example `us-east-1a`. Empty: the first zones of the region, which RDS Proxy may not support."""
    database: DatabaseKind = DatabaseKind.AURORA
    instance_class: str = "t4g.micro"
    """For `instance` only."""
    min_capacity_units: float = 0.5
    max_capacity_units: float = 4
    """Aurora capacity units (2 GiB of memory each)."""
    pauses_when_idle: bool = False
    """Whether the database pauses when it is not used (`min_capacity_units` is 0).

    The stage then has what costs nothing while idle: no RDS Proxy, no interface endpoints, no snapshots, keys in S3, few alarms; and no
    schedule that starts the database more than daily.
    """
    database_connections: int = 100
    """`max_connections` of PostgreSQL at this size; docs/deploy.md shows how it follows from memory."""
    backup_days: int = 14
    reads_from_standby: bool = False
    """Whether statistics and lists of the audit log are read from Aurora's standby, through a read-only endpoint of the proxy."""
    protects_data: bool = True
    """Termination protection, deletion protection, and buckets and databases that remain when their stack is deleted."""
    api_concurrency: int = 50
    """Maximum concurrent executions of the API. Each holds one connection to the proxy."""
    worker_concurrency: int = 5
    reserves_concurrency: bool = True
    """Whether the functions reserve their concurrency. A new account has a limit of 10, which allows no reservation."""
    log_days: int = 90
    cors_origins: tuple[str, ...] = ()
    """Origins whose web pages may call the API and S3. Never `*`."""
    requests_per_second: int = 100
    """The gateway's rate limit for all callers together; the burst limit is twice the rate."""
    sign_ins_per_second: int = 10
    """The same for each route that hashes a password or sends mail."""
    domain_name: str | None = None
    certificate_arn: str | None = None
    """ACM certificate of `domain_name`, in the region of the stack, or in us-east-1 with a firewall."""
    firewall: bool = False
    """CloudFront with a web ACL in front of the API, which then refuses direct requests; needs `domain_name`."""
    requests_per_address: int = 2000
    """Requests that the firewall allows one IP address in five minutes."""
    origin_key: int = 1
    """Generation of the key that CloudFront sends to the API; increment it to replace the key."""
    mail_from: str | None = None
    """Sender of mail, an address of `mail_identity`. None: no mail is sent."""
    mail_identity: str | None = None
    """The verified SES identity, a domain or an address. Default: the domain of `mail_from`."""
    makes_mail_identity: bool = False
    """Whether the data stack creates the SES identity. Otherwise it must exist."""
    public_url: str | None = None
    """Base address of the links in mail, https:// only."""
    default_language: str | None = None
    """Language of mails to accounts that have chosen none. None: English."""
    abuse_email: str | None = None
    """Address to which recipients of links report abuse."""
    brand_name: str | None = None
    """Name of the service in the web app, on pages and in mail. None: We-Upload."""
    brand_accent: str | None = None
    """Accent colour of the web app, of pages and of mail, such as `#7a1fa2`. None: that of the product."""
    brand_logo: str | None = None
    """File of the logo, SVG or PNG, on the machine that deploys. None: the mark of the product."""
    places_file: str | None = None
    """MaxMind DB file of cities or countries on the machine that deploys. None: sessions show no places."""
    alarm_email: str | None = None
    monthly_budget: int = 400
    """Dollars of a month at which `alarm_email` gets a warning, for the resources with the stage's tag."""
    releases_gradually: bool = True
    """Whether a release moves a tenth of the traffic first and goes back on alarms (CodeDeploy). Otherwise all traffic moves at once."""
    uses_kms: bool = False
    """A customer managed KMS key for the bucket instead of S3 managed encryption."""
    scans_for_malware: bool = False
    """GuardDuty scans and tags every new object; objects without the clean tag cannot be read."""
    serves_unscannable: bool = False
    """Whether objects that GuardDuty cannot scan (password-protected, too large) can be read. For `scans_for_malware` only."""
    makes_previews: bool = True
    """Whether the preview worker is deployed. Without it, files have no thumbnails."""
    open_registration: bool = True
    require_verified_email: bool = False
    """Whether users must confirm their address before they can sign in; needs `mail_from`."""
    identity_providers: str | None = None
    """The JSON list of `IDENTITY_PROVIDERS`, without client secrets; needs `domain_name`. None: only passwords."""
    identity_secrets: str | None = None
    """ARN of the operator's secret with the client secrets of the providers, in the region of the stack."""
    password_sign_in: bool = True
    """Whether accounts can sign in with a password; false needs `identity_providers`."""
    require_second_factor: str | None = None
    """Whose accounts must have a second factor: `superusers` or `all`. None: those for which a superuser requires one."""
    invitations_by_users: bool = False
    """Whether users may invite addresses without an account to their files; needs `mail_from`."""
    recovery_region: str | None = None
    """Another region that receives a copy of each daily backup of the database (AWS Backup). None: no copies."""
    replicates_objects: bool = False
    """Whether S3 copies each object to a bucket in `recovery_region`."""
    vault_lock: VaultLock = VaultLock.NONE
    """Whether backups are locked against deletion until they expire."""
    noncurrent_days: int = 30
    """Days that the deleted version of an object can be restored."""
    checkpoint_lock_days: int = 0
    """Days for which Object Lock protects each copy of a checkpoint, in a bucket of its own. 0: the copies are not locked."""

    def __post_init__(self) -> None:
        """Check that the settings are consistent. Raises ConfigError."""
        if any("*" in origin or "://" not in origin or origin.endswith("/") for origin in self.cors_origins):
            raise ConfigError("cors_origins must be origins such as https://app.example.com, never * and without a path")
        if len(",".join((self.identity_providers or "", *self.cors_origins)).encode()) > FREE_VARIABLES_BYTES:
            raise ConfigError(f"identity_providers and cors_origins together may have at most {FREE_VARIABLES_BYTES} bytes")
        if (self.domain_name is None) != (self.certificate_arn is None):
            raise ConfigError("domain_name and certificate_arn come together")
        self._check_firewall()
        self._check_mail()
        self._check_brand_and_files()
        self._check_pausing()
        if self.reads_from_standby and (self.database is not DatabaseKind.AURORA or self.pauses_when_idle):
            raise ConfigError(f"{self.name}: reads_from_standby needs a standby, which this database does not have")
        self._check_identity_providers()
        if self.serves_unscannable and not self.scans_for_malware:
            raise ConfigError("serves_unscannable needs scans_for_malware")
        self._check_copies()
        usable = int(self.database_connections * (1 - RESERVED_CONNECTION_SHARE))
        # The preview worker has no connection.
        connected = self._shared_executions - self.makes_previews * self.worker_concurrency
        if self.api_concurrency + connected > usable:
            raise ConfigError(f"{self.name}: api_concurrency and the workers together exceed {usable} database connections")
        if not 2 <= self.availability_zones <= 3:
            raise ConfigError("availability_zones is 2 or 3: RDS Proxy needs two")
        if self.zones and len(set(self.zones)) != self.availability_zones:
            raise ConfigError(f"{self.name}: zones must name {self.availability_zones} different availability zones")

    @property
    def reserved_executions(self) -> int:
        """The concurrent executions that the stage's functions reserve together."""
        if not self.reserves_concurrency:
            return 0
        return self.api_concurrency + self._shared_executions + SINGLE_WORKERS

    @property
    def _shared_executions(self) -> int:
        shared = SHARED_WORKERS + self.makes_previews + self.scans_for_malware
        shared += (1 if self.identity_providers else 0) + (2 if self.sends_webhooks else 0)
        return shared * self.worker_concurrency

    @property
    def sends_webhooks(self) -> bool:
        """Whether the stage has the functions that send webhooks. They would start a database that pauses each minute."""
        return not self.pauses_when_idle

    @property
    def bucket_origins(self) -> tuple[str, ...]:
        """Origins whose pages may use the bucket: `cors_origins` and the origin of the API's own upload page (`/r/{token}`)."""
        own = [f"https://{self.domain_name}"] if self.domain_name else []
        return tuple(dict.fromkeys((*self.cors_origins, *own)))

    def _check_pausing(self) -> None:
        if self.pauses_when_idle != (self.min_capacity_units == 0):
            raise ConfigError("pauses_when_idle and min_capacity_units = 0 come together")
        if not self.pauses_when_idle:
            return
        if self.database is not DatabaseKind.AURORA:
            raise ConfigError("pauses_when_idle needs Aurora: an instance does not pause")
        if self.mail_from is not None or self.firewall:
            # SES needs an interface endpoint, and the API reads CloudFront's key through another one.
            raise ConfigError(f"{self.name}: mail_from and firewall need an interface endpoint, which pauses_when_idle leaves out")
        if self.releases_gradually:
            raise ConfigError(f"{self.name}: releases_gradually needs alarms, which pauses_when_idle leaves out")

    def _check_copies(self) -> None:
        if not 0 <= self.checkpoint_lock_days <= MAX_LOCK_DAYS:
            raise ConfigError(f"checkpoint_lock_days must be from 0 to {MAX_LOCK_DAYS}: no principal can shorten a lock")
        if self.recovery_region is None and (self.replicates_objects or self.vault_lock is not VaultLock.NONE):
            raise ConfigError("replicates_objects and vault_lock need recovery_region")
        if self.replicates_objects and self.uses_kms:
            raise ConfigError("replicates_objects cannot be combined with uses_kms: the key of the bucket exists in one region only")

    def _check_firewall(self) -> None:
        if self.firewall and self.certificate_arn is None:
            raise ConfigError("firewall needs domain_name and certificate_arn: the default domain of CloudFront accepts TLS 1.0")
        if self.firewall and f":{CLOUDFRONT_REGION}:" not in str(self.certificate_arn):
            raise ConfigError(f"with firewall, certificate_arn must be in {CLOUDFRONT_REGION}")
        if self.origin_key < 1:
            raise ConfigError("origin_key must be 1 or more")

    def _check_mail(self) -> None:
        if self.require_second_factor not in (None, "superusers", "all"):
            raise ConfigError("require_second_factor must be superusers or all")
        if self.default_language not in (None, "en", "de"):
            raise ConfigError("default_language must be en or de")
        if self.public_url is not None and not self.public_url.startswith("https://"):
            raise ConfigError("public_url must be an https:// address")
        if self.mail_from is None:
            if self.require_verified_email:
                raise ConfigError("require_verified_email needs mail_from, which sends the mail to confirm an address")
            if self.invitations_by_users:
                raise ConfigError("invitations_by_users needs mail_from, which sends the invitations")
            if self.mail_identity is not None or self.makes_mail_identity:
                raise ConfigError("mail_identity and makes_mail_identity need mail_from")
            return
        if self.public_url is None:
            raise ConfigError("mail_from needs public_url, for the links in mail")
        name, _, domain = self.mail_from.partition("@")
        if not name or "." not in domain or any(char in self.mail_from for char in " <>*,"):
            raise ConfigError("mail_from must be a bare address such as files@example.com")

    def _check_brand_and_files(self) -> None:
        checks: dict[str, Callable[[str], object]] = {
            "brand_name": require_brand_name,
            "brand_accent": require_readable_accent,
            "brand_logo": lambda path: require_logo(Path(path)),
            "places_file": lambda path: _require_deployable(require_places(Path(path))),
        }
        for name, check in checks.items():
            value = getattr(self, name)
            try:
                if value is not None:
                    check(value)
            except ValueError as error:
                raise ConfigError(f"{name} {error}") from None

    def _check_identity_providers(self) -> None:
        if self.identity_providers is None:
            if self.identity_secrets is not None or not self.password_sign_in:
                raise ConfigError("identity_secrets and password_sign_in=false need identity_providers")
            return
        if self.domain_name is None:
            raise ConfigError("identity_providers needs domain_name: the providers redirect to a fixed address")
        try:
            providers = parse_providers(self.identity_providers)
            require_consistent(providers, is_local=False)
        except ValueError as error:
            raise ConfigError(f"identity_providers {error}") from None
        if any(provider.client_secret is not None for provider in providers):
            raise ConfigError("identity_providers must not contain client_secret, which templates would show; put it into identity_secrets")
        if self.identity_secrets is not None and ":secretsmanager:" not in self.identity_secrets:
            raise ConfigError("identity_secrets must be the ARN of a Secrets Manager secret")

    @property
    def verified_sender(self) -> str:
        """The SES identity of the sender. Raises ConfigError when the stage sends no mail."""
        if self.mail_from is None:
            raise ConfigError("mail_from is not set")
        return self.mail_identity or self.mail_from.partition("@")[2]


LOCAL = "local"
"""The stage for LocalStack and other emulators; its stacks are in infra/stacks/local.py."""

STAGES = {
    "dev": StageConfig(
        name="dev",
        environment="dev",
        database=DatabaseKind.INSTANCE,
        database_connections=80,
        backup_days=1,
        protects_data=False,
        api_concurrency=10,
        worker_concurrency=2,
        reserves_concurrency=False,
        releases_gradually=False,
        monthly_budget=100,
        log_days=14,
        cors_origins=("http://localhost:5173", "http://localhost:3000"),
        requests_per_second=20,
        sign_ins_per_second=5,
        noncurrent_days=7,
    ),
    "staging": StageConfig(name="staging", environment="staging", backup_days=7, log_days=30, open_registration=False),
    "prod": StageConfig(
        name="prod",
        environment="prod",
        availability_zones=3,
        min_capacity_units=1,
        max_capacity_units=16,
        database_connections=1000,
        backup_days=35,
        api_concurrency=500,
        worker_concurrency=20,
        log_days=365,
        requests_per_second=1000,
        sign_ins_per_second=50,
        monthly_budget=1000,
    ),
    "small": StageConfig(
        name="small",
        environment="prod",
        pauses_when_idle=True,
        # Its results would wake the database.
        makes_previews=False,
        min_capacity_units=0,
        max_capacity_units=2,
        backup_days=7,
        api_concurrency=20,
        worker_concurrency=2,
        reserves_concurrency=False,
        releases_gradually=False,
        open_registration=False,
        monthly_budget=10,
        log_days=30,
        requests_per_second=20,
        sign_ins_per_second=5,
    ),
    LOCAL: StageConfig(
        name=LOCAL,
        environment="local",
        protects_data=False,
        api_concurrency=5,
        worker_concurrency=2,
        log_days=14,
        cors_origins=("http://localhost:5173", "http://localhost:3000"),
        noncurrent_days=7,
        # LocalStack's community edition runs functions without the filter of system calls that the decoder needs.
        makes_previews=False,
    ),
}

_TEXT_OVERRIDES = (
    "domain_name",
    "certificate_arn",
    "alarm_email",
    "mail_from",
    "mail_identity",
    "public_url",
    "default_language",
    "abuse_email",
    "brand_name",
    "brand_accent",
    "brand_logo",
    "places_file",
    "recovery_region",
    "identity_providers",
    "identity_secrets",
    "require_second_factor",
)
_FLAG_OVERRIDES = (
    "uses_kms",
    "replicates_objects",
    "reads_from_standby",
    "releases_gradually",
    "scans_for_malware",
    "serves_unscannable",
    "makes_previews",
    "open_registration",
    "require_verified_email",
    "password_sign_in",
    "invitations_by_users",
    "firewall",
    "makes_mail_identity",
)
_LIST_OVERRIDES = ("cors_origins", "zones")
_NUMBER_OVERRIDES = ("requests_per_address", "origin_key", "monthly_budget", "checkpoint_lock_days")


def stage_config(context: Callable[[str], Any]) -> StageConfig:
    """Return the stage that `context` (a construct's `try_get_context`) names, with the overrides of the context.

    `-c stage=prod -c cors_origins=https://app.example.com,https://www.example.com -c alarm_email=ops@example.com -c uses_kms=true`.
    Raises ConfigError for an unknown stage or value.
    """
    name = context("stage") or "dev"
    if name not in STAGES:
        raise ConfigError(f"stage must be one of {', '.join(STAGES)}, not {name!r}")
    overrides: dict[str, Any] = {key: context(key) for key in _TEXT_OVERRIDES if context(key)}
    overrides |= {key: _flag(key, context(key)) for key in _FLAG_OVERRIDES if context(key) is not None}
    overrides |= {key: _number(key, context(key)) for key in _NUMBER_OVERRIDES if context(key) is not None}
    overrides |= {key: tuple(part.strip() for part in context(key).split(",")) for key in _LIST_OVERRIDES if context(key)}
    if context("vault_lock"):
        overrides["vault_lock"] = _vault_lock(context("vault_lock"))
    return replace(STAGES[name], **overrides)


def _flag(key: str, value: Any) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ConfigError(f"{key} must be true or false, not {value!r}")
    return str(value).lower() == "true"


def _number(key: str, value: Any) -> int:
    if not str(value).isdecimal():
        raise ConfigError(f"{key} must be a whole number, not {value!r}")
    return int(value)


def _vault_lock(value: str) -> VaultLock:
    if value not in set(VaultLock):
        raise ConfigError(f"vault_lock must be one of {', '.join(VaultLock)}, not {value!r}")
    return VaultLock(value)


def _require_deployable(path: Path) -> Path:
    size = path.stat().st_size
    if size > PLACES_MAX_BYTES:
        raise ValueError(f"has {size:,} bytes; at most {PLACES_MAX_BYTES:,} fit into a Lambda function")
    return path
