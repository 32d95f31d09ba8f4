"""The index of routes finds what a search through the list of routes finds."""

from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.requests import Request
from starlette.routing import Match, Route

from lambda_app.application import create_app
from lambda_app.core.settings import Environment, Settings
from lambda_app.routers.http.route_index import FOUND, RouteIndex

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

APP = create_app(
    Settings(
        environment=Environment.LOCAL,
        database_url=SecretStr("postgresql://u:p@127.0.0.1/d"),
        secret_key=SecretStr("k" * 40),
        s3_bucket_name="bucket",
    )
)
INDEX, *ROUTES = APP.router.routes
SEGMENTS = sorted(
    {"", "{", "a b", "files\n", *(segment for route in ROUTES if isinstance(route, Route) for segment in route.path.split("/"))}
)


def scope_of(method: str, path: str, *, root_path: str = "") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": root_path + path, "root_path": root_path}


def searched(scope: dict[str, Any]) -> tuple[Match, Any]:
    for route in ROUTES:
        match, child_scope = route.matches(scope)
        if match is Match.FULL:
            return match, {**child_scope, FOUND: route}
    return Match.NONE, {}


def test_every_route_is_indexed() -> None:
    assert isinstance(INDEX, RouteIndex)
    for route in ROUTES:
        assert isinstance(route, Route)
        for method in route.methods or ():
            scope = scope_of(method, route.path.replace("{", "").replace("}", ""))

            assert INDEX.matches(scope) == searched(scope)
            assert INDEX.matches(scope)[0] is Match.FULL


@given(method=st.sampled_from(METHODS), segments=st.lists(st.sampled_from(SEGMENTS), max_size=8), root_path=st.sampled_from(["", "/dev"]))
def test_index_finds_what_a_search_finds(method: str, segments: list[str], root_path: str) -> None:
    scope = scope_of(method, f"/{'/'.join(segments)}", root_path=root_path)
    found = INDEX.matches(scope)

    # The patterns of Starlette accept a newline at the end. The index leaves such a path to the list of routes that follows it.
    is_left = found[0] is Match.NONE and scope["path"].endswith("\n")
    assert is_left or found == searched(scope)


@given(method=st.sampled_from(METHODS), place=st.integers(0, len(ROUTES) - 1), segments=st.lists(st.sampled_from(SEGMENTS), max_size=3))
def test_paths_like_those_of_routes_find_the_first_route(method: str, place: int, segments: list[str]) -> None:
    route = ROUTES[place]
    assert isinstance(route, Route)
    replacements = iter(segments)
    parts = [next(replacements, "x") if "{" in part else part for part in route.path.split("/")]
    scope = scope_of(method, "/".join(parts))

    assert INDEX.matches(scope) == searched(scope)


def test_routes_that_are_added_later_are_served() -> None:
    app = FastAPI()
    app.router.routes.insert(0, RouteIndex(list(app.router.routes)))

    @app.get("/later")
    def later() -> None: ...

    matches = [route for route in app.router.routes if route.matches(scope_of("GET", "/later"))[0] is Match.FULL]
    assert [getattr(route, "path", None) for route in matches] == ["/later"]


def test_route_whose_parameter_contains_slashes_cannot_be_indexed() -> None:
    def read(request: Request) -> None: ...

    with pytest.raises(TypeError, match="contain no slash"):
        RouteIndex([Route("/files/{path:path}", read)])
