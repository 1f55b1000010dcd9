"""Readers of Tomcat's attributes."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from replsession.settings import readers
from replsession.settings.configuration import SWITCH, WHOLE

ALL = {"concern": "all", "on_shortfall": "warn"}
ONE = {"concern": "one", "on_shortfall": "warn"}
ASYNC = {"concern": "async"}
KEY = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8", ASYNC),
        ("2", ALL),
        ("4", ALL),
        ("6", ALL),
        ("10", ASYNC),
        ("14", ASYNC),
        ("0", ASYNC),
        ("1", ASYNC),
        ("22", ALL),
        ("0x6", ALL),
        ("0x0A", ASYNC),
        ("asynchronous", ASYNC),
        ("async", ASYNC),
        ("use_ack", ALL),
        ("sync_ack", ALL),
        ("synchronized_ack, use_ack", ALL),
        ("Sync,Use_Ack", ALL),
        ("async, use_ack", ASYNC),
        ("none", ASYNC),
    ],
)
def test_send_options(text: str, said: dict[str, Any]) -> None:
    assert readers.send_options(text) == said
    assert readers.map_send_options(text) == (ONE if said is ALL else ASYNC)


@pytest.mark.parametrize("text", ["32", "64", "40", "udp", "multicast", "async,udp", "", "-1", "x"])
def test_send_options_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        readers.send_options(text)


@pytest.mark.parametrize(
    ("reader", "text", "said"),
    [
        (readers.as_is("bind"), " eth0 ", {"bind": "eth0"}),
        (readers.sets("port", WHOLE), "4000", {"port": 4000}),
        (readers.sets("required", SWITCH), "True", {"required": True}),
        (readers.milliseconds("drop_after_s"), "3000", {"drop_after_s": 3.0}),
        (readers.seconds("transfer_timeout_s"), "60", {"transfer_timeout_s": 60.0}),
        (readers.only("-1", "1"), "1", {}),
        (readers.name, "shop", {"cluster": "lan:shop"}),
        (readers.context, "/app", {"context": "/app"}),
        (readers.context, "localhost#/app", {"context": "/app"}),
        (readers.context, "", {"context": "/"}),
        (readers.idle_interval, "60", {"max_inactive_interval": 60.0}),
        (readers.idle_interval, "0", {"max_inactive_interval": None}),
        (readers.idle_interval, "-1", {"max_inactive_interval": None}),
        (readers.auto_bind, "5", {"auto_bind": 5}),
        (readers.auto_bind, "0", {"auto_bind": 1}),
        (readers.start_options, "15", {}),
        (readers.start_options, "3", {"multicast": None}),
        (readers.provider, "dns", {"service": True}),
        (readers.provider, "kubernetes", {"service": True}),
        (
            readers.provider,
            "org.apache.catalina.tribes.membership.cloud.KubernetesMembershipProvider",
            {"service": True},
        ),
        (readers.encryption_key, KEY.upper(), {"secret": KEY}),
        (readers.encryption_key, KEY * 2, {"secret": KEY * 2}),
        (readers.pattern("valve"), r".*\.gif;.*\.js;", {"valve": r".*\.gif;.*\.js;"}),
        (readers.pattern("valve"), "", {"valve": ""}),
        (readers.name_filter, "", {}),
        (readers.name_filter, "a|b", {"local_attributes": r"(?!(?:a|b)\Z)(?s:.*)"}),
    ],
)
def test_what_a_text_says(reader: Any, text: str, said: dict[str, Any]) -> None:
    assert reader(text) == said


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (readers.as_is("bind"), " "),
        (readers.sets("port", WHOLE), "http"),
        (readers.milliseconds("drop_after_s"), "0"),
        (readers.seconds("transfer_timeout_s"), "-1"),
        (readers.only("-1"), "1"),
        (readers.refused, ""),
        (readers.name, ""),
        (readers.idle_interval, "soon"),
        (readers.start_options, "7"),
        (readers.provider, "zookeeper"),
        (readers.encryption_key, KEY[:-1]),
        (readers.encryption_key, KEY[:-1] + "g"),
        (readers.encryption_key, KEY + KEY[:8]),
        (readers.pattern("valve"), r".*\.gif;(("),
        (readers.pattern("valve"), r"[a-z&&[^b]]"),
        (readers.pattern("valve"), r"\p{Alpha}+"),
        (readers.pattern("valve"), r"[[a]b]"),
        (readers.name_filter, "(("),
        (readers.name_filter, "(?i)a"),
    ],
)
def test_what_a_text_must_not_say(reader: Any, text: str) -> None:
    with warnings.catch_warnings(), pytest.raises(ValueError):
        warnings.simplefilter("ignore")
        reader(text)
