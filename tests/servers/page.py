"""What ``docs/servers.md`` shows: its command lines, and its files."""

from __future__ import annotations

import re

from tests.cluster.processes import ROOT

PAGE = ROOT / "docs" / "servers.md"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"^# (\S+\.py):")


def blocks() -> list[tuple[str, str]]:
    """Return the language and the content of each block."""
    return [(found[1], found[2]) for found in _BLOCK.finditer(PAGE.read_text(encoding="utf-8"))]


def command_lines() -> list[str]:
    """Return all lines of blocks that are no Python: each starts something."""
    shown = [text for language, text in blocks() if language != "python"]
    return [line.strip() for text in shown for line in text.splitlines() if line.strip()]


def files() -> dict[str, str]:
    """Return the blocks that are a file, by the name in their first line."""
    named = [(_NAMED.match(text), text) for language, text in blocks() if language == "python"]
    return {match[1]: text for match, text in named if match is not None}
