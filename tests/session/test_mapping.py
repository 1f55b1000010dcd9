"""The mapping: a session is a dict to whoever uses it, and decodes what is read alone."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pydantic import TypeAdapter

from replsession.session import mapping
from replsession.session.codec import decode, encode
from replsession.session.mapping import Attributes, Unread
from replsession.session.record import Values
from replsession.session.session import Session
from tests.session.world import World

PLAIN: dict[str, Any] = {"name": "anna", "n": 1, "cart": [{"price": 1}, 2], "": None}

Decodes = list[bytes]


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> Decodes:
    """Return a list that gets the bytes of each attribute that is decoded."""
    decoded: Decodes = []

    def counted(data: bytes) -> Any:
        decoded.append(data)
        return decode(data)

    monkeypatch.setattr(mapping, "decode", counted)
    return decoded


def read_by_attribute(value: Any) -> Any:
    """Read as template engines do: an attribute of the object, else an item."""
    return getattr(value, "name", None) or value["name"]


def merged_by_keywords(**names: Any) -> dict[str, Any]:
    return names


READS: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("dict", dict),
    ("dict of items", lambda d: dict(d.items())),
    ("unpacked", lambda d: {**d}),
    ("unpacked second", lambda d: {"n": 0, **d, "z": 1}),
    ("updated from", lambda d: updated({"n": 0}, d)),
    ("keywords", lambda d: merged_by_keywords(**d)),
    ("list", list),
    ("tuple", tuple),
    ("sorted", sorted),
    ("set", set),
    ("iter", lambda d: [name.upper() for name in d]),
    ("next", lambda d: next(iter(d))),
    ("reversed", lambda d: list(reversed(d))),
    ("reversed keys", lambda d: list(reversed(d.keys()))),
    ("reversed values", lambda d: list(reversed(d.values()))),
    ("reversed items", lambda d: list(reversed(d.items()))),
    ("keys", lambda d: list(d.keys())),
    ("keys as a set", lambda d: d.keys() & {"n", "x"}),
    ("in keys", lambda d: ("n" in d.keys(), "x" in d.keys())),  # noqa: SIM118 - the view is meant
    ("values", lambda d: list(d.values())),
    ("items", lambda d: list(d.items())),
    ("in items", lambda d: (("n", 1) in d.items(), ("n", 2) in d.items())),
    ("len", len),
    ("bool", bool),
    ("in", lambda d: ("n" in d, "x" in d, None in d)),
    ("item", lambda d: d["cart"]),
    ("get", lambda d: (d.get("cart"), d.get("x"), d.get("x", 5), d.get(""))),
    ("equal", lambda d: [one == other for one, other in pairs_with(d)]),
    ("unequal", lambda d: [one != other for one, other in pairs_with(d)]),
    ("or", lambda d: d | {"n": 2, "z": 3}),
    ("or from the right", lambda d: {"n": 2, "z": 3} | d),
    ("copy", lambda d: d.copy()),
    ("copy.copy", copy.copy),
    ("deepcopy", copy.deepcopy),
    ("pickle", lambda d: pickle.loads(pickle.dumps(d))),
    ("pickle protocol 0", lambda d: pickle.loads(pickle.dumps(d, 0))),
    ("repr", repr),
    ("str", str),
    ("format", lambda d: f"{d}"),
    ("json", json.dumps),
    ("json in a dict", lambda d: json.dumps({"session": d, "list": [d]})),
    ("json sorted", lambda d: json.dumps(d, sort_keys=True)),
    ("json with indent", lambda d: json.dumps(d, indent=1)),
    ("json in Python", lambda d: "".join(json.JSONEncoder().iterencode(d))),
    ("template", read_by_attribute),
    ("match", lambda d: matched(d)),
    ("missing item", lambda d: failure(lambda: d["x"])),
    ("or with no dict", lambda d: failure(lambda: d | [("a", 1)])),  # type: ignore[operator]
]


def pairs_with(value: Any) -> list[tuple[Any, Any]]:
    """Pair it with equal and other things, on both sides."""
    others = [PLAIN, {}, {"n": 1}, 3, None, value]
    return [(value, other) for other in others] + [(other, value) for other in others]


def updated(one: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    one.update(other)
    return one


def matched(value: Any) -> Any:
    match value:
        case {"n": number, **rest}:
            return number, rest
    return None


def failure(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or what it raises, to compare."""
    try:
        return call()
    except (KeyError, TypeError) as error:
        return type(error), error.args if isinstance(error, KeyError) else None


