"""
``demo_app/Dockerfile``, as far as it can be judged without an engine.

``python -m tests.demo_app.test_dockerfile`` prints what belongs into ``requirements.lock``.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib import import_module
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from environment import locked
from tests.cluster.processes import ROOT

DOCKERFILE = ROOT / "demo_app" / "Dockerfile"
LOCK = ROOT / "demo_app" / "requirements.lock"
IN_THE_IMAGE = {
    "extra": "",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.13.5",
    "python_version": "3.13",
    "sys_platform": "linux",
}
FORMS = {
    "FROM": r"\S+:\d\S*( AS \w+)?",
    "WORKDIR": r"/\S+",
    "COPY": r"(--from=\w+ )?\S+( \S+)+",
    "RUN": r".+",
    "ENV": r"(\w+=\S+ ?)+",
    "USER": r"\d+:\d+",
    "EXPOSE": r"\d+",
    "HEALTHCHECK": r"(--[\w-]+=\w+ )+CMD \[.+\]",
    "CMD": r"\[.+\]",
}


def instructions() -> list[tuple[str, str]]:
    """Return the instructions, each on one line: its word and the rest."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines() if line]


def words(name: str) -> list[str]:
    """Return what all instructions of a name say."""
    return [rest for word, rest in instructions() if word == name]


def wanted() -> list[str]:
    """Return the packages that the image needs, with all that those need in turn."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: dict[str, None] = {}
    waiting = [*project["dependencies"], "starlette", "uvicorn"]
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        is_meant = requirement.marker is None or requirement.marker.evaluate(IN_THE_IMAGE)
        if is_meant and name not in found:
            found[name] = None
            waiting += requires(name) or []
    return sorted(found)


def lock() -> str:
    """Return what ``requirements.lock`` has to be."""
    head = "# From requirements-dev.lock, by: python -m tests.demo_app.test_dockerfile\n"
    return head + "".join(_without_comments(locked(name)) for name in wanted())


def _without_comments(text: str) -> str:
    lines = [line for line in text.splitlines() if not line.strip().startswith("#")]
    return "\n".join(lines).rstrip().rstrip("\\").rstrip() + "\n"


def is_ignored(path: str) -> bool:
    """Tell whether ``.dockerignore`` keeps a path out; the last line that fits wins."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").rstrip("/")
        if not pattern or pattern.startswith("#"):
            continue
        parents = [Path(path).as_posix(), *(p.as_posix() for p in Path(path).parents)]
        fits = [pattern, pattern.removeprefix("**/")]
        if any(fnmatch(part, fit) for part in parents[:-1] for fit in fits):
            ignored = not line.startswith("!")
    return ignored


def test_the_versions_are_those_of_the_project() -> None:
    assert LOCK.read_text() == lock()
    assert {"cbor2", "cryptography", "starlette", "uvicorn"} <= set(wanted())
    assert {"pytest", "flask"}.isdisjoint(wanted())


def test_every_instruction_has_its_form() -> None:
    found = instructions()
    assert [text for text in found if text[0] not in FORMS] == []
    assert [text for text in found if re.fullmatch(FORMS[text[0]], text[1]) is None] == []
    assert [word for word, _ in found].count("FROM") == 2


def test_both_stages_are_of_one_pinned_python_that_the_project_takes() -> None:
    images = {text.partition(" ")[0] for text in words("FROM")}
    assert len(images) == 1
    (match,) = [re.fullmatch(r"python:(\d+)\.(\d+)\.(\d+)-slim-\w+", image) for image in images]
    assert match is not None
    assert tuple(map(int, match.groups())) >= (3, 11, 5)
    assert ".".join(match.groups()) == IN_THE_IMAGE["python_full_version"]


def test_it_copies_what_is_there_and_not_ignored() -> None:
    sources = [
        source
        for text in words("COPY")
        if not text.startswith("--from")
        for source in text.split()[:-1]
    ]
    assert {"replsession", "demo_app", "pyproject.toml", "README.md", "LICENSE"} <= set(sources)
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if is_ignored(source)] == []
    kept_out = (ROOT / ".gitignore").read_text().splitlines()
    assert not {f"/{source}/" for source in sources} & set(kept_out)


def test_secrets_and_history_stay_outside() -> None:
    for path in ("secret/replsession", ".git/config", ".venv/bin/python", "tests/conftest.py"):
        assert is_ignored(path), path
    assert is_ignored("replsession/__pycache__/node.pyc")
    assert not is_ignored("replsession/node.py")


def test_it_runs_as_nobody_who_may_do_anything() -> None:
    (user,) = words("USER")
    made = next(text for text in words("RUN") if text.startswith("useradd"))
    assert user.partition(":")[0] in made.split()
    assert "0" not in user.split(":")
    order = [word for word, _ in instructions()]
    assert order.index("USER") > order.index("FROM", 1)
    assert "RUN" not in order[order.index("USER") :]


def test_what_it_starts_is_there() -> None:
    (text,) = words("CMD")
    program, app, *options = ast.literal_eval(text)
    module, _, name = app.partition(":")
    assert (program, module) == ("uvicorn", "demo_app.asgi")
    assert f"{name} = " in (ROOT / "demo_app" / "asgi.py").read_text()
    assert import_module("demo_app.application").create_app
    assert options[options.index("--lifespan") + 1] == "on"
    assert options[options.index("--port") + 1] == words("EXPOSE")[0]
    assert int(options[options.index("--timeout-keep-alive") + 1]) > 4
    help_text = subprocess.run(
        [sys.executable, "-m", "uvicorn", "--help"], capture_output=True, text=True, check=True
    )
    flags = [option for option in options if option.startswith("--")]
    assert [flag for flag in flags if flag not in help_text.stdout] == []


if __name__ == "__main__":
    print(lock(), end="")
