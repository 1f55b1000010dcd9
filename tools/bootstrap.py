"""
The project's commands: what stands behind every target of the Makefile, and works without make.

    python3 tools/bootstrap.py setup            .venv with the locked dependencies and the project
    python3 tools/bootstrap.py check            the same, then lint, types and tests
    python3 tools/bootstrap.py help             all commands

Old versions of Python have to *parse* this file, so that it can tell them what they lack: no
syntax younger than Python 3.6, and nothing of ours is imported before their version is known.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

MINIMUM = (3, 11, 5)

if sys.version_info < MINIMUM:
    sys.exit(
        "replsession needs Python {}.{}.{} or newer; {} is {}.{}.{}. "
        "Say which one to use: make PYTHON=/path/to/python3".format(
            *MINIMUM, sys.executable, *sys.version_info[:3]
        )
    )

from environment import (  # noqa: E402
    LOCK,
    ROOT,
    VENV_PYTHON,
    VENV_UV,
    SetupFailed,
    StepFailed,
    remove,
    run,
    say,
    setup,
)

TYPED = ("replsession", "demo_app", "tests", "benchmarks", "tools")
MADE_HERE = (
    ".venv",
    ".venv.lock",
    "build",
    "dist",
    ".hypothesis",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
)


def step(*words: object) -> None:
    """Say what is run, then run a module with the environment's Python."""
    say("$ python -m " + " ".join(str(word) for word in words))
    run(VENV_PYTHON, "-m", *words)


def become(*words: str) -> None:
    """
    Go on as a module of the environment's Python.

    Replaced, not started: Ctrl-C and signals then reach the program itself.
    """
    os.chdir(ROOT)
    os.execv(VENV_PYTHON, [str(VENV_PYTHON), "-m", *words])


def show_help() -> None:
    """Show this list."""
    say("make TARGET, or python3 tools/bootstrap.py TARGET\n")
    for name, command in COMMANDS.items():
        summary = (command.__doc__ or "").strip().splitlines()[0]
        say(f"  {name:8}{summary}")


def ready() -> None:
    """Make .venv with the locked dependencies and the project; over at once if it is there."""
    say(f"ready: {VENV_PYTHON.relative_to(ROOT)}")


def demo(*arguments: str) -> None:
    """Run the counter page on two members: http://127.0.0.1:8080 and :8081."""
    become("demo_app", "--members", "2", "--port", "8080", *arguments)


def check() -> None:
    """Run lint, types and tests: what every change has to pass."""
    lint()
    types()
    test()


def lint() -> None:
    """Run the linter, and ask the formatter whether it would change anything."""
    step("ruff", "check")
    step("ruff", "format", "--check")


def types() -> None:
    """Check the types of all that is written in Python here."""
    step("mypy", *(folder for folder in TYPED if (ROOT / folder).is_dir()))


def test(*arguments: str) -> None:
    """Run the tests; further arguments are pytest's."""
    step("pytest", *arguments)


def soak(*arguments: str) -> None:
    """Simulate fresh seeds for a given time: make soak ARGS=3600 (seconds; 600 unless given)."""
    seconds, *others = arguments or ("600",)
    become("tests.simulation", "--soak", seconds, *others)


def bench(*arguments: str) -> None:
    """Run the benchmarks."""
    become("benchmarks", *arguments)


def lock(*arguments: str) -> None:
    """
    Write requirements-dev.lock anew from pyproject.toml; with --upgrade the newest versions.

    With hashes for every platform, and without the address of an index.
    """
    run(VENV_UV, "pip", "compile", "pyproject.toml", "--extra", "dev", "--output-file", LOCK,
        "--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url",
        "--custom-compile-command", "make lock", "--quiet", *arguments)  # fmt: skip


def clean() -> None:
    """Remove .venv and everything else that was made here."""
    for name in MADE_HERE:
        remove(ROOT / name)
    for folder in TYPED:
        for cache in list((ROOT / folder).rglob("__pycache__")):
            remove(cache)


COMMANDS: dict[str, Callable[..., None]] = {
    "help": show_help,
    "setup": ready,
    "demo": demo,
    "check": check,
    "lint": lint,
    "types": types,
    "test": test,
    "soak": soak,
    "bench": bench,
    "lock": lock,
    "clean": clean,
}
TAKES_ARGUMENTS = ("demo", "test", "soak", "bench", "lock")


def needs_setup(command: str) -> bool:
    """Return whether a command needs an environment that agrees with the lock."""
    if command == "lock":
        return not VENV_UV.exists()
    return command not in ("help", "clean")


def main(words: Sequence[str]) -> None:
    """Carry out the command that the words name."""
    parser = argparse.ArgumentParser(prog="bootstrap.py", allow_abbrev=False)
    parser.add_argument("--without-uv", action="store_true", help="set up with pip alone")
    parser.add_argument("command", nargs="?", default="help", choices=COMMANDS)
    options, arguments = parser.parse_known_args(words)
    if arguments and options.command not in TAKES_ARGUMENTS:
        parser.error(f"{options.command} takes no arguments, but got: {' '.join(arguments)}")
    if needs_setup(options.command):
        setup(use_uv=not options.without_uv)
    COMMANDS[options.command](*arguments)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SetupFailed as error:
        sys.exit(f"set-up failed: {error}")
    except StepFailed as error:
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(130)
