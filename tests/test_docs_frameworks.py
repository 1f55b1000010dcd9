"""The pages for users of WSGI, Flask and Quart: their examples run, and what they name is there."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from werkzeug.test import Client

from replsession.web.configured import _KNOWN
from tests.gateway import WsgiBrowser
from tests.test_package import python_blocks

DOCS = Path(__file__).resolve().parent.parent / "docs"
EXAMPLE_LINES_MAX = 20
SECRET = "of this test alone"


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def app_of(name: str) -> Any:
    """Run the example of a page, and return its application."""
    (example,) = python_blocks(page(name))
    assert len(example.splitlines()) <= EXAMPLE_LINES_MAX
    names: dict[str, Any] = {"SECRET": SECRET, "__name__": "example"}
    exec(example, names)
    return names["app"]


def test_the_example_for_wsgi_runs() -> None:
    browser = WsgiBrowser(app_of("wsgi"))
    assert [browser.get().body for _ in range(2)] == [b"visit 1\n", b"visit 2\n"]
    browser.app._channel.stop_thread()  # type: ignore[attr-defined]


def test_the_example_for_flask_runs() -> None:
    app = app_of("flask")
    client = Client(app)
    assert [client.get("/").text for _ in range(2)] == ["visit 1", "visit 2"]
    app.extensions["replsession"].application.channel.stop_thread()


def test_the_example_for_quart_runs() -> None:
    app = app_of("quart")

    async def visits() -> list[str]:
        async with app.test_app() as running:
            client = running.test_client()
            return [await (await client.get("/")).get_data(as_text=True) for _ in range(2)]

    assert asyncio.run(visits()) == ["visit 1", "visit 2"]


def test_the_page_for_flask_names_all_settings() -> None:
    text = page("flask").partition("## Settings")[2].partition("\n## ")[0]
    assert set(re.findall(r"`([A-Z_]+)`", text)) - {"REPLSESSION_", "SECRET_KEY"} - {
        "REPLSESSION_SECRET"
    } == set(_KNOWN)
