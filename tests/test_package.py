"""The package from outside: its public names, and the examples that people copy."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

import replsession

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def test_the_public_names() -> None:
    assert replsession.__all__ == sorted(replsession.__all__)
    for name in ("SessionMiddleware", "Session", "Cluster", "ConfigError"):
        assert name in replsession.__all__
    for name in replsession.__all__:
        assert getattr(replsession, name).__doc__, name


def test_the_version_is_that_of_the_distribution() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert replsession.__version__ == settings["project"]["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", replsession.__version__)


def test_importing_it_needs_no_extra_and_starts_no_thread() -> None:
    code = (
        "import sys, threading, replsession;"
        "extras = {'starlette', 'uvicorn', 'trio', 'anyio', 'httpx', 'pydantic_core'};"
        "print(sorted(extras & set(sys.modules)), threading.active_count())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.split("\n")[0] == "[] 1"


def python_blocks(text: str) -> list[str]:
    """Return the Python examples of a page."""
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def count(request: Request) -> Response:
    request.session["n"] = request.session.get("n", 0) + 1
    return JSONResponse(request.session["n"])


def app_of(example: str) -> Starlette:
    """Run an example that makes an ``app`` and leaves routes and secret to its reader."""
    names: dict[str, Any] = {"SECRET": "of this test alone", "routes": [Route("/", count)]}
    exec(example.replace("routes=...", "routes=routes"), names)
    app = names["app"]
    assert isinstance(app, Starlette)
    return app


def counts(app: Starlette) -> list[int]:
    with TestClient(app) as client:
        return [client.get("/").json() for _ in range(3)]


def test_the_example_of_the_readme_runs() -> None:
    blocks = python_blocks(README.read_text(encoding="utf-8"))
    example = next(block for block in blocks if "SessionMiddleware" in block)
    app = app_of(example)
    if not any(isinstance(route, Route) and route.path == "/" for route in app.routes):
        app.routes.append(Route("/", count))
    assert counts(app) == [1, 2, 3]


def test_what_the_readme_says_that_a_promise_is_held_by_is_there() -> None:
    _, found, rest = README.read_text(encoding="utf-8").partition("## What is promised")
    assert found
    rows = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    assert len(rows) > 5
    missing: list[str] = []
    for row in rows[1:]:
        held_by = row.rsplit("|", 2)[1]
        paths = re.findall(r"`(tests/[\w/]+\.py)`", held_by)
        assert paths, row
        missing += [path for path in paths if not (ROOT / path).is_file()]
        # "`NAME`, `NAME` in `tests/….py`": those checkers are in that file.
        for names, path in re.findall(r"((?:`[A-Z]+`(?:, )?)+) in `(tests/[\w/]+\.py)`", held_by):
            text = (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).is_file() else ""
            missing += [
                f"{name} in {path}"
                for name in re.findall(r"[A-Z]+", names)
                if not re.search(rf"\b{name}\b", text)
            ]
    assert not missing, "\n".join(missing)


def test_the_example_of_the_docstring_runs() -> None:
    assert replsession.__doc__ is not None
    lines = re.findall(r"^    (from replsession .*|app = .*)$", replsession.__doc__, re.MULTILINE)
    assert len(lines) == 2
    imports = [
        "from starlette.applications import Starlette",
        "from starlette.middleware import Middleware",
    ]
    assert counts(app_of("\n".join([*imports, *lines]))) == [1, 2, 3]
