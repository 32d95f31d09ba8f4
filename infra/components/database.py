"""PostgreSQL: encrypted, with backups, IAM authentication and TLS only; behind RDS Proxy unless it pauses."""

from typing import cast

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_backup as backup
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_rds as rds
from constructs import Construct

from infra.components.nag_suppressions import suppress_nag
from infra.config import AUTO_PAUSE_SECONDS, IDLE_SESSION_SECONDS, PROXY_BORROW_TIMEOUT_SECONDS, DatabaseKind, StageConfig

DATABASE_NAME = "we_upload"
APP_USER = "we_upload"
"""The application's role: signs in with IAM, and may only read and write rows."""
OWNER = "postgres"
"""The owner of the tables, who signs in to the database directly. Only migrations use it."""
PORT = 5432

POSTGRES_MAJOR = "17"
"""Only the major version: RDS creates the database with its default minor version and then upgrades it. A minor version in the template
would be older than the database's after the first upgrade, and a deployment that changes the database would fail."""
POSTGRES = rds.PostgresEngineVersion.of(POSTGRES_MAJOR, POSTGRES_MAJOR)
AURORA_POSTGRES = rds.AuroraPostgresEngineVersion.of(POSTGRES_MAJOR, POSTGRES_MAJOR)
LOG_MINUTES = 7 * 24 * 60
"""How long the server keeps its log files, the longest time that RDS allows."""


