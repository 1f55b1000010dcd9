"""``docs/deployment.md``: its examples run, and what it names is there."""

from __future__ import annotations

import re
from typing import Any

import pytest

from replsession import Cluster
from tests.cluster.processes import ROOT
from tests.deployment.page import PAGE, blocks, shell_lines
from tests.deployment.running import DEPLOY, DRAIN_S, KINDS
from tests.deployment.test_kubernetes import PARTS
from tests.deployment.yaml_files import COMPOSE

RUN_ELSEWHERE = {
    # test_rolling_restart.py carries out the edits; it sends the signals that these two send.
    "nginx -s reload",
    "systemctl restart member-1",
    # No engine and no cluster is here, as the page says.
    "docker compose up --build",
    "kubectl apply -f deploy/kubernetes/replsession.yaml",
}


def test_the_variable_and_the_keyword_mean_the_same() -> None:
    (text,) = blocks("python")
    names: dict[str, Any] = {}
    exec(compile(text, "example", "exec", dont_inherit=True), names)
    in_code = names["cluster"].settings
    variable, _, value = blocks("sh")[0].strip().partition("=")
    environment = {"REPLSESSION_CLUSTER": "lan:shop", variable: value}
    read = Cluster.from_env(environment)
    assert read is not None
    assert read.settings == in_code
    assert in_code.node.timing.drain_s == DRAIN_S


def test_every_line_for_a_shell_is_run_or_known() -> None:
    in_compose = COMPOSE.read_text(encoding="utf-8")
    in_kubernetes = (DEPLOY / "kubernetes" / "replsession.yaml").read_text(encoding="utf-8")
    for line in shell_lines():
        is_run = line.startswith(("sed ", "REPLSESSION_DRAIN_S"))
        is_in_file = f"#   {line}\n" in in_compose or f"#   {line}\n" in in_kubernetes
        assert is_run or is_in_file or line in RUN_ELSEWHERE, line


def test_the_secret_is_made_for_the_key_that_is_mounted() -> None:
    (line,) = [line for line in shell_lines() if line.startswith("kubectl create secret")]
    match = re.search(r"generic (\S+) --from-literal=(\w+)=", line)
    assert match is not None
    assert match[2] in PARTS["Secret", match[1]]["stringData"]


def test_every_file_that_it_names_is_there_and_the_other_way_round() -> None:
    named = set(re.findall(r"`((?:deploy|demo_app)/[^`]+|docker-compose\.yml)`", PAGE))
    assert [name for name in named if not (ROOT / name).exists()] == []
    for kind in KINDS:
        assert kind.is_sticky or f"deploy/{kind.files[0]}" in named
    files = {path.name for path in DEPLOY.rglob("*.*")}
    used = {file.rpartition("/")[2] for kind in KINDS for file in kind.files}
    assert files == used | {"replsession.yaml", "secret.yaml"}


def test_the_subnet_is_in_as_many_places_as_it_says() -> None:
    lines = COMPOSE.read_text(encoding="utf-8").splitlines()
    assert sum("172.30.45." in line for line in lines) == 5
    assert "change it in all five places" in PAGE


def test_the_comments_ask_for_the_drain_that_the_tests_have() -> None:
    for kind in KINDS:
        for name in kind.files:
            for seconds in re.findall(
                r"REPLSESSION_DRAIN_S=(\d+)", (DEPLOY / name).read_text(encoding="utf-8")
            ):
                assert int(seconds) == DRAIN_S


@pytest.mark.parametrize(
    ("free", "sticky"),
    [
        ("haproxy/haproxy.cfg", "haproxy/haproxy-sticky.cfg"),
        ("apache/site.conf", "apache/site-sticky.conf"),
    ],
)
def test_a_sticky_file_has_all_of_the_other_one(free: str, sticky: str) -> None:
    found = _settings(sticky)
    assert [line for line in _settings(free) if not _is_kept(line, found)] == []


def _settings(name: str) -> list[str]:
    lines = (DEPLOY / name).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def _is_kept(line: str, others: list[str]) -> bool:
    return any(other.startswith(line) for other in others)
