"""The Lambda entry point of the API: `lambda_app.main.handler`. Importing this module reads the environment."""

import logging

from lambda_app.application import create_app_from_environment
from lambda_app.core.snapshot import prepare_for_snapshot
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.routers.http.rehearsal import RehearsalFailedError, rehearse

logger = logging.getLogger(__name__)

app = create_app_from_environment()
_services: Services = app.state.services
handler = GatewayHandler(app, api_prefix=_services.settings.api_v1_str, has_costly_routes=_services.settings.gateway_has_costly_routes)


def _warm_up() -> None:
    _services.warm_up()
    try:
        rehearse(app, handler)
    except RehearsalFailedError:
        # The first requests only take longer.
        logger.warning("the snapshot was taken without a complete rehearsal", exc_info=True)


prepare_for_snapshot(before_snapshot=_services.before_snapshot, warm_up=_warm_up)
