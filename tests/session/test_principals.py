"""Principals: the register of a login, the epochs, and the index of whose sessions are where."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.identity import Key
from replsession.session.delta import REGISTER, Write
from replsession.session.packing import pack, unpack
from replsession.session.principals import (
    NO_EPOCHS,
    Login,
    PrincipalIndex,
    check_principal,
    covers,
    decoded_login,
    encoded_login,
    epochs_in,
    epochs_key,
    indexed_by,
    login_of,
)
from replsession.session.record import PRINCIPAL, Record
from replsession.session.stamp import Stamp
from tests.harness import some_id, some_key

ONE, TWO = some_id(1), some_id(2)
PLACE = epochs_key("/shop", "alice")
epochs = st.dictionaries(st.binary(min_size=8, max_size=8), st.integers(0, 2**64 - 1), max_size=4)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def record_of(number: int = 1, name: str | None = "alice", hlc: int = 1) -> Record:
    """Return a session, as somebody's."""
    record = Record(some_key(number), Stamp(hlc, ONE), 0.0, Stamp(hlc, ONE), 0.0)
    value = None if name is None else encoded_login(Login(name, NO_EPOCHS))
    record.attributes[PRINCIPAL] = Write(hlc, ONE, REGISTER, value)
    return record


@given(names, epochs)
def test_a_login_is_read_as_it_was_written(name: str, seen: dict[bytes, int]) -> None:
    encoded = encoded_login(Login(name, seen))
    assert decoded_login(encoded) == Login(name, seen)
    assert encoded == encoded_login(Login(name, dict(reversed(seen.items()))))


def test_a_login_is_the_bytes_of_the_table() -> None:
    login = Login("al", {b"BBBBBBBB": 258, b"AAAAAAAA": 1})
    assert encoded_login(login).hex() == (
        "82" "62616c" "5820" + b"AAAAAAAA".hex() + "0000000000000001"
        + b"BBBBBBBB".hex() + "0000000000000102"
    )  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    ["alice", ["alice"], ["", b""], ["alice", b"x"], [b"alice", b""], ["alice", ""], [1, b""]],
)
def test_what_another_member_made_up_is_nobody(fields: Any) -> None:
    record = record_of()
    assert decoded_login(cbor2.dumps(fields)) is None
    record.attributes[PRINCIPAL] = Write(1, ONE, REGISTER, cbor2.dumps(fields))
    assert login_of(record) is None
    assert indexed_by(record) is None


def test_bytes_that_are_no_item_are_nobody() -> None:
    assert decoded_login(b"\xff\x00") is None


@pytest.mark.parametrize(
    ("seen", "known", "expected"),
    [
        ({}, {}, True),
        ({ONE: 5}, {}, True),
        ({ONE: 5}, {ONE: 5}, True),
        ({ONE: 5}, {ONE: 6}, False),
        ({ONE: 9}, {TWO: 1}, False),
        ({ONE: 9, TWO: 1}, {TWO: 1}, True),
        ({ONE: 9, TWO: 1}, {ONE: 10, TWO: 1}, False),
    ],
)
def test_a_login_must_have_seen_the_end_by_each_member(
    seen: dict[bytes, int], known: dict[bytes, int], expected: bool
) -> None:
    assert covers(Login("alice", seen), known) == expected


def test_epochs_are_the_stamps_of_their_registers() -> None:
    record = Record(PLACE, Stamp(1, ONE), 0.0, Stamp(1, ONE), 0.0)
    for member, hlc in ((ONE, 7), (TWO, 9)):
        record.attributes[member.hex()] = Write(hlc, member, REGISTER, b"\xf6")
    assert epochs_in(record) == {ONE: 7, TWO: 9}
    assert epochs_in(None) == {}


def test_epochs_are_kept_apart_by_application_and_name() -> None:
    places = {epochs_key(c, n) for c in ("/", "/shop") for n in ("alice", "bob", "/shop")}
    assert len({place.locator for place in places}) == 6
    assert all(place.is_internal for place in places)
    assert not Key("/", b"").is_internal


class TestIndex:
    def test_finds_the_sessions_of_each(self) -> None:
        index = PrincipalIndex()
        records = [record_of(1), record_of(2), record_of(3, "bob"), record_of(4, None)]
        for record in records:
            index.follow(record)
            index.follow(record)
        assert index.keys(PLACE) == (some_key(1), some_key(2))
        assert index.keys(epochs_key("/shop", "bob")) == (some_key(3),)
        assert index.keys(epochs_key("/", "alice")) == ()

    def test_follows_who_logs_in_as_somebody_else_or_out(self) -> None:
        index, record = PrincipalIndex(), record_of()
        index.follow(record)
        bob = encoded_login(Login("bob", NO_EPOCHS))
        record.attributes[PRINCIPAL] = Write(2, ONE, REGISTER, bob)
        index.follow(record)
        assert (index.keys(PLACE), index.keys(epochs_key("/shop", "bob"))) == ((), (some_key(1),))
        record.attributes[PRINCIPAL] = Write(3, ONE, REGISTER, None)
        index.follow(record)
        assert index.keys(epochs_key("/shop", "bob")) == ()
        assert record.indexed is None

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_forgets_what_ends_or_goes_and_keeps_nothing_of_it(self, count: int) -> None:
        index = PrincipalIndex()
        records = [record_of(number) for number in range(count)]
        for record in records:
            index.follow(record)
        records[0].destroy(Stamp(9, ONE), 0.0)
        index.follow(records[0])
        assert index.keys(PLACE) == tuple(some_key(number) for number in range(1, count))
        for record in records[1:]:
            index.discard(record)
        assert index._keys == {}

    def test_a_record_comes_back_from_its_rest_as_it_was_indexed(self) -> None:
        index, record = PrincipalIndex(), record_of()
        index.follow(record)
        woken = unpack(record.key, pack(record, 0.0))
        assert woken.indexed is not None
        assert record.indexed is not None
        assert woken.indexed[1] == record.indexed[1]
        index.follow(woken)
        index.discard(woken)
        assert index._keys == {}


@pytest.mark.parametrize("name", ["a", "ü" * 128, "with spaces", "x" * 256])
def test_a_name_that_may_be(name: str) -> None:
    assert check_principal(name) == name


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 257, "ü" * 129, "\ud800"])
def test_a_name_that_may_not(name: str) -> None:
    with pytest.raises(ValueError, match="principal: got "):
        check_principal(name)


@pytest.mark.parametrize("name", [b"alice", 5, None])
def test_what_is_no_name(name: object) -> None:
    with pytest.raises(TypeError, match="principal: got "):
        check_principal(name)
