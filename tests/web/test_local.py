"""Attributes that stay on the member where they are written."""

from __future__ import annotations

from typing import Any

import pytest

from replsession import Cluster, ConfigError
from replsession.identity import Key
from replsession.session.session import Session
from replsession.settings import readers
from replsession.web import local as local_module
from replsession.web.application import Application
from replsession.web.cookies import CookieWriter
from replsession.web.exchange import Exchange
from replsession.web.local import LocalAttributes
from tests.web.wired import CLUSTER_SECRET, Wired

Headers = list[tuple[bytes, bytes]]
COOKIES = CookieWriter("session", "/", "lax", False, None, False, None)
KEY, OTHER = Key("/", b"1" * 16), Key("/", b"2" * 16)


class Browser:
    """Keeps the cookie of one session."""

    def __init__(self) -> None:
        self.headers: Headers = []

    def ask(self, behind: Application) -> Exchange:
        exchange = behind.exchange(COOKIES, self.headers, "/")
        assert exchange.waiter is None
        return exchange

    def end(self, exchange: Exchange) -> None:
        headers: Headers = []
        assert exchange.start(headers) is None
        for name, value in headers:
            if name == b"set-cookie":
                self.headers = [(b"cookie", value.partition(b";")[0])]

    def do(self, behind: Application, act: Any) -> Any:
        exchange = self.ask(behind)
        result = act(exchange.session)
        self.end(exchange)
        return result


def made(cluster: Cluster | None = None, pattern: str | None = "l_.*") -> Application:
    return Application(CLUSTER_SECRET, None, cluster=cluster, local_attributes=pattern)


def records(behind: Application) -> list[dict[str, bytes]]:
    store = behind.channel.member.node.store
    return [dict(record.values()) for record in store.records() if record.destroyed is None]


def content(session: Session) -> dict[str, Any]:
    return dict(session)


def sets(**values: Any) -> Any:
    return lambda session: session.update(values)


def test_they_are_the_very_objects_and_stand_in_no_record() -> None:
    behind, browser, thing = made(), Browser(), object()
    browser.do(behind, sets(n=1, l_thing=thing))
    assert browser.do(behind, content) == {"n": 1, "l_thing": thing}
    assert [list(values) for values in records(behind)] == [["n"]]
    browser.do(behind, sets(l_thing=2, l_more=3))
    browser.do(behind, lambda session: session.pop("l_thing"))
    assert browser.do(behind, content) == {"n": 1, "l_more": 3}


def test_a_change_in_place_is_there_at_the_next_request() -> None:
    behind, browser = made(), Browser()
    browser.do(behind, sets(l_list=[]))
    commits = behind.channel.metrics.commits
    browser.do(behind, lambda session: session["l_list"].append(object()))
    assert len(browser.do(behind, content)["l_list"]) == 1
    assert behind.channel.metrics.commits == commits


def test_one_alone_begins_a_session_which_is_empty_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wired = Wired(monkeypatch, 1, 2)
    one, two = made(wired.clusters["m1"]), made(wired.clusters["m2"])
    browser = Browser()
    browser.do(one, sets(l_a=1))
    wired.network.run(1.0)
    exchange = browser.ask(two)
    assert (content(exchange.session), exchange.session.is_new) == ({}, False)
    exchange.session.update(n=1, l_a=2)
    browser.end(exchange)
    wired.network.run(1.0)
    assert browser.do(one, content) == {"n": 1, "l_a": 1}
    assert browser.do(two, content) == {"n": 1, "l_a": 2}


def test_what_others_have_told_under_such_a_name_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wired = Wired(monkeypatch, 1, 2)
    one, two = made(wired.clusters["m1"], None), made(wired.clusters["m2"])
    browser = Browser()
    browser.do(one, sets(n=1, l_a=1))
    wired.network.run(1.0)
    assert browser.do(two, content) == {"n": 1}
    browser.do(two, lambda session: (session.update(l_a=2), session.pop("l_a")))
    wired.network.run(1.0)
    assert browser.do(one, content) == {"n": 1, "l_a": 1}


def test_counting_on_one_stays_here_too() -> None:
    behind, browser = made(), Browser()
    browser.do(behind, lambda session: (session.increment("l_n"), session.increment("n")))
    assert browser.do(behind, lambda session: session.increment("l_n", 2)) == 3
    assert browser.do(behind, content) == {"n": 1, "l_n": 3}
    assert [list(values) for values in records(behind)] == [["n"]]


def test_requests_that_overlap_keep_each_others() -> None:
    behind, browser = made(), Browser()
    browser.do(behind, sets(n=1))
    first, second = browser.ask(behind), browser.ask(behind)
    first.session["l_a"] = 1
    second.session["l_b"] = 2
    browser.end(first)
    browser.end(second)
    assert browser.do(behind, content) == {"n": 1, "l_a": 1, "l_b": 2}


def test_they_go_with_their_session_and_stay_with_a_rotated_one() -> None:
    behind, browser = made(), Browser()
    browser.do(behind, sets(n=1, l_a=1))
    browser.do(behind, lambda session: session.rotate_id())
    assert browser.do(behind, content) == {"n": 1, "l_a": 1}
    browser.do(behind, lambda session: (session.clear(), session.update(n=2, l_b=2)))
    assert browser.do(behind, content) == {"n": 2, "l_b": 2}
    kept = local_module._KEPT[behind.channel]
    assert list(kept.values()) == [{"l_b": 2}]
    browser.do(behind, lambda session: session.invalidate())
    assert not kept


def test_nothing_is_kept_where_nothing_could_be_committed() -> None:
    behind, browser = made(), Browser()
    browser.do(behind, sets(n=1))
    late = browser.ask(behind)
    late.session.update(m=1, l_a=1)
    browser.do(behind, lambda session: session.invalidate())
    late.start([])
    assert not local_module._KEPT[behind.channel]


def test_an_application_that_is_made_anew_goes_on_with_them() -> None:
    behind, browser = made(), Browser()
    browser.do(behind, sets(n=1, l_a=1, l_b=2))
    again = Application(
        CLUSTER_SECRET, None, cluster=None, local_attributes="l_a", channel=behind.channel
    )
    assert browser.do(again, content) == {"n": 1, "l_a": 1}


def test_tomcats_filter_names_those_that_are_replicated() -> None:
    pattern = readers.name_filter("user|cart.*")["local_attributes"]
    behind, browser = made(pattern=pattern), Browser()
    browser.do(behind, sets(user=1, cart_2=2, users=3, other=object()))
    assert [sorted(values) for values in records(behind)] == [["cart_2", "user"]]
    assert sorted(browser.do(behind, content)) == ["cart_2", "other", "user", "users"]


def test_the_bound_drops_those_used_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_module, "LOCAL_SESSIONS_MAX", 1)
    channel = made().channel
    local = LocalAttributes("a", channel)
    local.keep(KEY, {"a": 1}, ())
    local.keep(OTHER, {"a": 2}, ())
    assert (dict(local.of(KEY)), dict(local.of(OTHER))) == ({}, {"a": 2})
    assert channel.metrics.local_attributes_dropped == 1
    local.keep(OTHER, {}, ["a", "b"])
    local.forget(KEY)
    assert dict(local.of(OTHER)) == {}


@pytest.mark.parametrize("pattern", ["((", 5])
def test_what_is_no_pattern_is_refused(pattern: Any) -> None:
    with pytest.raises(ConfigError, match="local_attributes"):
        made(pattern=pattern)
