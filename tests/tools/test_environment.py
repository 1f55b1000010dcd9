"""How `.venv` is made, on machines that have more or less; and what the lock promises."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import environment
from environment import SetupFailed, StepFailed

PYPROJECT = environment.ROOT / "pyproject.toml"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that stands for the project's, with its two files."""
    for file in (PYPROJECT, environment.LOCK):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "LOCK", tmp_path / environment.LOCK.name)
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    for name in ("VENV_PYTHON", "VENV_UV", "STAMP"):
        path: Path = getattr(environment, name)
        inside = path.relative_to(path.parents[1 if name == "STAMP" else 2])
        monkeypatch.setattr(environment, name, tmp_path / inside)
    return tmp_path


class Machine:
    """
    A machine that has only some of the ways to set up.

    Args:
        has: Some of `uv`, `venv`, `pip`, `ensurepip`, and `index` for a reachable index.
    """

    def __init__(self, has: set[str]) -> None:
        self.has = has
        self.used: list[str] = []

    def run(self, *command: object) -> None:
        """Do as the program would on this machine, or fail."""
        words = " ".join(str(word) for word in command)
        name, needs = next(
            (name, needs) for pattern, name, needs in _PROGRAMS if re.search(pattern, words)
        )
        if not needs <= self.has:
            raise StepFailed(1)
        self.used.append(name)
        if name.endswith("venv"):
            environment.VENV_PYTHON.parent.mkdir(parents=True, exist_ok=True)
            environment.VENV_PYTHON.touch()

    def call(self, command: list[str], **_: object) -> int:
        """Answer whether there is a pip."""
        assert command[1:] == ["-c", "import pip"]
        return 0 if "pip" in self.has else 1


_PROGRAMS = (
    (r"uv venv ", "uv venv", set[str]()),
    (r"-m venv --without-pip ", "venv", {"venv"}),
    (r"-m ensurepip", "ensurepip", {"ensurepip"}),
    (r"pip .*--target \S+ .*uv\.txt", "pip: uv aside", {"pip", "index"}),
    (r"pip .*uv\.txt", "pip: uv", {"index"}),
    (r"uv pip .*\.lock", "uv: lock", {"index"}),
    (r"uv pip .*-e ", "uv: project", {"index"}),
    (r"pip .*\.lock", "pip: lock", {"index"}),
    (r"pip .*-e ", "pip: project", {"index"}),
)


def machine(monkeypatch: pytest.MonkeyPatch, has: str) -> Machine:
    made = Machine(set(has.split()))
    monkeypatch.setattr(environment, "run", made.run)
    monkeypatch.setattr(subprocess, "call", made.call)
    monkeypatch.setattr(environment, "find_spec", lambda name: name if name in made.has else None)
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/uv" if name in made.has else None)
    return made


@pytest.mark.parametrize(
    ("has", "use_uv", "used"),
    [
        ("uv index", True, ["uv venv", "uv: lock", "uv: project"]),
        ("uv venv pip ensurepip index", True, ["uv venv", "uv: lock", "uv: project"]),
        ("venv pip ensurepip index", True, ["venv", "pip: uv", "uv: lock", "uv: project"]),
        ("venv pip index", True, ["venv", "pip: uv", "uv: lock", "uv: project"]),
        (
            "venv ensurepip index",
            True,
            ["venv", "ensurepip", "pip: uv", "uv: lock", "uv: project"],
        ),
        (
            "pip index",
            True,
            ["pip: uv aside", "uv venv", "pip: uv", "uv: lock", "uv: project"],
        ),
        ("uv venv pip index", False, ["venv", "pip: lock", "pip: project"]),
        ("venv ensurepip index", False, ["venv", "ensurepip", "pip: lock", "pip: project"]),
    ],
)
def test_the_ways_to_an_environment(
    project: Path, monkeypatch: pytest.MonkeyPatch, has: str, use_uv: bool, used: list[str]
) -> None:
    made = machine(monkeypatch, has)
    environment.setup(use_uv)
    assert made.used == used
    assert environment.is_ready(environment.fingerprint())


@pytest.mark.parametrize(
    ("has", "use_uv", "advice"),
    [
        ("index", True, "python3-venv"),
        ("pip", True, "python3-venv"),
        ("pip index", False, "python3-venv"),
        ("venv index", True, "python3-pip"),
        ("venv pip ensurepip", True, "pip could not install"),
    ],
)
def test_where_no_way_leads_there(
    project: Path, monkeypatch: pytest.MonkeyPatch, has: str, use_uv: bool, advice: str
) -> None:
    machine(monkeypatch, has)
    with pytest.raises(SetupFailed, match=advice):
        environment.setup(use_uv)
    assert not environment.is_ready(environment.fingerprint())


