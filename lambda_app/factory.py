"""The one place that builds services; it knows nothing of HTTP."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Self

from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker

from lambda_app.core.aws import AwsAccess
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.core.security.tokens import AccessTokens
from lambda_app.core.settings import Settings, refuse_weak_key
from lambda_app.db.engine import create_database_engine
from lambda_app.db.health import DatabaseProbe
from lambda_app.db.session import create_session_factory, session_scope
from lambda_app.repositories.files import FileRepository
from lambda_app.repositories.users import UserRepository
from lambda_app.services.accounts import AccountService
from lambda_app.services.files import FileService
from lambda_app.storage.object_store import ObjectStore
from lambda_app.storage.s3 import S3ObjectStore

DATABASE_PROBE_SECONDS = 1.5
"""How long the health check waits for the database; its answer must come within 2 s."""

POSTGRES_PORT = 5432


@dataclass(frozen=True, slots=True)
class Services:
    """What lives as long as the process, and the services of one unit of work. Nothing connects before it is used."""

    settings: Settings
    aws: AwsAccess
    engine: Engine
    session_factory: sessionmaker[Session]
    store: ObjectStore
    passwords: PasswordHasher
    tokens: AccessTokens
    database_probe: DatabaseProbe

    @classmethod
    def build(cls, settings: Settings) -> Self:
        """Build everything from the settings."""
        aws = AwsAccess(settings)
        engine = create_database_engine(settings, password_source=_password_source(settings, aws))
        return cls(
            settings=settings,
            aws=aws,
            engine=engine,
            session_factory=create_session_factory(engine),
            store=S3ObjectStore(settings, aws),
            passwords=PasswordHasher(),
            tokens=AccessTokens(secret_key=_signing_key(settings, aws), lifetime=timedelta(minutes=settings.access_token_expire_minutes)),
            database_probe=DatabaseProbe(engine, timeout_seconds=DATABASE_PROBE_SECONDS),
        )

    @contextmanager
    def unit_of_work(self) -> Iterator[Session]:
        """One transaction: committed when the block succeeds, undone when it raises."""
        with session_scope(self.session_factory) as session:
            yield session

    def accounts(self, session: Session) -> AccountService:
        """The account service of one unit of work."""
        return AccountService(
            users=UserRepository(session),
            passwords=self.passwords,
            tokens=self.tokens,
            open_registration=self.settings.open_registration,
        )

    def files(self, session: Session) -> FileService:
        """The file service of one unit of work."""
        return FileService(files=FileRepository(session), store=self.store)

    def warm_up(self) -> None:
        """Load what the first requests will want, without asking the database: a SnapStart snapshot then holds it."""
        self.passwords.verify("", None)
        if self.settings.secret_key_arn:
            self.aws.client("secretsmanager")


def _signing_key(settings: Settings, aws: AwsAccess) -> Callable[[], str]:
    arn = settings.secret_key_arn
    if not arn:
        return settings.secret_key.get_secret_value

    def fetch() -> str:
        key = aws.secret(arn)
        refuse_weak_key(key)
        return key

    return fetch


def _password_source(settings: Settings, aws: AwsAccess) -> Callable[[], str] | None:
    if arn := settings.database_secret_arn:
        return lambda: str(json.loads(aws.secret(arn))["password"])
    if not settings.database_iam_auth:
        return None
    url = make_url(settings.database_url.get_secret_value())
    if not url.host or not url.username:
        raise ValueError("DATABASE_IAM_AUTH needs a host and a user in DATABASE_URL")
    return partial(aws.database_auth_token, url.host, url.port or POSTGRES_PORT, url.username)
