"""
The walk-through of the README with real servers: count, change the member, kill, go on, come back.

Two members of the counter page, each a uvicorn process of its own; nothing stands between the test
and what a user does but that the test reads the pages itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from tests.cluster.processes import Processes, Server, free_ports, random_secret

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

ADDRESS = r"tls://127\.0\.0\.1:\d+"
MEMBER = ADDRESS + r" name={} id=[0-9a-f]{{16}} incarnation=\d+ alive=\d+ ms"
STARTED = (
    r"Cluster is about to start$",
    r"Receiver server socket bound to /127\.0\.0\.1:\d+$",
    r"Membership on multicast 228\.0\.0\.4:45564, heartbeat every 500 ms, drop after 3000 ms$",
    r"Sleeping for up to 1000 milliseconds to establish cluster membership$",
    r"Register manager /examples to cluster with name {}$",
)
REQUESTED = (
    r"WARNING.*Manager \[/examples\]: requesting session state from {}\. This operation will time "
    r"out if no session state has been received within 60 seconds\.$"
)
RECEIVED = (
    r"Manager \[/examples\]: session state sent at \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{{3}} "
    r"received in \d+ ms \({} sessions, {} bytes\)\.$"
)
SKIPPED = r"Manager \[/examples\]: skipping state transfer\. No members active in cluster group\.$"
COUNTED = r"SessionListener: attributeReplaced\('{}', 'counter', {}\)$"


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Yield the helper; whatever a test starts with it is reaped."""
    with Processes() as started:
        yield started


class Demo:
    """The counter page on members ``a`` and ``b``, as in two terminals."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._ports = dict(zip("ab", free_ports(2), strict=True))
        self._environment = {
            "REPLSESSION_SECRET": random_secret(),
            "DEMO_MEMBERS": " ".join(
                f"{name}=http://127.0.0.1:{port}" for name, port in self._ports.items()
            ),
        }

    def start(self, name: str) -> Server:
        """Start one member, and wait until it is ready."""
        environment = {**self._environment, "REPLSESSION_MEMBER_NAME": name}
        server = self._processes.uvicorn(
            "demo_app.asgi:app", port=self._ports[name], name=name, environment=environment
        )
        server.wait_answering("/readyz")
        return server


def shown(page: str, name: str) -> str:
    """Return what the page shows in the element with this id."""
    found = re.search(rf'id="{name}">([^<]*)<', page)
    assert found, page
    return found[1]


def href(page: str, pattern: str) -> str:
    """Return the one link of a page that matches."""
    (found,) = re.findall(rf'href="({pattern})"', page)
    return str(found)


def assert_shows(page: str, expected: Mapping[str, object]) -> None:
    """Assert what elements of the page show."""
    assert {name: shown(page, name) for name in expected} == {
        name: str(value) for name, value in expected.items()
    }


def test_a_session_survives_kill_9(processes: Processes) -> None:
    demo = Demo(processes)
    a, b = demo.start("a"), demo.start("b")
    a.output.wait_for("Replication member added: " + MEMBER.format("b"))

    # Count to three on A.
    with httpx.Client(trust_env=False) as browser:
        for count in (1, 2, 3):
            page = browser.get(a.url()).raise_for_status().text
            assert_shows(
                page, {"counter": count, "member": "a", "new": "yes" if count == 1 else "no"}
            )
        session = shown(page, "session")
        assert list(browser.cookies) == ["session"]
        b.output.wait_for(COUNTED.format(session, 3))

        # Follow the link to B: another host name, so that no cookie goes along, only the URL.
        to_b = href(page, r"http://[^\"]*;jsessionid=[^\"]*")
        assert to_b.startswith(f"http://localhost:{b.port}/;jsessionid=")
        assert "cookie" not in browser.build_request("GET", to_b).headers
        answer = browser.get(to_b).raise_for_status()
        assert "set-cookie" not in answer.headers
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert_shows(answer.text, {"counter": 4, "member": "b", "new": "no", "session": session})
        again = href(answer.text, r"/;jsessionid=[^\"]*")
        a.output.wait_for(COUNTED.format(session, 4))

        # Kill A. B goes on, and its page has kept the id in its links.
        mark = b.output.mark()
        a.kill()
        answer = browser.get(answer.url.join(again)).raise_for_status()
        assert_shows(answer.text, {"counter": 5, "member": "b", "session": session})
        # The dial that verifies it is refused; or reset, if it still got to the dying process.
        b.output.wait_for(
            f"Received member disappeared: {MEMBER.format('a')} "
            r"\((connection refused|Connection reset by peer|silent for \d+\.\d s)\)$",
            after=mark,
        )

        # A comes back, gets the session from B, and knows the cookie that it once gave out.
        back = demo.start("a")
        told = browser.get(back.url("/session.json")).raise_for_status().json()
        assert told["member"] == "a"
        assert told["session_id"] == session
        assert told["counter"] == told["attributes"]["counter"] == 6
        assert told["is_new"] is False

    token = to_b.partition("=")[2]
    assert_logged(a, b, back, session, token)


def assert_logged(a: Server, b: Server, back: Server, session: str, token: str) -> None:
    """Assert that each member's log tells its side of the walk-through."""
    counted = [COUNTED.format(session, count) for count in range(2, 7)]
    begun = [
        rf"SessionListener: sessionCreated\('{session}'\)$",
        rf"SessionListener: attributeAdded\('{session}', 'counter', 1\)$",
    ]
    a.output.assert_in_order(
        [
            *(line.format("a") for line in STARTED),
            SKIPPED,
            "Member is ready$",
            "Replication member added: " + MEMBER.format("b"),
            *begun,
            *counted[:3],
        ]
    )
    b.output.assert_in_order(
        [
            *(line.format("b") for line in STARTED),
            "Replication member added: " + MEMBER.format("a"),
            REQUESTED.format(MEMBER.format("a")),
            RECEIVED.format(0, 0),
            "Member is ready$",
            *begun,
            *counted,
        ]
    )
    back.output.assert_in_order(
        [
            *(line.format("a") for line in STARTED),
            "Replication member added: " + MEMBER.format("b"),
            REQUESTED.format(MEMBER.format("b")),
            RECEIVED.format(1, r"[1-9][\d ]*"),
            "Member is ready$",
            counted[4],
        ]
    )
    # Loading a session is not its birth; and no log gives away what lets people in.
    assert not back.output.matches("sessionCreated|attributeAdded")
    for server in (a, b, back):
        assert token not in server.output.text


