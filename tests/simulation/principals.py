"""
Principals in the simulation: what logins had seen, who was ended because of it, and the checker.

PRINCIPAL looks both ways: of somebody whose sessions were all ended none may stay that had not seen
it, and no session may end without such a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from replsession.identity import Key, MemberId
from replsession.node import Node
from replsession.session.change import Change
from replsession.session.codec import decode
from replsession.session.principals import Login, epochs_in, epochs_key
from replsession.session.record import PRINCIPAL, Record
from replsession.session.stamp import Stamp
from tests.simulation import telling
from tests.simulation.checkers import Copy, Failure
from tests.simulation.oracle import LoggedIn, Oracle


def login_in(node: Node, change: Change) -> Login | None:
    """Return the login in a change that a member has committed, with the ends that it knew."""
    value = change.writes.get(PRINCIPAL)
    if value is None:
        return None
    name: str = decode(value)
    epochs = node.store.peek(epochs_key(change.key.context, name))
    return Login(name, epochs_in(epochs))


def note(oracle: Oracle, key: Key, stamp: Stamp, login: Login) -> None:
    """Tell the oracle of a login."""
    place = epochs_key(key.context, login.name)
    oracle.logged_in(key, stamp, LoggedIn(place, dict(login.seen)))


def hear_of_ends(node: Node, ended: Callable[[Key, Stamp], None]) -> None:
    """Have *ended* called for each session that the node ends because of its principal."""
    bury = node.principals._bury

    def told(record: Record, now: float) -> None:
        bury(record, now)
        assert record.destroyed is not None
        ended(record.key, record.destroyed)

    node.principals._bury = told  # type: ignore[method-assign]


def _fail(who: str, key: Key, what: str) -> Failure:
    return Failure("PRINCIPAL", f"{who}: session {telling.key(key)}: {what}")


def justified(oracle: Oracle, who: str, key: Key, stamp: Stamp, *, is_bounded: bool) -> None:
    """
    PRINCIPAL: a session ends only if somebody ended all those of its principal after it.

    Or, where their number is bounded, because there were too many.
    """
    if not oracle.ended_with_principal(key, stamp) and not is_bounded:
        raise _fail(who, key, "ended, although its login had seen all such ends")


def nobody_stays(copies: Sequence[Copy], oracle: Oracle, alive: dict[MemberId, None]) -> None:
    """PRINCIPAL: none of somebody's sessions lives on that all ends since its login must reach."""
    for copy in copies:
        for key, record in copy.served.items():
            write = record.attributes.get(PRINCIPAL)
            if write is None or write.value is None:
                continue
            login = oracle.stories[key].logins[Stamp(write.hlc, write.member)]
            for end in oracle.all_ended.get(login.place, ()):
                if end.member in alive and not login.has_seen(end):
                    what = f"lives on after the end of all at {telling.stamp(end)}"
                    raise _fail(copy.name, key, what)
