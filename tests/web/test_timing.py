"""Times of requests: measured only for who reads them, and what is ours is told apart."""

from __future__ import annotations

import logging

import pytest

from replsession.web.application import Application
from replsession.web.cookies import CookieWriter
from replsession.web.exchange import Exchange
from replsession.web.timing import REQUESTS_PER_LINE, RequestTimes, TimedExchange
from tests.web.rooms import App, Headers

COOKIES = CookieWriter("session", max_age=60)


def test_every_hundredth_request_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "replsession.requests")
    times = RequestTimes()
    for number in range(2 * REQUESTS_PER_LINE + 1):
        times.add(0.010 if number < REQUESTS_PER_LINE else 0.030, 0.001)

    assert caplog.messages == [
        "Average request time=[10.000] ms with cluster overhead time=[1.000] ms for [100] requests",
        "Average request time=[20.000] ms with cluster overhead time=[1.000] ms for [200] requests",
    ]


def test_what_the_application_takes_is_not_ours() -> None:
    app = App()
    ticks = iter([10.0, 10.25, 20.0, 20.5])
    added: list[tuple[float, float]] = []

    class Times(RequestTimes):
        def add(self, took_s: float, ours_s: float) -> None:
            added.append((took_s, ours_s))

    exchange = TimedExchange(
        Times(lambda: next(ticks)),
        app.manager,
        app.cookies,
        [],
        None,
        None,
        path="/page",
        is_filtered=False,
    )
    exchange.session["n"] = 1
    headers: Headers = []
    assert exchange.start(headers) is None

    assert added == [(10.5, 0.75)]
    assert headers[0][0] == b"vary" or headers, "it is an exchange like any other"


def test_nobody_pays_who_does_not_ask() -> None:
    application = Application("secret", None, cluster=None)
    made = [application.exchange(COOKIES, [], "/page")]
    logger = logging.getLogger("replsession.requests")
    logger.setLevel(logging.DEBUG)
    try:
        made.append(application.exchange(COOKIES, [], "/page"))
    finally:
        logger.setLevel(logging.NOTSET)

    assert [type(one) for one in made] == [Exchange, TimedExchange]
