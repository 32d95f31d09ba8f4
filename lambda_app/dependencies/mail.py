"""Mail that goes out once the request's transaction is surely kept."""

import logging
import time
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends

from lambda_app.core.errors import UnavailableError
from lambda_app.core.mail import Mail, PostOffice
from lambda_app.dependencies.services import ServicesDep

SECRET_ANSWER_SECONDS = 1.0
"""An answer that must not tell whether there was anybody to send mail to takes as long as SES usually does, with room to spare."""

logger = logging.getLogger(__name__)


class OutgoingMail:
    """The mail of one request."""

    def __init__(self) -> None:
        self._mails: list[Mail] = []
        self._not_before: float | None = None

    def add(self, mail: Mail | None) -> None:
        """Send the mail, if there is one, after the commit."""
        if mail is not None:
            self._mails.append(mail)

    def hide_whether_sent(self) -> None:
        """Answer at a moment that does not depend on whether anything was sent."""
        self._not_before = time.monotonic() + SECRET_ANSWER_SECONDS

    def send(self, post: PostOffice) -> None:
        """Send it all, and wait until the answer may go. A mail that cannot be sent is logged, and can be asked for again."""
        for mail in self._mails:
            try:
                post.send(mail)
            except UnavailableError:
                logger.exception("mail was not sent")
        if self._not_before is not None:
            time.sleep(max(0.0, self._not_before - time.monotonic()))


def get_outgoing_mail(services: ServicesDep) -> Iterator[OutgoingMail]:
    """Collect the mail of a request, and send it when the request succeeded."""
    outgoing = OutgoingMail()
    yield outgoing
    outgoing.send(services.post)


# A route names it before anything that needs the session: what is entered first is left last, so the commit comes before the mail.
OutgoingMailDep = Annotated[OutgoingMail, Depends(get_outgoing_mail, scope="function")]
