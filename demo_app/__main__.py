"""``python -m demo_app --members 2 --port 8080``: the counter page on this machine."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from importlib.util import find_spec

NEEDED = {"starlette": ("starlette", "uvicorn"), "flask": ("flask", "waitress")}
MEMBERS_MAX = 16
RESTART_AFTER_S_MAX = 3600


def main(words: Sequence[str]) -> int:
    """Carry out the command line, and return the exit code."""
    options = parsed(words)
    chosen = NEEDED.get(options.framework) or [name for names in NEEDED.values() for name in names]
    if missing := [name for name in chosen if find_spec(name) is None]:
        return fail(f'{" and ".join(missing)} not installed: pip install "replsession[demo]"')
    from demo_app.launcher import Launcher
    from demo_app.members import LaunchFailed

    async def run() -> int:
        launcher = Launcher(options.members, options.port, options.restart_after, options.framework)
        return await launcher.run()

    try:
        return asyncio.run(run())
    except LaunchFailed as error:
        return fail(str(error))


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """Return the options; a wrong one ends the program with a message."""
    parser = argparse.ArgumentParser(
        prog="python -m demo_app",
        description="Run the counter page on several members on this machine.",
    )
    add = parser.add_argument
    add("--members", type=int, default=2, metavar="N", help="how many (default: 2)")
    add("--port", type=int, default=8080, help="of the first one; the next have those after it")
    add(
        "--framework",
        choices=("starlette", "flask", "mixed"),
        default="starlette",
        help="what they run under; mixed: in turn (default: starlette)",
    )
    add(
        "--restart-after",
        type=float,
        metavar="SECONDS",
        help="start a member that died again by itself (default: when Enter is pressed)",
    )
    options = parser.parse_args(words)
    ports_max = 65536 - MEMBERS_MAX
    seconds = options.restart_after
    if not 1 <= options.members <= MEMBERS_MAX:
        parser.error(f"--members: got {options.members}; allowed: 1 to {MEMBERS_MAX}")
    if not 1 <= options.port <= ports_max:
        parser.error(f"--port: got {options.port}; allowed: 1 to {ports_max}")
    if seconds is not None and not 0 <= seconds <= RESTART_AFTER_S_MAX:
        parser.error(f"--restart-after: got {seconds}; allowed: 0 to {RESTART_AFTER_S_MAX} seconds")
    return options


def fail(text: str) -> int:
    """Say why it does not work, and return the exit code for that."""
    print(f"demo_app: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
