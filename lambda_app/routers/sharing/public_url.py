"""What the links that we give out begin with."""

from typing import Annotated

from fastapi import Depends, Request

from lambda_app.dependencies.services import ServicesDep


async def get_public_url(request: Request, services: ServicesDep) -> str:
    """Return the address of this API, as `API_URL` has it, or without one the gateway's stage: never the caller's word for our host."""
    stage: str = request.scope.get("root_path", "")
    return services.settings.api_url or stage


PublicUrlDep = Annotated[str, Depends(get_public_url)]
