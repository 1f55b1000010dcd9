"""One flat set of names: complete, and with one meaning wherever it was read."""

from __future__ import annotations

import inspect

import pytest

from replsession import Cluster, ConfigError
from replsession.channel.options import settings_of
from replsession.config import Timing
from replsession.settings.configuration import (
    APPLICATION,
    GROUP,
    IN_CODE,
    KINDS,
    MEMBER,
    PATTERNS,
    SECONDS,
    SECONDS_OR_NONE,
    SWITCH,
    TEXT,
    TEXTS,
    WHOLE,
    Configuration,
    Kind,
    nearest,
)
from replsession.web.application import Options


def test_every_keyword_has_a_name() -> None:
    of_lan = set(inspect.signature(Cluster.lan).parameters) - {"name", "timing"}
    assert set(MEMBER) == of_lan | set(Timing.__dataclass_fields__) | {"secret_file"}
    of_settings = set(inspect.signature(settings_of).parameters)
    assert of_lan - set(Timing.__dataclass_fields__) <= of_settings
    in_code = {"cluster", *IN_CODE}
    assert set(APPLICATION) == set(Options.__annotations__) - in_code
    assert set(MEMBER).isdisjoint(APPLICATION)
    assert len(KINDS) == 1 + len(MEMBER) + len(APPLICATION)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (TEXT, "none", "none"),
        (WHOLE, "4000", 4000),
        (SECONDS, "0.5", 0.5),
        (SECONDS_OR_NONE, "none", None),
        (SECONDS_OR_NONE, "False", None),
        (SECONDS_OR_NONE, "60", 60.0),
        (SWITCH, "true", True),
        (SWITCH, "FALSE", False),
        (TEXTS, " 10.0.0.5, 10.0.0.6:4001,,", ["10.0.0.5", "10.0.0.6:4001"]),
        (PATTERNS, r".*\.gif;.*\.css", r".*\.gif;.*\.css"),
        (GROUP, "239.1.2.3:4567", ("239.1.2.3", 4567)),
        (GROUP, "none", None),
    ],
)
def test_a_text_is_read(kind: Kind, text: str, value: object) -> None:
    assert kind.read(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [(WHOLE, "4.5"), (SECONDS, "soon"), (SWITCH, "yes"), (GROUP, "228.0.0.4"), (WHOLE, "none")],
)
def test_a_text_of_another_kind_is_refused(kind: Kind, text: str) -> None:
    with pytest.raises(ValueError):
        kind.read(text)


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (WHOLE, 4000, 4000),
        (SECONDS, 3, 3),
        (SECONDS_OR_NONE, False, None),
        (PATTERNS, ["a;b"], ["a;b"]),
        (PATTERNS, False, None),
        (GROUP, "239.1.2.3:4567", ("239.1.2.3", 4567)),
        (GROUP, False, None),
        (SWITCH, False, False),
    ],
)
def test_a_value_of_a_file_is_taken(kind: Kind, given: object, value: object) -> None:
    assert kind.convert(given) == value


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (TEXT, 5),
        (WHOLE, True),
        (WHOLE, 4.0),
        (WHOLE, "4000"),
        (SECONDS, True),
        (SECONDS, False),
        (SECONDS_OR_NONE, True),
        (TEXTS, "10.0.0.5"),
        (TEXTS, [5]),
        (PATTERNS, True),
        (GROUP, ["228.0.0.4", 45564]),
        (GROUP, "228.0.0.4"),
        (SWITCH, 1),
    ],
)
def test_a_value_of_another_kind_is_refused(kind: Kind, given: object) -> None:
    with pytest.raises(ValueError):
        kind.convert(given)


def test_the_other_one_counts_where_both_say_something() -> None:
    file = Configuration({"port": 1, "bind": "lo"}, {"port": "f: port", "bind": "f: bind"}, ("a",))
    environment = Configuration({"port": 2}, {"port": "PORT"}, ("b",))
    both = file.under(environment)
    assert both.values == {"port": 2, "bind": "lo"}
    assert both.written == {"port": "PORT", "bind": "f: bind"}
    assert both.remarks == ("a", "b")


@pytest.mark.parametrize(
    ("first", "second"), [("secret", "secret_file"), ("secret_file", "secret")]
)
def test_a_secret_and_the_file_of_one_are_the_same_thing(first: str, second: str) -> None:
    one = Configuration({first: "x"}, {first: "there"})
    assert one.under(Configuration({second: "y"}, {second: "here"})).values == {second: "y"}
    assert one.under(Configuration({"port": 1}, {})).values == {first: "x", "port": 1}


def test_it_is_parted_into_member_and_application() -> None:
    one = Configuration({"cluster": "local", "port": 1, "concern": "one"})
    assert (one.member, one.application) == ({"port": 1}, {"concern": "one"})


def test_an_error_is_told_in_the_words_of_its_place() -> None:
    one = Configuration(
        {"cluster": "lan:", "secret_file": "s"},
        {"cluster": "shop.toml: cluster", "secret_file": "shop.toml: secret_file"},
    )
    for field, where in [
        ("name", "shop.toml: cluster"),
        ("secret", "shop.toml: secret_file"),
        ("port", "port"),
    ]:
        assert one.blamed(ConfigError(field, 1, "another")).field == where


def test_a_secret_does_not_stand_in_its_repr() -> None:
    assert "hush" not in repr(Configuration({"secret": "hush"}, {"secret": "there"}))


def test_the_nearest_name_is_told() -> None:
    assert nearest("Prot", KINDS) == "did you mean 'port'?"
    assert nearest("xyz", ["port", "bind"]) == "one of port, bind"
