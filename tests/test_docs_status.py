"""
docs/status.md: its examples run, its report is what is printed, and its fields are those there are.

``python -m tests.test_docs_status`` prints the report that belongs into the page.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console
from starlette.testclient import TestClient
from werkzeug.test import Client

from replsession import Cluster, SessionMiddleware
from replsession.cli.commands import program
from replsession.cli.status.looks import seen
from replsession.cli.status.report import as_json, report
from replsession.security.keys import ClusterKeys
from replsession.security.signing import HEADER, signature
from replsession.settings import toml
from tests.channel.running import free_port, until
from tests.channel.test_administration import begin
from tests.cli.members import running
from tests.cli.status.situations import look, other, status, transfer

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "status.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS, REPORT, SESSIONS, URL = [text for language, text in BLOCKS if not language]
HANDLE, ASGI, WSGI = [text for language, text in BLOCKS if language == "python"]
(TOML,) = [text for language, text in BLOCKS if language == "toml"]
SECRET = "of this test alone"


def example() -> str:
    """Return the report of the page's example."""
    right = other(
        "web-2",
        lag={"deltas": 12, "bytes": 4096, "oldest_s": 0.004},
        repaired_s_ago=3.1,
    )
    left = status("web-1", right)
    left["transfer"] = transfer(state="skipped", donor=None, sessions=0, bytes=0)
    left["metrics"] |= {"deltas_sent": 7_200, "deltas_received": 7_000, "bytes_sent": 12_000_000}
    file = io.StringIO()
    Console(file=file, width=80, highlight=False).print(report(seen(look(left), None, 1.0)))
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    return "\n".join(lines) + "\n"


def test_the_report_is_what_is_printed() -> None:
    assert example() == REPORT


def commands_of(text: str) -> list[list[str]]:
    """Return the words of each command, without the program's name."""
    return [line.split()[1:] for line in text.splitlines() if line.startswith("replsession ")]


def test_the_commands_are_known() -> None:
    commands = commands_of(COMMANDS + SESSIONS + URL)
    assert len(commands) == 8
    for words in commands:
        context = click.Context(program)
        command: click.Command | None = program
        while isinstance(command, click.Group):
            command = command.get_command(context, words.pop(0))
        assert command is not None
        known = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_the_commands_about_sessions_run(tmp_path: Path) -> None:
    with running(tmp_path, "left") as members:
        first = begin(members.member(), 1, context="/shop")
        begin(members.member(), 2, "anna")
        for words in commands_of(SESSIONS):
            line = [first[:8] if word == "jcPWYnJN" else word for word in words]
            at = ["--socket", str(members.directory)]
            ended = CliRunner().invoke(program, [*line[:2], *at, *line[2:]], input="y\n")
            assert ended.exit_code == 0, ended.output
        assert list(members.clusters[0].sessions()) == []


def names_in(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


def test_every_field_is_in_the_table_and_no_other() -> None:
    table = PAGE.partition("## For programs")[2].partition("\nIn a program")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| ")][1:]
    told = json.loads(as_json(seen(look(status("left", other())), None, 1.0)))
    (member,) = told["members"]
    assert {name for row in rows for name in names_in(row[0])} == set(told) | set(member)
    by_name = {name: row[1] for row in rows for name in names_in(row[0])}
    assert names_in(by_name["member"]) == set(member["member"])
    assert names_in(by_name["transfer"]) - {
        "looking",
        "running",
        "received",
        "skipped",
        "none",
    } == (set(member["transfer"]))
    (one,) = member["others"]
    assert names_in(by_name["others"]) == {*one, *one["lag"], *one["outbox"]}
    assert names_in(by_name["sessions"]) == set(member["sessions"][0])
    assert names_in(by_name["rates"]) == set(member["rates"])


def test_the_example_of_the_handle_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with running(tmp_path, "left", "right") as members:
        exec(HANDLE, {"cluster": members.clusters[0]})
    assert capsys.readouterr().out == "right up 0\n"


def test_the_place_of_the_socket_is_read(tmp_path: Path) -> None:
    file = tmp_path / "replsession.toml"
    file.write_text(TOML)
    assert toml.read(file).values == {"control": "/run/shop"}


def signed() -> tuple[dict[str, str], bytes]:
    key = ClusterKeys(SECRET, "local").control_key
    return {HEADER: signature(key, "POST", "/status", b"{}")}, b"{}"


def made(text: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run an example with a cluster that finds nobody, and return its names."""
    local = Cluster.local
    monkeypatch.setattr(
        Cluster, "local", lambda: local(port=free_port(), multicast=None, control=None)
    )
    names: dict[str, Any] = {"SECRET": SECRET, "__name__": "example"}
    exec(compile(text, "example", "exec", dont_inherit=True), names)
    return names


def test_the_example_for_asgi_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    names = made(ASGI, monkeypatch)
    headers, body = signed()
    with TestClient(names["app"]) as client:
        answer = client.post("/replsession/status", content=body, headers=headers)
        assert answer.json()["status"]["member"]["cluster"] == "local"
        assert client.post("/replsession/status", content=body).status_code == 403


def test_the_example_for_wsgi_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    names = made(WSGI, monkeypatch)
    headers, body = signed()
    client = Client(names["app"])
    # Flask's configuration, and so its secret, is read at the first request.
    assert client.post("/replsession/status", data=body, headers=headers).status_code == 503
    client.get("/")
    answer = client.post("/replsession/status", data=body, headers=headers)
    assert answer.json is not None, answer.text
    assert answer.json["status"]["member"]["cluster"] == "local", answer.json
    assert client.post("/replsession/status", data=body).status_code == 403
    names["cluster"].channel().stop_thread()


def test_a_status_before_any_application_is_an_error_that_says_so() -> None:
    cluster = Cluster.local(port=free_port(), multicast=None, control=None)
    with pytest.raises(Exception, match="no application of this process"):
        cluster.status()
    SessionMiddleware(lambda *_: None, SECRET, cluster=cluster)  # type: ignore[arg-type]
    assert cluster.status().member.state == "not started"
    cluster.start()
    until(lambda: cluster.status().member.ready, "ready")
    cluster.channel().stop_thread()


if __name__ == "__main__":
    print(example(), end="")
