"""
Makes `.venv`: the locked dependencies and the project, with whatever the machine has.

Rules of this file:

1. What it needs is a Python with either pip or uv: no venv or ensurepip module (Debian ships them
   apart), and nothing installed outside the project's folder.
2. What it installs stands in requirements-dev.lock, by version and hash, whichever tool installs
   it. The lock names no index, so a mirror that the user has configured is used.
3. `.venv` is made anew or left alone, never mended. Its stamp is written last and says what it
   was made from; if it still agrees, the set-up is over in a moment.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "bootstrap-stamp"
LOCK = ROOT / "requirements-dev.lock"
VENV_PYTHON = VENV / "bin" / "python"
VENV_UV = VENV / "bin" / "uv"

# The user's pip keeps its settings (a mirror, a certificate), but for those that would send
# packages elsewhere than into .venv, and those that only make it talk.
PIP_SETTINGS = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_REQUIRE_VIRTUALENV": "0",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PIP_USER": "0",
}
PIP_DETOURS = ("PIP_PREFIX", "PIP_ROOT", "PIP_TARGET")


class SetupFailed(Exception):
    """The environment cannot be made; the message says what would help."""


class StepFailed(Exception):
    """
    A program that was started ended with an error, which it has printed itself.

    Args:
        code: Its exit code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


def say(text: str) -> None:
    """Print one line now, also into a pipe that programs started later write into."""
    print(text, flush=True)


def run(*command: object) -> None:
    """
    Run a program in the project's folder and wait for it.

    Raises:
        StepFailed: It did not end with 0, or could not be started.
    """
    environment = {name: value for name, value in os.environ.items() if name not in PIP_DETOURS}
    environment.update(PIP_SETTINGS)
    try:
        code = subprocess.call([str(word) for word in command], cwd=ROOT, env=environment)
    except OSError as error:
        say(f"{command[0]}: {error.strerror}")
        raise StepFailed(127) from error
    if code:
        raise StepFailed(code)


def fingerprint() -> str:
    """
    Return what `.venv` is made from: lock, project table, interpreter and folder.

    Only those tables of pyproject.toml count that an installation reads, so a new rule for the
    linter does not cost a new environment.
    """
    with open(ROOT / "pyproject.toml", "rb") as file:
        settings = tomllib.load(file)
    installation = {
        "build-system": settings["build-system"],
        "project": settings["project"],
        "hatch": settings["tool"]["hatch"],
        "lock": LOCK.read_text(encoding="utf-8"),
        "folder": str(ROOT),
        "interpreter": [sys.version, sys.base_prefix, sysconfig.get_platform()],
    }
    return hashlib.sha256(json.dumps(installation, sort_keys=True).encode()).hexdigest()


def is_ready(wanted: str) -> bool:
    """Return whether `.venv` was finished from just what is wanted now, and can run."""
    return STAMP.is_file() and STAMP.read_text() == wanted and VENV_PYTHON.exists()


def setup(use_uv: bool = True) -> None:
    """
    Make `.venv` unless it is there.

    Args:
        use_uv: Whether uv may be used and fetched; without it everything is done by pip.

    Raises:
        SetupFailed: No way leads to an environment with what this Python brings along.
    """
    wanted = fingerprint()
    if is_ready(wanted):
        return
    with one_at_a_time():
        if is_ready(wanted):
            return
        remove(VENV)
        uv = shutil.which("uv") if use_uv else None
        say(f"setting up .venv with Python {sys.version.split()[0]}")
        create_environment(uv, use_uv)
        install(uv, use_uv)
        STAMP.write_text(wanted)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let a second set-up in the same folder wait for the first."""
    with open(ROOT / ".venv.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def interpreter() -> str:
    """Return the Python to build upon: this one, unless it is the environment's own."""
    inside = Path(sys.prefix).resolve() == VENV.resolve()
    return getattr(sys, "_base_executable", sys.executable) if inside else sys.executable


