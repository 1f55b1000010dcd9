"""
Everything that a browser can bring, through real servers that log all at DEBUG: no credential.

Two members of the counter page, under Starlette on uvicorn and under Flask on gunicorn, with all
loggers of the process at DEBUG. The log is read whole, that of the servers and of libraries too.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.cluster.processes import Processes, Server, free_ports, random_secret
from tests.layout.source import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

APPLICATION = """
import logging
logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s %(message)s")
from replsession.logging import hide_session_ids
hide_session_ids()
from demo_app.FRAMEWORK import create_app
app = create_app()
"""
FRAMEWORKS = {
    "starlette": ("application", "-m uvicorn starlette_app:app --port PORT --lifespan on"),
    "flask": (
        "flask_application",
        "-m gunicorn flask_app:app --bind 127.0.0.1:PORT --threads 2 --access-logfile -",
    ),
}
NAME_CHARACTERS, SIGNED_CHARACTERS, LOCATOR_CHARACTERS = 39, 83, 18
TOKEN = re.compile(r"A[Q-Za-f][\w-]{37}\.[\w-]{43}(?:\.[\w-]+)?")


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Yield the helper; whatever a test starts with it is reaped."""
    with Processes() as started:
        yield started


class Scene:
    """Two members, and a browser that takes down all that it is given."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        self.secret = random_secret()
        self.tokens: dict[str, None] = {}
        self.servers: dict[str, Server] = {}
        self._folder, self._processes = folder, processes
        for framework, (module, _) in FRAMEWORKS.items():
            text = APPLICATION.replace("FRAMEWORK", module)
            (folder / f"{framework}_app.py").write_text(text)

    def start(self, framework: str) -> Server:
        """Start one member, and wait until it is ready."""
        (port,) = free_ports(1)
        words = FRAMEWORKS[framework][1].replace("PORT", str(port)).split()
        server = self._processes.server(
            [sys.executable, *words],
            port=port,
            name=framework,
            environment={
                "PYTHONPATH": f"{ROOT}:{self._folder}",
                "REPLSESSION_SECRET": self.secret,
                "REPLSESSION_MEMBER_NAME": framework,
            },
            cwd=self._folder,
        )
        self.servers[framework] = server
        server.wait_answering("/readyz")
        return server

    def ask(
        self, server: Server, path: str, cookie: str = "", method: str = "GET", **body: Any
    ) -> tuple[int, str, str]:
        """Ask once; return status, text, and the cookie that was given."""
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        headers = {"Referer": f"http://shop{path}", "Content-Type": "application/json"}
        if cookie:
            headers["Cookie"] = f"theme=dark; {cookie}"
        connection.request(method, path, json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        text = response.read().decode()
        given = response.getheader("Set-Cookie") or ""
        connection.close()
        self.tokens.update(dict.fromkeys(TOKEN.findall(text + given)))
        return response.status, text, given.partition(";")[0]


def browse(scene: Scene, first: Server, second: Server) -> None:
    """Use every way in which an id can come, wrong ones too, and everything the page can do."""
    _, text, cookie = scene.ask(first, "/session.json")
    token = json.loads(text)["url_token"]
    damaged = token[:-1] + ("A" if token[-1] != "A" else "B")
    for server in (first, second):
        for path in (
            f"/session.json;jsessionid={token}",
            f"/;jsessionid={token}",
            f"/;JSESSIONID={token}",
            f"/;v=1;jsessionid={token}/nowhere",
            f"/{quote(f';jsessionid={token}', safe='')}",
            f"/logo.png;jsessionid={token}",
            f"/?jsessionid={token}&back={quote(f'/;jsessionid={token}', safe='')}",
            f"/session.json;jsessionid={damaged}",
        ):
            scene.ask(server, path)
        for brought in (cookie, f'session="{token}"', f"session={damaged}", f"session={token} "):
            scene.ask(server, "/session.json", brought)
        scene.ask(server, "/attributes", cookie, "POST", basket=["apple"])
        # Too large to be stored, so that an error is logged.
        scene.ask(server, "/attributes", cookie, "POST", basket="x" * 300_000)
        _, _, rotated = scene.ask(server, "/rotate", cookie, "POST", a=1)
        cookie = rotated or cookie
    scene.ask(first, "/logout", cookie, "POST", a=1)
    scene.ask(second, "/session.json", cookie)


def test_no_credential_is_in_any_log(tmp_path: Path, processes: Processes) -> None:
    scene = Scene(tmp_path, processes)
    first, second = scene.start("starlette"), scene.start("flask")
    first.output.wait_for("Replication member added: ")
    browse(scene, first, second)
    browse(scene, second, first)
    second.kill()
    first.output.wait_for("Received member disappeared: ")
    scene.start("flask")
    first.stop()
    scene.servers["flask"].stop()

    told = "\n".join(server.output.text for server in (first, second, scene.servers["flask"]))
    for shown in (
        "DEBUG replsession.messages Manager [/examples]: create delta request message for session",
        "DEBUG replsession.messages Manager [/examples]: received session delta message for",
        "ERROR replsession.manager Unable to ",
        ' - "GET /%3Bjsessionid%3D',
        '"GET /;JSESSIONID=',
    ):
        assert shown in told, "all of it is logged"
    assert len(scene.tokens) > 20
    assert scene.secret not in told
    for token in scene.tokens:
        assert token[LOCATOR_CHARACTERS:NAME_CHARACTERS] not in told, "the secret part of an id"
        assert token[NAME_CHARACTERS + 1 : SIGNED_CHARACTERS] not in told, "a signature"
    assert re.search(r"jsessionid(=|%3D)[\w-]{8}\*\*\*", told), "paths are there, without ids"