def fresh(kind: str, values: dict[str, Any]) -> Session:
    if kind == "made":
        return Session(values)
    if kind == "written":
        session = World().new_session()
        session.update(copy.deepcopy(values))
        return session
    world = World()
    found = world.found_bytes({name: encode(name, value) for name, value in values.items()})
    if kind == "attached":
        return Session.attached(world, found)
    world.to_load = found
    return Session.lazy(world)


KINDS = ["attached", "lazy", "written", "made"]


@pytest.mark.parametrize("values", [PLAIN, {}], ids=["full", "empty"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "read"), READS, ids=[name for name, _ in READS])
def test_the_very_first_read_is_that_of_a_dict(
    name: str, read: Callable[[dict[str, Any]], Any], kind: str, values: dict[str, Any]
) -> None:
    def outcome(of: dict[str, Any]) -> Any:
        try:
            return read(of)
        except (KeyError, StopIteration) as error:
            return type(error), error.args

    session = fresh(kind, values)
    assert outcome(session) == outcome(copy.deepcopy(values))
    # The C code of json does not even ask an empty dict for its items.
    assert session.accessed or (name.startswith("json") and not values)
    assert not session.modified or kind == "written"


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_a_plain_dict(kind: str) -> None:
    for copied in (
        fresh(kind, PLAIN).copy(),
        copy.copy(fresh(kind, PLAIN)),
        copy.deepcopy(fresh(kind, PLAIN)),
        fresh(kind, PLAIN) | {},
        {} | fresh(kind, PLAIN),
        pickle.loads(pickle.dumps(fresh(kind, PLAIN))),
    ):
        assert type(copied) is dict


