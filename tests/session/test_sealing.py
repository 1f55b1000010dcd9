"""The seal: exactly what changed is written, and what becomes of the session by it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

from replsession.config import Limits
from replsession.errors import (
    SessionTooLarge,
    UnserializableAttribute,
)
from replsession.session.change import Change
from replsession.session.codec import encode
from replsession.session.expiry import encoded_limits
from replsession.session.record import INTERVAL, SECRET
from replsession.session.session import Session
from tests.session.world import LIMITS, NOW, Act, World, assign, both

CART: list[Any] = [{"price": 1, "tags": ["a"]}, 2]


def change_in_place(session: Session) -> None:
    session["cart"][0]["tags"].append("b")


def change_and_change_back(session: Session) -> None:
    session["cart"].append(3)
    session["cart"].pop()


def remove_and_assign_again(session: Session) -> None:
    session["n"] = session.pop("n")


def exchange_two(session: Session) -> None:
    session["n"], session["name"] = session["name"], session["n"]


@pytest.mark.parametrize(
    ("act", "writes"),
    [
        (lambda s: None, None),
        (lambda s: dict(s), None),
        (lambda s: s.get("cart"), None),
        (lambda s: s["cart"][0]["price"], None),
        (lambda s: s.mark_modified(), None),
        (lambda s: s.setdefault("cart", []), None),
        (lambda s: s.pop("x", None), None),
        (lambda s: s.update(), None),
        (assign(n=1), None),
        (assign(n=1, name="anna", cart=CART), None),
        (change_and_change_back, None),
        (remove_and_assign_again, None),
        (both(assign(x=1), lambda s: s.pop("x")), None),
        (both(lambda s: s.pop("n"), assign(n=1)), None),
        (lambda s: s["cart"].reverse() or s["cart"].reverse(), None),
        (assign(n=2), {"n": 2}),
        (assign(n=True), {"n": True}),
        (assign(n=1.0), {"n": 1.0}),
        (assign(x=None), {"x": None}),
        (assign(n=2, x=3), {"n": 2, "x": 3}),
        (exchange_two, {"n": "anna", "name": 1}),
        (change_in_place, {"cart": [{"price": 1, "tags": ["a", "b"]}, 2]}),
        (lambda s: s["cart"].reverse(), {"cart": [2, {"price": 1, "tags": ["a"]}]}),
        (lambda s: s["cart"].clear(), {"cart": []}),
        (lambda s: s.get("cart")[0].pop("tags"), {"cart": [{"price": 1}, 2]}),
        (lambda s: dict(s)["cart"].append(3), {"cart": [*CART, 3]}),
        (lambda s: [*s.values()][-1].append(3), {"cart": [*CART, 3]}),
        (lambda s: s.setdefault("cart", []).append(3), {"cart": [*CART, 3]}),
        (lambda s: s.setdefault("list", []).append(3), {"list": [3]}),
        (lambda s: (s.update(cart=[1]), s["cart"].append(2)), {"cart": [1, 2]}),
        (lambda s: s.__delitem__("n"), {"n": ...}),
        (lambda s: s.pop("n"), {"n": ...}),
        (lambda s: s.popitem(), {"cart": ...}),
        (both(change_in_place, lambda s: s.pop("cart")), {"cart": ...}),
        (both(lambda s: s.pop("n"), assign(x=1)), {"n": ..., "x": 1}),
        (assign(**{"": 1, "a b": 2, "é": 3}), {"": 1, "a b": 2, "é": 3}),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_exactly_what_changed_is_written(
    act: Act, writes: dict[str, Any] | None, lazy: bool
) -> None:
    world = World()
    make = world.lazy_session if lazy else world.session
    session = make(n=1, name="anna", cart=CART)
    key = next(iter(world.records))
    act(session)

    changes = world.apply(session)

    if writes is None:
        assert changes == ()
    else:
        encoded = {
            name: None if value is ... else encode(name, value) for name, value in writes.items()
        }
        assert changes == (Change(key, encoded),)
    assert session.seal() == ()
    assert not world.ended


def test_the_order_of_a_dict_is_part_of_its_value() -> None:
    world = World()
    session = world.session(d={"a": 1, "b": 2})
    session["d"] = {"b": 2, "a": 1}
    assert world.apply(session)[0].writes == {"d": encode("d", {"b": 2, "a": 1})}


def test_a_value_shared_by_two_attributes_is_written_in_both() -> None:
    world = World()
    session = world.new_session()
    session["a"] = session["b"] = [1]
    world.apply(session)
    session["a"].append(2)
    assert list(world.apply(session)[0].writes) == ["a", "b"]


@pytest.mark.parametrize(
    "act",
    [
        lambda s: None,
        lambda s: s.get("n"),
        lambda s: s.clear(),
        lambda s: s.invalidate(),
        lambda s: s.mark_modified(),
        lambda s: s.rotate_id(),
        lambda s: s.update({}),
        lambda s: s.encode_url("/"),
        both(assign(n=1), lambda s: s.pop("n")),
        both(assign(n=1), lambda s: s.clear()),
        lambda s: setattr(s, "max_inactive_interval", 60),
    ],
)
def test_without_an_attribute_no_session_is_born(act: Act) -> None:
    world = World()
    session = world.new_session()
    act(session)
    assert (session.id, session.url_token, session.created_at) == (None, None, None)
    assert (session.is_new, world.apply(session), session.committed_identity) == (True, (), None)


def test_the_first_write_is_a_birth() -> None:
    world = World()
    session = world.new_session()
    session["n"] = 1
    session_id, token = session.id, session.url_token
    assert (session.is_new, session.created_at, session.last_accessed_at) == (True, NOW, NOW)

    (birth,) = world.apply(session)

    assert (birth.birth, birth.destroy) == (True, False)
    identity = session.committed_identity
    assert identity is not None
    assert (birth.key, birth.writes[SECRET]) == (identity.key, identity.secret_hash)
    assert birth.writes[INTERVAL] == encoded_limits(LIMITS)
    assert world.records == {identity.key: {"n": encode("n", 1)}}
    assert (session.id, session.url_token) == (session_id, token)
    assert token == f"{identity.token}.seen"
    assert (session.is_new, session.has_new_id, session.created_at) == (True, True, NOW)


def test_after_the_birth_it_goes_on_with_deltas() -> None:
    world = World()
    session = world.new_session()
    session["n"] = 1
    world.apply(session)
    session["n"] = 2
    session["cart"] = []
    (second,) = world.apply(session)
    assert (second.birth, list(second.writes)) == (False, ["n", "cart"])
    session["cart"].append(1)
    (third,) = world.apply(session)
    assert third.writes == {"cart": encode("cart", [1])}
    del session["n"]
    (fourth,) = world.apply(session)
    assert fourth.writes == {"n": None}
    assert list(world.records.values()) == [{"cart": encode("cart", [1])}]


@pytest.mark.parametrize(
    "end",
    [
        lambda s: s.clear(),
        lambda s: s.invalidate(),
        lambda s: (s.pop("n"), s.pop("cart")),
        lambda s: (s.popitem(), s.popitem()),
        lambda s: (s.__delitem__("n"), s.__delitem__("cart")),
        both(assign(x=1), lambda s: s.clear()),
        both(lambda s: s.clear(), assign(x=1), lambda s: s.clear()),
        both(lambda s: s.clear(), assign(x=1), lambda s: s.pop("x")),
        both(lambda s: s.rotate_id(), lambda s: s.clear()),
        both(lambda s: s.clear(), lambda s: s.rotate_id()),
        both(lambda s: s.clear(), lambda s: setattr(s, "max_inactive_interval", 5)),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_a_session_that_is_left_empty_ends(end: Act, lazy: bool) -> None:
    world = World()
    make = world.lazy_session if lazy else world.session
    session = make(n=1, cart=CART)
    key = next(iter(world.records))
    end(session)

    assert world.apply(session) == (Change(key, {}, destroy=True),)

    assert (session.id, session.url_token, session.committed_identity) == (None, None, None)
    assert (session.is_new, dict(session), session.seal()) == (True, {}, ())


@pytest.mark.parametrize("clear", [lambda s: s.clear(), lambda s: s.invalidate()])
def test_cleared_and_written_again_it_is_another_session(clear: Act) -> None:
    world = World()
    session = world.session(n=1, cart=CART)
    old_id, old_token = session.id, session.url_token
    key = next(iter(world.records))
    session["cart"].append(3)
    clear(session)
    assert session.id is None
    session["n"] = 1
    new_id = session.id
    assert (session.is_new, session.created_at, session.last_accessed_at) == (True, NOW, NOW)

    end, birth = world.apply(session)

    assert end == Change(key, {}, destroy=True)
    assert (birth.birth, birth.key == key) == (True, False)
    assert world.records == {birth.key: {"n": encode("n", 1)}}
    assert new_id == session.id != old_id
    assert session.url_token != old_token
    assert session.has_new_id
    session["m"] = 2
    assert world.apply(session) == (Change(birth.key, {"m": encode("m", 2)}),)


def test_what_was_in_hand_before_the_clear_is_not_written() -> None:
    world = World()
    session = world.session(cart=CART)
    cart = session["cart"]
    session.clear()
    cart.append(3)
    session["n"] = 1
    assert list(world.apply(session)[1].writes) == ["n", INTERVAL, SECRET]


def test_after_the_last_attribute_a_write_makes_another_session() -> None:
    world = World()
    session = world.session(n=1)
    key = next(iter(world.records))
    del session["n"]
    world.apply(session)
    session["n"] = 2
    (birth,) = world.apply(session)
    assert birth.birth
    assert birth.key != key


def test_a_session_that_is_emptied_and_filled_lives_on() -> None:
    world = World()
    session = world.session(n=1)
    del session["n"]
    session["m"] = 2
    assert world.apply(session)[0].writes == {"n": None, "m": encode("m", 2)}
    assert not world.ended


def test_an_attribute_that_cannot_be_read_keeps_its_session_alive() -> None:
    world = World()
    session = Session.attached(world, world.found_bytes({"a": b"\xff", "n": b"\x01"}))
    assert session.get("a") is None
    del session["n"]
    assert world.apply(session)[0].writes == {"n": None}
    assert list(world.records.values()) == [{"a": b"\xff"}]


def test_an_attribute_that_cannot_be_read_can_be_replaced() -> None:
    world = World()
    session = Session.attached(world, world.found_bytes({"a": b"\xff"}))
    session["a"] = session.get("a", 5)
    assert world.apply(session)[0].writes == {"a": b"\x05"}


def test_sealing_twice_gives_the_same_until_it_was_committed() -> None:
    world = World()
    session = world.session(n=1)
    session["n"] = 2
    session.rotate_id()
    once = session.seal()
    assert session.seal() == once
    session.committed()
    assert session.seal() == ()


UNSTORABLE: list[tuple[str, Any, str]] = [
    ("x", object(), "object"),
    ("x", (1j,), "complex"),
    ("x", {1: OrderedDict()}, "collections.OrderedDict (it would come back as dict)"),
    ("x", 2**64, "int of more than 64 bits"),
    ("cart", [{"price": Session()}], "replsession.session.session.Session"),
    ("\0x", 1, "a name that begins with NUL"),
    ("x" * 257, 1, "a name of more than 256 bytes"),
    ("\ud800", 1, "a name with a lone surrogate"),
]


@pytest.mark.parametrize(("name", "value", "problem"), UNSTORABLE)
@pytest.mark.parametrize("found", [True, False])
def test_a_seal_that_fails_changes_nothing(
    name: str, value: Any, problem: str, found: bool
) -> None:
    world = World()
    session = world.session(n=1) if found else world.new_session()
    before = {key: dict(values) for key, values in world.records.items()}
    session["good"] = [1]
    session[name] = value

    for _ in range(2):
        with pytest.raises(UnserializableAttribute) as caught:
            world.apply(session)
        assert caught.value.problem.startswith(problem)
        assert caught.value.session_id == (session.id if found else None)

    assert world.records == before
    del session[name]
    session["good"].append(2)
    (change,) = world.apply(session)
    assert change.birth is not found
    assert next(iter(world.records.values()))["good"] == encode("good", [1, 2])


def test_a_value_that_became_unstorable_in_place_is_named() -> None:
    world = World()
    session = world.session(cart=CART)
    session["cart"][0]["price"] = 1 + 2j
    with pytest.raises(UnserializableAttribute) as caught:
        session.seal()
    assert (caught.value.path, caught.value.problem) == ("cart[0].price", "complex")
    session["cart"][0]["price"] = 1
    assert session.seal() == ()


def test_a_failure_after_a_clear_ends_nothing_yet() -> None:
    world = World()
    session = world.session(n=1)
    session.clear()
    session["x"] = object()
    with pytest.raises(UnserializableAttribute):
        world.apply(session)
    assert not world.ended
    session["x"] = 1
    assert [change.destroy for change in world.apply(session)] == [True, False]


def test_bounds_of_a_session() -> None:
    world = World(Limits(attributes_max=3, session_bytes_max=20, value_bytes_max=15))
    session = world.session(a=1, b=2)
    session["c"] = 3
    world.apply(session)
    session["d"] = 4
    with pytest.raises(SessionTooLarge, match="4 attributes; at most 3"):
        session.seal()
    del session["a"]
    world.apply(session)
    session["b"] = "x" * 16
    with pytest.raises(SessionTooLarge, match="'b' has 17 bytes; at most 15"):
        session.seal()
    session["b"], session["c"] = "x" * 10, "y" * 9
    with pytest.raises(SessionTooLarge, match="the session has 22 bytes; at most 20"):
        session.seal()
    session["c"] = "y" * 7
    world.apply(session)
    assert set(*map(set, world.records.values())) == {"b", "c", "d"}


def test_what_is_too_large_already_may_become_smaller() -> None:
    world = World(Limits(session_bytes_max=10))
    session = world.session(a="x" * 30, n=1)
    session["a"] = "x" * 20
    session["n"] = 2
    with pytest.raises(SessionTooLarge):
        session.seal()
    session["a"] = ""
    assert len(world.apply(session)[0].writes) == 2


@pytest.mark.parametrize(
    ("act", "would"),
    [
        (lambda s: None, False),
        (assign(n=2), False),
        (lambda s: s.clear(), False),
        (both(lambda s: s.clear(), assign(n=2)), True),
        (both(lambda s: s.pop("n"), assign(m=2)), False),
    ],
)
def test_it_knows_whether_it_would_be_born(act: Act, would: bool) -> None:
    session = World().session(n=1)
    act(session)
    assert session.would_be_born is would
    new = World().new_session()
    assert not new.would_be_born
    new["n"] = 1
    assert new.would_be_born


def test_where_no_id_can_be_told_the_end_is_written_and_no_birth() -> None:
    world = World()
    session = world.session(n=1)
    session.clear()
    session["n"] = 2
    session.stay_unborn()
    assert not session.would_be_born
    assert [change.destroy for change in world.apply(session)] == [True]
    session["m"] = 3
    assert (world.apply(session), world.records, dict(session)) == ((), {}, {"n": 2, "m": 3})


def test_a_lost_session_writes_nothing_any_more() -> None:
    world = World()
    session = world.session(n=1)
    session["n"] = 2
    session.seal()
    session.lost()
    session["m"] = 3
    assert (session.was_lost, session.seal()) == (True, ())


def test_what_was_found_belongs_to_others_and_is_never_changed() -> None:
    world = World()
    found = world.found(n=1, cart=CART)
    before = dict(found.values)
    session = Session.attached(world, found)
    session["cart"].append(1)
    session["n"] = 2
    session["m"] = 3
    world.apply(session)
    session["m"] = 4
    del session["n"]
    world.apply(session)
    session.clear()
    world.apply(session)
    assert found.values == before


def test_before_and_after_a_commit_it_says_what_was_there() -> None:
    world = World()
    session = world.new_session()
    assert session.found() == ({}, None)
    session["n"] = 1
    world.apply(session)
    assert session.found() == ({"n": b"\x01"}, session.id)
    session["n"] = 2
    assert session.found() == ({"n": b"\x01"}, session.id)
    session.clear()
    world.apply(session)
    assert session.found() == ({}, None)


@pytest.mark.parametrize(
    ("act", "is_changed"),
    [
        (lambda s: s.get("n"), False),
        (assign(n=2), True),
        (lambda s: s.pop("n"), True),
        (lambda s: s.rotate_id(), True),
        (lambda s: s["cart"].append(1), True),
    ],
)
def test_what_was_changed_and_committed_can_be_asked_for_later(act: Act, is_changed: bool) -> None:
    world = World()
    session = world.session(n=1, cart=[])
    (key,) = world.records
    act(session)
    world.apply(session)
    assert session.changed_key == (key if is_changed else None)


def test_a_session_that_was_never_committed_or_has_ended_has_no_place() -> None:
    world = World()
    session = world.new_session()
    session["n"] = 1
    assert session.changed_key is None
    world.apply(session)
    assert [session.changed_key] == list(world.records)
    session.clear()
    world.apply(session)
    assert session.changed_key is None
