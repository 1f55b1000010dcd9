"""The module that a WSGI server loads, and the server that is in it."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.cluster.processes import Processes, free_ports, random_secret, wait_until

LOAD = "import demo_app.wsgi; print(type(demo_app.wsgi.app).__name__)"


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Yield the helper; whatever a test starts with it is reaped."""
    with Processes() as started:
        yield started


def test_it_offers_the_application_and_starts_nothing(processes: Processes) -> None:
    process = processes.python("-c", LOAD, environment={"REPLSESSION_SECRET": random_secret()})
    assert process.wait() == 0
    process.output.wait_for("^Flask$")
    assert len(process.output.lines) == 1


def ready(url: str) -> bool:
    """Ask a member whether it is ready; nobody there is no."""
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.cluster
@pytest.mark.timeout(240)
def test_a_member_under_flask_shares_sessions_with_one_under_starlette(
    processes: Processes,
) -> None:
    first, second = free_ports(2)
    environment = {"REPLSESSION_SECRET": random_secret()}
    flask = processes.python(
        "-m",
        "demo_app.wsgi",
        f"127.0.0.1:{first}",
        name="flask",
        environment={**environment, "REPLSESSION_MEMBER_NAME": "flask"},
    )
    url = f"http://127.0.0.1:{first}"
    wait_until(lambda: ready(url), "the member under Flask is ready")
    starlette = processes.uvicorn(
        "demo_app.asgi:app",
        port=second,
        name="starlette",
        environment={**environment, "REPLSESSION_MEMBER_NAME": "starlette"},
    )
    starlette.wait_answering("/readyz")

    with httpx.Client(trust_env=False) as browser:
        told = [browser.get(f"{url}/session.json").json() for _ in range(2)]
        assert [(each["member"], each["counter"]) for each in told] == [("flask", 1), ("flask", 2)]
        told.append(browser.get(starlette.url("/session.json")).json())
        assert (told[2]["member"], told[2]["counter"]) == ("starlette", 3)
        assert told[2]["session_id"] == told[0]["session_id"]
        browser.post(starlette.url("/attributes"), json={"colour": "blue"})
        assert browser.get(f"{url}/session.json").json()["attributes"] == {
            "counter": 4,
            "colour": "blue",
        }
        # The log out of one ends it for the other, as soon as that has heard of it.
        browser.post(f"{url}/logout")
        again = starlette.url(f"/rotate;jsessionid={told[2]['url_token']}")
        wait_until(lambda: browser.post(again).json()["counter"] == 0, "it has ended")

    mark = starlette.output.mark()
    flask.send_signal(signal.SIGTERM)
    assert flask.wait() == 0
    flask.output.wait_for("Cluster has stopped$")
    starlette.output.wait_for(
        r"Received member disappeared: .* name=flask .*\(said goodbye\)$", mark
    )
    assert "Traceback" not in flask.output.text
    for line in flask.output.lines:
        assert re.match(r"\d\d:\d\d:\d\d\.\d{3} [A-Z]+ +\S", line), line


@pytest.mark.cluster
def test_it_is_served_by_gunicorn_too(processes: Processes) -> None:
    if sys.platform == "win32":
        pytest.skip("gunicorn does not run there")
    (port,) = free_ports(1)
    server = processes.python(
        *("-m", "gunicorn", "--threads", "4", "--bind", f"127.0.0.1:{port}", "demo_app.wsgi:app"),
        name="gunicorn",
        environment={"REPLSESSION_SECRET": random_secret()},
    )
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: ready(url), "the member is ready")
    told = httpx.get(f"{url}/session.json", trust_env=False).json()
    again = httpx.get(f"{url}/session.json;jsessionid={told['url_token']}", trust_env=False).json()
    assert (again["counter"], again["session_id"]) == (2, told["session_id"])
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    server.output.wait_for("Cluster has stopped$")