def create_environment(uv: str | None, use_uv: bool) -> None:
    """
    Make an empty `.venv`, by uv if it is at hand, else by the venv module, else by a fetched uv.

    Raises:
        SetupFailed: There is neither uv nor the venv module, and uv cannot be fetched.
    """
    if uv:
        if succeeds(run, uv, "venv", "--quiet", "--python", interpreter(), VENV):
            return
        say("uv could not make the environment; trying without")
        remove(VENV)
    if find_spec("venv"):
        run(interpreter(), "-m", "venv", "--without-pip", VENV)
    elif not (use_uv and fetched_uv_creates_environment()):
        raise SetupFailed(
            "this Python has neither the venv module nor a pip that could fetch uv. "
            "Install one of them; on Debian and Ubuntu: apt-get install python3-venv"
        )


def fetched_uv_creates_environment() -> bool:
    """Return whether a uv that is fetched for this alone has made an empty `.venv`."""
    say("this Python has no venv module; fetching uv to do without")
    with tempfile.TemporaryDirectory() as folder:
        pip = [interpreter(), "-m", "pip"]
        uv = Path(folder, "bin", "uv")
        return succeeds(install_uv, pip, "--target", folder) and succeeds(
            run, uv, "venv", "--quiet", "--python", interpreter(), VENV
        )


def install(uv: str | None, use_uv: bool) -> None:
    """
    Install the lock and the project into `.venv`, by uv, else by a fetched uv, else by pip.

    Raises:
        SetupFailed: There is neither uv nor pip, or pip, the last resort, failed.
    """
    if uv and uv_installs(uv):
        return
    pip = pip_into_environment()
    if use_uv and not uv:
        say("fetching uv, which is faster than pip")
        if succeeds(install_uv, pip) and uv_installs(str(VENV_UV)):
            return
    say("installing with pip; this takes a minute")
    if not succeeds(install_all, [*pip, "install", "--quiet"]):
        raise SetupFailed("pip could not install; its own words are above")


def uv_installs(uv: str) -> bool:
    """Return whether uv has installed the lock and the project; if not, say so."""
    command = [uv, "pip", "install", "--quiet", "--python", str(VENV_PYTHON)]
    if succeeds(install_all, command):
        return True
    say("uv could not install; trying pip")
    return False


def install_all(command: Sequence[str]) -> None:
    """Install the lock, then the project, with the beginning of a command of uv or pip."""
    run(*command, "--no-deps", "--require-hashes", "-r", LOCK)
    run(*command, "--no-deps", "--no-build-isolation", "-e", ROOT)


def succeeds(attempt: Callable[..., None], *arguments: object) -> bool:
    """Return whether an attempt went through, for which there is another way if it did not."""
    try:
        attempt(*arguments)
    except StepFailed:
        return False
    return True


def install_uv(pip: Sequence[str], *options: str) -> None:
    """Install uv as the lock has it, and nothing else of the lock."""
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "uv.txt")
        requirements.write_text(locked("uv"), encoding="utf-8")
        run(*pip, "install", "--quiet", "--no-deps", "--require-hashes", *options,
            "-r", requirements)  # fmt: skip


def locked(name: str) -> str:
    """Return the lines of the lock that pin one package, with its hashes."""
    text = LOCK.read_text(encoding="utf-8")
    found = re.search(rf"^{name}==(?:.*\\\n)*.*\n", text, re.MULTILINE)
    assert found, f"{name} is not in {LOCK.name}"
    return found[0]


def pip_into_environment() -> list[str]:
    """
    Return the beginning of a command of a pip that installs into `.venv`.

    Raises:
        SetupFailed: There is no pip, nor ensurepip to make one.
    """
    has_pip = [interpreter(), "-c", "import pip"]
    if subprocess.call(has_pip, stderr=subprocess.DEVNULL) == 0:
        return [interpreter(), "-m", "pip", "--python", str(VENV_PYTHON)]
    if not succeeds(run, VENV_PYTHON, "-m", "ensurepip"):
        raise SetupFailed(
            "this Python has neither pip nor ensurepip, and uv is not there. "
            "Install one of them; on Debian and Ubuntu: apt-get install python3-pip"
        )
    return [str(VENV_PYTHON), "-m", "pip"]


def remove(path: Path) -> None:
    """Remove a file, or a folder and all in it; of a symbolic link only the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
