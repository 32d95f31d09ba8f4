"""What others see of an account."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, ScalarSelect, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from lambda_app.models import User


def name_for_visitors(owner_id: ColumnElement[UUID] | InstrumentedAttribute[UUID]) -> ScalarSelect[Any]:
    """Return the owner's display name as visitors of a link may see it: null if the owner has none or does not show it."""
    owner = aliased(User)
    # Correlated with all levels around it: SQLAlchemy correlates with the next one only, and would read other rows here.
    name = select(owner.display_name).where(owner.id == owner_id, owner.shows_name_on_links)
    return name.correlate_except(owner).scalar_subquery()
