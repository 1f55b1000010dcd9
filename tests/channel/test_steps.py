"""Work in steps: all of it at once, or in turns with what else a loop has to do."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

from replsession.channel.steps import at_once, in_turns


def some_steps(seen: list[str]) -> Generator[None, None, str]:
    for number in range(3):
        seen.append(f"step {number}")
        yield
    return "done"


def test_all_steps_are_done_at_once() -> None:
    seen: list[str] = []
    assert at_once(some_steps(seen)) == "done"
    assert seen == ["step 0", "step 1", "step 2"]


def test_the_loop_turns_between_two_steps() -> None:
    seen: list[str] = []

    async def other() -> None:
        for number in range(2):
            seen.append(f"other {number}")
            await asyncio.sleep(0)

    async def both() -> str:
        task = asyncio.create_task(other())
        done = await in_turns(some_steps(seen))
        await task
        return done

    assert asyncio.run(both()) == "done"
    assert seen[:4] == ["step 0", "other 0", "step 1", "other 1"]
