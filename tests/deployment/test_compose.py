"""
``docker-compose.yml``: valid by the compose specification, and of one mind with what it names.

No engine runs here. ``test_compose_topology.py`` runs the same members and the same nginx.
"""

from __future__ import annotations

import ipaddress
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demo_app.visits import place
from replsession import ConfigError
from replsession.config import RECEIVER_PORT
from replsession.settings.configuration import KINDS
from tests.cluster.processes import ROOT
from tests.demo_app.test_dockerfile import is_ignored, words
from tests.deployment.yaml_files import COMPOSE, compose

FILE = compose()
MEMBERS = {name: one for name, one in FILE["services"].items() if "build" in one}
NGINX = FILE["services"]["nginx"]


def members_of_nginx() -> list[tuple[str, int]]:
    """Return host and port of each member in the file of nginx that compose names."""
    text = (ROOT / FILE["configs"]["members"]["file"]).read_text()
    return [(name, int(port)) for name, port in re.findall(r"^\s*server (\S+):(\d+)", text, re.M)]


def test_it_is_valid_by_the_specification() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, str(COMPOSE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_specification_would_refuse_a_fault(tmp_path: Path) -> None:
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(COMPOSE.read_text().replace("    restart:", "    restrt:", 1))
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, str(broken)], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "restrt" in done.stdout


def test_everything_it_names_is_there() -> None:
    for member in MEMBERS.values():
        context = ROOT / member["build"]["context"]
        assert context.is_dir()
        assert (context / member["build"]["dockerfile"]).is_file()
        assert set(member["secrets"]) <= set(FILE["secrets"])
    for config in NGINX["configs"]:
        assert (ROOT / FILE["configs"][config["source"]]["file"]).is_file()
    for service in FILE["services"].values():
        assert set(service["networks"]) <= set(FILE["networks"])
        assert set(service.get("depends_on", {})) <= set(FILE["services"])


def test_nginx_knows_the_members_by_their_names_and_ports() -> None:
    (port,) = words("EXPOSE")
    assert members_of_nginx() == [(name, int(port)) for name in MEMBERS]
    assert set(NGINX["depends_on"]) == set(MEMBERS)
    assert {one["condition"] for one in NGINX["depends_on"].values()} == {"service_healthy"}


def test_both_files_stand_where_nginx_reads_them() -> None:
    targets = [config["target"] for config in NGINX["configs"]]
    assert all(re.fullmatch(r"/etc/nginx/conf\.d/\w+\.conf", target) for target in targets)
    # Beside the image's own site, ours would not be the one that answers.
    assert "/etc/nginx/conf.d/default.conf" in targets
    assert NGINX["ports"] == ["127.0.0.1:8080:80"]
    assert "listen 80;" in (ROOT / FILE["configs"]["site"]["file"]).read_text()


def test_only_nginx_can_be_reached_from_outside() -> None:
    assert [name for name, one in FILE["services"].items() if "ports" in one] == ["nginx"]
    assert not any("expose" in member for member in MEMBERS.values())


def test_addresses_are_in_the_network_and_different() -> None:
    (pool,) = FILE["networks"]["members"]["ipam"]["config"]
    network = ipaddress.IPv4Network(pool["subnet"])
    found = [one["networks"]["members"]["ipv4_address"] for one in FILE["services"].values()]
    assert all(ipaddress.IPv4Address(address) in network for address in found)
    # The first one is the bridge's own.
    assert len({*found, str(network[1])}) == len(found) + 1
    nginx = NGINX["networks"]["members"]["ipv4_address"]
    assert {one["environment"]["FORWARDED_ALLOW_IPS"] for one in MEMBERS.values()} == {nginx}


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_can_be_made_of_its_environment(name: str, tmp_path: Path) -> None:
    environment: dict[str, str] = dict(MEMBERS[name]["environment"])
    ours = {variable for variable in environment if variable.startswith("REPLSESSION_")}
    assert ours <= {f"REPLSESSION_{known.upper()}" for known in KINDS}
    assert environment["REPLSESSION_MEMBER_NAME"] == name
    assert environment["REPLSESSION_SECRET_FILE"] == f"/run/secrets/{MEMBERS[name]['secrets'][0]}"
    with pytest.raises(ConfigError, match="REPLSESSION_SECRET_FILE"):
        place(environment)
    secret = tmp_path / "secret"
    secret.write_text("k2Vd9-mQx7RtY4bLw1ZpN8sHc5JfG3aU_eXo6TiBrDy\n")
    secret.chmod(0o600)
    here = place({**environment, "REPLSESSION_SECRET_FILE": str(secret)})
    assert here.cluster is not None and here.cluster.settings is not None
    assert here.secret == secret.read_text().strip()
    settings = here.cluster.settings
    assert (settings.name, settings.port) == ("demo", RECEIVER_PORT)
    assert settings.multicast is not None
    assert {seed.partition(":")[0] for seed in settings.seeds} == set(MEMBERS)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_has_the_time_to_stop(name: str) -> None:
    grace_s = int(MEMBERS[name]["stop_grace_period"].removesuffix("s"))
    drain_s = float(MEMBERS[name]["environment"]["REPLSESSION_DRAIN_S"])
    (command,) = words("CMD")
    found = re.search(r'"--timeout-graceful-shutdown", "(\d+)"', command)
    assert found is not None
    # And three seconds for the member's goodbye.
    assert grace_s > drain_s + int(found[1]) + 3


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_writes_nothing_and_may_do_nothing(name: str) -> None:
    member: Any = MEMBERS[name]
    assert member["read_only"] is True
    assert member["cap_drop"] == ["ALL"]
    assert member["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in member and "user" not in member


def test_the_secret_stays_out_of_the_image_and_of_git() -> None:
    file = FILE["secrets"]["replsession"]["file"]
    assert is_ignored(file)
    assert f"/{file.partition('/')[0]}/" in (ROOT / ".gitignore").read_text().splitlines()


def test_images_have_a_version() -> None:
    assert re.fullmatch(r"nginx:\d+\.\d+\.\d+-\S+", NGINX["image"])
