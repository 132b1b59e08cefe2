"""Tests of the Kubernetes manifests."""

from __future__ import annotations

import re
import shutil
import stat
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import maven_channel_wecom
from tests.deploy.files import DEPLOY, check, console_lines, instructions, read_json, read_yaml, run_lines

if TYPE_CHECKING:
    from pathlib import Path

KUSTOMIZATION: dict[str, Any] = read_yaml("kubernetes/kustomization.yaml")
POD: dict[str, Any] = read_yaml("kubernetes/deployment.yaml")["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
LABELS = {"app.kubernetes.io/name": "maven-wecom"}


@pytest.mark.parametrize("name", KUSTOMIZATION["resources"])
def test_a_manifest_is_valid(name: str) -> None:
    check("kubernetes-validate", "--strict", DEPLOY / "kubernetes" / name)


def test_every_manifest_is_applied() -> None:
    names = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    assert names == set(KUSTOMIZATION["resources"])
    assert KUSTOMIZATION["images"][0]["newTag"] == maven_channel_wecom.__version__
    assert KUSTOMIZATION["images"][0]["name"] == CONTAINER["image"]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, which GitHub's machines have")
def test_kustomize_makes_valid_manifests_with_the_image_and_a_configuration_whose_change_restarts_pods(
    tmp_path: Path,
) -> None:
    built = tmp_path / "built.yaml"
    built.write_text(check("kubectl", "kustomize", DEPLOY / "kubernetes"), encoding="utf-8")
    check("kubernetes-validate", "--strict", built)
    documents = {document["kind"]: document for document in yaml.safe_load_all(built.read_text(encoding="utf-8"))}
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    name = documents["ConfigMap"]["metadata"]["name"]
    assert re.fullmatch(r"maven-wecom-\w{10}", name)
    assert {"name": "config", "configMap": {"name": name}} in pod["volumes"]
    image = KUSTOMIZATION["images"][0]
    assert pod["containers"][0]["image"] == f"{image['newName']}:{image['newTag']}"


def test_probes_use_the_status_port_and_only_readiness_depends_on_the_state() -> None:
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert ports == {"callback": 9886, "status": 18790}
    probes = {name: CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert {probe["port"] for probe in probes.values()} == {"status"}


def test_a_stop_has_time_to_drain() -> None:
    """The pod first stays until nobody sends callbacks there, then drains (10 s), and a cron job may take 20 s."""
    before = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert POD["terminationGracePeriodSeconds"] >= before + 10 + 20


def test_replicas_are_several_and_disrupted_one_at_a_time() -> None:
    assert read_yaml("kubernetes/deployment.yaml")["spec"]["replicas"] >= 2
    assert read_yaml("kubernetes/disruption.yaml")["spec"] == {
        "maxUnavailable": 1,
        "selector": {"matchLabels": LABELS},
    }


def test_the_pod_has_no_privileges() -> None:
    user = dict(instructions())["USER"].partition(":")[0]
    assert POD["securityContext"]["runAsNonRoot"]
    assert POD["securityContext"]["runAsUser"] == int(user)
    assert not POD["automountServiceAccountToken"]
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_status_port_is_no_part_of_the_service_and_open_to_prometheus_only() -> None:
    assert [port["port"] for port in read_yaml("kubernetes/service.yaml")["spec"]["ports"]] == [9886]
    callbacks, status = read_yaml("kubernetes/network.yaml")["spec"]["ingress"]
    assert [port["port"] for port in callbacks["ports"]] == ["callback"]
    assert [port["port"] for port in status["ports"]] == ["status"]
    assert status["from"]


def test_the_commands_in_the_document_make_every_secret_that_the_configuration_reads(tmp_path: Path) -> None:
    lines = console_lines("Kubernetes")
    made = tmp_path / "deploy" / "secrets" / "kubernetes"
    made.parents[1].mkdir()
    run_lines([line for line in lines if line.startswith(("install", "printf"))], tmp_path)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    entry = read_json("kubernetes/wecom.json")["channels"]["wecom"]
    (mount,) = (each for each in CONTAINER["volumeMounts"] if each["name"] == "secrets")
    read = {entry[key]["file"] for key in ("token", "encodingAESKey", "state")}
    assert read == {f"{mount['mountPath']}/{path.name}" for path in made.iterdir()}
    (create,) = (line for line in lines if line.startswith("kubectl create"))
    assert create.endswith("secret generic maven-wecom --namespace maven-wecom --from-file=deploy/secrets/kubernetes")
