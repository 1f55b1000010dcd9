"""Search: every session on exactly one page, and one found by the beginning of its id."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from replsession.channel import search
from replsession.channel.administration import end
from replsession.channel.member import LocalMember
from replsession.channel.search import Found, find_steps, page_steps
from replsession.channel.steps import at_once
from replsession.config import CONTROL_VALUE_CHARACTERS
from replsession.identity import Key, public_id
from replsession.session.change import Change
from replsession.session.codec import encode
from replsession.session.record import SECRET
from tests.channel.test_administration import begin


@pytest.fixture
def member() -> LocalMember:
    return LocalMember(None, None)


def begin_at(member: LocalMember, locator: bytes, context: str = "/", **values: object) -> str:
    """Begin a session at a place; return its id."""
    writes: dict[str, bytes | None] = {SECRET: b"s" * 16}
    writes |= {name: encode(name, value) for name, value in values.items()}
    member.commit((Change(Key(context, locator), writes, birth=True),))
    return public_id(locator, b"s" * 16)


def pages(
    member: LocalMember,
    limit: int,
    contexts: list[str] | None = None,
    principal: str | None = None,
    between: Callable[[], object] = lambda: None,
) -> list[list[str]]:
    """Return the ids on all pages."""
    found: list[list[str]] = []
    after: str | None = None
    while True:
        page = at_once(page_steps(member, contexts, principal, after, limit))
        found.append([info.id for info in page.sessions])
        assert len(found[-1]) <= limit
        after = page.after
        if after is None:
            return found
        between()


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_every_session_is_on_one_page(member: LocalMember, limit: int) -> None:
    made = [begin_at(member, bytes([n // 4, n % 4]) * 6) for n in range(12)]
    made.append(begin_at(member, b"\0" * 12, "/shop"))
    found = [each for page in pages(member, limit) for each in page]
    assert sorted(found) == sorted(made)
    assert len(pages(member, 100, ["/shop"])[0]) == 1


def test_what_comes_and_goes_meanwhile_takes_no_other_along(member: LocalMember) -> None:
    made = [begin_at(member, bytes([n]) * 12) for n in range(10, 20)]
    going = iter(range(100, 200))
    ended = iter(made)

    def meanwhile() -> None:
        begin_at(member, bytes([next(going)]) * 12)
        end(member, "/", next(ended))

    found = [each for page in pages(member, 2, between=meanwhile) for each in page]
    assert set(made) <= set(found) and len(found) == len(set(found))


def test_those_of_a_principal(member: LocalMember) -> None:
    mine = [begin(member, n, "anna", context) for n, context in ((1, "/"), (2, "/"), (3, "/shop"))]
    begin(member, 4, "bob")
    begin(member, 5)
    for limit in (1, 2, 9):
        found = [each for page in pages(member, limit, ["/", "/shop"], "anna") for each in page]
        assert found == mine
    assert pages(member, 9, ["/shop"], "anna") == [mine[2:]]


def test_a_search_that_finds_little_ends_soon_and_goes_on(
    member: LocalMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "CONTROL_PAGE_RECORDS", 10)
    monkeypatch.setattr(search, "RECORDS_AT_ONCE", 4)
    for n in range(50):
        key = begin_at(member, bytes([7, n]) * 6)
        end(member, "/", key)
    last = begin_at(member, bytes([7, 200]) * 6)
    found = pages(member, 5)
    assert [each for page in found for each in page] == [last]
    assert len(found) >= 4


def test_the_lock_is_free_between_two_steps(member: LocalMember) -> None:
    for n in range(200):
        begin_at(member, bytes([7, n]) * 6)
    steps = 0
    for _ in page_steps(member, None, None, None, 1000):
        steps += 1
        assert not member.lock.locked()
    assert steps > 4


@pytest.mark.parametrize("after", ["", "zz", "00:/", "0" * 23 + ":/"])
def test_a_place_that_no_page_has_said_is_refused(member: LocalMember, after: str) -> None:
    with pytest.raises(ValueError):
        at_once(page_steps(member, None, None, after, 5))


def found(member: LocalMember, prefix: str, context: str | None = None) -> list[Found]:
    return at_once(find_steps(member, prefix, context, shows_values=True))


def test_any_beginning_of_an_id_finds_it(member: LocalMember) -> None:
    first = begin_at(member, b"\xff\x12" * 6, n=1)
    for n in range(30):
        begin_at(member, bytes([n, n]) * 6)
    for length in (1, 2, 3, 8, 16, 17, 24):
        (one,) = found(member, first[:length])
        assert one.info.id == first
        assert (one.sizes, one.values) == ({"n": 1}, {"n": "1"})
    for wrong in ("", "!", first + "A", first[:23] + ("A" if first[23] != "A" else "B"), "é"):
        assert found(member, wrong) == []


def test_several_are_told_up_to_a_bound(member: LocalMember) -> None:
    made = [begin_at(member, b"\x07" * 11 + bytes([n])) for n in range(20)]
    prefix = made[0][:8]
    assert all(one.startswith(prefix) for one in made)
    assert len(found(member, prefix)) == search.FOUND_MAX


def test_one_place_in_two_applications_is_told_apart(member: LocalMember) -> None:
    one = begin_at(member, b"\x07" * 12)
    begin_at(member, b"\x07" * 12, "/shop")
    assert len(found(member, one)) == 2
    assert [each.info.context for each in found(member, one, "/shop")] == ["/shop"]


def test_values_are_shown_only_when_asked_for(member: LocalMember) -> None:
    one = begin_at(member, b"\x07" * 12, card="4111", big="x" * 10_000)
    (shown,) = found(member, one)
    assert shown.values["card"] == "'4111'"
    assert len(shown.values["big"]) == CONTROL_VALUE_CHARACTERS + 1
    (plain,) = at_once(find_steps(member, one, None, shows_values=False))
    assert plain.values == {} and "4111" not in str(plain)


def test_a_value_that_cannot_be_decoded_hurts_only_itself(member: LocalMember) -> None:
    key = Key("/", b"\x07" * 12)
    writes: dict[str, bytes | None] = {SECRET: b"s" * 16, "bad": b"\xff\xff", "good": b"\x01"}
    member.commit((Change(key, writes, birth=True),))
    (one,) = found(member, public_id(key.locator, b"s" * 16))
    assert one.values == {"bad": "<cannot be shown: WireError>", "good": "1"}