def test_a_shallow_copy_shares_values_and_a_deep_one_does_not() -> None:
    session = fresh("attached", PLAIN)
    assert copy.copy(session)["cart"] is session["cart"]
    assert copy.deepcopy(session)["cart"] is not session["cart"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_a_dict_that_cannot_be_hashed(kind: str) -> None:
    session = fresh(kind, PLAIN)
    assert isinstance(session, dict) and isinstance(session, MutableMapping)
    with pytest.raises(TypeError, match="unhashable"):
        hash(session)
    assert session.accessed is (kind == "written")


def test_two_sessions_are_equal_by_what_is_in_them() -> None:
    one, other, third = fresh("attached", PLAIN), fresh("lazy", PLAIN), fresh("lazy", {"n": 1})
    assert (one == other, one != other) == (True, False)
    assert (one == third, one != third) == (False, True)


@pytest.mark.parametrize(
    ("read", "names"),
    [
        (lambda s: s["n"], ["n"]),
        (lambda s: s.get("n"), ["n"]),
        (lambda s: s.setdefault("n", 2), ["n"]),
        (lambda s: s.pop("n"), ["n"]),
        (lambda s: (s["n"], s["n"], s.get("n")), ["n"]),
        (lambda s: s.get("x"), []),
        (lambda s: "n" in s, []),
        (lambda s: len(s), []),
        (lambda s: bool(s), []),
        (lambda s: list(s), list(PLAIN)),
        (lambda s: s.update(n=2), []),
        (lambda s: s.__setitem__("n", 2), []),
        (lambda s: s.__delitem__("n"), []),
        (lambda s: s.clear(), []),
        (lambda s: s.id, []),
        (lambda s: s.mark_modified(), []),
        (lambda s: list(s.values()), list(PLAIN)),
        (lambda s: dict(s), list(PLAIN)),
        (lambda s: json.dumps(s), list(PLAIN)),
        (lambda s: s == {}, list(PLAIN)),
    ],
)
@pytest.mark.parametrize("kind", ["attached", "lazy"])
def test_only_what_is_read_is_decoded_and_only_once(
    kind: str, read: Callable[[Session], Any], names: list[str], decodes: Decodes
) -> None:
    session = fresh(kind, PLAIN)
    read(session)
    assert decodes == [encode(name, PLAIN[name]) for name in names]


def test_a_lazy_session_is_looked_up_once_and_only_when_it_is_touched() -> None:
    world = World()
    session = world.lazy_session(n=1)
    assert (session.accessed, session.modified, session.is_dirty, world.loads) == (0, 0, 0, 0)
    session.mark_accessed()
    assert (session.accessed, world.loads, session.is_dirty, session.seal()) == (1, 1, 0, ())

    assert session["n"] == 1
    assert list(session) == ["n"]
    session["n"] = 2
    assert world.loads == 1


@pytest.mark.parametrize(
    "touch",
    [
        lambda s: s.__setitem__("a", 1),
        lambda s: s.update({"a": 1}),
        lambda s: s.setdefault("a", 1),
        lambda s: s.__ior__({"a": 1}),
        lambda s: s.update(a=1),
    ],
)
def test_a_write_may_be_the_first_touch_of_a_lazy_session(touch: Callable[[Session], Any]) -> None:
    world = World()
    session = world.lazy_session(n=1)
    touch(session)
    assert (world.loads, list(session.items())) == (1, [("n", 1), ("a", 1)])


@pytest.mark.parametrize(
    ("touch", "is_accessed", "is_modified"),
    [
        (lambda s: None, False, False),
        (lambda s: s.mark_accessed(), True, False),
        (lambda s: s.mark_modified(), True, True),
        (lambda s: s["n"], True, False),
        (lambda s: "n" in s, True, False),
        (lambda s: len(s), True, False),
        (lambda s: s.__setitem__("n", 1), True, True),
        (lambda s: s.__delitem__("n"), True, True),
        (lambda s: failure(lambda: s.__delitem__("x")), True, True),
        (lambda s: s.clear(), True, True),
        (lambda s: s.pop("n"), True, True),
        (lambda s: s.pop("x", None), True, False),
        (lambda s: failure(lambda: s.pop("x")), True, False),
        (lambda s: s.popitem(), True, True),
        (lambda s: s.setdefault("n", 2), True, False),
        (lambda s: s.setdefault("x", 2), True, True),
        (lambda s: s.update({}), True, True),
        (lambda s: s.__ior__({}), True, True),
        (lambda s: s | {"x": 1}, True, False),
        (lambda s: s.copy(), True, False),
    ],
)
@pytest.mark.parametrize("kind", ["attached", "lazy", "made"])
def test_accessed_and_modified(
    kind: str, touch: Callable[[Session], Any], is_accessed: bool, is_modified: bool
) -> None:
    session = fresh(kind, PLAIN)
    touch(session)
    assert (session.accessed, session.modified) == (is_accessed, is_modified)


def test_popitem_of_an_empty_session_changes_nothing() -> None:
    session = fresh("lazy", {})
    with pytest.raises(KeyError):
        session.popitem()
    assert not session.modified


@pytest.mark.parametrize(
    "wrong",
    [
        lambda d: d.update(3),
        lambda d: d.update([(1,)]),
        lambda d: d.update({}, {}),
        lambda d: d.pop(),
        lambda d: d.pop("a", 1, 2),
        lambda d: d[[]],
        lambda d: d.get([]),
        lambda d: d.__setitem__([], 1),
        lambda d: d.setdefault([], 1),
        lambda d: [] in d,
    ],
)
def test_wrong_calls_raise_what_dict_raises(wrong: Callable[[dict[str, Any]], Any]) -> None:
    with pytest.raises(Exception) as expected:
        wrong({"a": 1})
    session = fresh("attached", {"a": 1})
    with pytest.raises(type(expected.value)):
        wrong(session)
    assert dict(session) == {"a": 1}


def test_update_takes_another_session() -> None:
    one, other = fresh("attached", {"a": 1}), fresh("lazy", PLAIN)
    one.update(other)
    one |= fresh("lazy", {"z": 1})
    assert dict(one) == {"a": 1, **PLAIN, "z": 1}


def test_an_or_assignment_leaves_the_same_object() -> None:
    session = same = fresh("attached", {"a": 1})
    session |= [("b", 2)]
    assert session is same
    assert dict(same) == {"a": 1, "b": 2}


def test_fromkeys_makes_a_session() -> None:
    assert dict(Session.fromkeys("ab", 1)) == {"a": 1, "b": 1}


def test_a_view_is_live() -> None:
    session = fresh("attached", PLAIN)
    names, values = session.keys(), session.values()
    session["new"] = 5
    assert ("new" in names, list(values)[-1]) == (True, 5)


def test_code_that_looks_past_the_methods_finds_no_value() -> None:
    session = fresh("attached", {"a": "secret"})
    (unread,) = dict.values(session)
    assert type(unread) is Unread
    assert "secret" not in repr(unread)
    with pytest.raises(TypeError):
        json.dumps(unread)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("values", [PLAIN, {}], ids=["full", "empty"])
@pytest.mark.parametrize("wanted", [Any, dict, dict[str, Any], dict[str, object]])
def test_pydantic_looks_past_the_methods_and_finds_the_values(
    wanted: Any, values: dict[str, Any], kind: str
) -> None:
    adapter = TypeAdapter(wanted)
    ways: list[Callable[[Any], Any]] = [lambda session: session, adapter.validate_python]
    for way in ways:
        session = fresh(kind, values)
        session.mark_accessed()
        assert adapter.dump_python(way(session)) == values
        assert json.loads(adapter.dump_json(way(session))) == values
    nested = TypeAdapter(dict[str, Any])
    session = fresh(kind, values)
    session.mark_accessed()
    assert json.loads(nested.dump_json({"s": [session]})) == {"s": [values]}


def test_pydantic_changes_nothing() -> None:
    world = World()
    session = world.session(cart=[1], n=1)
    assert TypeAdapter(Any).dump_json(session) == b'{"cart":[1],"n":1}'
    assert session.seal() == ()
    session["cart"].append(2)
    assert len(session.seal()) == 1


def test_a_session_that_was_not_looked_up_is_never_taken_for_another() -> None:
    session = fresh("lazy", PLAIN)
    with pytest.raises(Exception, match="not looked up yet: use dict"):
        TypeAdapter(Any).dump_json(session)
    assert dict(session) == PLAIN


BROKEN = b"\xff"


@pytest.mark.parametrize("kind", ["attached", "lazy"])
@pytest.mark.parametrize(
    ("read", "result"),
    [
        (dict, {"a": 1, "c": 3}),
        (lambda s: {**s}, {"a": 1, "c": 3}),
        (lambda s: dict(s.items()), {"a": 1, "c": 3}),
        (lambda s: list(s.values()), [1, 3]),
        (lambda s: json.loads(json.dumps(s)), {"a": 1, "c": 3}),
        (lambda s: s.get("b", 5), 5),
        (lambda s: failure(lambda: s["b"]), (KeyError, ("b",))),
        (lambda s: s.pop("b", 5), 5),
        (lambda s: [s[name] for name in list(s)], [1, 3]),
        (lambda s: [s[name] for name in s], [1, 3]),
        (lambda s: s | {"d": 4}, {"a": 1, "c": 3, "d": 4}),
        (lambda s: s == {"a": 1, "c": 3}, True),
    ],
)
def test_bytes_that_cannot_be_read_are_as_if_not_there(
    kind: str, read: Callable[[Session], Any], result: Any
) -> None:
    world = World()
    found = world.found_bytes({"a": b"\x01", "b": BROKEN, "c": b"\x03"})
    world.to_load = found
    session = Session.lazy(world) if kind == "lazy" else Session.attached(world, found)
    assert read(session) == result
    assert world.undecodables == [(session.id, "b")]
    assert (session.accessed, session.seal()) == (True, ())
    assert "b" not in session


def test_attributes_alone_are_never_lazy() -> None:
    class Loading(Attributes):
        _lazy = True

    with pytest.raises(AssertionError, match="lazy"):
        len(Loading())


names = st.sampled_from("abcde")
plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-300, 300)
    | st.text(max_size=3)
    | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=5,
)
contents = st.dictionaries(names, plain_values, max_size=5)


