"""Daily backups of the database by AWS Backup, copied to a vault in another region."""

from aws_cdk import Aws, Duration, RemovalPolicy, Stack
from aws_cdk import aws_backup as backup
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.components.nag_suppressions import suppress_nag
from infra.config import StageConfig, VaultLock

LOCK_MIN_DAYS = 1
COMPLIANCE_GRACE_DAYS = 3
"""Days in which a lock of mode `compliance` can still be removed. Afterwards not even AWS can (AWS Backup guide, "Vault Lock")."""
START_HOUR = 3


class LockedVault(Construct):
    """A vault of the stage; with a lock, recovery points cannot be deleted before their time."""

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig, name: str) -> None:
        super().__init__(scope, construct_id)
        self.vault = backup.BackupVault(
            self,
            "Vault",
            backup_vault_name=name,
            lock_configuration=_lock(config),
            removal_policy=RemovalPolicy.RETAIN if config.protects_data else RemovalPolicy.DESTROY,
        )


def _lock(config: StageConfig) -> backup.LockConfiguration | None:
    if config.vault_lock is VaultLock.NONE:
        return None
    return backup.LockConfiguration(
        min_retention=Duration.days(LOCK_MIN_DAYS),
        max_retention=Duration.days(config.backup_days),
        changeable_for=Duration.days(COMPLIANCE_GRACE_DAYS) if config.vault_lock is VaultLock.COMPLIANCE else None,
    )


class DailyBackups(Construct):
    """The plan that backs up the database each night and copies the recovery point to the recovery region."""

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig, database: backup.BackupResource) -> None:
        super().__init__(scope, construct_id)
        name = vault_name(config)
        here = LockedVault(self, "Here", config=config, name=name)
        there = backup.BackupVault.from_backup_vault_arn(
            self, "There", f"arn:{Aws.PARTITION}:backup:{config.recovery_region}:{Aws.ACCOUNT_ID}:backup-vault:{name}"
        )
        plan = backup.BackupPlan(self, "Plan", backup_plan_name=name)
        plan.add_rule(
            backup.BackupPlanRule(
                rule_name="daily",
                backup_vault=here.vault,
                schedule_expression=events.Schedule.cron(hour=str(START_HOUR), minute="0"),
                delete_after=Duration.days(config.backup_days),
                copy_actions=[
                    backup.BackupPlanCopyActionProps(destination_backup_vault=there, delete_after=Duration.days(config.backup_days))
                ],
            )
        )
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("backup.amazonaws.com"))
        plan.add_selection("Database", resources=[database], role=role)
        suppress_nag(
            role,
            "AwsSolutions-IAM4",
            "Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup",
            reason="The policy that AWS maintains for backups; it cannot restore.",
        )


def vault_name(config: StageConfig) -> str:
    """Return the name of the stage's vaults, the same in both regions."""
    return f"we-upload-{config.name}"


def replica_bucket_name(stack: Stack, config: StageConfig) -> str:
    """Return the name of the bucket that receives the objects. Names of buckets are global, so it contains the account and the region."""
    return f"we-upload-{config.name}-replica-{stack.account}-{config.recovery_region}"