def test_a_graceful_stop_says_goodbye(processes: Processes) -> None:
    demo = Demo(processes)
    a, b = demo.start("a"), demo.start("b")
    b.output.wait_for("Replication member added: " + MEMBER.format("a"))
    assert a.get("/session.json") is not None
    b.output.wait_for("SessionListener: sessionCreated")
    a.stop()
    b.output.wait_for(f"Received member disappeared: {MEMBER.format('a')} " + r"\(said goodbye\)$")
    a.output.wait_for("Cluster has stopped$")


BAD = """
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from replsession import SessionMiddleware

async def home(request):
    return PlainTextResponse("here")

app = Starlette(
    routes=[Route("/", home)],
    middleware=[
        Middleware(SessionMiddleware, secret_key="a secret", cluster=None, context="no slash")
    ],
)
"""
MESSAGE = r"^replsession\.errors\.ConfigError: context: got 'no slash'; allowed: "


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """Return the folder of an application with a wrong setting."""
    (tmp_path / "bad_application.py").write_text(BAD, encoding="utf-8")
    return tmp_path


def test_with_lifespan_on_a_wrong_setting_stops_the_server(processes: Processes, bad: Path) -> None:
    (port,) = free_ports(1)
    server = processes.uvicorn("bad_application:app", port=port, app_dir=bad)
    assert server.wait() > 0
    assert server.output.matches(MESSAGE)


def test_with_lifespan_auto_a_wrong_setting_is_seen_by_every_request(
    processes: Processes, bad: Path
) -> None:
    """Why the README says ``--lifespan on``: the server starts, and nobody sees the message."""
    (port,) = free_ports(1)
    server = processes.uvicorn("bad_application:app", port=port, app_dir=bad, lifespan="auto")
    server.output.wait_for("ASGI 'lifespan' protocol appears unsupported")
    server.output.wait_for("Uvicorn running on")
    assert not server.output.matches(MESSAGE)
    for _ in range(2):
        server.wait_answering("/", status=500)
    server.output.assert_in_order([MESSAGE, MESSAGE])
