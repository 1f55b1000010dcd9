"""``docs/deployment.md``: what it shows."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.cluster.processes import ROOT

PAGE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the examples in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def shell_lines() -> list[str]:
    """Return all lines for a shell."""
    return [line for text in blocks("sh") for line in text.splitlines()]


def edit(folder: Path, number: int, member: str) -> None:
    """Carry out the page's line that takes a member out of nginx (0), or in again (1)."""
    lines = [line for line in shell_lines() if line.startswith("sed ")]
    subprocess.run(lines[number].replace("member-1", member), shell=True, cwd=folder, check=True)
