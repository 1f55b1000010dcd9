"""replsession status, asked of members that run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from replsession.cli import choosing
from replsession.cli.commands import program
from tests.channel.running import until, write
from tests.cli.members import running
from tests.layout.source import ROOT


def invoked(*words: object) -> Result:
    return CliRunner().invoke(program, ["status", *map(str, words)], env={"COLUMNS": "100"})


def test_members_are_shown(tmp_path: Path) -> None:
    with running(tmp_path, "left", "right") as members:
        write(members.clusters[0].channel(), birth=True, secret_name=b"\x6bhush-hush-1")
        until(lambda: len(members.member(1).node.store) == 1, "it is replicated")
        ended = invoked("--socket", members.directory)
        assert (ended.exit_code, ended.stderr) == (0, "")
        assert "Cluster 'local': 2 members, 2 asked" in ended.output
        assert "OK all members are up and ready" in ended.output
        told = json.loads(invoked("--socket", members.directory, "--json").output)
        names = [one["member"]["name"] for one in told["members"]]
        assert sorted(names) == ["left", "right"]
        assert [one["sessions"][0]["live"] for one in told["members"]] == [1, 1]
        whole = json.dumps(told) + ended.output
        for secret in ("hush", "secret_name", "c0mmand"):
            assert secret not in whole


def test_without_options_all_of_this_user_are_found(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    with running(tmp_path, "left") as members:
        monkeypatch.setattr(choosing, "places", lambda: [members.directory])
        assert "left" in invoked().output
        assert invoked("--name", "local").exit_code == 0
        ended = invoked("--name", "other")
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert "no member of the cluster 'other' runs here" in ended.stderr


def test_nobody_is_exit_code_2(tmp_path: Path) -> None:
    for words in (["--socket", tmp_path], ["--socket", tmp_path / "x", "--json"]):
        ended = invoked(*words)
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert ended.stderr.startswith("Error: ")


def test_wrong_options_are_exit_code_2(tmp_path: Path) -> None:
    for words in (["--interval", "0"], ["--socket", "x", "--url", "http://x"], ["--watsh"]):
        assert invoked(*words).exit_code == 2


def test_a_pipe_that_closes_ends_a_watch(tmp_path: Path) -> None:
    with running(tmp_path, "left") as members:
        line = [
            "status",
            "--watch",
            "--interval",
            "0.1",
            "--json",
            "--socket",
            str(members.directory),
        ]
        with subprocess.Popen(
            [sys.executable, "-m", "replsession", *line],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as watching:
            assert watching.stdout is not None and watching.stderr is not None
            first, second = watching.stdout.readline(), watching.stdout.readline()
            assert json.loads(first)["members"] and json.loads(second)["members"]
            watching.stdout.close()
            assert watching.wait(50) == 0
            assert watching.stderr.read() == ""
