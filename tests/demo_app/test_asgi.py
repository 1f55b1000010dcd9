"""The module that a server loads: what it takes from the environment, and its log."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.cluster.processes import Processes, free_ports, random_secret

LOAD = "import demo_app.asgi; print(type(demo_app.asgi.app).__name__)"


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Yield the helper; whatever a test starts with it is reaped."""
    with Processes() as started:
        yield started


def test_it_offers_the_application(processes: Processes) -> None:
    process = processes.python("-c", LOAD, environment={"REPLSESSION_SECRET": random_secret()})
    assert process.wait() == 0
    process.output.wait_for("^Starlette$")


def test_loading_it_starts_nothing(processes: Processes) -> None:
    process = processes.python("-c", LOAD, environment={"REPLSESSION_SECRET": random_secret()})
    assert process.wait() == 0
    process.output.wait_for("^Starlette$")
    assert len(process.output.lines) == 1


@pytest.mark.cluster
def test_a_server_without_a_secret_says_what_is_missing(processes: Processes) -> None:
    (port,) = free_ports(1)
    server = processes.uvicorn("demo_app.asgi:app", port=port)
    assert server.wait() > 0
    server.output.wait_for(
        r"^replsession\.errors\.ConfigError: REPLSESSION_SECRET: got None; allowed: 32 random "
        r"characters or more, the same for every member; make them with: python -c "
    )


@pytest.mark.cluster
def test_a_server_logs_each_line_with_its_time(processes: Processes) -> None:
    (port,) = free_ports(1)
    server = processes.uvicorn(
        "demo_app.asgi:app",
        port=port,
        environment={"REPLSESSION_SECRET": random_secret(), "REPLSESSION_CLUSTER": "none"},
    )
    token = server.wait_answering("/session.json").json()["url_token"]
    server.wait_answering(f"/session.json;jsessionid={token}")
    server.output.wait_for(
        r"^\d\d:\d\d:\d\d\.\d{3} INFO    SessionListener: "
        r"attributeReplaced\('[^']{24}', 'counter', 2\)$"
    )
    # The server's own log has every path, but no id that lets people in.
    server.output.wait_for(re.escape('"GET /session.json HTTP/1.1" 200'))
    assert token not in server.output.text