def test_a_uv_that_fails_is_replaced_by_pip(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = machine(monkeypatch, "uv venv pip index")
    works = made.run

    def run(*command: object) -> None:
        if command[0] == "/bin/uv":
            raise StepFailed(2)
        works(*command)

    monkeypatch.setattr(environment, "run", run)
    environment.setup()
    assert made.used == ["venv", "pip: lock", "pip: project"]


def test_the_second_time_nothing_is_done(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = machine(monkeypatch, "uv index")
    environment.setup()
    made.used.clear()
    environment.setup()
    assert made.used == []


def test_an_environment_that_was_not_finished_is_made_anew(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = project / ".venv" / "half-installed"
    half.parent.mkdir()
    half.touch()
    machine(monkeypatch, "uv index")
    environment.setup()
    assert not half.exists()


@pytest.mark.parametrize(
    ("name", "old", "new", "changes"),
    [
        ("requirements-dev.lock", "itsdangerous==", "itsdangerous==9.", True),
        ("pyproject.toml", "cryptography>=", "cryptography>=9", True),
        ("pyproject.toml", '"demo_app"]', '"demo"]', True),
        ("pyproject.toml", "line-length = 100", "line-length = 99", False),
        ("pyproject.toml", "timeout = 60", "timeout = 61", False),
    ],
)
def test_what_makes_it_anew(project: Path, name: str, old: str, new: str, changes: bool) -> None:
    before = environment.fingerprint()
    text = (project / name).read_text(encoding="utf-8")
    assert text.count(old) == 1
    (project / name).write_text(text.replace(old, new), encoding="utf-8")
    assert (environment.fingerprint() != before) is changes


def test_a_copied_folder_needs_its_own(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = environment.fingerprint()
    monkeypatch.setattr(environment, "ROOT", project / ".." / project.name)
    assert environment.fingerprint() != before


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    link = tmp_path / ".venv"
    link.symlink_to(kept)
    environment.remove(link)
    environment.remove(link)
    assert kept.is_dir()
    assert not link.is_symlink()


def test_pip_keeps_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}

    def call(command: list[str], *, cwd: Path, env: dict[str, str]) -> int:
        seen.update(env)
        return 0

    monkeypatch.setenv("PIP_TARGET", "elsewhere")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_TIMEOUT", "7")
    monkeypatch.setattr(subprocess, "call", call)
    environment.run("pip")
    assert "PIP_TARGET" not in seen
    assert seen["PIP_USER"] == "0"
    assert seen["PIP_TIMEOUT"] == "7"


def test_a_program_that_is_not_there_is_a_failed_step(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StepFailed):
        environment.run("/no/such/program")
    assert "/no/such/program" in capsys.readouterr().out


# The lock

PINS = re.compile(r"^([a-z0-9._-]+)==([^ ;\\]+).*\n((?:    --hash=.*\n)*)", re.MULTILINE)


def pins() -> dict[str, tuple[Version, list[str]]]:
    """Return the version and the hashes of each package in the lock."""
    text = environment.LOCK.read_text(encoding="utf-8")
    return {
        name: (Version(version), re.findall(r"--hash=(\w+:\w+)", hashes))
        for name, version, hashes in PINS.findall(text)
    }


def test_the_lock_names_no_index() -> None:
    text = environment.LOCK.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash)", text, re.MULTILINE)


def test_every_pin_has_hashes() -> None:
    assert len(pins()) > 30
    for name, (_, hashes) in pins().items():
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), name


def test_the_lock_agrees_with_the_project() -> None:
    with open(PYPROJECT, "rb") as file:
        settings = tomllib.load(file)
    project = settings["project"]
    extras = project["optional-dependencies"]
    assert settings["dependency-groups"]["dev"] == ["replsession[dev]"]
    for text in [*project["dependencies"], *extras["dev"], *settings["build-system"]["requires"]]:
        requirement = Requirement(text)
        version, _ = pins()[requirement.name]
        assert requirement.specifier.contains(version), "run `make lock`"


def test_the_development_tools_hold_what_the_other_extras_need() -> None:
    with open(PYPROJECT, "rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    assert {*extras["starlette"], *extras["demo"]} <= set(extras["dev"])


def test_one_package_can_be_taken_out_of_the_lock() -> None:
    lines = environment.locked("uv").splitlines()
    version, hashes = pins()["uv"]
    assert lines[0].startswith(f"uv=={version}")
    assert len(lines) == 1 + len(hashes)
    assert all(line.strip().startswith("--hash=sha256:") for line in lines[1:])
