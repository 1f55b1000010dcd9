"""The control URL: whoever did not sign gets 403, and nothing behind it hears of that."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from replsession import Cluster, SessionMiddleware
from replsession.channel.inquiry import Inquiries
from replsession.config import CONTROL_CLOCKS_APART_S, CONTROL_REQUEST_BYTES_MAX
from replsession.control import AsgiControl, WsgiControl
from replsession.security.keys import ClusterKeys
from replsession.security.signing import HEADER, signature
from tests.browser import Message
from tests.channel.running import free_port
from tests.gateway import WsgiBrowser

SECRET = "c0ntrol-mQx7RtY4bLw1ZpN8sHc5JfG3aU_eXo6TiBrDy"
KEY = ClusterKeys(SECRET, "local").control_key
MOUNT = "/admin/replsession"

Answer = tuple[int, dict[str, Any]]


def some_cluster() -> Cluster:
    """Return a cluster that an application uses, and that finds nobody."""
    cluster = Cluster.local(port=free_port(), multicast=None, control=None)
    SessionMiddleware(lambda *_: None, SECRET, cluster=cluster)  # type: ignore[arg-type]
    return cluster


def over_asgi(cluster: Cluster) -> Callable[..., Answer]:
    app = AsgiControl(cluster)

    def ask(method: str, path: str, body: bytes, given: str | None) -> Answer:
        headers = [] if given is None else [(HEADER.lower().encode(), given.encode())]
        scope = {
            "type": "http",
            "method": method,
            "path": MOUNT + path,
            "root_path": MOUNT,
            "headers": headers,
        }
        parts = [body[:3], body[3:]]
        sent: list[Message] = []

        async def receive() -> Message:
            data = parts.pop(0)
            return {"type": "http.request", "body": data, "more_body": bool(parts)}

        async def send(message: Message) -> None:
            sent.append(message)

        anyio.run(app, scope, receive, send)
        start, content = sent
        assert (b"cache-control", b"no-store") in start["headers"]
        return start["status"], json.loads(content["body"])

    return ask


def over_wsgi(cluster: Cluster) -> Callable[..., Answer]:
    browser = WsgiBrowser(WsgiControl(cluster))

    def ask(method: str, path: str, body: bytes, given: str | None) -> Answer:
        answer = browser.get(
            path,
            SCRIPT_NAME=MOUNT,
            REQUEST_METHOD=method,
            CONTENT_LENGTH=str(len(body)),
            HTTP_X_REPLSESSION_SIGNATURE=given,
            **{"wsgi.input": io.BytesIO(body)},
        )
        return answer.status, json.loads(answer.body)

    return ask


DOORS = pytest.mark.parametrize("door", [over_asgi, over_wsgi])
Door = Callable[[Cluster], Callable[..., Answer]]


def signed(ask: Callable[..., Answer], path: str, request: object = None) -> Answer:
    body = b"" if request is None else json.dumps(request).encode()
    return ask("POST", path, body, signature(KEY, "POST", path, body))


@pytest.fixture
def cluster() -> Any:
    made = some_cluster()
    yield made
    made.channel().stop_thread()


@DOORS
def test_what_is_signed_is_answered(door: Door, cluster: Cluster) -> None:
    ask = door(cluster)
    status, answer = signed(ask, "/status")
    assert (status, answer["status"]["member"]["cluster"]) == (200, "local")
    assert signed(ask, "/sessions", {"limit": 5}) == (200, {"sessions": [], "after": None})
    assert signed(ask, "/invalidate_all", {"principal": "anna"}) == (200, {"ended": 0})


@DOORS
def test_the_path_says_what_is_asked_and_the_body_cannot_say_otherwise(
    door: Door, cluster: Cluster
) -> None:
    status, answer = signed(door(cluster), "/status", {"ask": "invalidate_all", "principal": "a"})
    assert (status, list(answer)) == (200, ["status"])


@DOORS
def test_nothing_else_reaches_the_next_layer(
    door: Door, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[object] = []
    monkeypatch.setattr(Inquiries, "steps", lambda self, request: reached.append(request))
    ask = door(cluster)
    body = b'{"principal":"anna"}'
    good = signature(KEY, "POST", "/invalidate_all", body)
    other = ClusterKeys("another-" + SECRET, "local").control_key
    for method, path, sent, given in [
        ("POST", "/invalidate_all", body, None),
        ("POST", "/invalidate_all", body, ""),
        ("POST", "/invalidate_all", body, "x.y"),
        ("POST", "/invalidate_all", body, good + "A"),
        ("POST", "/invalidate_all", body, signature(other, "POST", "/invalidate_all", body)),
        ("POST", "/invalidate_all", b'{"principal":"bob"}', good),
        ("POST", "/invalidate", body, good),
        ("PUT", "/invalidate_all", body, good),
        ("GET", "/status", b"", None),
        ("POST", "/status", b"{", None),
        ("POST", "", b"", None),
    ]:
        status, answer = ask(method, path, sent, given)
        assert status == 403, (method, path, sent, given)
        assert "signature" in answer["error"] and SECRET not in answer["error"]
    assert reached == []
    assert cluster.metrics.control_refused == 11


@DOORS
def test_a_signature_of_another_time_is_refused_with_the_reason(
    door: Door, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = signature(KEY, "POST", "/status", b"")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2 * CONTROL_CLOCKS_APART_S)
    status, answer = door(cluster)("POST", "/status", b"", given)
    assert (status, "look at the clocks" in answer["error"]) == (403, True)


@DOORS
@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/status", b"", 405),
        ("POST", "/status", b"[]", 400),
        ("POST", "/status", b"{", 400),
        ("POST", "/nothing", b"", 400),
        ("POST", "/sessions", b'{"limit":0}', 400),
        ("POST", "/status", b" " * (CONTROL_REQUEST_BYTES_MAX + 1), 413),
    ],
)
def test_what_is_signed_and_wrong_is_told(
    door: Door, cluster: Cluster, method: str, path: str, body: bytes, expected: int
) -> None:
    status, answer = door(cluster)(method, path, body, signature(KEY, method, path, body))
    assert (status, list(answer)) == (expected, ["error"])


@DOORS
def test_a_process_alone_answers_nobody(door: Door) -> None:
    cluster = Cluster(None)
    SessionMiddleware(lambda *_: None, SECRET, cluster=cluster)  # type: ignore[arg-type]
    status, answer = signed(door(cluster), "/status")
    assert (status, "no cluster" in answer["error"]) == (403, True)


@DOORS
def test_before_an_application_uses_the_cluster_nobody_is_answered(door: Door) -> None:
    status, answer = signed(door(Cluster.local()), "/status")
    assert (status, "no application" in answer["error"]) == (503, True)


@pytest.mark.parametrize("length", ["-5", "x", "²"])
def test_a_length_that_is_none_is_refused(cluster: Cluster, length: str) -> None:
    said: list[str] = []
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/status", "CONTENT_LENGTH": length}
    (body,) = WsgiControl(cluster)(environ, lambda status, headers: said.append(status))
    assert (said, list(json.loads(body))) == (["400 Bad Request"], ["error"])


def test_a_websocket_is_refused_and_a_lifespan_is_lived(cluster: Cluster) -> None:
    app = AsgiControl(cluster)
    sent: list[Message] = []
    told = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Message:
        return told.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    anyio.run(app, {"type": "lifespan"}, receive, send)
    anyio.run(app, {"type": "websocket", "path": "/status"}, receive, send)
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
        "websocket.close",
    ]


def test_a_client_that_went_away_is_no_request(cluster: Cluster) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/status", "headers": []}
    anyio.run(AsgiControl(cluster), scope, receive, send)
    assert sent[0]["status"] == 400


def test_under_trio_it_answers_as_well(cluster: Cluster) -> None:
    body = b""
    headers = [(HEADER.lower().encode(), signature(KEY, "POST", "/status", body).encode())]
    scope = {"type": "http", "method": "POST", "path": "/status", "headers": headers}
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        sent.append(message)

    anyio.run(AsgiControl(cluster), scope, receive, send, backend="trio")
    assert sent[0]["status"] == 200
