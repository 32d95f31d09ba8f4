"""Mail that is sent after the request's transaction has committed."""

import logging
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends

from lambda_app.core.mail import Mail, Mailer
from lambda_app.dependencies.services import ServicesDep

logger = logging.getLogger(__name__)


class OutgoingMail:
    """The mails of one request."""

    def __init__(self) -> None:
        self._mails: list[Mail] = []

    def add(self, *mails: Mail | None) -> None:
        """Queue mails to be sent after the commit; None is ignored."""
        self._mails += [mail for mail in mails if mail is not None]

    def send(self, mailer: Mailer) -> None:
        """Send all mails. A failure is logged and does not change the response; the user can request the mail again.

        The response waits for SES. It takes as long for an address without an account, for which a placeholder is sent
        (docs/adr/0012-mail-rate-limits.md).
        """
        for mail in self._mails:
            try:
                mailer.send(mail)
            except Exception:
                logger.exception("mail was not sent")


def get_outgoing_mail(services: ServicesDep) -> Iterator[OutgoingMail]:
    """Collect the mails of a request, and send them if the request succeeds."""
    outgoing = OutgoingMail()
    yield outgoing
    outgoing.send(services.mailer)


# A route must declare it before every dependency on the session: FastAPI exits dependencies in reverse order, so the commit precedes
# the mail.
OutgoingMailDep = Annotated[OutgoingMail, Depends(get_outgoing_mail, scope="function")]
