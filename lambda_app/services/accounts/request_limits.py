"""Rate limits of what callers without an account can request: mails and registrations."""

from lambda_app.core.request_context import request_context
from lambda_app.repositories.accounts.mail_allowances import (
    MAILS_BY_NETWORK,
    MAILS_BY_WIDER_NETWORKS,
    MailAllowanceRepository,
    MailRequester,
)
from lambda_app.services.accounts.login_throttle import networks_of


class RequestLimits:
    """Counts requests by the network of the current request and by address."""

    def __init__(self, allowances: MailAllowanceRepository) -> None:
        self._allowances = allowances

    def admit(self, kind: str, *, email: str) -> bool:
        """Count one request of this kind for the address and commit; False when the limit of a network or of the address is reached."""
        limits = (MAILS_BY_NETWORK, *MAILS_BY_WIDER_NETWORKS)
        # An IPv4 address has no wider networks that count.
        requester, *wider = [
            MailRequester(f"network|{network}", limit)
            for network, limit in zip(networks_of(request_context().source_address), limits, strict=False)
        ]
        return self._allowances.consume(kind, email=email, requester=requester, wider=wider)
