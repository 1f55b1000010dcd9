"""
Access logs of real servers: what clients send with their requests is there, and no id is.

Each server is started as docs/log.md says: with one call in the module of the application, or with
the configuration that stands there.
"""

from __future__ import annotations

import http.client
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.processes import Processes, Server, free_ports
from tests.layout.source import ROOT
from tests.web.test_hiding import ENCODED, NAME, SHOWN, TOKEN

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

PAGE = (ROOT / "docs" / "log.md").read_text("utf-8")
CALL = "from replsession.logging import hide_session_ids\nhide_session_ids()\n"
APPLICATIONS = """
async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            await send({"type": (await receive())["type"] + ".complete"})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})

def wsgi(environ, start):
    start("200 OK", [("Content-Length", "4")])
    return [b"here"]
"""
WERKZEUG = """
import sys
from werkzeug.serving import run_simple
from application import wsgi
run_simple("127.0.0.1", int(sys.argv[1]), wsgi)
"""
DJANGO = """
import sys
from django.conf import settings
from django.core.management import execute_from_command_line
settings.configure(DEBUG=True, ROOT_URLCONF="urls", ALLOWED_HOSTS=["*"], SECRET_KEY="x")
import application
execute_from_command_line(["manage.py", "runserver", "--noreload", "127.0.0.1:" + sys.argv[1]])
"""
URLS = """
from django.http import HttpResponse
from django.urls import re_path
urlpatterns = [re_path("", lambda request: HttpResponse("here"))]
"""
ASKED = f"/cart;v=1;jSessionID={TOKEN}?back={ENCODED}&page=2"
FORMAT = '%(r)s %(U)s %(q)s "%(f)s" "%({cookie}i)s"'

COMMANDS = {
    "uvicorn": "-m uvicorn application:asgi --port PORT",
    "uvicorn by its configuration": "-m uvicorn application:asgi --port PORT --log-config log.json",
    "gunicorn": "-m gunicorn application:wsgi --bind 127.0.0.1:PORT --access-logfile -",
    "gunicorn by its configuration": "-m gunicorn application:wsgi --bind 127.0.0.1:PORT"
    " --config page.conf.py",
    "gunicorn with headers": "-m gunicorn application:wsgi --bind 127.0.0.1:PORT --access-logfile -"
    " --config format.conf.py",
    "hypercorn": "-m hypercorn application:asgi --bind 127.0.0.1:PORT --access-logfile -",
    "granian": "-m granian application:asgi --interface asgi --port PORT --access-log",
    "werkzeug": "werkzeug_server.py PORT",
    "django's runserver": "django_server.py PORT",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Everything that the servers load."""
    (log_json,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (gunicorn_conf,) = re.findall(r"```python\n(logconfig_dict.*?)```", PAGE, re.DOTALL)
    for name, text in {
        "log.json": log_json,
        "page.conf.py": gunicorn_conf,
        "format.conf.py": f"access_log_format = {FORMAT!r}\n",
        "werkzeug_server.py": WERKZEUG,
        "django_server.py": DJANGO,
        "urls.py": URLS,
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Yield the helper; whatever a test starts with it is reaped."""
    with Processes() as started:
        yield started


def asked(server: Server) -> None:
    """Ask as a client with an id everywhere."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Referer": f"http://shop/;jsessionid={TOKEN}", "Cookie": f"a=1; session={TOKEN}"}
    connection.request("GET", ASKED, headers=headers)
    assert connection.getresponse().read() == b"here"
    connection.close()


@pytest.mark.parametrize("name", COMMANDS)
def test_no_id_is_in_the_log(name: str, folder: Path, processes: Processes) -> None:
    call = "" if "configuration" in name else CALL
    (folder / "application.py").write_text(call + APPLICATIONS)
    (port,) = free_ports(1)
    words = [word.replace("PORT", str(port)) for word in COMMANDS[name].split()]
    server = processes.server(
        [sys.executable, *words],
        port=port,
        name=name,
        environment={"PYTHONPATH": f"{ROOT}:{folder}"},
        cwd=folder,
    )
    server.wait_answering("/up")

    asked(server)

    server.output.wait_for(re.escape("jSessionID") + "(=|%3D)" + re.escape(SHOWN))
    server.stop()
    told = server.output.text
    assert "/up" in told, "all other requests are in the log as they were"
    assert TOKEN[39:] not in told and NAME[17:39] not in told
    if name == "gunicorn with headers":
        assert f'"http://shop/;jsessionid={SHOWN}" "a=1; session={SHOWN}"' in told


def test_without_the_filter_the_id_would_be_there(folder: Path, processes: Processes) -> None:
    (folder / "application.py").write_text(APPLICATIONS)
    (port,) = free_ports(1)
    words = COMMANDS["gunicorn"].replace("PORT", str(port)).split()
    server = processes.server(
        [sys.executable, *words],
        port=port,
        name="gunicorn",
        environment={"PYTHONPATH": f"{ROOT}:{folder}"},
        cwd=folder,
    )
    server.wait_answering("/up")

    asked(server)

    server.output.wait_for(re.escape(TOKEN))
