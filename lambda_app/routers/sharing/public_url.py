"""The base URL of the links that the API returns."""

from typing import Annotated

from fastapi import Depends, Request

from lambda_app.dependencies.services import ServicesDep


async def get_public_url(request: Request, services: ServicesDep) -> str:
    """Return `API_URL`, or if it is not set, the path of the gateway's stage. The Host header is not used: the caller controls it."""
    stage: str = request.scope.get("root_path", "")
    return services.settings.api_url or stage


PublicUrlDep = Annotated[str, Depends(get_public_url)]
