"""The handle of a cluster: what it takes, what it refuses, and which member it stands for."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from replsession import Cluster, ConfigError, Session, SessionError, SessionMiddleware
from replsession.identity import Key
from replsession.security.keys import DOCUMENTED_SECRETS
from replsession.session.change import Change
from replsession.session.codec import encode
from replsession.session.record import PRINCIPAL, SECRET
from tests.browser import Browser, Page, site
from tests.channel.running import free_port, some_group, until
from tests.web.test_manager import Told

GOOD = "gUUd-mQx7RtY4bLw1ZpN8sHc5JfG3aU_eXo6TiBrDy"
OTHER = "AnOther-7RtY4bLw1ZpN8sHc5JfG3aU_eXo6TiBrDy"
HUSH = "hush-hush"
ROOT = Path(__file__).resolve().parent.parent


async def nothing(session: Session) -> object:
    return None


async def counter(session: Session) -> object:
    session["n"] = session.get("n", 0) + 1
    return dict(session)


def used_by(cluster: Cluster | None, secret: Any = "short", **options: Any) -> SessionMiddleware:
    return SessionMiddleware(site(nothing), secret, cluster=cluster, **options)


# What it takes.


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"secret": "x"},
        {"bind": "127.0.0.1"},
        {"bind": "127.0.0.9"},
        {"bind": "lo"},
        {"port": 1},
        {"port": 65535, "auto_bind": 1},
        {"auto_bind": 65535},
        {"member_name": "m" * 64},
        {"member_name": "gänse füßchen"},
        {"multicast": None},
        {"multicast": ("239.255.255.255", 65535)},
        {"seeds": ()},
        {"seeds": ("127.0.0.1", "127.0.0.1:4001", "localhost", "localhost:4000")},
        {"seeds": ["127.0.0.1:4001"], "multicast": None},
        {"heartbeat_interval_s": 0.1, "drop_after_s": 1},
        {"discovery_s": 0.1, "transfer_timeout_s": 5},
        {"suspect_s": 0.5, "resolve_interval_s": 30, "forget_after_s": 60},
    ],
)
def test_options_that_are_taken(options: dict[str, Any]) -> None:
    local = Cluster.local(**options)
    assert (local.state, local.members, local.is_ready) == ("not started", (), False)
    assert local.metrics.as_dict()["commits"] == 0
    lan = Cluster.lan("shop", **{**options, "secret": GOOD})
    assert repr(lan) == "Cluster('shop', not started)"


def test_the_name_of_the_member() -> None:
    assert Cluster.local(member_name="a").member_name == "a"
    cluster = Cluster.local(port=free_port())
    assert cluster.member_name == ""
    used_by(cluster)
    assert cluster.member_name != ""


# What it refuses.

WRONG = [
    ({"secret": ""}, "secret"),
    ({"secret": b"hush-hush"}, "secret"),
    ({"secret": ["hush-hush"]}, "secret"),
    ({"bind": "0.0.0.0"}, "bind"),
    ({"bind": "::1"}, "bind"),
    ({"bind": ""}, "bind"),
    ({"bind": "224.0.0.1"}, "bind"),
    ({"bind": None}, "bind"),
    ({"port": 0}, "port"),
    ({"port": 65536}, "port"),
    ({"port": -1}, "port"),
    ({"port": "4000"}, "port"),
    ({"port": 4000.0}, "port"),
    ({"port": True}, "port"),
    ({"auto_bind": 0}, "auto_bind"),
    ({"auto_bind": None}, "auto_bind"),
    ({"member_name": ""}, "member_name"),
    ({"member_name": "m" * 65}, "member_name"),
    ({"member_name": 5}, "member_name"),
    ({"member_name": "a\nb"}, "member_name"),
    ({"member_name": "\ud800"}, "member_name"),
    ({"multicast": "228.0.0.4"}, "multicast"),
    ({"multicast": ("228.0.0.4",)}, "multicast"),
    ({"multicast": ["228.0.0.4", 45564]}, "multicast"),
    ({"multicast": ("10.0.0.1", 45564)}, "multicast"),
    ({"multicast": ("ff02::1", 45564)}, "multicast"),
    ({"multicast": ("228.0.0.4", 0)}, "multicast"),
    ({"multicast": ("228.0.0.4", "45564")}, "multicast"),
    ({"seeds": "127.0.0.1"}, "seeds"),
    ({"seeds": None}, "seeds"),
    ({"seeds": ("",)}, "seeds"),
    ({"seeds": ("127.0.0.1:http",)}, "seeds"),
    ({"seeds": ("127.0.0.1", "::1")}, "seeds"),
    ({"seeds": ("0.0.0.0",)}, "seeds"),
    ({"seeds": (4000,)}, "seeds"),
    ({"suspect_s": 0}, "suspect_s"),
    ({"resolve_interval_s": "1"}, "resolve_interval_s"),
    ({"heartbeat_interval_s": 0}, "heartbeat_interval_s"),
    ({"heartbeat_interval_s": "1"}, "heartbeat_interval_s"),
    ({"heartbeat_interval_s": 2.0}, "drop_after_s"),
    ({"drop_after_s": 1}, "drop_after_s"),
    ({"drop_after_s": float("nan")}, "drop_after_s"),
    ({"discovery_s": -1}, "discovery_s"),
    ({"transfer_timeout_s": None}, "transfer_timeout_s"),
    ({"secret_key": "hush-hush"}, "secret_key"),
    ({"heartbeat": 1}, "heartbeat"),
]


@pytest.mark.parametrize(("options", "field"), WRONG)
@pytest.mark.parametrize("kind", ["local", "lan"])
def test_a_wrong_option_is_named(kind: str, options: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Cluster.local(**options) if kind == "local" else Cluster.lan("shop", **options)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: got ")
    assert "; allowed: " in str(caught.value)
    assert HUSH not in str(caught.value) + repr(caught.value)
    if field == next(iter(options)) and "secret" not in field and field != "heartbeat":
        given = options[field]
        parts = (given, *given) if isinstance(given, tuple) else (given,)
        assert any(repr(part) in str(caught.value) for part in parts)


@pytest.mark.parametrize("seed", ["10.0.0.5", "members.internal", "auto", "lo"])
def test_members_of_one_host_are_not_looked_for_elsewhere(seed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Cluster.local(seeds=("127.0.0.1", seed))

    assert (caught.value.field, caught.value.given) == ("seeds", seed)
    Cluster.lan("shop", secret=GOOD, seeds=("127.0.0.1", seed))


@pytest.mark.parametrize("name", ["", "n" * 65, None, 5, b"shop", "a\nb", "\ud800"])
def test_a_cluster_has_a_name(name: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Cluster.lan(name)
    assert (caught.value.field, caught.value.given) == ("name", name)


def test_the_cluster_of_this_host_has_none() -> None:
    with pytest.raises(ConfigError, match="name: got 'a str'; allowed: no such option, but"):
        Cluster.local(name="shop")


@pytest.mark.parametrize("bind", ["192.0.2.7", "10.0.0.1", "eth0", "8.8.8.8"])
def test_the_cluster_of_this_host_stays_there(bind: str) -> None:
    with pytest.raises(ConfigError, match=r"bind: got .*; allowed: a loopback address"):
        Cluster.local(bind=bind)
    Cluster.lan("shop", bind=bind)


WEAK = ["short", "x" * 40, "ab" * 20, "hush-hush" * 5, DOCUMENTED_SECRETS[0]]


@pytest.mark.parametrize("secret", WEAK)
def test_beyond_this_host_a_weak_secret_is_refused(secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Cluster.lan("shop", secret=secret)
    assert caught.value.field == "secret"
    assert secret not in str(caught.value) + repr(caught.value)

    with pytest.raises(ConfigError) as caught:
        used_by(Cluster.lan("shop"), secret)
    assert caught.value.field == "secret_key"
    assert secret not in str(caught.value) + repr(caught.value)

    used_by(Cluster.lan("shop", secret=GOOD), secret)
    used_by(Cluster.lan("shop"), GOOD)
    used_by(Cluster.local(), secret)


def test_a_secret_is_never_shown() -> None:
    for cluster in (Cluster.local(secret=GOOD), Cluster.lan("shop", secret=GOOD)):
        middleware = used_by(cluster)
        shown = [repr(x) + str(x) for x in (cluster, middleware, middleware._channel.settings)]
        assert GOOD not in "".join(shown)


# Which member.


def test_equal_local_settings_share_one_member() -> None:
    one, other = used_by(Cluster.local()), used_by(Cluster.local())
    assert one._channel is other._channel
    assert used_by(Cluster.local(), "another")._channel is not one._channel
    assert used_by(Cluster.local(member_name="m"))._channel is not one._channel
    assert used_by(Cluster.local(secret="short"))._channel is one._channel


def test_clusters_beyond_this_host_share_none() -> None:
    one, other = (used_by(Cluster.lan("shop"), GOOD) for _ in range(2))
    assert one._channel is not other._channel


def test_one_cluster_is_one_member_whatever_applications_there_are() -> None:
    cluster = Cluster.lan("shop")
    one, other = used_by(cluster, GOOD), used_by(cluster, GOOD, context="/b")
    assert one._channel is other._channel


@pytest.mark.parametrize("cluster", [Cluster.local(port=4321), Cluster.lan("shop")])
def test_two_secrets_for_one_cluster_are_refused(cluster: Cluster) -> None:
    used_by(cluster, GOOD)
    used_by(cluster, [GOOD, OTHER])
    with pytest.raises(ConfigError) as caught:
        used_by(cluster, OTHER)
    assert caught.value.field == "secret_key"
    assert "another secret than the application before" in str(caught.value)
    assert OTHER not in str(caught.value) and GOOD not in str(caught.value)


@pytest.mark.parametrize("make", [Cluster.local, lambda **options: Cluster.lan("shop", **options)])
def test_with_a_secret_of_its_own_applications_may_have_theirs(make: Any) -> None:
    cluster = make(secret=GOOD)
    assert used_by(cluster, "one")._channel is used_by(cluster, "other")._channel


def test_whoever_requires_it_requires_it_for_all() -> None:
    cluster = Cluster.local(port=free_port())
    first = used_by(cluster)
    assert not first._channel.required
    used_by(cluster, required=True)
    used_by(cluster)
    assert first._channel.required


# From the environment.


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Cluster.local()),
        ({"REPLSESSION_CLUSTER": ""}, Cluster.local()),
        ({"REPLSESSION_CLUSTER": "local"}, Cluster.local()),
        (
            {"REPLSESSION_SECRET": "", "REPLSESSION_PORT": "", "REPLSESSION_BIND": ""},
            Cluster.local(),
        ),
        (
            {
                "REPLSESSION_SECRET": "s",
                "REPLSESSION_BIND": "lo",
                "REPLSESSION_PORT": "4123",
                "REPLSESSION_MEMBER_NAME": "a",
                "REPLSESSION_OTHER": "x",
            },
            Cluster.local(secret="s", bind="lo", port=4123, member_name="a"),
        ),
        ({"REPLSESSION_CLUSTER": "lan:shop"}, Cluster.lan("shop")),
        (
            {
                "REPLSESSION_CLUSTER": "lan:shop",
                "REPLSESSION_SEEDS": " 10.0.0.5, 10.0.0.6:4001,,members.internal:4000 ",
            },
            Cluster.lan("shop", seeds=("10.0.0.5", "10.0.0.6:4001", "members.internal:4000")),
        ),
        ({"REPLSESSION_SEEDS": " , "}, Cluster.local()),
        (
            {"REPLSESSION_CLUSTER": "lan:a:b", "REPLSESSION_SECRET": GOOD},
            Cluster.lan("a:b", secret=GOOD),
        ),
    ],
)
def test_the_environment_describes_a_cluster(
    environment: dict[str, str], expected: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster.from_env(environment)
    assert cluster is not None
    assert cluster._settings == expected._settings
    for variable in list(environment):
        monkeypatch.setenv(variable, environment[variable])
    again = Cluster.from_env()
    assert again is not None and again._settings == expected._settings


def test_the_environment_may_say_that_there_is_none() -> None:
    assert Cluster.from_env({"REPLSESSION_CLUSTER": "none", "REPLSESSION_SECRET": "s"}) is None


def test_none_with_something_for_applications_is_one_process_alone() -> None:
    cluster = Cluster.from_env({"REPLSESSION_CLUSTER": "none", "REPLSESSION_CONTEXT": "/shop"})
    assert cluster is not None
    assert (repr(cluster), cluster.member_name) == ("Cluster('none', not started)", "")
    first, second = used_by(cluster), used_by(cluster, "another", context="/other")
    assert first._channel is second._channel
    assert list(first._channel.contexts) == ["/shop", "/other"]
    assert (repr(cluster), cluster.is_ready) == ("Cluster('none', ready)", True)


def described(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "replsession.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_describes_a_cluster(tmp_path: Path) -> None:
    text = '[replsession]\ncluster = "lan:shop"\nsecret_file = "s"\nport = 4123\nstale = "error"'
    path = described(tmp_path, text)
    (tmp_path / "s").write_text(GOOD)
    (tmp_path / "s").chmod(0o600)
    expected = Cluster.lan("shop", secret=GOOD, port=4123)
    for cluster in (Cluster.from_toml(path), Cluster.from_env({"REPLSESSION_CONFIG": str(path)})):
        assert cluster is not None
        assert cluster._settings == expected._settings
        assert cluster.configuration.application == {"stale": "error"}
    path = described(tmp_path, "[tool.replsession]\nport = 4123")
    local = Cluster.from_toml(path, "tool.replsession")
    assert local._settings == Cluster.local(port=4123)._settings


def test_tomcats_server_xml_describes_a_cluster(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "replsession")
    cluster = Cluster.from_server_xml(ROOT / "tests" / "settings" / "cluster.xml")
    assert cluster._settings == Cluster.lan("shop")._settings
    assert cluster.configuration.application["concern"] == "async"
    assert "line 6, <Receiver> maxThreads: no meaning" in caplog.text
    used_by(cluster, GOOD)
    path = tmp_path / "server.xml"
    text = (ROOT / "tests" / "settings" / "cluster.xml").read_text()
    path.write_text(text.replace('dropTime="3000"', 'dropTime="900"'))
    with pytest.raises(ConfigError, match=r"server.xml, line 5: <Membership> dropTime: got 0.9"):
        Cluster.from_server_xml(path)


def test_variables_win_over_the_file(tmp_path: Path) -> None:
    text = '[replsession]\ncluster = "lan:shop"\nsecret_file = "not there"\nport = 4123'
    path = str(described(tmp_path, text))
    cluster = Cluster.from_env(
        {
            "REPLSESSION_CONFIG": path,
            "REPLSESSION_CLUSTER": "local",
            "REPLSESSION_SECRET": "s",
            "REPLSESSION_DROP_AFTER_S": "5",
        }
    )
    assert cluster is not None
    expected = Cluster.local(secret="s", port=4123, drop_after_s=5.0)
    assert cluster._settings == expected._settings
    none = {"REPLSESSION_CONFIG": path, "REPLSESSION_CLUSTER": "none"}
    assert Cluster.from_env({**none, "REPLSESSION_SECRET": "s"}) is None


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ('cluster = "lan:"', "cluster"),
        ('cluster = "wan"', "cluster"),
        ('bind = "0.0.0.0"', "bind"),
        ('cluster = "lan:shop"\nsecret = "hush-hush"', "secret"),
        ('cluster = "lan:shop"\nsecret_file = "replsession.toml"', "secret_file"),
        ('secret = "s"\nsecret_file = "s"', "secret_file"),
        ("drop_after_s = 0.5", "drop_after_s"),
        ('multicast = "10.0.0.1:45564"', "multicast"),
    ],
)
def test_what_a_file_must_not_say_is_told_where_it_stands(
    tmp_path: Path, lines: str, key: str
) -> None:
    path = described(tmp_path, f"[replsession]\n{lines}")
    with pytest.raises(ConfigError) as caught:
        Cluster.from_toml(path)
    assert caught.value.field == f"{path}: {key}"
    assert HUSH not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "field", "given"),
    [
        ({"REPLSESSION_CLUSTER": "wan"}, "REPLSESSION_CLUSTER", "wan"),
        ({"REPLSESSION_CLUSTER": "lan"}, "REPLSESSION_CLUSTER", "lan"),
        ({"REPLSESSION_CLUSTER": "lan:"}, "REPLSESSION_CLUSTER", ""),
        ({"REPLSESSION_CLUSTER": "LOCAL"}, "REPLSESSION_CLUSTER", "LOCAL"),
        ({"REPLSESSION_PORT": "http"}, "REPLSESSION_PORT", "http"),
        ({"REPLSESSION_PORT": "0"}, "REPLSESSION_PORT", 0),
        ({"REPLSESSION_PORT": "4000.5"}, "REPLSESSION_PORT", "4000.5"),
        ({"REPLSESSION_BIND": "0.0.0.0"}, "REPLSESSION_BIND", "0.0.0.0"),
        ({"REPLSESSION_BIND": "eth0"}, "REPLSESSION_BIND", "eth0"),
        ({"REPLSESSION_MEMBER_NAME": "m" * 65}, "REPLSESSION_MEMBER_NAME", "m" * 65),
        ({"REPLSESSION_SEEDS": "127.0.0.1,::1"}, "REPLSESSION_SEEDS", "::1"),
        ({"REPLSESSION_SEEDS": "10.0.0.5"}, "REPLSESSION_SEEDS", "10.0.0.5"),
        (
            {"REPLSESSION_CLUSTER": "lan:shop", "REPLSESSION_SECRET": HUSH},
            "REPLSESSION_SECRET",
            None,
        ),
    ],
)
def test_a_wrong_variable_is_named(environment: dict[str, str], field: str, given: object) -> None:
    with pytest.raises(ConfigError) as caught:
        Cluster.from_env(environment)
    assert caught.value.field == field
    if given is not None:
        assert caught.value.given == given
    assert HUSH not in str(caught.value)


# Members that run.


def members(count: int, **options: Any) -> list[Cluster]:
    """Return the clusters of so many members in this process, which find each other."""
    settings = {"secret": GOOD, "multicast": some_group(), "discovery_s": 0.2, **options}
    return [
        Cluster.local(member_name=f"m{number}", port=free_port(), **settings)
        for number in range(count)
    ]


async def exchange(session: Session) -> object:
    session["m"] = session.pop("n")
    return None


async def logout(session: Session) -> object:
    session["x"] = 1
    session.clear()
    return None


@contextmanager
def running(
    *clusters: Cluster, also: Sequence[object] = ()
) -> Iterator[list[tuple[SessionMiddleware, Told]]]:
    """Run an application with a listener on each member, all of them up; end them afterwards."""
    tolds = [Told() for _ in clusters]
    apps = [
        used_by(cluster, "s", listeners=[*also, told], context="/shop")
        for cluster, told in zip(clusters, tolds, strict=True)
    ]
    try:
        for app in apps:
            app._channel.ensure_started()
        until(lambda: all(cluster.is_ready for cluster in clusters), "all ready")
        others = len(clusters) - 1
        until(lambda: all(len(cluster.members) == others for cluster in clusters), "all up")
        yield list(zip(apps, tolds, strict=True))
    finally:
        for app in apps:
            app._channel.stop_thread()


def get(browser: Browser, member: SessionMiddleware, page: Page) -> Any:
    """Let one member answer with a page."""

    async def ask() -> Any:
        member.app = site(page)
        browser.app = member
        return (await browser.get()).json()

    return anyio.run(ask)


def test_a_member_says_who_it_is_and_whom_it_sees() -> None:
    first, second = members(2)
    with running(first, second):
        assert (first.member_name, second.member_name) == ("m0", "m1")
        assert (first.members, second.members) == (("m1",), ("m0",))
        assert repr(first) == "Cluster('local', ready)"
    assert (first.state, first.is_ready) == ("stopped", False)


def test_it_may_start_without_any_request_and_without_any_application() -> None:
    settings: dict[str, Any] = {"secret": GOOD, "multicast": some_group(), "discovery_s": 0.2}
    keeper = Cluster.local(port=free_port(), **settings)
    with pytest.raises(SessionError, match="no application"):
        list(keeper.sessions())
    keeper.start()
    keeper.start()
    until(lambda: keeper.is_ready, "ready")
    server = Cluster.local(port=free_port(), **settings)
    app = used_by(server, "s", context="/shop")
    server.start()
    until(lambda: server.is_ready and keeper.members and server.members, "both are up")
    assert get(Browser(site(nothing)), app, counter) == {"n": 1}
    until(lambda: len(list(keeper.sessions())) == 1, "it keeps the session")
    for cluster in (server, keeper):
        assert cluster._channel is not None
        cluster._channel.stop_thread()


def test_to_start_without_an_application_it_needs_a_secret_of_its_own() -> None:
    with pytest.raises(ConfigError, match="if no application brings it"):
        Cluster.local(port=free_port()).start()


def test_two_members_share_sessions_and_tell_their_listeners() -> None:
    browser = Browser(site(nothing))
    with running(*members(2)) as [(one, told), (two, heard)]:
        assert get(browser, one, counter) == {"n": 1}
        until(lambda: heard.short == [("created", None), ("added", "n")], "the birth is told")
        events = [event for _, event in heard.events]
        assert {event.origin for event in events} == {"replicated"}
        assert {event.session_id for event in events} == {told.events[0][1].session_id}

        assert get(browser, two, counter) == {"n": 2}
        # Loading it there told nobody that it was created.
        assert heard.short[2:] == [("replaced", "n")]
        assert heard.events[2][1].origin == "local"
        until(lambda: told.short[2:] == [("replaced", "n")], "the write comes back")
        assert (told.events[2][1].old, told.events[2][1].value) == (1, 2)

        get(browser, two, exchange)
        until(lambda: len(told.events) == 5, "the exchange comes back")
        assert sorted(told.short[3:]) == [("added", "m"), ("removed", "n")]
        assert {(e.old, e.value) for _, e in told.events[3:]} == {(None, 2), (2, None)}

        get(browser, two, logout)
        until(lambda: told.short[5:] == [("destroyed", None)], "the end is told")
        assert told.events[5][1].reason == "invalidated"
        assert {event.origin for _, event in told.events[2:]} == {"replicated"}
        assert browser.cookie is None


def test_listeners_may_be_told_of_this_member_alone_and_of_their_own_application() -> None:
    first, second = members(2)
    silent, other, browser = Told(), Told(), Browser(site(nothing))
    with running(first) as [(one, _)]:
        two = used_by(
            second, "s", listeners=[silent], context="/shop", notify_listeners_on_replication=False
        )
        used_by(second, "s", listeners=[other], context="/other")
        try:
            two._channel.ensure_started()
            until(lambda: second.is_ready and first.members, "the second is up")
            get(browser, one, counter)
            until(lambda: second.metrics.deltas_received >= 1, "the birth is there")
            assert get(browser, two, counter) == {"n": 2}
            assert [event.origin for _, event in silent.events] == ["local"]
            assert other.events == []
        finally:
            two._channel.stop_thread()


class Failing:
    def attribute_added(self, event: object) -> None:
        """Fail."""
        raise RuntimeError("listener")


def test_a_listener_that_fails_on_news_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    first, second = members(2)
    with running(first, second, also=[Failing()]) as [(one, told), (_, heard)]:
        for _ in range(2):
            get(Browser(one), one, counter)
        until(lambda: len(heard.events) == 4, "both births are told")
        assert told.short == heard.short == [("created", None), ("added", "n")] * 2
        assert (first.metrics.listener_errors, second.metrics.listener_errors) == (2, 2)
        assert "Listener Failing failed in attribute_added" in caplog.messages


FORKING = """
import os, sys, anyio
from replsession import Cluster, SessionMiddleware
from tests.browser import Browser, site