class LikeADict(RuleBasedStateMachine):
    """The same calls on a session and on a plain dict, over several requests and seals."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.plain: dict[str, Any] = {}
        self.session = self.world.new_session()

    @initialize(values=contents, kind=st.sampled_from(["new", "attached", "lazy"]))
    def begin(self, values: dict[str, Any], kind: str) -> None:
        """Begin with a new session, or with one that was there."""
        if kind != "new" and values:
            self.plain = copy.deepcopy(values)
            self.world.to_load = self.world.found_bytes(
                {name: encode(name, value) for name, value in values.items()}
            )
        self._open(kind == "lazy")

    def _open(self, lazy: bool) -> None:
        self.session = (
            Session.lazy(self.world) if lazy else Session.attached(self.world, self.world.to_load)
        )

    def _both(self, call: Callable[[dict[str, Any]], Any]) -> None:
        assert failure(lambda: call(self.session)) == failure(lambda: call(self.plain))

    @rule(name=names, value=plain_values)
    def assign(self, name: str, value: Any) -> None:
        """Assign, each side its own copy."""
        self._both(lambda d: d.__setitem__(name, copy.deepcopy(value)))

    @rule(name=names)
    def delete(self, name: str) -> None:
        """Delete what may not be there."""
        self._both(lambda d: d.__delitem__(name))

    @rule(name=names, default=st.lists(plain_values, max_size=1))
    def pop(self, name: str, default: list[Any]) -> None:
        """Pop, with a default or none."""
        self._both(lambda d: d.pop(name, *default))

    @rule()
    def popitem(self) -> None:
        """Pop the last one."""
        self._both(lambda d: d.popitem())

    @rule(name=names, value=plain_values)
    def setdefault(self, name: str, value: Any) -> None:
        """Get or set."""
        self._both(lambda d: d.setdefault(name, copy.deepcopy(value)))

    @rule(values=contents, way=st.integers(0, 4))
    def update(self, values: dict[str, Any], way: int) -> None:
        """Set several, in each of the ways."""

        def call(d: dict[str, Any]) -> None:
            own = copy.deepcopy(values)
            if way == 0:
                d.update(own)
            elif way == 1:
                d.update(list(own.items()))
            elif way == 2:
                d.update(**own)
            elif way == 3:
                d.update({"a": 0}, **own)
            else:
                d |= own

        self._both(call)

    @rule()
    def clear(self) -> None:
        """Remove everything."""
        self._both(lambda d: d.clear())

    @rule(name=names, value=plain_values)
    def change_in_place(self, name: str, value: Any) -> None:
        """Change a list or a dict where it is."""

        def call(d: dict[str, Any]) -> None:
            held = d.get(name)
            if isinstance(held, list):
                held.append(copy.deepcopy(value))
            elif isinstance(held, dict):
                held["k"] = copy.deepcopy(value)

        self._both(call)

    @rule(name=names)
    def read_one(self, name: str) -> None:
        """Read one attribute in each way."""
        self._both(lambda d: (d.get(name), d.get(name, 5), name in d, failure(lambda: d[name])))

    @rule(read=st.sampled_from([read for _, read in READS]))
    def read_all(self, read: Callable[[dict[str, Any]], Any]) -> None:
        """Read everything, in each way."""

        def call(d: dict[str, Any]) -> Any:
            try:
                return read(d)
            except StopIteration:
                return "nothing"

        self._both(call)

    @rule()
    def seal(self) -> None:
        """Commit; what is kept is what the dict has, and the next seal finds nothing."""
        was_there = list(self.world.records)
        self.world.apply(self.session)
        kept = list(self.world.records.values())
        expected = {name: encode(name, value) for name, value in self.plain.items()}
        assert kept == ([expected] if expected else [])
        assert set(was_there) - set(self.world.records) <= set(self.world.ended)
        assert self.session.seal() == ()

    @rule(lazy=st.booleans())
    def next_request(self, lazy: bool) -> None:
        """Commit, and go on with the session that the next request gets."""
        self.seal()
        assert len(self.session) == len(self.plain)
        identity = self.session.committed_identity
        self.world.to_load = None
        if identity is not None:
            self.world.to_load = self.world.found_bytes({})._replace(
                identity=identity, values=Values(self.world.records[identity.key])
            )
            self.world.records = {identity.key: self.world.records[identity.key]}
        # Records keep no order of names, so the dict takes that of the record.
        order = [] if self.world.to_load is None else list(self.world.to_load.values)
        self.plain = {name: self.plain[name] for name in order}
        self._open(lazy)

    @invariant()
    def with_attributes_it_has_an_id(self) -> None:
        """A session has an id from the first write on; asked only where it was touched."""
        if self.plain and self.session.is_dirty:
            assert self.session.id is not None


TestLikeADict = LikeADict.TestCase
TestLikeADict.settings = settings(max_examples=120, stateful_step_count=25)
