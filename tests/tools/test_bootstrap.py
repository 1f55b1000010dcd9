"""The commands behind the Makefile, and what they say to an old Python."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys

import pytest

import bootstrap
from environment import ROOT, StepFailed

BOOTSTRAP = ROOT / "tools" / "bootstrap.py"


def test_old_versions_of_python_can_parse_it() -> None:
    ast.parse(BOOTSTRAP.read_text(encoding="utf-8"), feature_version=(3, 6))


@pytest.mark.parametrize("version", [(3, 6, 15), (3, 9, 18), (3, 11, 4)])
def test_an_old_python_is_told_in_one_line(version: tuple[int, int, int]) -> None:
    program = f"import runpy, sys; sys.version_info = {version}; runpy.run_path({str(BOOTSTRAP)!r})"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith("replsession needs Python 3.11.5 or newer; ")
    assert f" is {'.'.join(map(str, version))}. " in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_the_minimum_is_that_of_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    minimum = ".".join(map(str, bootstrap.MINIMUM))
    assert f'requires-python = ">={minimum}"' in text


def test_every_command_is_a_target_of_the_makefile() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^TARGETS := (.*)$", text, re.MULTILINE)
    assert targets
    assert targets[1].split() == list(bootstrap.COMMANDS)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    bootstrap.main([])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(bootstrap.COMMANDS)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let nothing be set up or run, and return what would have been."""
    started: list[str] = []

    def run(*command: object) -> None:
        started.append(" ".join(str(word) for word in command[1:]))

    def setup(use_uv: bool) -> None:
        started.append(f"setup {use_uv=}")

    monkeypatch.setattr(bootstrap, "run", run)
    monkeypatch.setattr(bootstrap, "setup", setup)
    monkeypatch.setattr(bootstrap, "become", lambda *words: started.append(" ".join(words)))
    return started


@pytest.mark.parametrize(
    ("words", "commands"),
    [
        ("help", []),
        ("setup", ["setup use_uv=True"]),
        ("--without-uv setup", ["setup use_uv=False"]),
        ("demo", ["setup use_uv=True", "demo_app --members 2 --port 8080"]),
        ("demo --port 9", ["setup use_uv=True", "demo_app --members 2 --port 8080 --port 9"]),
        ("lint", ["setup use_uv=True", "-m ruff check", "-m ruff format --check"]),
        ("test -k one -x", ["setup use_uv=True", "-m pytest -k one -x"]),
        ("bench", ["setup use_uv=True", "benchmarks"]),
    ],
)
def test_what_a_command_runs(started: list[str], words: str, commands: list[str]) -> None:
    bootstrap.main(words.split())
    assert started == commands


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("demo", "demo"),
        ("demo FRAMEWORK=flask", "demo --framework flask"),
        ("demo FRAMEWORK=mixed ARGS=--port=9", "demo --framework mixed --port=9"),
        ("test FRAMEWORK=flask ARGS=-x", "test -x"),
    ],
)
def test_make_hands_on_what_it_is_told(words: str, command: str) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make here")
    run = subprocess.run(
        [make, "--no-print-directory", "-n", *words.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert run.stdout.split() == ["python3", "tools/bootstrap.py", *command.split()]


def test_a_check_ends_with_the_tests(started: list[str]) -> None:
    bootstrap.main(["check"])
    assert [line.split()[:2] for line in started] == [
        ["setup", "use_uv=True"],
        ["-m", "ruff"],
        ["-m", "ruff"],
        ["-m", "mypy"],
        ["-m", "pytest"],
    ]


def test_a_check_stops_at_the_first_step_that_fails(
    started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*command: object) -> None:
        started.append("run")
        raise StepFailed(3)

    monkeypatch.setattr(bootstrap, "run", run)
    with pytest.raises(StepFailed) as failed:
        bootstrap.main(["check"])
    assert failed.value.code == 3
    assert started == ["setup use_uv=True", "run"]


@pytest.mark.parametrize("words", ["chek", "check --fast", "setup now", "clean all"])
def test_what_is_not_known_is_refused(
    started: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        bootstrap.main(words.split())
    assert ended.value.code == 2
    assert words.split()[-1] in capsys.readouterr().err
    assert started == []
