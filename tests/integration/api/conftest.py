"""What the tests of the API share."""

import pytest
from sqlalchemy import delete

from lambda_app.factory import Services
from lambda_app.models import SignInAttempt


@pytest.fixture(autouse=True)
def _forgotten_attempts(services: Services) -> None:
    """Forget the failed sign-ins of earlier tests: nearly all of them come from one address, which would be throttled."""
    with services.engine.begin() as connection:
        connection.execute(delete(SignInAttempt))
