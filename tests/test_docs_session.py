"""The page about the session object: every example runs, and gives what it says."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from replsession import Session
from tests.web.rooms import App, started

PAGE = Path(__file__).resolve().parent.parent / "docs" / "session.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
GIVES = "  # → "


def run(block: str, names: dict[str, Any]) -> int:
    """Run an example; return how often it says what something gives."""
    told = 0
    for line in block.splitlines():
        code, found, result = line.partition(GIVES)
        if found:
            told += 1
            assert eval(code, names) == ast.literal_eval(result), line
        else:
            exec(code, names)
    return told


@pytest.mark.parametrize("block", BLOCKS)
def test_an_example_gives_what_it_says(block: str) -> None:
    exchange = App().request()
    assert run(block, {"session": exchange.session}) > 0
    started(exchange)


def test_what_is_named_is_there() -> None:
    assert len(BLOCKS) == 5
    for name in re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE):
        for named in re.findall(r"`(?:await )?(\w+)", name):
            assert hasattr(Session, named), named


def test_nothing_that_applications_may_use_is_left_out() -> None:
    public = {name for name in vars(Session) if not name.startswith("_")}
    assert not {name for name in public if not re.search(rf"\b{name}\b", TEXT)}
