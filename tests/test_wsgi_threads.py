"""Many threads of one process: no request loses another's write."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from replsession.wsgi import SessionMiddleware, WsgiSession
from tests.gateway import WsgiBrowser, wsgi_site

SECRET = "short"
THREADS = 8
REQUESTS = 25


@pytest.fixture(autouse=True)
def _hasty() -> Iterator[None]:
    """Let the interpreter change the thread as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*acts: Callable[[], object]) -> None:
    """Run all at once, each on a thread of its own, and raise what one of them raises."""
    start = threading.Barrier(len(acts))
    errors: list[BaseException] = []

    def run(act: Callable[[], object]) -> None:
        start.wait(30)
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - raised by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []


def test_requests_of_one_session_on_many_threads_lose_nothing() -> None:
    def page(session: WsgiSession) -> object:
        name = threading.current_thread().name
        session[name] = session.get(name, 0) + 1
        return None

    app = SessionMiddleware(wsgi_site(lambda session: session.update(n=0)), SECRET, cluster=None)
    browser = WsgiBrowser(app)
    browser.get()
    app.app = wsgi_site(page)

    def ask() -> None:
        mine = WsgiBrowser(app, browser.cookie)
        for _ in range(REQUESTS):
            mine.get()

    together(*[ask] * THREADS)
    app.app = wsgi_site(dict)
    found = browser.get().json()
    assert found.pop("n") == 0
    assert sorted(found.values()) == [REQUESTS] * THREADS
