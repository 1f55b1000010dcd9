"""Administration: what is listed of sessions, and ended."""

from __future__ import annotations

import pytest

from replsession.channel import administration
from replsession.channel.administration import SessionInfo
from replsession.channel.member import LocalMember
from replsession.identity import Key, public_id
from replsession.session.change import Change
from replsession.session.codec import encode
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.record import INTERVAL, PRINCIPAL, SECRET

SHOP = "/shop"


def begin(
    member: LocalMember,
    number: int,
    principal: str | None = None,
    context: str = "/",
    limits: SessionLimits = SessionLimits(1800, None),  # noqa: B008 - a tuple
) -> str:
    """Begin a session; return its id."""
    key = Key(context, bytes([number]) * 12)
    secret_hash = bytes([number]) * 16
    writes: dict[str, bytes | None] = {
        SECRET: secret_hash,
        INTERVAL: encoded_limits(limits),
        "n": encode("n", number),
    }
    if principal is not None:
        writes[PRINCIPAL] = encode("", principal)
    member.commit((Change(key, writes, birth=True),))
    return public_id(key.locator, secret_hash)


@pytest.fixture
def member() -> LocalMember:
    return LocalMember(None, None)


def listed(member: LocalMember, context: str | None = None) -> list[str]:
    return [info.id for info in administration.sessions(member, context)]


def test_sessions_are_listed_by_application(member: LocalMember) -> None:
    ids = [begin(member, 1), begin(member, 2, "alice"), begin(member, 3, "alice", SHOP)]
    assert sorted(listed(member)) == sorted(ids)
    assert sorted(listed(member, "/")) == sorted(ids[:2])
    assert listed(member, SHOP) == ids[2:]
    assert listed(member, "/unknown") == []
    assert administration.contexts(member) == ["/", SHOP]


def test_what_is_said_of_one(member: LocalMember) -> None:
    begin(member, 1, "alice", limits=SessionLimits(60, 90))
    (info,) = administration.sessions(member, None)
    assert isinstance(info, SessionInfo)
    assert (info.context, info.principal) == ("/", "alice")
    assert (info.attributes, info.bytes) == (("n",), 1)
    assert info.last_accessed_at == info.created_at
    assert info.expires_at is not None
    assert round(info.expires_at - info.created_at) == 60


def test_a_session_for_ever_says_so(member: LocalMember) -> None:
    begin(member, 1, limits=SessionLimits(None, None))
    (info,) = administration.sessions(member, None)
    assert (info.principal, info.expires_at) == (None, None)


def test_the_sessions_of_somebody(member: LocalMember) -> None:
    begin(member, 1, "bob")
    mine = [begin(member, 2, "alice"), begin(member, 3, "alice", SHOP)]
    found = administration.sessions_of(member, ["/", SHOP], "alice")
    assert sorted(info.id for info in found) == sorted(mine)
    assert [info.id for info in administration.sessions_of(member, [SHOP], "alice")] == mine[1:]


def test_one_is_ended_by_its_present_id_alone(member: LocalMember) -> None:
    session_id = begin(member, 1)
    woken: list[bool] = []
    member.wake = lambda: woken.append(member.lock.locked())
    rotated = session_id[:16] + "AAAAAAAA"
    for wrong in (rotated, "", "x", "!" * 24, "é" * 24, session_id + "=", session_id[:-1]):
        assert not administration.end(member, "/", wrong)
    assert not administration.end(member, SHOP, session_id)
    assert woken == []
    assert administration.end(member, "/", session_id)
    assert woken == [False]
    assert not administration.end(member, "/", session_id)
    assert listed(member) == []


def test_all_of_somebody_are_ended(member: LocalMember) -> None:
    other = begin(member, 1, "bob")
    begin(member, 2, "alice")
    begin(member, 3, "alice", SHOP)
    assert administration.end_all(member, ["/", SHOP, "/unused"], "alice") == 2
    assert listed(member) == [other]
    # What is remembered of it is no session, and no application.
    assert administration.contexts(member) == ["/", SHOP]
