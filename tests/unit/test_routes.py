"""Our router does what it is asked, or says that it does not."""

import pytest
from fastapi import Depends

from lambda_app.routers.routes import Application, Router


def test_option_that_would_be_lost_is_refused() -> None:
    with pytest.raises(TypeError, match="dependencies"):
        Application().include_router(Router(), dependencies=[Depends(lambda: None)])


def test_router_is_not_put_into_a_router_without_a_word() -> None:
    with pytest.raises(TypeError):
        Router().include_router(Router())
