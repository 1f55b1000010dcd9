"""
``deploy/kubernetes``: everything that can be judged without a cluster.

Names, selectors and ports agree with each other and with the defaults of the product, and a member
can be made of the environment. No cluster has ever seen it.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from replsession import Cluster, ConfigError
from replsession.config import RECEIVER_PORT
from replsession.settings.configuration import KINDS
from tests.demo_app.test_dockerfile import words
from tests.deployment.running import DEPLOY
from tests.deployment.yaml_files import documents

FOLDER = DEPLOY / "kubernetes"
PARTS: dict[tuple[str, str], Any] = {
    (part["kind"], part["metadata"]["name"]): part
    for file in sorted(FOLDER.glob("*.yaml"))
    for part in documents(file)
}
API = {
    "Secret": "v1",
    "Service": "v1",
    "Deployment": "apps/v1",
    "PodDisruptionBudget": "policy/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
}
DEPLOYMENT = PARTS["Deployment", "replsession"]["spec"]
POD = DEPLOYMENT["template"]["spec"]
(MEMBER,) = POD["containers"]
LABELS = DEPLOYMENT["template"]["metadata"]["labels"]
PORTS = {port["name"]: port["containerPort"] for port in MEMBER["ports"]}
FROM_KUBERNETES = {"status.podIP": "10.1.2.3", "metadata.name": "replsession-6d9f-x2x"}
SECRET = "k2Vd9-mQx7RtY4bLw1ZpN8sHc5JfG3aU_eXo6TiBrDy"


def environment(secret: Path) -> dict[str, str]:
    """Return the variables of a member, as Kubernetes would set them."""
    found = {}
    for one in MEMBER["env"]:
        source = one.get("valueFrom")
        found[one["name"]] = (
            one["value"] if source is None else FROM_KUBERNETES[source["fieldRef"]["fieldPath"]]
        )
    (mount,) = [one for one in MEMBER["volumeMounts"] if one["name"] == "secret"]
    (key,) = PARTS["Secret", "replsession"]["stringData"]
    assert found["REPLSESSION_SECRET_FILE"] == f"{mount['mountPath']}/{key}"
    return {**found, "REPLSESSION_SECRET_FILE": str(secret)}


def cluster(tmp_path: Path, secret: str = SECRET) -> Cluster:
    """Return the cluster of a member that has this secret."""
    file = tmp_path / "secret"
    file.write_text(secret)
    file.chmod(0o440)
    found = Cluster.from_env(environment(file))
    assert found is not None
    return found


def test_there_is_one_of_each_and_each_has_its_version() -> None:
    assert {kind: part["apiVersion"] for (kind, _), part in PARTS.items()} == API
    assert len(PARTS) == sum(len(documents(file)) for file in FOLDER.glob("*.yaml")) == 6


def test_all_selectors_mean_the_members() -> None:
    assert DEPLOYMENT["selector"]["matchLabels"].items() <= LABELS.items()
    for (kind, name), part in PARTS.items():
        spec = part.get("spec", {})
        if kind == "Service":
            assert spec["selector"].items() <= LABELS.items(), name
        elif kind == "PodDisruptionBudget":
            assert spec["selector"]["matchLabels"].items() <= LABELS.items()
        elif kind == "NetworkPolicy":
            assert spec["podSelector"]["matchLabels"].items() <= LABELS.items()
    (spread,) = POD["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"].items() <= LABELS.items()


def test_ports_are_those_of_the_image_and_of_the_product() -> None:
    assert {"http": int(words("EXPOSE")[0]), "member": RECEIVER_PORT} == PORTS
    for kind, name in PARTS:
        if kind == "Service":
            for port in PARTS[kind, name]["spec"]["ports"]:
                assert port["targetPort"] in PORTS
    assert MEMBER["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


def test_a_member_can_be_made_of_the_environment(tmp_path: Path) -> None:
    ours = {one["name"] for one in MEMBER["env"]}
    assert ours <= {f"REPLSESSION_{known.upper()}" for known in KINDS}
    settings = cluster(tmp_path).settings
    assert settings is not None
    assert (settings.bind, settings.member_name) == tuple(FROM_KUBERNETES.values())
    assert (settings.port, settings.auto_bind) == (PORTS["member"], 1)
    assert settings.multicast is None and settings.secret == SECRET


def test_members_are_looked_up_by_the_headless_service(tmp_path: Path) -> None:
    settings = cluster(tmp_path).settings
    assert settings is not None
    (seed,) = settings.seeds
    headless = PARTS["Service", seed.partition(":")[0]]["spec"]
    assert headless["clusterIP"] == "None"
    assert headless["publishNotReadyAddresses"] is True
    assert [port["port"] for port in headless["ports"]] == [RECEIVER_PORT]
    assert "publishNotReadyAddresses" not in PARTS["Service", "replsession"]["spec"]


def test_the_secret_of_the_file_is_refused(tmp_path: Path) -> None:
    secret = PARTS["Secret", "replsession"]
    with pytest.raises(ConfigError, match="REPLSESSION_SECRET_FILE: got a secret of 17 characters"):
        cluster(tmp_path, secret["stringData"]["secret"])
    (volume,) = [one["secret"] for one in POD["volumes"] if "secret" in one]
    assert volume["secretName"] == secret["metadata"]["name"]
    assert volume["defaultMode"] == 0o440
    # The group of the files is this one, so that a user who is not root may read them.
    assert POD["securityContext"]["fsGroup"] == POD["securityContext"]["runAsGroup"]


def test_a_new_secret_does_not_come_with_the_members() -> None:
    kinds = [part["kind"] for part in documents(FOLDER / "replsession.yaml")]
    assert "Secret" not in kinds, "applying the members again would undo the real one"


def test_kubernetes_own_variables_stay_away(tmp_path: Path) -> None:
    assert POD["enableServiceLinks"] is False
    file = tmp_path / "secret"
    file.write_text(SECRET)
    file.chmod(0o440)
    without = {k: v for k, v in environment(file).items() if k != "REPLSESSION_PORT"}
    links = {"REPLSESSION_PORT": "tcp://10.96.0.7:80", "REPLSESSION_SERVICE_HOST": "10.96.0.7"}
    with pytest.raises(ConfigError, match="REPLSESSION_PORT"):
        Cluster.from_env({**without, **links})


def test_a_new_member_is_ready_before_an_old_one_goes() -> None:
    rolling = DEPLOYMENT["strategy"]["rollingUpdate"]
    assert DEPLOYMENT["strategy"]["type"] == "RollingUpdate"
    assert (rolling["maxUnavailable"], rolling["maxSurge"]) == (0, 1)
    budget = PARTS["PodDisruptionBudget", "replsession"]["spec"]
    assert 1 <= budget["maxUnavailable"] < DEPLOYMENT["replicas"]


def test_a_member_has_the_time_to_stop_and_balancers_to_notice(tmp_path: Path) -> None:
    settings = cluster(tmp_path).settings
    assert settings is not None
    drain_s = settings.node.timing.drain_s
    options = ast.literal_eval(words("CMD")[0])
    graceful_s = int(options[options.index("--timeout-graceful-shutdown") + 1])
    assert POD["terminationGracePeriodSeconds"] > drain_s + graceful_s + 3
    readiness = MEMBER["readinessProbe"]
    assert drain_s > readiness["periodSeconds"] * readiness["failureThreshold"]


def test_waiting_for_the_state_is_no_reason_to_be_killed() -> None:
    command = MEMBER["livenessProbe"]["exec"]["command"]
    assert command[:2] == ["python", "-c"]
    compile(command[2], "the liveness probe", "exec")
    # A status is not looked at: 503 is the answer of a member that lives.
    assert "status" not in command[2]


def test_it_may_do_nothing_and_writes_nothing() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    (user,) = words("USER")
    assert user == "{runAsUser}:{runAsGroup}".format(**POD["securityContext"])
    security = MEMBER["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert {mount["name"] for mount in MEMBER["volumeMounts"]} == {
        volume["name"] for volume in POD["volumes"]
    }
    assert POD["automountServiceAccountToken"] is False
    assert {"requests", "limits"} == set(MEMBER["resources"])


def test_only_members_reach_the_port_of_members() -> None:
    policy = PARTS["NetworkPolicy", "replsession"]["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    opened = {
        port["port"]: rule.get("from") for rule in policy["ingress"] for port in rule["ports"]
    }
    assert set(opened) == set(PORTS)
    assert opened["member"] == [{"podSelector": {"matchLabels": LABELS}}]
    assert opened["http"] is None