class Database(Construct):
    """The database, its proxy and their security groups.

    A database that pauses has no proxy, whose open connections would keep it running (Aurora user guide, "Auto-pause"), and no password:
    functions outside Secrets Manager's reach could not read it.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: StageConfig, vpc: ec2.IVpc, function_group: ec2.ISecurityGroup
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self._vpc = vpc
        self._subnets = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
        self.group = ec2.SecurityGroup(self, "Group", vpc=vpc, description="We-Upload PostgreSQL", allow_all_outbound=False)
        server = self._instance() if config.database is DatabaseKind.INSTANCE else self._cluster()
        self.secret = None if config.pauses_when_idle else server.secret
        """The owner's password. None: the owner signs in with IAM only."""
        self.backup_resource = (
            backup.BackupResource.from_rds_database_instance(server)
            if isinstance(server, rds.DatabaseInstance)
            else backup.BackupResource.from_rds_database_cluster(server)
        )
        target, self.host, self.dimensions = _connection_details(server)
        # The CDK adds the rule from the proxy to the database; EC2 refuses duplicates.
        reason = "Functions" if config.pauses_when_idle else "Migrations, which sign in as the owner"
        self.group.add_ingress_rule(function_group, ec2.Port.tcp(PORT), reason)
        self.proxy = None if config.pauses_when_idle else self._add_proxy(target, function_group)
        self.read_host = self._add_read_endpoint() if config.reads_from_standby else None
        """Host of the standby, through the proxy. None: all reads go to the writer."""

    def _add_proxy(self, target: rds.ProxyTarget, function_group: ec2.ISecurityGroup) -> rds.DatabaseProxy:
        proxy_group = ec2.SecurityGroup(self, "ProxyGroup", vpc=self._vpc, description="We-Upload RDS Proxy", allow_all_outbound=False)
        proxy_group.add_ingress_rule(function_group, ec2.Port.tcp(PORT), "Functions")
        # The role that the CDK would create has no rds-db:connect permission.
        proxy_role = iam.Role(self, "ProxyRole", assumed_by=iam.ServicePrincipal("rds.amazonaws.com"))
        self._grant_server(proxy_role, APP_USER)
        return rds.DatabaseProxy(
            self,
            "Proxy",
            # The default name is "Proxy", which two stages of one account cannot share.
            db_proxy_name=f"we-upload-{self._config.name}",
            role=proxy_role,
            proxy_target=target,
            vpc=self._vpc,
            vpc_subnets=self._subnets,
            security_groups=[proxy_group],
            # End to end: the application's role has no password, neither at the proxy nor at the database.
            default_auth_scheme=rds.DefaultAuthScheme.IAM_AUTH,
            require_tls=True,
            borrow_timeout=Duration.seconds(PROXY_BORROW_TIMEOUT_SECONDS),
            max_connections_percent=90,
            max_idle_connections_percent=50,
            idle_client_timeout=Duration.minutes(30),
        )

    def _add_read_endpoint(self) -> str:
        if self.proxy is None:
            raise ValueError("a read-only endpoint needs the proxy")
        # The sign-in is that of the proxy itself: `rds-db:connect` names the proxy, not its endpoint.
        endpoint = rds.CfnDBProxyEndpoint(
            self,
            "ReadEndpoint",
            db_proxy_endpoint_name=f"we-upload-{self._config.name}-read",
            db_proxy_name=self.proxy.db_proxy_name,
            target_role="READ_ONLY",
            vpc_subnet_ids=self._vpc.select_subnets(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED).subnet_ids,
            vpc_security_group_ids=[group.security_group_id for group in self.proxy.connections.security_groups],
        )
        return endpoint.attr_endpoint

    def grant_connect(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` sign in as the application's role: through the proxy, or to the database itself if there is none."""
        if self.proxy is None:
            self._grant_server(grantee, APP_USER)
        else:
            self.proxy.grant_connect(grantee, APP_USER)

    def grant_owner(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` sign in to the database directly as the owner, by password or by IAM token (see handlers/migrate)."""
        if self.secret is not None:
            self.secret.grant_read(grantee)
        self._grant_server(grantee, OWNER)

    def _grant_server(self, grantee: iam.IGrantable, user: str) -> None:
        """Let `grantee` sign in to the database itself, also to one that was restored from a backup.

        Not the CDK's `grant_connect`, which names the resource id. A restored database has another id, so neither the proxy nor the
        migrate function could sign in to it, and the password is no alternative (ADR 32).
        """
        kind = "db" if self._config.database is DatabaseKind.INSTANCE else "cluster"
        resource = f"arn:{Aws.PARTITION}:rds-db:{Aws.REGION}:{Aws.ACCOUNT_ID}:dbuser:{kind}-*/{user}"
        iam.Grant.add_to_principal(grantee=grantee, actions=["rds-db:connect"], resource_arns=[resource])
        suppress_nag(
            cast("Construct", grantee),
            "AwsSolutions-IAM5",
            f"Resource::arn:<AWS::Partition>:rds-db:<AWS::Region>:<AWS::AccountId>:dbuser:{kind}-*/{user}",
            reason="A restored database has a new resource id. Security groups limit which databases can be reached.",
        )

    def app_url(self, *, authorities: str) -> str:
        """Return the URL for the application, without a password, with verified TLS: the proxy, or the database if there is none.

        A public authority has signed the certificate of the proxy, and the authorities of RDS in `authorities` that of the database.
        """
        if self.proxy is None:
            return f"postgresql://{APP_USER}@{self.host}:{PORT}/{DATABASE_NAME}?sslmode=verify-full&sslrootcert={authorities}"
        return f"postgresql://{APP_USER}@{self.proxy.endpoint}:{PORT}/{DATABASE_NAME}?sslmode=verify-full"

    def owner_url(self, *, authorities: str) -> str:
        """Return the URL for migrations: the database itself, verified by the CA bundle `authorities`."""
        return f"postgresql://{OWNER}@{self.host}:{PORT}/{DATABASE_NAME}?sslmode=verify-full&sslrootcert={authorities}"

    @property
    def _removal(self) -> RemovalPolicy:
        return RemovalPolicy.SNAPSHOT if self._config.protects_data else RemovalPolicy.DESTROY

    def _parameters(self) -> dict[str, str]:
        # Lambda freezes a function between requests with its connection open, and an open connection prevents the pause.
        closing = {"idle_session_timeout": str(IDLE_SESSION_SECONDS * 1000)} if self._config.pauses_when_idle else {}
        return closing | {
            "rds.force_ssl": "1",
            # Log statements that take over 0.5 s, and waits for locks, but no values: parameters contain password hashes and addresses,
            # and so do the DETAIL and CONTEXT lines of errors, which `terse` leaves out.
            "log_min_duration_statement": "500",
            "log_lock_waits": "1",
            "log_parameter_max_length": "0",
            "log_parameter_max_length_on_error": "0",
            "log_error_verbosity": "terse",
            "rds.log_retention_period": str(LOG_MINUTES),
        }

    def _instance(self) -> rds.DatabaseInstance:
        instance = rds.DatabaseInstance(
            self,
            "Instance",
            engine=rds.DatabaseInstanceEngine.postgres(version=POSTGRES),
            instance_type=ec2.InstanceType(self._config.instance_class),
            vpc=self._vpc,
            vpc_subnets=self._subnets,
            security_groups=[self.group],
            credentials=rds.Credentials.from_username(OWNER),
            manage_master_user_password=True,
            database_name=DATABASE_NAME,
            iam_authentication=True,
            storage_encrypted=True,
            storage_type=rds.StorageType.GP3,
            allocated_storage=20,
            max_allocated_storage=100,
            multi_az=False,
            backup_retention=Duration.days(self._config.backup_days),
            deletion_protection=self._config.protects_data,
            removal_policy=self._removal,
            copy_tags_to_snapshot=True,
            auto_minor_version_upgrade=True,
            parameters=self._parameters(),
        )
        suppress_nag(
            instance,
            "AwsSolutions-RDS3",
            reason="A single instance is for a stage that may be unavailable; the other stages run Aurora in two zones.",
        )
        suppress_nag(
            instance,
            "AwsSolutions-RDS10",
            reason="Follows protects_data, which is false only for stages that `cdk destroy` must be able to delete.",
        )
        suppress_nag(
            instance,
            "AwsSolutions-RDS11",
            reason="Only members of the security groups can reach the port, so another number adds no protection.",
        )
        return instance

    def _cluster(self) -> rds.DatabaseCluster:
        pauses = self._config.pauses_when_idle
        # In another zone; it scales with the writer, so that it has the same capacity at a failover.
        standby = rds.ClusterInstance.serverless_v2("standby", scale_with_writer=True, enable_performance_insights=True)
        cluster = rds.DatabaseCluster(
            self,
            "Cluster",
            engine=rds.DatabaseClusterEngine.aurora_postgres(version=AURORA_POSTGRES),
            writer=rds.ClusterInstance.serverless_v2("writer", enable_performance_insights=not pauses),
            readers=[] if pauses else [standby],
            serverless_v2_auto_pause_duration=Duration.seconds(AUTO_PAUSE_SECONDS) if pauses else None,
            serverless_v2_min_capacity=self._config.min_capacity_units,
            serverless_v2_max_capacity=self._config.max_capacity_units,
            vpc=self._vpc,
            vpc_subnets=self._subnets,
            security_groups=[self.group],
            credentials=rds.Credentials.from_username(OWNER),
            manage_master_user_password=True,
            default_database_name=DATABASE_NAME,
            iam_authentication=True,
            storage_encrypted=True,
            backup=rds.BackupProps(retention=Duration.days(self._config.backup_days)),
            deletion_protection=self._config.protects_data,
            removal_policy=self._removal,
            copy_tags_to_snapshot=True,
            # No export to CloudWatch: RDS creates that log group without a retention. The log stays on the server for LOG_MINUTES.
            parameters=self._parameters(),
        )
        if pauses:
            _sign_in_owner_by_iam(cluster)
        return cluster


def _sign_in_owner_by_iam(cluster: rds.DatabaseCluster) -> None:
    """Create the owner as a member of `rds_iam`, without a password. The CDK's construct has no property for it."""
    resource = cluster.node.default_child
    if not isinstance(resource, rds.CfnDBCluster):
        raise TypeError("the cluster's default child must be its CloudFormation resource")
    resource.master_user_authentication_type = "iam-db-auth"
    resource.manage_master_user_password = None


def _connection_details(server: rds.DatabaseInstance | rds.DatabaseCluster) -> tuple[rds.ProxyTarget, str, dict[str, str]]:
    """Return the target of the proxy, the host of the database, and the dimensions of its metrics."""
    if isinstance(server, rds.DatabaseInstance):
        dimensions = {"DBInstanceIdentifier": server.instance_identifier}
        return rds.ProxyTarget.from_instance(server), server.db_instance_endpoint_address, dimensions
    return rds.ProxyTarget.from_cluster(server), server.cluster_endpoint.hostname, {"DBClusterIdentifier": server.cluster_identifier}
