"""Signs of life."""

from typing import Literal

from pydantic import BaseModel

from lambda_app.core.errors import UnavailableError
from lambda_app.dependencies.services import ServicesDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router

router = Router(prefix="/health", tags=["health"])


class Health(BaseModel):
    """All is well."""

    status: Literal["ok"] = "ok"


@router.get("", response_model=Health)
async def read_health() -> Health:
    """The process answers."""
    return Health()


@router.get("/db", response_model=Health, responses=problem_responses(503))
def read_database_health(services: ServicesDep) -> Health:
    """The database answers, within 2 s."""
    if not services.database_probe.is_reachable():
        raise UnavailableError("The database does not answer", code="database_unreachable")
    return Health()
