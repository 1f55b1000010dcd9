"""Django's drivers of the scenarios of two requests that overlap: with a loop and without."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client

from replsession.django import configuration
from replsession.security.tokens import NAME_CHARACTERS
from tests.conformance.overlap import WITHIN_S, Door, Reply, Request, Script
from tests.django.project import SEEN, pages

_numbers = itertools.count()


class DjangoRequest(Request):
    """A request that is answered on a thread of its own."""

    def __init__(self, script: Script, get: Callable[[], Any], cookie: str | None) -> None:
        self.script = script
        self._sent = cookie
        self._answer: Future[Any] = Future()
        threading.Thread(target=self._run, args=(get,), daemon=True).start()
        script.wait_until_arrived()

    def _run(self, get: Callable[[], Any]) -> None:
        try:
            self._answer.set_result(get())
        except BaseException as error:  # noqa: BLE001 - the scenario gets it
            self._answer.set_exception(error)

    def finish(self) -> Reply:
        self.script.end()
        response = self._answer.result(WITHIN_S)
        # Who writes to a session that was ended elsewhere is told so: Django's SessionInterrupted.
        assert response.status_code in (200, 400)
        return Reply(self._cookie(response.cookies), response.get("Vary") == "Cookie")

    def _cookie(self, cookies: Any) -> str | None:
        """Return both cookies as one."""
        if "sessionid" not in cookies and SEEN not in cookies:
            return None
        session = cookies["sessionid"].value if "sessionid" in cookies else self._sent
        if not session:
            return ""
        seen = cookies[SEEN].value if SEEN in cookies else ""
        return session[:NAME_CHARACTERS] + (f".{seen}" if seen else "")


class DjangoDoor(Door):
    """Plain views, answered without a loop."""

    def __init__(self) -> None:
        self._behind = configuration.made()

    def begin(self, cookie: str | None) -> Request:
        # Settings are Django's, one of each in a process.
        configuration._made[:] = [self._behind]
        name, script = f"overlap-{next(_numbers)}", Script()
        return DjangoRequest(script, lambda: self.get(name, script, cookie), cookie)

    def get(self, name: str, script: Script, cookie: str | None) -> Any:
        """Ask for a page, and read all of it."""
        pages[name] = lambda request: self.page(script, request.session)
        client = Client()
        give(client, cookie)
        response = client.get(f"/page/{name}")
        if response.streaming:
            assert b"".join(response.streaming_content) == b"firstlast"
        return response

    def page(self, script: Script, session: Any) -> Any:
        """Do what the test says."""
        if script.run(session):
            return StreamingHttpResponse(self.chunks(script, session))
        return HttpResponse(b"page")

    def chunks(self, script: Script, session: Any) -> Iterator[bytes]:
        """Yield a response that goes on with what the test says after its first chunk."""
        yield b"first"
        script.stream(session)
        yield b"last"

    def another(self) -> Door:
        return type(self)()

    def count(self) -> int:
        records = self._behind.application.channel.member.node.store.records()
        return sum(record.destroyed is None for record in records)

    # What an application does, in Django's words.

    def content(self, session: Any) -> dict[str, Any]:
        return dict(session.items())

    def log_out(self, session: Any) -> None:
        session.flush()

    def rotate(self, session: Any) -> None:
        session.cycle_key()


class DjangoLoopDoor(DjangoDoor):
    """Coroutine views, each request on a loop."""

    def get(self, name: str, script: Script, cookie: str | None) -> Any:
        return asyncio.run(self._get(name, script, cookie))

    async def _get(self, name: str, script: Script, cookie: str | None) -> Any:
        async def page(request: Any) -> Any:
            run = sync_to_async(script.run, thread_sensitive=False)
            if await run(request.session):
                return StreamingHttpResponse(self._chunks(script, request.session))
            return HttpResponse(b"page")

        pages[name] = page
        client = AsyncClient()
        give(client, cookie)
        response: Any = await client.get(f"/async/{name}")
        if response.streaming:
            parts = [part async for part in response.streaming_content]
            assert b"".join(parts) == b"firstlast"
            await sync_to_async(response.close)()
        return response

    async def _chunks(self, script: Script, session: Any) -> AsyncIterator[bytes]:
        yield b"first"
        await sync_to_async(script.stream, thread_sensitive=False)(session)
        yield b"last"


def give(client: Any, cookie: str | None) -> None:
    """Give a client both cookies."""
    if cookie:
        client.cookies["sessionid"] = cookie[:NAME_CHARACTERS]
        if seen := cookie[NAME_CHARACTERS + 1 :]:
            client.cookies[SEEN] = seen
