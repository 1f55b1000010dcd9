"""Pages of sessions, and the one session that somebody means by the beginning of its id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from replsession.cli.asking import Member, NoAnswer
from replsession.cli.choosing import CannotLook
from replsession.cli.figures import plain

Session = dict[str, Any]


def asked(member: Member, ask: str, **request: Any) -> dict[str, Any]:
    """
    Return the answer of a member.

    Raises:
        CannotLook: there is none.
    """
    try:
        return member.ask(ask, **request)
    except NoAnswer as problem:
        raise CannotLook(plain(f"{member.where}: {problem}")) from None


def every(
    member: Member, context: str | None, principal: str | None, limit: int | None
) -> Iterator[Session]:
    """Yield sessions, page by page, as they come: at most *limit* of them, if that is given."""
    after: str | None = None
    left = limit
    while True:
        page = asked(
            member, "sessions", context=context, principal=principal, after=after, limit=left
        )
        yield from page["sessions"]
        if left is not None:
            left -= len(page["sessions"])
        after = page["after"]
        if after is None or left == 0:
            return


def the_one(
    member: Member, beginning: str, context: str | None, *, with_values: bool = False
) -> Session:
    """
    Return the session of which the id begins so.

    Raises:
        ClickException: there is none, or there are several; it says which.
    """
    found = asked(member, "session", id=beginning, context=context, values=with_values)["found"]
    if not found:
        raise click.ClickException(f"no session here has an id that begins with {beginning!r}")
    if len(found) > 1:
        which = ", ".join(f"{one['id']} ({plain(one['context'])})" for one in found)
        raise click.ClickException(
            f"{beginning!r} may be any of {which}; give more of the id, or --context"
        )
    (one,) = found
    return dict(one)
