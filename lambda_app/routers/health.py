"""Health checks of the API process and the database."""

from typing import Literal

from pydantic import Field

from lambda_app.core.errors import UnavailableError
from lambda_app.dependencies.services import ServicesDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.base import ResponseModel

router = Router(prefix="/health", tags=["health"])


class Health(ResponseModel):
    """The result of a successful health check."""

    status: Literal["ok"] = Field(default="ok", description="Always `ok`.")


@router.get("", response_model=Health)
async def get_health() -> Health:
    """Check that the API responds. The database is not checked."""
    return Health()


@router.get("/db", response_model=Health, responses=problem_responses("database_unreachable"))
def get_database_health(services: ServicesDep) -> Health:
    """Check that the database responds within 2 seconds; otherwise return 503."""
    if not services.database_probe.is_reachable():
        raise UnavailableError("The database does not respond", code="database_unreachable")
    return Health()
