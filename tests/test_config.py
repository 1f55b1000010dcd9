"""Bounds and times: the defaults that Tomcat's people know, and every wrong value refused."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from replsession import config
from replsession.config import Limits, NodeConfig, Timing, is_number
from replsession.errors import ConfigError

TIMES = [field.name for field in fields(Timing) if field.name != "drain_s"]
BOUNDS = [field.name for field in fields(Limits)]
WRONG: list[Any] = [0, -1, -0.5, math.nan, math.inf, -math.inf, "x", True, None, [1], b"1"]


def construct(kind: type[Any], field: str, value: object) -> None:
    """Construct with one field that is not the default."""
    kind(**{field: value})


def test_the_defaults_are_tomcats() -> None:
    timing = Timing()

    assert (config.MULTICAST_GROUP, config.MULTICAST_PORT) == ("228.0.0.4", 45564)
    assert (config.RECEIVER_PORT, config.AUTO_BIND_PORTS) == (4000, 100)
    assert (timing.heartbeat_interval_s, timing.drop_after_s) == (0.5, 3.0)
    assert timing.transfer_timeout_s == 60
    assert config.MAX_INACTIVE_INTERVAL_S == 1800
    assert timing.tombstone_retention_s == 24 * 3600


def test_the_defaults_fit_together() -> None:
    limits = Limits()

    assert limits.value_bytes_max <= limits.session_bytes_max
    assert limits.session_bytes_max < limits.item_bytes_max
    assert limits.frame_bytes_max <= limits.outbox_bytes_max
    assert limits.piece_bytes <= limits.chunk_bytes <= limits.window_bytes
    assert NodeConfig() == NodeConfig(limits, Timing())


@pytest.mark.parametrize("given", WRONG, ids=repr)
@pytest.mark.parametrize("field", TIMES)
def test_a_wrong_time_is_refused_by_name(field: str, given: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        construct(Timing, field, given)

    assert (caught.value.field, caught.value.given) == (field, given)
    assert "above 0" in caught.value.allowed
    assert str(caught.value).startswith(f"{field}: got {given!r}; allowed: ")


def test_a_member_may_leave_at_once_or_after_a_bounded_time() -> None:
    assert Timing().drain_s == 0
    assert [Timing(drain_s=seconds).drain_s for seconds in (0, 2.5, 3600)] == [0, 2.5, 3600]
    for given in (*WRONG[1:], 3601):
        with pytest.raises(ConfigError) as caught:
            construct(Timing, "drain_s", given)
        assert caught.value.field == "drain_s"


@pytest.mark.parametrize("given", [*WRONG, 1.5], ids=repr)
@pytest.mark.parametrize("field", BOUNDS)
def test_a_wrong_bound_is_refused_by_name(field: str, given: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        construct(Limits, field, given)

    assert (caught.value.field, caught.value.given) == (field, given)
    assert caught.value.allowed
    assert str(caught.value).startswith(f"{field}: got {given!r}; allowed: ")


@pytest.mark.parametrize(
    "field", [field for field in BOUNDS if field not in ("pieces_open_max", "frame_bytes_max")]
)
def test_a_bound_of_one_is_a_bound(field: str) -> None:
    construct(Limits, field, 1)


def test_pieces_come_in_five_ways_at_once() -> None:
    assert Limits(pieces_open_max=5).pieces_open_max == 5
    with pytest.raises(ConfigError, match="at least 5") as caught:
        Limits(pieces_open_max=4)
    assert (caught.value.field, caught.value.given) == ("pieces_open_max", 4)


@pytest.mark.parametrize(
    "bounds",
    [
        {"frame_bytes_max": 1},
        {"frame_bytes_max": 300 * 1024},
        {"value_bytes_max": 4 * 1024 * 1024},
        {"chunk_bytes": 4 * 1024 * 1024},
        {"piece_bytes": 4 * 1024 * 1024},
    ],
)
def test_whatever_a_session_may_hold_fits_into_a_frame(bounds: dict[str, int]) -> None:
    with pytest.raises(
        ConfigError, match=r"chunk_bytes .* value_bytes_max .* piece_bytes"
    ) as caught:
        Limits(**bounds)
    assert caught.value.field == "frame_bytes_max"


def test_a_frame_has_room_for_a_chunk_and_one_value_more() -> None:
    least = 100 + 1000 + config.ITEM_HEAD_BYTES
    bounds = {"chunk_bytes": 100, "piece_bytes": 50, "value_bytes_max": 1000}

    assert Limits(**bounds, frame_bytes_max=least).item_bytes_max == least - 100
    with pytest.raises(ConfigError, match=f"at least {least}"):
        Limits(**bounds, frame_bytes_max=least - 1)


def test_no_member_may_allow_what_others_refuse() -> None:
    most = config.VALUE_BYTES_CEILING
    assert Limits(value_bytes_max=most, frame_bytes_max=2 * most).value_bytes_max == most
    with pytest.raises(ConfigError, match="every member takes") as caught:
        Limits(value_bytes_max=most + 1, frame_bytes_max=2 * most)
    assert caught.value.field == "value_bytes_max"


@pytest.mark.parametrize(("grace", "allowed"), [(1.1, True), (1, False), (0.5, False)])
def test_others_wait_longer_than_news_are_collected(grace: float, allowed: bool) -> None:
    if allowed:
        assert Timing(access_batch_s=1, expiry_grace_s=grace)
        return
    with pytest.raises(ConfigError, match="more than access_batch_s") as caught:
        Timing(access_batch_s=1, expiry_grace_s=grace)
    assert (caught.value.field, caught.value.given) == ("expiry_grace_s", grace)


@pytest.mark.parametrize("given", [1, 2.0, 0.25, 10**6])
def test_a_time_may_be_whole_or_not(given: float) -> None:
    assert Timing(discovery_s=given).discovery_s == given


@pytest.mark.parametrize(
    ("heartbeat", "drop", "allowed"),
    [(0.5, 1.001, True), (0.5, 1.0, False), (0.5, 0.4, False), (1, 3, True), (2, 3.0, False)],
)
def test_silence_must_outlast_two_heartbeats(heartbeat: float, drop: float, allowed: bool) -> None:
    if allowed:
        assert Timing(heartbeat_interval_s=heartbeat, drop_after_s=drop).drop_after_s == drop
        return
    with pytest.raises(ConfigError, match="twice heartbeat_interval_s") as caught:
        Timing(heartbeat_interval_s=heartbeat, drop_after_s=drop)
    assert (caught.value.field, caught.value.given) == ("drop_after_s", drop)


@pytest.mark.parametrize(("within", "allowed"), [(1.9, True), (2, False), (3, False)])
def test_acknowledging_is_sooner_than_giving_up(within: float, allowed: bool) -> None:
    if allowed:
        assert Timing(acknowledge_within_s=within, acknowledge_timeout_s=2)
        return
    with pytest.raises(ConfigError, match="less than acknowledge_timeout_s") as caught:
        Timing(acknowledge_within_s=within, acknowledge_timeout_s=2)
    assert (caught.value.field, caught.value.given) == ("acknowledge_within_s", within)


@pytest.mark.parametrize(("second", "allowed"), [(0.24, True), (0.25, False), (1, False)])
def test_others_are_asked_before_the_wait_is_over(second: float, allowed: bool) -> None:
    if allowed:
        assert Timing(fresh_second_s=second, fresh_timeout_s=0.25)
        return
    with pytest.raises(ConfigError, match="less than fresh_timeout_s") as caught:
        Timing(fresh_second_s=second, fresh_timeout_s=0.25)
    assert (caught.value.field, caught.value.given) == ("fresh_second_s", second)


@pytest.mark.parametrize(("margin", "allowed"), [(299, True), (300, False), (301, False)])
def test_the_margin_is_shorter_than_the_retention(margin: float, allowed: bool) -> None:
    if allowed:
        assert Timing(tombstone_retention_s=300, tombstone_margin_s=margin)
        return
    with pytest.raises(ConfigError, match="less than tombstone_retention_s") as caught:
        Timing(tombstone_retention_s=300, tombstone_margin_s=margin)
    assert (caught.value.field, caught.value.given) == ("tombstone_margin_s", margin)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, True),
        (-3.5, True),
        (math.inf, True),
        (math.nan, False),
        (True, False),
        (False, False),
        ("1", False),
        (None, False),
        (1j, False),
    ],
)
def test_what_a_number_is(value: object, expected: bool) -> None:
    assert is_number(value) is expected


@pytest.mark.parametrize("value", [Limits(), Timing(), NodeConfig()])
def test_a_configuration_does_not_change(value: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(value)[0].name, 1)
    assert replace(value) == value
