"""Several writes in one statement, and so in one round trip."""

from sqlalchemy import Select, literal, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import UpdateBase


def together(*writes: UpdateBase) -> Select[int]:
    """Return one statement that carries out all `writes`; none of them sees what another one wrote."""
    return select(literal(1)).add_cte(*(write.cte(f"write_{number}") for number, write in enumerate(writes)))


def execute_together(session: Session, *writes: UpdateBase) -> None:
    """Carry out all `writes` within the caller's transaction."""
    session.execute(together(*writes))
