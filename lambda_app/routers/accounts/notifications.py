"""Routes of the caller's notification settings."""

from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import NotificationSettingsDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.notifications import NotificationSettings, NotificationSettingsUpdate

router = Router(prefix="/users/me/notifications", tags=["users"])


@router.get("", response_model=NotificationSettings, responses=problem_responses())
def get_notification_settings(user: CurrentUserDep, settings: NotificationSettingsDep) -> NotificationSettings:
    """Return which mails the account gets."""
    return NotificationSettings.model_validate(dict(settings.get(user)))


@router.patch("", response_model=NotificationSettings, responses=problem_responses())
def update_notification_settings(
    update: NotificationSettingsUpdate, user: CurrentUserDep, settings: NotificationSettingsDep
) -> NotificationSettings:
    """Change which mails the account gets. Links and file requests that exist keep their own settings."""
    return NotificationSettings.model_validate(dict(settings.update(user, update)))
