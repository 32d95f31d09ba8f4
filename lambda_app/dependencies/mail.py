"""Mail that is sent after the request's transaction has committed."""

import logging
import time
from collections.abc import Iterator
from contextvars import copy_context
from threading import Thread
from typing import Annotated

from fastapi import Depends

from lambda_app.core.mail import Mail, Mailer
from lambda_app.dependencies.services import ServicesDep

EQUALIZED_RESPONSE_SECONDS = 1.0
"""Duration of responses that must not reveal whether a mail was sent. Longer than a call to SES usually takes."""

logger = logging.getLogger(__name__)


class OutgoingMail:
    """The mails of one request."""

    def __init__(self) -> None:
        self._mails: list[Mail] = []
        self._not_before: float | None = None

    def add(self, *mails: Mail | None) -> None:
        """Queue mails to be sent after the commit; None is ignored."""
        self._mails += [mail for mail in mails if mail is not None]

    def equalize_response_time(self) -> None:
        """Delay the response to a fixed duration from now, so that its time does not reveal whether a mail is sent."""
        self._not_before = time.monotonic() + EQUALIZED_RESPONSE_SECONDS

    def send(self, mailer: Mailer) -> None:
        """Send all mails, and return when the response may be sent. A failure is logged; the user can request the mail again."""
        if self._not_before is None:
            self._send_all(mailer)
            return
        if self._mails:
            # In a thread, because a slow SES would delay the response and so reveal that a mail is sent. The thread continues after
            # the response; Lambda may suspend it until the next request, but by then SES has normally accepted the mail.
            Thread(target=copy_context().run, args=(self._send_all, mailer), name="outgoing mail", daemon=True).start()
        time.sleep(max(0.0, self._not_before - time.monotonic()))

    def _send_all(self, mailer: Mailer) -> None:
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
