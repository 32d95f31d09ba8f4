"""The sign-in to the database: user, password and password source."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError

from lambda_app.core.errors import UnavailableError
from lambda_app.db.engine import endpoint_of
from lambda_app.db.session import create_session_factory, session_scope
from tests.integration.db.entry_points import unix_server
from tests.support.wire import WireProxy

APPLICATION = text("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()")


def password_of(url: str) -> str:
    return str(make_url(url).password)


def without_password(url: str) -> str:
    return make_url(url).set(password="wrong").render_as_string(hide_password=False)


def query_application_name(engine: Engine) -> str:
    with session_scope(create_session_factory(engine)) as session:
        return str(session.execute(APPLICATION).scalar_one())


def test_application_name_is_set_and_the_password_is_never_sent(
    make_engine: Callable[..., Engine], proxy: WireProxy, notes_url: str
) -> None:
    assert query_application_name(make_engine(proxy.url_for(notes_url))) == "we-upload"

    # SCRAM takes two password messages; a plain-text password takes one.
    assert [message.kind for message in proxy.messages].count("p") == 2


def test_wrong_password_raises_unavailable(make_engine: Callable[..., Engine], notes_url: str) -> None:
    engine = make_engine(without_password(notes_url))

    for _ in range(2):
        with pytest.raises(UnavailableError):
            query_application_name(engine)


def test_password_source_is_called_at_each_sign_in(make_engine: Callable[..., Engine], proxy: WireProxy, notes_url: str) -> None:
    asked = count(1)
    calls = []

    def source() -> str:
        calls.append(next(asked))
        return password_of(notes_url)

    engine = make_engine(proxy.url_for(without_password(notes_url)), password_source=source)
    assert calls == []

    query_application_name(engine)
    query_application_name(engine)
    assert calls == [1]

    proxy.kill_all()
    query_application_name(engine)
    assert calls == [1, 2]


def test_pool_works_after_the_password_source_failed(make_engine: Callable[..., Engine], notes_url: str) -> None:
    answers: Iterator[LookupError | str] = iter([LookupError("no credentials")] * 2 + [password_of(notes_url)])

    def source() -> str:
        answer = next(answers)
        if isinstance(answer, LookupError):
            raise answer
        return answer

    engine = make_engine(without_password(notes_url), password_source=source)

    for _ in range(2):
        with pytest.raises(LookupError):
            query_application_name(engine)
    assert query_application_name(engine) == "we-upload"


def test_sign_in_over_a_unix_socket_succeeds(make_engine: Callable[..., Engine], notes_url: str, tmp_path: Path) -> None:
    known = make_url(notes_url)

    with unix_server(notes_url, tmp_path / ".s.PGSQL.5432"):
        engine = make_engine(f"postgresql://{known.username}:{known.password}@/{known.database}?host={tmp_path}")
        assert query_application_name(engine) == "we-upload"
        engine.dispose()


def test_engine_never_reveals_its_password(make_engine: Callable[..., Engine], notes_url: str) -> None:
    engine = make_engine(notes_url)

    shown = f"{engine!r} {engine.url.render_as_string(hide_password=False)} {endpoint_of(engine)!r} {engine.pool.status()}"

    assert password_of(notes_url) not in shown


def test_statement_errors_contain_no_values(make_engine: Callable[..., Engine], notes_url: str) -> None:
    with make_engine(notes_url).connect() as connection, pytest.raises(Exception, match="hide_parameters=True") as caught:
        connection.execute(select(text("1/0")).where(text("'private' = :value")), {"value": "private address"})

    assert "private address" not in str(caught.value)


def test_error_does_not_contain_the_rejected_row(make_engine: Callable[..., Engine], notes_url: str) -> None:
    with make_engine(notes_url).begin() as connection:
        connection.execute(text("CREATE TABLE kept (secret text, number int NOT NULL)"))
        with pytest.raises(IntegrityError) as caught, connection.begin_nested():
            connection.execute(text("INSERT INTO kept VALUES ('private hash', NULL)"))

    assert "violates not-null constraint" in str(caught.value)
    assert "private hash" not in str(caught.value.orig)
