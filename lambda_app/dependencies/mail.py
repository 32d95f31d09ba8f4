"""Mail that goes out once the request's transaction is surely kept."""

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
"""An answer that must not tell whether there was anybody to send mail to takes so long: more than SES usually does."""

logger = logging.getLogger(__name__)


class OutgoingMail:
    """The mail of one request."""

    def __init__(self) -> None:
        self._mails: list[Mail] = []
        self._not_before: float | None = None

    def add(self, *mails: Mail | None) -> None:
        """Send the mails, those that there are, after the commit."""
        self._mails += [mail for mail in mails if mail is not None]

    def equalize_response_time(self) -> None:
        """Answer at a moment that does not depend on whether anything was sent."""
        self._not_before = time.monotonic() + EQUALIZED_RESPONSE_SECONDS

    def send(self, post: Mailer) -> None:
        """Send it all, and wait until the answer may go. A mail that cannot be sent is logged, and can be asked for again."""
        if self._not_before is None:
            self._send_all(post)
            return
        if self._mails:
            # Beside the answer, which SES would otherwise hold up on a slow day, and so tell that there was somebody to send to. A thread
            # goes on after the answer; in Lambda with the next request, and what was to be sent has long left by then.
            Thread(target=copy_context().run, args=(self._send_all, post), name="outgoing mail", daemon=True).start()
        time.sleep(max(0.0, self._not_before - time.monotonic()))

    def _send_all(self, post: Mailer) -> None:
        for mail in self._mails:
            try:
                post.send(mail)
            except Exception:
                logger.exception("mail was not sent")


def get_outgoing_mail(services: ServicesDep) -> Iterator[OutgoingMail]:
    """Collect the mail of a request, and send it when the request succeeded."""
    outgoing = OutgoingMail()
    yield outgoing
    outgoing.send(services.mailer)


# A route names it before anything that needs the session: what is entered first is left last, so the commit comes before the mail.
OutgoingMailDep = Annotated[OutgoingMail, Depends(get_outgoing_mail, scope="function")]
