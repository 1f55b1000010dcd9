"""A look at this machine's own loopback, where nobody else is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replsession.channel.options import settings_of
from replsession.cli.doctor.diagnosis import diagnosed
from replsession.cli.doctor.look import look, nearly_ours, question_of, wanted_peers
from replsession.identity import Address
from replsession.security.keys import ClusterKeys
from tests.cli.doctor.situations import OTHER, heard
from tests.cluster.processes import free_ports

SECRET = "a secret of this test alone, 0123456789"


def test_a_cluster_of_this_host_alone_is_well_and_nothing_secret_is_kept() -> None:
    group_port, port = free_ports(2)
    settings = settings_of(
        "local", on_this_host=True, secret=SECRET, port=port, multicast=("228.0.0.4", group_port)
    )
    facts = look(settings, 1.0)
    assert facts.address == "127.0.0.1"
    assert 0 < facts.heard_itself == facts.sent
    assert diagnosed(facts) == ()
    assert SECRET not in repr(facts)
    assert facts.key_id == ClusterKeys(SECRET, "local").key_id.hex()


def test_an_address_elsewhere_is_a_fact_and_no_error() -> None:
    settings = settings_of("shop", on_this_host=False, secret=SECRET, bind="203.0.113.1")
    first, *_ = diagnosed(look(settings, 1.0))
    assert first.cause == "address-not-here"


def test_the_question_is_that_of_the_settings() -> None:
    settings = settings_of(
        "shop", on_this_host=False, bind="eth0", port=4100, auto_bind=7, multicast=("228.0.0.9", 9)
    )
    asked = question_of(settings, 2.5)
    assert (asked.name, asked.group, asked.port) == ("shop", "228.0.0.9", 9)
    assert (asked.bind, asked.receiver_port, asked.auto_bind) == ("eth0", 4100, 7)
    assert (asked.has_secret, asked.seconds, asked.drop_after_s) == (False, 2.5, 3.0)


@pytest.mark.parametrize(
    ("secret", "name", "mistake"),
    [
        (SECRET + "\n", "shop", "a secret that ends with a line end"),
        (f'"{SECRET}"', "shop", "a secret in quotation marks"),
        (SECRET, "Shop", "our name with a capital letter"),
        (SECRET, "local", "our secret and the name local"),
        (SECRET, "lan:shop", "our name with lan: before it"),
    ],
)
def test_small_mistakes_are_known(secret: str, name: str, mistake: str) -> None:
    assert nearly_ours(SECRET, "shop")[ClusterKeys(secret, name).key_id.hex()] == mistake


def test_what_is_right_is_no_mistake() -> None:
    assert ClusterKeys(SECRET, "shop").key_id.hex() not in nearly_ours(SECRET, "shop")


def test_only_who_announces_itself_is_dialled() -> None:
    stranger = heard(host="10.0.0.3", kind="other key", receivers=(4000, 4001))
    others = (OTHER, *stranger, *heard(kind="tomcat"), *heard(kind="forged"))
    asked = Address("10.0.0.9", 4000)
    seed = Address("10.0.0.8", 4000)
    assert wanted_peers(others, [asked], [seed]) == [
        (asked, "asked"),
        (seed, "seed"),
        (Address("10.0.0.2", 4000), "heartbeat"),
        (Address("10.0.0.3", 4000), "stranger"),
        (Address("10.0.0.3", 4001), "stranger"),
    ]


def test_without_multicast_nothing_is_listened_to() -> None:
    settings = settings_of("shop", on_this_host=False, secret=SECRET, multicast=None)
    facts = look(replace(settings, bind="127.0.0.1"), 1.0)
    assert (facts.asked.group, facts.sent, facts.joined) == ("", 0, None)
