"""
A cluster that cannot start never stops the web server: sessions go on in the process, the readiness
endpoint says why, and it joins when it can. With ``required=True`` the server refuses.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cluster.processes import free_ports, wait_until
from tests.servers import commands
from tests.servers.served import served, visits

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

SERVERS = {
    "uvicorn": commands.UVICORN,
    "waitress": commands.WAITRESS,
    "gunicorn-gevent": commands.GUNICORN_GEVENT.replace("--workers 4", "--workers 1"),
}
NO_ADDRESS = {"REPLSESSION_CLUSTER": "local", "REPLSESSION_BIND": "127.93.0.1"}


@contextmanager
def taken_port() -> Iterator[tuple[int, socket.socket]]:
    """Hold a port that a member would like to have."""
    (port,) = free_ports(1)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        yield port, holder


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
def test_with_its_port_taken_it_serves_alone_and_joins_when_the_port_is_free(command: str) -> None:
    with taken_port() as (port, holder):
        with served(command, environment={"SHOP_PORT": str(port)}) as server:
            refused = server.server.wait_answering("/readyz", status=503)
            assert f"port {port} is taken" in refused.json()["state"]
            browsers = server.browsers(2)
            visits(browsers, 10)

            holder.close()

            server.server.wait_answering("/readyz", status=200)
            visits(browsers, 10)
            server.stop(signal.SIGINT)


def test_an_address_that_is_not_there_stops_no_server() -> None:
    environment = {"SHOP_BIND": "203.0.113.7"}
    with served(commands.WAITRESS, environment=environment) as server:
        refused = server.server.wait_answering("/readyz", status=503)
        assert "203.0.113.7" in refused.json()["state"]
        visits(server.browsers(2), 5)


def test_required_the_server_for_asgi_does_not_start() -> None:
    with taken_port() as (port, _):
        environment = {"SHOP_PORT": str(port), "SHOP_REQUIRED": "1"}
        with served(commands.UVICORN, environment=environment) as server:
            assert server.server.wait() != 0
            assert server.server.output.matches(f"the cluster cannot start: port {port} is taken")


def test_required_a_server_for_wsgi_answers_no_request_until_the_cluster_starts() -> None:
    with taken_port() as (port, holder):
        environment = {"SHOP_PORT": str(port), "SHOP_REQUIRED": "1"}
        with served(commands.WAITRESS, environment=environment) as server:
            server.server.wait_answering("/", status=503)
            refused = server.server.wait_answering("/readyz", status=503)
            print(refused.text)

            holder.close()

            wait_until(lambda: server.browser().ask("GET", "/readyz").status == 200, "ready")
            visits(server.browsers(1), 5)
