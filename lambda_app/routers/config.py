"""The public configuration, with which a client shows only what this server offers."""

from fastapi import Request

from lambda_app import __version__
from lambda_app.dependencies.services import ServicesDep
from lambda_app.routers.http.branding import branding_of
from lambda_app.routers.http.router import Router
from lambda_app.schemas.config import ServerConfig, SignInProvider
from lambda_app.schemas.files.files import SIZE_MAX_BYTES
from lambda_app.storage.object_store import SINGLE_PUT_MAX_BYTES
from lambda_app.storage.parts import MULTIPART_MAX_BYTES, PART_MAX_BYTES, PART_MIN_BYTES, PARTS_MAX_COUNT

router = Router(prefix="/config", tags=["config"])


@router.get("", response_model=ServerConfig)
async def get_config(request: Request, services: ServicesDep) -> ServerConfig:
    """Return what this server offers and its limits. Needs no credentials and no database."""
    settings, branding = services.settings, branding_of(request.scope)
    return ServerConfig(
        version=__version__,
        registration_open=settings.open_registration and settings.password_sign_in,
        mail_available=settings.can_send_mail,
        password_sign_in=settings.password_sign_in,
        sign_in_providers=[
            SignInProvider(id=provider.id, name=provider.name, offers_sign_out=provider.offers_sign_out)
            for provider in settings.identity_providers
        ],
        invitations_by_users=settings.invitations_by_users,
        second_factor_required_for=settings.require_second_factor,
        email_verification_required=settings.require_verified_email,
        trash_retention_days=settings.trash_retention_days,
        single_upload_max_bytes=SINGLE_PUT_MAX_BYTES,
        file_max_bytes=min(SIZE_MAX_BYTES, MULTIPART_MAX_BYTES),
        part_min_bytes=PART_MIN_BYTES,
        part_max_bytes=PART_MAX_BYTES,
        parts_max_count=PARTS_MAX_COUNT,
        default_quota_bytes=settings.user_quota_bytes,
        default_quota_files=settings.user_quota_files,
        previews_enabled=settings.previews_enabled,
        brand_name=branding.name,
        brand_accent=branding.accent,
        brand_logo_path=branding.logo_path,
    )