async def counter(session):
    session["n"] = session.get("n", 0) + 1
    return session["n"]

secret, port, group, group_port, when = sys.argv[1:]
cluster = Cluster.local(secret=secret, port=int(port), multicast=(group, int(group_port)))
middleware = SessionMiddleware(site(counter), "s", cluster=cluster)

def count(browser):
    return anyio.run(browser.get).json()

def story(browser):
    channel = middleware._channel
    return [count(browser), channel.member.node.me.id.hex(), channel.member.pid == os.getpid(),
            channel.member.node.me.address.port, len(list(channel.member.node.store.records()))]

if when == "started":
    parent = Browser(middleware)
    before = story(parent)
reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    try:
        told = story(Browser(middleware))
        middleware._channel.stop_thread()
        os.write(writing, repr(told).encode())
    finally:
        os._exit(0)
os.close(writing)
child = os.read(reading, 10_000).decode()
os.waitpid(pid, 0)
if when != "started":
    parent = Browser(middleware)
    before = story(parent)
    before[0] += 1
    count(parent)
else:
    before[0] = count(parent)
print([before, eval(child)])
"""


@pytest.mark.parametrize("when", ["started", "not started"])
def test_a_fork_gets_a_member_of_its_own(when: str) -> None:
    group, port = some_group()
    run = subprocess.run(
        [sys.executable, "-c", FORKING, GOOD, str(free_port()), group, str(port), when],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    parent, child = ast.literal_eval(run.stdout)
    count, identity, is_own, address, records = child
    assert (count, is_own, records) == (1, True, 1)
    assert (parent[0], parent[2]) == (2, True)
    assert parent[1] != identity
    if when == "started":
        # Both ran at the same time, so each had to have a port of its own.
        assert parent[3] != address


class TestAdministration:
    def test_asks_for_an_application(self) -> None:
        cluster = Cluster.local(port=free_port())
        for call in (cluster.sessions, lambda: cluster.sessions_of("a")):
            with pytest.raises(SessionError, match="no application"):
                call()
        with pytest.raises(SessionError, match="no application"):
            cluster.invalidate("x" * 24)
        with pytest.raises(SessionError, match="no application"):
            cluster.invalidate_all("alice")

    def test_lists_and_ends_sessions(self) -> None:
        cluster = Cluster.local(port=free_port(), multicast=None)
        channel = cluster.attach("some-secret", required=False)
        try:
            channel.register("/", None, sessions_max=2)
            writes: dict[str, bytes | None] = {SECRET: b"h" * 16, PRINCIPAL: encode("", "alice")}
            for number in range(3):
                key = Key("/", bytes([number]) * 12)
                channel.commit((Change(key, dict(writes), birth=True),))
            assert [info.principal for info in cluster.sessions()] == ["alice"] * 2
            found = cluster.sessions_of("alice")
            assert cluster.sessions_of("alice", "/shop") == []
            assert cluster.invalidate(found[0].id)
            assert [info.id for info in cluster.sessions("/")] == [found[1].id]
            assert cluster.invalidate_all("alice", "/shop") == 0
            assert cluster.invalidate_all("alice") == 1
            assert list(cluster.sessions()) == []
            with pytest.raises(ValueError, match="principal"):
                cluster.invalidate_all("")
        finally:
            channel.stop_thread()
