"""Commands that mend, and those that undo them."""

from __future__ import annotations

from replsession.cli.doctor import remedies
from tests.cli.doctor.situations import ETH0, asked


def test_a_route_is_made_over_the_first_interface() -> None:
    mend, undo = remedies.route("228.0.0.4", [ETH0], "linux")
    assert mend == (
        "ip route replace 228.0.0.4/32 dev eth0",
        'bind="eth0" (REPLSESSION_BIND=eth0)',
    )
    assert undo == ("ip route del 228.0.0.4/32 dev eth0",)


def test_a_way_to_a_host_is_undone_by_its_own_words() -> None:
    mend, undo = remedies.way_to("10.9.0.2", ETH0)
    assert mend[0] == "ip route add 10.9.0.2/32 dev eth0"
    assert undo == ("ip route del 10.9.0.2/32 dev eth0",)
    assert remedies.way_to("10.9.0.2", None)[0][0].endswith("dev eth0")


def test_a_rule_is_undone_by_its_own_words() -> None:
    for chain in ("INPUT", "OUTPUT"):
        mend, undo = remedies.let_datagrams(chain, asked())
        assert undo == (mend[0].replace(" -I ", " -D "),)
        assert f"{chain} -p udp -d 228.0.0.4 --dport 45564 -j ACCEPT" in mend[0]
    mend, undo = remedies.let_connections("10.0.0.2", asked())
    assert undo == (mend[0].replace(" -I ", " -D "),)


def test_ports_end_where_ports_end() -> None:
    mend, _ = remedies.let_connections("10.0.0.2", asked(receiver_port=65500))
    assert "--dport 65500:65535 " in mend[0]


def test_seeds_are_a_setting_and_a_variable() -> None:
    assert remedies.seeds(["10.0.0.2:4000", "10.0.0.3:4000"]) == (
        'seeds=("10.0.0.2:4000", "10.0.0.3:4000") (REPLSESSION_SEEDS=10.0.0.2:4000,10.0.0.3:4000)',
    )
