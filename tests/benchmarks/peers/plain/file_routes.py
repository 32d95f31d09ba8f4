"""The routes of one more resource of the plain app, the same as those of its files.

`tests/benchmarks/candidates.py` copies this module as often as it takes to have as many routes as the measured application.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, HTTPException, Query
from sqlalchemy import select
from sqlalchemy.orm import Session

from .plain import BUCKET, URL_SECONDS, CurrentUser, Db, User, s3
from .plain_models import Item, ItemChange, ItemIn, ItemOut

router = APIRouter(prefix=f"/api/v1/{__name__}")


def _require_readable(db: Session, item_id: UUID, user: User) -> Item:
    item = db.get(Item, item_id)
    if item is None:
        raise HTTPException(404, "Item not found")
    if item.owner_id != user.id and not item.is_public and not user.is_superuser:
        raise HTTPException(403, "Not enough permissions to access this item")
    return item


@router.post("/upload", status_code=201)
def start_upload(metadata: ItemIn, db: Db, user: CurrentUser) -> dict[str, Any]:
    """Create an item and sign its upload."""
    now = datetime.now(UTC)  # the peers do not use core.clock
    item_id = uuid4()
    item = Item(
        **metadata.model_dump(),
        id=item_id,
        s3_key=f"{__name__}/{item_id}",
        owner_id=user.id,
        status="pending",
        upload_expires_at=now + timedelta(seconds=URL_SECONDS),
        created_at=now,
        updated_at=now,
    )
    db.add(item)
    db.commit()
    db.refresh(item)
    url = s3.generate_presigned_url(
        "put_object", Params={"Bucket": BUCKET, "Key": item.s3_key, "ContentType": item.content_type}, ExpiresIn=URL_SECONDS
    )
    return {"upload_url": url, "item_id": item.id}


@router.get("/download/{item_id}")
def start_download(item_id: UUID, db: Db, user: CurrentUser) -> dict[str, Any]:
    """Sign a download."""
    item = _require_readable(db, item_id, user)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": item.s3_key}, ExpiresIn=URL_SECONDS)
    return {"download_url": url, "filename": item.filename, "content_type": item.content_type}


@router.get("", response_model=list[ItemOut])
def list_items(
    db: Db, user: CurrentUser, skip: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=100)] = 100
) -> list[Item]:
    """List the caller's items."""
    query = select(Item).where(Item.owner_id == user.id).order_by(Item.created_at.desc()).offset(skip).limit(limit)
    return list(db.scalars(query))


@router.get("/{item_id}", response_model=ItemOut)
def read_item(item_id: UUID, db: Db, user: CurrentUser) -> Item:
    """Return an item."""
    return _require_readable(db, item_id, user)


@router.put("/{item_id}", response_model=ItemOut)
def update_item(item_id: UUID, change: ItemChange, db: Db, user: CurrentUser) -> Item:
    """Change an item."""
    item = _require_readable(db, item_id, user)
    for name, value in change.model_dump(exclude_unset=True).items():
        setattr(item, name, value)
    db.commit()
    db.refresh(item)
    return item
