"""Options of a cluster: what each wrong one is told; more of it in tests/test_cluster.py."""

from __future__ import annotations

from typing import Any

import pytest

from replsession.channel.options import check_name, is_loopback, refuse_unknown, settings_of
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
