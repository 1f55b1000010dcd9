"""The command line; it needs the extra ``cli``, and says so where that is not installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

NEEDED: Final = ("click", "rich")
COULD_NOT: Final = 2
"""Exit code: what was asked for could not be done at all."""


def main(words: Sequence[str] | None = None) -> int:
    """
    Carry out a command line and return the exit code.

    Args:
        words: What stands after the program's name; None: what this process was started with.

    Raises:
        SystemExit: as click ends a program, with the exit code.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        problem = f"{' and '.join(missing)} not installed: pip install 'replsession[cli]'"
        print(problem, file=sys.stderr)
        return COULD_NOT
    from replsession.cli.commands import program

    code: int = program.main(args=words, prog_name="replsession")
    return code
