"""
A server that is asked to stop serves on for a while, and its member says that it is leaving.

``tests/channel/test_draining.py`` has the rules; these are the servers whose signals it takes.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.cluster.processes import ROOT, Processes, free_ports, random_secret, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

DRAIN_S = 5
UVICORN = "uvicorn demo_app.asgi:app --port {port} --lifespan on"
GUNICORN = (
    "gunicorn demo_app.wsgi:app --bind 127.0.0.1:{port} --threads 4 --config {folder}/conf.py"
)
HOOK = """
def post_worker_init(worker):
    from demo_app.wsgi import app
    app.extensions["place"].cluster.start()
"""


@pytest.mark.parametrize(
    "command",
    [
        UVICORN,
        f"{UVICORN} --workers 2",
        f"{GUNICORN} --workers 2",
        f"{GUNICORN} --worker-class gthread",
    ],
)
def test_it_says_no_and_serves_until_the_time_is_over(command: str, tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text(HOOK)
    (port,) = free_ports(1)
    words = [sys.executable, "-m", *command.format(port=port, folder=tmp_path).split()]
    environment = {
        "REPLSESSION_SECRET": random_secret(),
        "REPLSESSION_DRAIN_S": str(DRAIN_S),
        "PYTHONPATH": str(ROOT),
    }
    with Processes() as processes:
        server = processes.server(words, port=port, environment=environment)
        server.wait_answering("/readyz")

        server.send_signal(signal.SIGTERM)

        server.output.wait_for(f"not ready any more, serving for {DRAIN_S} s more")
        leaving = server.wait_answering("/readyz", 503)
        assert leaving.json() == {"ready": False, "state": "leaving"}
        answer = server.get("/session.json")
        assert answer is not None and answer.status_code == 200
        server.wait()
        wait_until(lambda: not server.left_behind(), "nothing is left")
        assert not server.output.matches("Traceback"), server.output.shown()
        assert server.output.matches("Cluster has stopped$")
