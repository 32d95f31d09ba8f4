"""The app of most tutorials: FastAPI, Mangum, SQLAlchemy on pg8000, boto3, python-jose and passlib, each as in its guide.

Where tutorials differ, it uses the faster way: one boto3 client per process, no relationships, `lifespan="off"`. Like most of them it
checks each connection before use (`pool_pre_ping`), runs its routes in FastAPI's threads, and has no sessions, quotas or logs.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordRequestForm
from jose import jwt
from mangum import Mangum
from passlib.context import CryptContext
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from . import file_routes
from .base import CurrentUser, Db, User

passwords = CryptContext(schemes=["argon2"])


class UserOut(BaseModel):
    """A user in responses."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str
    is_active: bool
    is_superuser: bool
    created_at: datetime
    updated_at: datetime


app = FastAPI()


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


app.include_router(file_routes.router)

handler = Mangum(app, lifespan="off")
