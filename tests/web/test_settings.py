"""The settings of a front door: what is taken, and what each wrong value is told."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
from starlette.datastructures import Secret

from replsession.errors import ConfigError
from replsession.session.expiry import SECONDS_MAX, SessionLimits
from replsession.web.settings import (
    DEFAULT_MAX_AGE,
    UNSET,
    check_bound,
    check_choice,
    check_context,
    check_switch,
    secrets_of,
    session_limits,
)


class Masked:
    """Like the secrets of pydantic: its text says nothing."""

    def __str__(self) -> str:
        return "**********"


class Env(StrEnum):
    KEY = "from-enum"


@pytest.mark.parametrize(
    ("given", "secrets"),
    [
        ("x", ["x"]),
        ("*", ["*"]),
        (Secret("from-secret"), ["from-secret"]),
        (Env.KEY, ["from-enum"]),
        (["new", "old"], ["new", "old"]),
        (("new", Secret("old")), ["new", "old"]),
    ],
)
def test_secrets_that_are_taken(given: Any, secrets: list[str]) -> None:
    taken = secrets_of(given)
    assert taken == secrets
    assert {type(secret) for secret in taken} == {str}


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        [],
        (),
        b"hush-hush",
        5,
        5.5,
        True,
        {"k": "hush-hush"},
        {"hush-hush"},
        [["hush-hush"]],
        ["hush-hush", ""],
        ["hush-hush", None],
        Secret(""),
        object(),
        str,
        Masked(),
    ],
)
def test_what_is_no_secret(given: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        secrets_of(given)
    assert caught.value.field == "secret_key"
    assert "the first signs, all verify" in caught.value.allowed
    assert "hush-hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("max_age", "interval", "lifetime", "limits"),
    [
        (DEFAULT_MAX_AGE, UNSET, None, (1800, None)),
        (14 * 24 * 3600, UNSET, None, (14 * 24 * 3600, None)),
        (60, UNSET, None, (60, None)),
        (0, UNSET, None, (0, None)),
        (-1, UNSET, None, (0, None)),
        (None, UNSET, None, (1800, None)),
        (60, 5, None, (5, None)),
        (60, None, None, (None, None)),
        (DEFAULT_MAX_AGE, 0.5, 3600, (0.5, 3600)),
    ],
)
def test_how_long_a_session_lives(
    max_age: int | None, interval: Any, lifetime: float | None, limits: tuple[Any, Any]
) -> None:
    assert session_limits(max_age, interval, lifetime) == SessionLimits(*limits)


@pytest.mark.parametrize("field", ["max_inactive_interval", "lifetime"])
@pytest.mark.parametrize(
    "seconds", [0, -1, "60", True, float("nan"), float("inf"), SECONDS_MAX, 1e300, [], object()]
)
def test_wrong_seconds(field: str, seconds: Any) -> None:
    given = {"max_inactive_interval": 60, "lifetime": None, field: seconds}
    with pytest.raises(ConfigError) as caught:
        session_limits(DEFAULT_MAX_AGE, **given)
    assert (caught.value.field, caught.value.given) == (field, seconds)
    assert "seconds above 0, or None" in str(caught.value)


@pytest.mark.parametrize("context", ["/", "/shop", "/a/b", "/é", "/" * 128])
def test_contexts_that_are_taken(context: str) -> None:
    check_context(context)


@pytest.mark.parametrize("context", ["", "shop", "/" * 129, "/a\n", "/\x00", None, 5, b"/", ["/"]])
def test_wrong_contexts(context: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        check_context(context)
    assert (caught.value.field, caught.value.given) == ("context", context)


@pytest.mark.parametrize("value", [0, 1, None, "yes", [], "False"])
def test_a_switch_is_on_or_off(value: Any) -> None:
    check_switch("required", True)
    check_switch("required", False)
    with pytest.raises(ConfigError, match=r"required: got .*; allowed: True or False"):
        check_switch("required", value)


def test_a_default_can_be_told_from_the_same_number() -> None:
    assert DEFAULT_MAX_AGE == 14 * 24 * 3600
    assert type(DEFAULT_MAX_AGE) is not int
    assert repr(UNSET) == "<unset>"


@pytest.mark.parametrize("value", ["error", "warn"])
def test_choices_that_are_taken(value: str) -> None:
    check_choice("on_shortfall", value, ("error", "warn"))


@pytest.mark.parametrize("value", ["", "Error", "errorwarn", None, True, 0, ["error"], b"warn"])
def test_what_is_none_of_the_choices(value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        check_choice("on_shortfall", value, ("error", "warn"))
    assert (caught.value.field, caught.value.given) == ("on_shortfall", value)
    assert str(caught.value).endswith("allowed: 'error' or 'warn'")


@pytest.mark.parametrize("bound", [0, -1, 1.0, True, "5"])
def test_a_bound_is_a_whole_number_above_0_or_none(bound: object) -> None:
    check_bound("most", 1)
    check_bound("most", None)
    with pytest.raises(ConfigError, match="most: got "):
        check_bound("most", bound)
