"""The Lambda entry point of the API: `lambda_app.main.handler`. Importing this module reads the environment."""

import gc

# A function keeps the 140,000 objects of its modules and handles one request at a time. With Python's threshold of 700 new objects the
# collector runs several times in a request and 300 times in a start, and finds next to nothing.
gc.set_threshold(50_000, 10, 10)

import logging  # noqa: E402 - the threshold applies to the imports too

from lambda_app.application import create_app_from_environment  # noqa: E402
from lambda_app.core.snapshot import prepare_for_snapshot  # noqa: E402
from lambda_app.factory import Services  # noqa: E402
from lambda_app.routers.http.gateway import GatewayHandler  # noqa: E402
from lambda_app.routers.http.rehearsal import RehearsalFailedError, rehearse  # noqa: E402

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
