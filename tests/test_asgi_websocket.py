"""The front door for ASGI: what a websocket keeps, with and without a session before it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from replsession import Session, SessionError
from tests.browser import Answer, Application, Browser, Receive, Send, site
from tests.test_asgi import Scope, alone, born, counter, reader, records_of

pytestmark = pytest.mark.anyio


def talking(before: Callable[[Session], object] = len) -> Application:
    """A websocket that sets attributes, as it is told, and answers with all of them."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        session = scope["session"]
        before(session)
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"x", b"y")]})
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                session["left"] = True
                return
            session[message["text"]] = True
            await send({"type": "websocket.send", "text": repr(sorted(session))})

    return app


async def test_a_session_may_be_born_before_a_websocket_is_accepted() -> None:
    middleware = alone(talking(lambda session: session.update(early=True)))
    browser = Browser(middleware)
    async with browser.websocket() as end:
        await end.hear()
    assert end.accepted is not None
    assert end.accepted.values("x") == ["y"]
    assert browser.cookie == end.accepted.cookie is not None
    middleware.app = site(reader)
    assert (await browser.get()).json() == {"early": True, "left": True}


async def test_what_is_written_in_an_open_websocket_is_there_at_once() -> None:
    middleware = alone(talking())
    browser = Browser(middleware, await born(middleware))
    async with browser.websocket() as end:
        await end.hear()
        for name in ("a", "b"):
            await end.say(name)
            await end.hear()
            middleware.app, app = site(reader), middleware.app
            assert name in (await browser.get()).json()
            middleware.app = app
        assert end.accepted is not None and end.accepted.cookie is None
    middleware.app = site(reader)
    assert set((await browser.get()).json()) == {"n", "a", "b", "left"}


async def test_a_websocket_does_not_undo_what_others_write_meanwhile() -> None:
    middleware = alone(talking())
    browser = Browser(middleware, await born(middleware))
    async with browser.websocket() as end:
        await end.hear()
        middleware.app, app = site(counter), middleware.app
        assert (await browser.get()).json() == {"n": 2}
        middleware.app = app
        await end.say("a")
        await end.hear()
    middleware.app = site(reader)
    assert (await browser.get()).json() == {"n": 2, "a": True, "left": True}


async def test_a_websocket_that_is_open_cannot_rotate_the_id() -> None:
    errors: list[SessionError] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        with pytest.raises(SessionError) as caught:
            scope["session"].rotate_id()
        errors.append(caught.value)

    middleware = alone(app)
    async with Browser(middleware, await born(middleware)).websocket() as end:
        await end.hear()
    assert len(errors) == 1


async def test_a_websocket_that_is_refused_keeps_what_it_wrote() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"]["attempts"] = 1
        await send({"type": "websocket.close"})

    middleware = alone(app)
    browser = Browser(middleware, await born(middleware))
    async with browser.websocket() as end:
        await end.hear()
    assert end.closed
    middleware.app = site(reader)
    assert (await browser.get()).json() == {"n": 1, "attempts": 1}


async def test_a_session_begun_by_a_websocket_that_is_refused_is_not_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"]["attempts"] = 1
        await send({"type": "websocket.close"})

    middleware = alone(app)
    async with Browser(middleware).websocket() as end:
        await end.hear()
    assert records_of(middleware) == []
    assert "not stored" in caplog.text


async def test_a_websocket_that_is_answered_with_http_gets_the_cookie() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"]["n"] = 1
        await send({"type": "websocket.http.response.start", "status": 403, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})

    answer = Answer()
    middleware = alone(app)
    async with Browser(middleware).websocket() as end:
        answer.headers = (await end.hear())["headers"]
    assert answer.cookie is not None
    assert len(records_of(middleware)) == 1
