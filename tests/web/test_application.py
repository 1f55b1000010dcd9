"""What all front doors share: an exchange for each request, and the path without the id."""

from __future__ import annotations

import pytest

from replsession import Cluster, ConfigError, Session
from replsession.messages import Deltas
from replsession.settings.configuration import Configuration
from replsession.web.application import Application, Arrived, arrived
from replsession.web.cookies import CookieWriter
from replsession.web.exchange import Exchange, Site
from tests.web.wired import CLUSTER_SECRET, Wired

TOKEN = "some.token"


def application(**options: object) -> Application:
    return Application("secret", None, cluster=None, **options)  # type: ignore[arg-type]


def cookies() -> CookieWriter:
    return CookieWriter("session", "/", "lax", False, None, False, None)


@pytest.mark.parametrize(
    ("path", "raw_path", "come"),
    [
        ("/cart", b"/cart", ("/cart", b"/cart", None, "/cart")),
        (
            f"/cart;jsessionid={TOKEN}",
            f"/cart;jsessionid={TOKEN}".encode(),
            ("/cart", b"/cart", TOKEN, "/cart"),
        ),
        (
            f"/a b;jsessionid={TOKEN}",
            f"/a%20b;jsessionid={TOKEN}?page=2".encode(),
            ("/a b", b"/a%20b?page=2", TOKEN, "/a%20b"),
        ),
        # Where the server does not say what was sent, nothing is taken off.
        (
            f"/a b;jsessionid={TOKEN}",
            None,
            (f"/a b;jsessionid={TOKEN}", None, None, "/a%20b%3Bjsessionid%3Dsome.token"),
        ),
    ],
)
def test_the_id_is_taken_off_the_path(
    path: str, raw_path: bytes | None, come: tuple[str, bytes | None, str | None, str]
) -> None:
    bare, raw, token, site_path = come
    expected = Arrived(bare, raw, token, Site("http", "shop.example", site_path))
    assert arrived(path, raw_path, "http", "shop.example") == expected


def test_a_session_goes_from_one_exchange_to_the_next() -> None:
    behind = application()
    first = behind.exchange(cookies(), [], "/")
    first.session["n"] = 1
    headers: list[tuple[bytes, bytes]] = []
    assert first.start(headers) is None
    (cookie,) = [value for name, value in headers if name == b"set-cookie"]

    second = behind.exchange(cookies(), [(b"cookie", cookie.partition(b";")[0])], "/")
    assert dict(second.session) == {"n": 1}
    in_url = cookie.partition(b";")[0].partition(b"=")[2].decode()
    third = behind.exchange(cookies(), [], "/", token=in_url)
    assert dict(third.session) == {"n": 1}


def test_a_front_door_may_have_a_class_of_its_own() -> None:
    class Own(Session):
        pass

    behind = application(session_class=Own, valve=r".*\.css")
    assert type(behind.exchange(cookies(), [], "/").session) is Own
    assert type(behind.exchange(cookies(), [], "/site.css").session) is Own


def test_the_valve_keeps_a_path_away_from_session_work() -> None:
    behind = application(valve=r".*\.css")
    assert behind.exchange(cookies(), [], "/site.css").is_filtered
    assert not behind.exchange(cookies(), [], "/cart").is_filtered


def test_the_policy_is_what_was_given() -> None:
    behind = application(concern="all", ack_timeout_s=2, stale="error", on_shortfall="warn")
    policy = behind.policy
    assert (policy.asked.concern, policy.asked.timeout_s) == ("all", 2.0)
    assert (policy.stale, policy.on_shortfall) == ("error", "warn")


def read_from_a_file(**values: object) -> Cluster:
    written = {name: f"shop.toml: {name}" for name in values}
    return Cluster.described(Configuration({"cluster": "none", **values}, written))


def test_what_the_file_of_a_cluster_says_holds_unless_it_is_given_as_well() -> None:
    cluster = read_from_a_file(
        context="/shop",
        valve=[r".*\.css"],
        concern="all",
        stale="error",
        max_inactive_interval=60,
        max_sessions_per_principal=3,
        url_tracking=True,
    )
    behind = Application("secret", 1209600, cluster=cluster, stale="serve", valve=None)
    assert (behind.policy.asked.concern, behind.policy.stale) == ("all", "serve")
    assert behind.manager.context == "/shop"
    assert behind.manager.session_limits.idle_s == 60
    assert (behind.valve.admits("/site.css"), behind.url_tracking) == (True, True)
    assert behind.channel.sessions_max == {"/shop": 3}
    assert behind.options["stale"] == "serve"

    some = Application("secret", None, cluster=cluster, takes=["concern"])
    assert (some.policy.asked.concern, some.manager.context) == ("all", "/")


def test_an_error_is_told_where_it_stands() -> None:
    cluster = read_from_a_file(concern="some", stale="error")
    with pytest.raises(ConfigError, match=r"^shop\.toml: concern: got 'some'"):
        Application("secret", None, cluster=cluster)
    with pytest.raises(ConfigError, match=r"^stale: got 'never'"):
        Application("secret", None, cluster=cluster, concern="one", stale="never")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^secret_key: "):
        Application("", None, cluster=cluster)
    with pytest.raises(TypeError, match="concrn"):
        Application("secret", None, concrn="one")  # type: ignore[call-arg]


def committed(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """Return the headers of the request that follows."""
    headers: list[tuple[bytes, bytes]] = []
    assert exchange.start(headers) is None
    cookies = [value for name, value in headers if name == b"set-cookie"]
    return [(b"cookie", cookies[0].partition(b";")[0])]


def test_a_request_may_be_told_whether_its_session_was_served_here_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wired = Wired(monkeypatch, 1, 2)
    one, two = (
        Application(CLUSTER_SECRET, None, cluster=wired.clusters[name], primary_indicator="primary")
        for name in ("m1", "m2")
    )
    headers: list[tuple[bytes, bytes]] = []
    told: list[object] = []
    for behind in (one, one, two, two, one):
        exchange = behind.exchange(cookies(), headers, "/")
        assert exchange.waiter is None
        scope: dict[str, object] = {}
        behind.indicate(exchange, scope)
        told.append(scope.get("primary", "nothing"))
        exchange.session["n"] = exchange.session.get("n", 0) + 1
        headers = committed(exchange)
        wired.network.run(1.0)
    assert told == ["nothing", True, False, True, False]

    silent = Application(CLUSTER_SECRET, None, cluster=wired.clusters["m1"])
    exchange = silent.exchange(cookies(), headers, "/")
    scope = {}
    silent.indicate(exchange, scope)
    assert scope == {}
    with pytest.raises(ConfigError, match="primary_indicator"):
        application(primary_indicator="")


def test_also_after_a_wait_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    wired = Wired(monkeypatch, 1, 2)
    wired.network.hold("m1", Deltas)
    one, two = (
        Application(CLUSTER_SECRET, None, cluster=wired.clusters[name], primary_indicator="primary")
        for name in ("m1", "m2")
    )
    first = one.exchange(cookies(), [], "/")
    first.session["n"] = 1
    exchange = two.exchange(cookies(), committed(first), "/")
    assert exchange.waiter is not None
    wired.network.run(1.0)
    exchange.go_on()
    assert (exchange.session["n"], exchange.was_here) == (1, False)
