"""What the routes of the plain app share: the database, its base class, the store, and the caller."""

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

import boto3  # type: ignore[import-untyped]  # boto3 ships no types
from botocore.config import Config  # type: ignore[import-untyped]  # botocore ships no types
from fastapi import Depends, HTTPException
from fastapi.security import OAuth2PasswordBearer
from jose import JWTError, jwt
from sqlalchemy import DateTime, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

BUCKET = os.environ["S3_BUCKET_NAME"]
URL_SECONDS = 900

engine = create_engine(os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+pg8000://"), pool_pre_ping=True)
SessionLocal = sessionmaker(engine, autoflush=False)
s3 = boto3.client(
    "s3",
    region_name=os.environ["AWS_REGION"],
    endpoint_url=os.environ.get("AWS_ENDPOINT_URL"),
    config=Config(signature_version="s3v4"),
)


class Base(DeclarativeBase):
    """Base class of the tables."""

    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012  # as in SQLAlchemy's guide


class User(Base):
    """A user."""

    __tablename__ = "user"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    hashed_password: Mapped[str]
    is_active: Mapped[bool]
    is_superuser: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


def get_db() -> Iterator[Session]:
    """Provide one session per request."""
    db = SessionLocal()
    try:
        yield db
    finally:
        db.close()


Db = Annotated[Session, Depends(get_db)]


def get_current_user(db: Db, token: Annotated[str, Depends(OAuth2PasswordBearer(tokenUrl="/api/v1/login/token"))]) -> User:
    """Return the user of the token."""
    try:
        claims = jwt.decode(token, os.environ["SECRET_KEY"], algorithms=["HS256"])
    except JWTError as error:
        raise HTTPException(401, "Could not validate credentials") from error
    user = db.get(User, UUID(claims["sub"]))
    if user is None or not user.is_active:
        raise HTTPException(401, "Could not validate credentials")
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]
