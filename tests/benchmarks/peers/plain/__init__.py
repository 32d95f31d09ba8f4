"""The app of most tutorials: FastAPI, Mangum, SQLAlchemy on pg8000, boto3, python-jose and passlib, each as in its guide.

Where tutorials differ, it uses the faster way: one boto3 client per process, no relationships, `lifespan="off"`. Like most of them it
checks each connection before use (`pool_pre_ping`), runs its routes in FastAPI's threads, and has no sessions, quotas or logs.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID, uuid4

import boto3  # type: ignore[import-untyped]  # boto3 ships no types
from botocore.config import Config  # type: ignore[import-untyped]  # botocore ships no types
from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from jose import JWTError, jwt
from mangum import Mangum
from passlib.context import CryptContext
from pydantic import BaseModel, ConfigDict
from sqlalchemy import DateTime, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

BUCKET = os.environ["S3_BUCKET_NAME"]
URL_SECONDS = 900

engine = create_engine(os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+pg8000://"), pool_pre_ping=True)
SessionLocal = sessionmaker(engine, autoflush=False)
passwords = CryptContext(schemes=["argon2"])
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


class File(Base):
    """A file."""

    __tablename__ = "file"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    filename: Mapped[str]
    content_type: Mapped[str]
    size_bytes: Mapped[int]
    description: Mapped[str | None]
    is_public: Mapped[bool]
    s3_key: Mapped[str]
    owner_id: Mapped[UUID]
    status: Mapped[str]
    upload_expires_at: Mapped[datetime]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class UserOut(BaseModel):
    """A user in responses."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str
    is_active: bool
    is_superuser: bool
    created_at: datetime
    updated_at: datetime


class FileIn(BaseModel):
    """The metadata of a new file."""

    filename: str
    content_type: str
    size_bytes: int
    description: str | None = None
    is_public: bool = False


class FileChange(BaseModel):
    """Changes to a file."""

    filename: str | None = None
    description: str | None = None
    is_public: bool | None = None


class FileOut(FileIn):
    """A file in responses."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    s3_key: str
    owner_id: UUID
    status: str
    created_at: datetime
    updated_at: datetime


app = FastAPI()


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


def _require_readable(db: Session, file_id: UUID, user: User) -> File:
    file = db.get(File, file_id)
    if file is None:
        raise HTTPException(404, "File not found")
    if file.owner_id != user.id and not file.is_public and not user.is_superuser:
        raise HTTPException(403, "Not enough permissions to access this file")
    return file


@app.post("/api/v1/login/token")
def sign_in(db: Db, form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> dict[str, Any]:
    """Exchange a password for a token."""
    user = db.scalar(select(User).where(User.email == form.username))
    if user is None or not passwords.verify(form.password, user.hashed_password):
        raise HTTPException(401, "Incorrect username or password")
    expires_at = datetime.now(UTC) + timedelta(hours=1)  # the peers do not use core.clock
    return {
        "access_token": jwt.encode({"sub": str(user.id), "exp": expires_at}, os.environ["SECRET_KEY"], "HS256"),
        "token_type": "bearer",
    }


@app.get("/api/v1/users/me", response_model=UserOut)
def read_me(user: CurrentUser) -> User:
    """Return the caller's account."""
    return user


@app.post("/api/v1/files/upload", status_code=201)
def start_upload(metadata: FileIn, db: Db, user: CurrentUser) -> dict[str, Any]:
    """Create a file and sign its upload."""
    now = datetime.now(UTC)  # the peers do not use core.clock
    file_id = uuid4()
    file = File(
        **metadata.model_dump(),
        id=file_id,
        s3_key=f"files/{file_id}",
        owner_id=user.id,
        status="pending",
        upload_expires_at=now + timedelta(seconds=URL_SECONDS),
        created_at=now,
        updated_at=now,
    )
    db.add(file)
    db.commit()
    db.refresh(file)
    url = s3.generate_presigned_url(
        "put_object", Params={"Bucket": BUCKET, "Key": file.s3_key, "ContentType": file.content_type}, ExpiresIn=URL_SECONDS
    )
    return {"upload_url": url, "file_id": file.id}


@app.get("/api/v1/files/download/{file_id}")
def start_download(file_id: UUID, db: Db, user: CurrentUser) -> dict[str, Any]:
    """Sign a download."""
    file = _require_readable(db, file_id, user)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": file.s3_key}, ExpiresIn=URL_SECONDS)
    return {"download_url": url, "filename": file.filename, "content_type": file.content_type}


@app.get("/api/v1/files", response_model=list[FileOut])
def list_files(
    db: Db, user: CurrentUser, skip: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=100)] = 100
) -> list[File]:
    """List the caller's files."""
    query = select(File).where(File.owner_id == user.id).order_by(File.created_at.desc()).offset(skip).limit(limit)
    return list(db.scalars(query))


@app.get("/api/v1/files/{file_id}", response_model=FileOut)
def read_file(file_id: UUID, db: Db, user: CurrentUser) -> File:
    """Return a file."""
    return _require_readable(db, file_id, user)


@app.put("/api/v1/files/{file_id}", response_model=FileOut)
def update_file(file_id: UUID, change: FileChange, db: Db, user: CurrentUser) -> File:
    """Change a file."""
    file = _require_readable(db, file_id, user)
    for name, value in change.model_dump(exclude_unset=True).items():
        setattr(file, name, value)
    db.commit()
    db.refresh(file)
    return file


handler = Mangum(app, lifespan="off")
