"""Work in steps: done at once by who may be held up, or in turns with all else on a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")


def at_once(steps: Generator[None, None, Result]) -> Result:
    """Do all steps, and return what comes of them."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            result: Result = ended.value
            return result


async def in_turns(steps: Generator[None, None, Result]) -> Result:
    """The same on an asyncio loop, which turns between any two steps."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            result: Result = ended.value
            return result
        await asyncio.sleep(0)
