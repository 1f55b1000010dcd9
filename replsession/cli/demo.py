"""``replsession demo``: the counter page, for those who installed the package from a wheel."""

from __future__ import annotations

import click


@click.command()
@click.option("--members", type=int, default=2, show_default=True, help="How many.")
@click.option(
    "--port", type=int, default=8080, show_default=True, help="Of the first; others follow it."
)
@click.option(
    "--framework",
    type=click.Choice(["starlette", "flask", "mixed"]),
    default="starlette",
    show_default=True,
    help="What they run under.",
)
@click.pass_context
def demo(context: click.Context, members: int, port: int, framework: str) -> None:
    """
    Run the counter page on several members on this machine.

    Count on one, kill it, go on with the same session on another. Ctrl-C ends
    it. It needs: pip install 'replsession[cli,demo]'

    \b
    Example:
      replsession demo --members 3
    """
    from demo_app.__main__ import main

    words = ["--members", str(members), "--port", str(port), "--framework", framework]
    context.exit(main(words))
