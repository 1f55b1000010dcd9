"""What was found, for people and for programs."""

from __future__ import annotations

import io
import json
from dataclasses import replace

from rich.console import Console

from replsession.cli.doctor.diagnosis import diagnosed
from replsession.cli.doctor.facts import Facts
from replsession.cli.doctor.report import as_json, show
from tests.cli.doctor.situations import OTHER, WELL, heard, peer


def shown(facts: Facts) -> str:
    file = io.StringIO()
    show(facts, diagnosed(facts), Console(file=file, width=80, highlight=False))
    return file.getvalue()


def test_all_is_well() -> None:
    text = shown(WELL)
    assert text.startswith(
        "Cluster 'shop', group 228.0.0.4:45564, on 10.0.0.1 (eth0): listened for 5 s, heard "
        "itself 10 of 10 times\n"
    )
    row = next(line for line in text.splitlines() if "10.0.0.2" in line)
    assert row.split() == ["10.0.0.2", "ours", "4000", "open", "10", "2.0", "47"]
    assert text.endswith("OK 1 member is heard from other hosts and can be dialled\n")


def test_members_of_this_host_are_counted_where_no_others_can_be() -> None:
    here = (*heard(host="127.0.0.1"), *heard(host="127.0.0.1", receivers=(4001,)))
    answer = (*peer(host="127.0.0.1"), *peer(host="127.0.0.1", port=4001))
    asked = replace(WELL.asked, on_this_host=True)
    facts = replace(WELL, asked=asked, address="127.0.0.1", heard=here, peers=answer, joined=None)
    assert shown(facts).endswith("OK 2 members are heard on this host and can be dialled\n")


def test_a_finding_says_how_it_is_mended_and_undone() -> None:
    text = shown(replace(WELL, peers=peer(answer="silent", speaks="")))
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("ERROR tcp-silent: "))
    assert [line.split(": ")[0] for line in lines[start + 1 :]] == [
        "    mend",
        "    mend",
        "    mend",
        "    undo",
    ]
    assert "OK" not in text
    # Commands are to be copied: no line is broken.
    assert "    mend: on 10.0.0.2: iptables -I INPUT -p tcp --dport 4000:4099 -j ACCEPT" in lines


def test_what_others_send_is_no_markup() -> None:
    facts = replace(WELL, heard=(OTHER, *heard(host="10.0.0.7", kind="unknown")))
    assert "NOTE foreign-datagrams: 10.0.0.7 sends" in shown(facts)
    named = replace(WELL, asked=replace(WELL.asked, name="[bold]shop[/bold]"))
    assert "'[bold]shop[/bold]'" in shown(named)


def test_a_member_that_has_left_is_not_counted() -> None:
    facts = replace(
        WELL, asked=replace(WELL.asked, seconds=60.0), peers=peer(answer="refused", speaks="")
    )
    text = shown(facts)
    assert "NOTE member-left" in text
    assert text.endswith("OK nothing is wrong here\n")


def test_who_was_dialled_and_not_heard_has_a_row() -> None:
    facts = replace(WELL, heard=(), peers=peer(why="seed"))
    text = shown(facts)
    row = next(line for line in text.splitlines() if line.startswith("  10.0.0.2"))
    assert row.split() == ["10.0.0.2", "ours", "4000", "open", "0", "0.0"]
    assert text.endswith("OK 1 member can be dialled\n")


def test_without_multicast_there_was_nothing_to_hear() -> None:
    asked = replace(WELL.asked, group="", port=0)
    facts = replace(WELL, asked=asked, heard=(), peers=peer(why="seed"), joined=None)
    assert shown(facts).startswith("Cluster 'shop', without multicast, on 10.0.0.1 (eth0): dialled")


def test_long_names_are_whole_and_lines_short() -> None:
    long = "a-member-with-a-long-name.example.internal"
    facts = replace(WELL, heard=(), peers=peer(why="asked", host=long, answer="no name", speaks=""))
    lines = shown(facts).splitlines()
    table = lines[1 : next(i for i, line in enumerate(lines) if line.startswith("ERROR"))]
    assert max(map(len, table)) <= 80
    assert "…" not in "".join(table)


def test_without_an_address() -> None:
    facts = replace(WELL, address=None, no_address="why not", heard=(), sent=0, heard_itself=0)
    assert shown(facts).startswith("Cluster 'shop': a member here would have no address\n")
    assert "ERROR no-address: why not" in shown(facts)


def test_json_holds_findings_and_facts() -> None:
    facts = replace(WELL, peers=peer(answer="refused", speaks=""))
    told = json.loads(as_json(facts, diagnosed(facts)))
    assert (told["format"], told["exit_code"]) == (1, 1)
    (finding,) = told["findings"]
    assert (finding["cause"], finding["severity"]) == ("tcp-refused", "error")
    assert finding["undo"] == ["on 10.0.0.2: iptables -D INPUT -p tcp --dport 4000:4099 -j ACCEPT"]
    assert told["facts"]["heard"][0]["host"] == "10.0.0.2"
    assert told["facts"]["asked"]["group"] == "228.0.0.4"
