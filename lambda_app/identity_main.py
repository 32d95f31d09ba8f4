"""The Lambda entry point of the sign-in at identity providers, outside the VPC: `lambda_app.identity_main.handler`."""

from lambda_app.application import create_identity_app
from lambda_app.core.settings import Settings
from lambda_app.core.snapshot import prepare_for_snapshot
from lambda_app.factory import IdentityServices
from lambda_app.routers.http.gateway import GatewayHandler

app = create_identity_app(Settings.for_identity())
_services: IdentityServices = app.state.identity
handler = GatewayHandler(app, api_prefix=_services.settings.api_v1_str)


def _warm_up() -> None:
    if _services.settings.identity_key_arn or _services.settings.identity_secrets_arn:
        _services.aws.client("secretsmanager")


prepare_for_snapshot(before_snapshot=_services.before_snapshot, warm_up=_warm_up)
