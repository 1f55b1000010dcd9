"""Options of a cluster: what each wrong one is told; more of it in tests/test_cluster.py."""

from __future__ import annotations

from typing import Any

import pytest

from replsession.channel.options import (
    check_name,
    is_loopback,
    local_settings,
    refuse_unknown,
    settings_of,
    with_secret,
)
from replsession.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"port": 0}, "port"),
        ({"port": True}, "port"),
        ({"auto_bind": "10"}, "auto_bind"),
        ({"secret": b"bytes"}, "secret"),
        ({"secret": ""}, "secret"),
        ({"member_name": "a\nb"}, "member_name"),
        ({"multicast": "228.0.0.4"}, "multicast"),
        ({"multicast": ("10.0.0.1", 45564)}, "multicast"),
        ({"seeds": "10.0.0.1"}, "seeds"),
        ({"heartbeat": 1.0}, "heartbeat"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_of("shop", on_this_host=True, **options)
    assert caught.value.field == field


def test_a_domain_is_a_part_of_the_name() -> None:
    def name_with(domain: str | None) -> str:
        return settings_of("shop", on_this_host=False, domain=domain).name

    assert (name_with(None), name_with("eu")) == ("shop", "shop/eu")
    assert name_with("d" * 59) == "shop/" + "d" * 59
    for wrong in ("", "a/b", "a\nb", "d" * 60):
        with pytest.raises(ConfigError, match="domain"):
            name_with(wrong)


def test_a_secret_that_leaves_the_host_must_be_long() -> None:
    assert settings_of("local", on_this_host=True, secret="short").secret == "short"
    with pytest.raises(ConfigError, match="secret"):
        settings_of("shop", on_this_host=False, secret="short")


def test_an_unknown_option_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_unknown({"secrte": "a-secret-with-a-typing-error"})
    assert "a-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("localhost", True), ("10.0.0.1", False)],
)
def test_loopback_is_told_from_other_hosts(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


@pytest.mark.parametrize("name", ["", "x" * 65, "a\0", 5, None])
def test_a_name_is_short_and_printable(name: object) -> None:
    check_name("name", "shop")
    with pytest.raises(ConfigError, match="name"):
        check_name("name", name)


@pytest.mark.parametrize("control", ["auto", "/run/shop", None])
def test_where_the_control_socket_lies(control: str | None) -> None:
    assert settings_of("shop", on_this_host=True, control=control).control == control


@pytest.mark.parametrize("control", ["", "run/shop", "/run/\0", 5, True])
def test_a_place_that_is_none_is_refused(control: Any) -> None:
    with pytest.raises(ConfigError, match="control"):
        settings_of("shop", on_this_host=True, control=control)


def test_settings_of_one_host_have_no_addresses_of_others() -> None:
    assert local_settings("local").on_this_host
    for options, field in (({"bind": "10.0.0.1"}, "bind"), ({"seeds": ("10.0.0.1",)}, "seeds")):
        with pytest.raises(ConfigError, match=field):
            local_settings("local", **options)


def test_the_secret_of_an_application_is_that_of_a_cluster_without_one() -> None:
    settings = settings_of("local", on_this_host=True)
    assert with_secret(settings, "of the application").secret == "of the application"
    own = settings_of("local", on_this_host=True, secret="own")
    assert with_secret(own, "of the application").secret == "own"
    with pytest.raises(ConfigError, match="secret_key"):
        with_secret(settings_of("shop", on_this_host=False), "short")
