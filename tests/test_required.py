"""``required=True``: without its cluster, no front door serves; each request tries again."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import pytest
from django.test import override_settings
from flask import Flask
from quart import Quart

from replsession import Cluster
from replsession.asgi import SessionMiddleware as AsgiMiddleware
from replsession.flask import ReplicatedSession
from replsession.quart import ReplicatedSession as ReplicatedQuartSession
from replsession.session.session import Session
from replsession.web.refusal import NOT_STARTED
from replsession.wsgi import SessionMiddleware as WsgiMiddleware
from tests.browser import Browser, site
from tests.channel.running import HOST, free_port, some_group
from tests.django.project import Browser as Project
from tests.gateway import WsgiBrowser, wsgi_site

SECRET = "short"
Ask = Callable[[], tuple[int, str | None, str]]


@contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.socket() as sock:
        sock.bind((HOST, port))
        sock.listen()
        yield


def asgi_door(cluster: Cluster) -> Ask:
    async def page(session: Session) -> object:
        session["n"] = 1
        return None

    browser = Browser(AsgiMiddleware(site(page), SECRET, cluster=cluster, required=True))

    def ask() -> tuple[int, str | None, str]:
        answer = anyio.run(browser.get)
        return answer.status, next(iter(answer.values("retry-after")), None), answer.body.decode()

    return ask


def wsgi_door(cluster: Cluster) -> Ask:
    def page(session: Session) -> object:
        session["n"] = 1
        return None

    browser = WsgiBrowser(WsgiMiddleware(wsgi_site(page), SECRET, cluster=cluster, required=True))

    def ask() -> tuple[int, str | None, str]:
        answer = browser.get()
        return answer.status, next(iter(answer.values("retry-after")), None), answer.body.decode()

    return ask


def flask_door(cluster: Cluster) -> Ask:
    app = Flask(__name__)
    app.secret_key = SECRET
    ReplicatedSession(app, cluster=cluster, required=True)
    app.add_url_rule("/", view_func=lambda: "served")
    client = app.test_client()

    def ask() -> tuple[int, str | None, str]:
        answer = client.get("/")
        return answer.status_code, answer.headers.get("Retry-After"), answer.text

    return ask


def quart_door(cluster: Cluster) -> Ask:
    app = Quart(__name__)
    app.secret_key = SECRET
    ReplicatedQuartSession(app, cluster=cluster, required=True)

    async def served() -> str:
        return "served"

    app.add_url_rule("/", view_func=served)

    async def asked() -> tuple[int, str | None, str]:
        answer = await app.test_client().get("/")
        return answer.status_code, answer.headers.get("Retry-After"), await answer.get_data(True)

    return lambda: anyio.run(asked)


def django_door(cluster: Cluster) -> Ask:
    def ask() -> tuple[int, str | None, str]:
        with override_settings(
            SECRET_KEY=SECRET, REPLSESSION={"CLUSTER": cluster, "REQUIRED": True}
        ):
            answer = Project().ask(lambda session: session.setdefault("n", 1))
        return answer.status_code, answer.headers.get("Retry-After"), answer.content.decode()

    return ask


@pytest.mark.parametrize("door", [asgi_door, wsgi_door, flask_door, quart_door, django_door])
def test_each_request_is_refused_until_the_cluster_starts(door: Callable[[Cluster], Ask]) -> None:
    port = free_port()
    cluster = Cluster.local(port=port, auto_bind=1, multicast=some_group(), discovery_s=0.1)
    ask = door(cluster)
    with taken(port):
        for _ in range(2):
            status, retry_after, body = ask()

            assert (status, retry_after) == (503, "1")
            assert NOT_STARTED in body
            assert f"port {port} is taken" in cluster.state

    assert ask()[0] == 200
    cluster.attach(SECRET, required=False).stop_thread()
