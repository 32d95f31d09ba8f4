"""Routes of the export of the caller's account."""

from fastapi import Response

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.mail import OutgoingMailDep
from lambda_app.dependencies.services import ExportsDep, ServicesDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.accounts.second_factor import AccountProof
from lambda_app.schemas.archives import AccountExport, ExportState

router = Router(prefix="/users/me/export", tags=["users"])


@router.post(
    "",
    status_code=202,
    response_model=AccountExport,
    responses=problem_responses(
        "current_password_required",
        "fresh_sign_in_required",
        "second_factor_required",
        "bad_second_factor",
        "too_many_attempts",
        "too_many_exports",
        "store_unavailable",
    ),
)
def request_export(
    proof: AccountProof, outgoing: OutgoingMailDep, user: CurrentUserDep, exports: ExportsDep, services: ServicesDep
) -> models.Archive:
    """Request an export of the caller's account: all data as JSON, and all files, in one zip. Once a day; it counts in no quota.

    Poll `GET /users/me/export` until it is ready. An export that is being built or is ready is returned again.
    """
    archive, mail = exports.start(user, current_password=proof.current_password, otp=proof.otp)
    if services.settings.can_send_mail:
        outgoing.add(mail)
    return archive


@router.get("", response_model=ExportState, responses=problem_responses("store_unavailable"))
def get_export(user: CurrentUserDep, exports: ExportsDep, response: Response) -> ExportState:
    """Return the state of the caller's export, and a download URL once it is ready."""
    found = exports.get(user)
    response.headers["Cache-Control"] = "no-store"
    if found is None:
        return ExportState(export=None)
    state = AccountExport.model_validate(found.archive).model_copy(update={"status": found.status, "error_code": found.error_code})
    if found.request is not None:
        state = state.model_copy(update={"download_url": found.request.url, "download_expires_at": found.request.expires_at})
    return ExportState(export=state)
