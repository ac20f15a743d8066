"""The manifests of deploy/kubernetes: what Kubernetes' own schemas take, restricted, and in step with our commands."""

import re
from typing import Any

import kubernetes_validate
import pytest

from settings import Settings
from tasks.runtime.runtime import WHOLE_DEADLINE
from tests.deploy.manifests import DEPLOY, documents, members
from tests.deploy.test_container import check_command

FOLDER = DEPLOY / "kubernetes"
VERSIONS = ("1.34", "1.37")
KUSTOMIZATION = documents(FOLDER / "kustomization.yaml")[0]
RESOURCES = [each for name in KUSTOMIZATION["resources"] for each in documents(FOLDER / name)]
SETTINGS = {f"EVERGRANT_{name.upper()}" for name in Settings.model_fields}
CONFIG = next(each for each in RESOURCES if each["kind"] == "ConfigMap")["data"]
PODS: dict[str, dict[str, Any]] = {
    each["metadata"]["name"]: each["spec"]["template"]["spec"]
    for each in RESOURCES
    if "template" in each.get("spec", {})
}


def named(kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in RESOURCES if each["kind"] == kind}


def environment(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod["containers"]
    inherited = CONFIG if "envFrom" in container else {}
    return inherited | {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("resource", RESOURCES, ids=[f"{x['kind']}-{x['metadata']['name']}" for x in RESOURCES])
def test_kubernetes_takes_it_and_knows_each_field(resource: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(resource, version, strict=True)


def test_every_file_is_applied_and_none_names_a_namespace() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*KUSTOMIZATION["resources"], "kustomization.yaml"}
    assert not [each for each in RESOURCES if "namespace" in each["metadata"]]


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_restricted(name: str) -> None:
    """As the pod security standard of that name asks, and a root file system that is read-only."""
    pod = PODS[name]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
    assert {key for volume in pod["volumes"] for key in volume} <= {"name", "secret", "emptyDir"}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_runs_a_command_that_exists_with_settings_that_exist(name: str) -> None:
    (container,) = PODS[name]["containers"]
    check_command(container["args"])
    assert set(environment(PODS[name])) <= SETTINGS
    for asked in members(container, "exec"):
        check_command(asked["command"][1:])


@pytest.mark.parametrize("name", PODS)
def test_a_file_that_a_setting_names_is_mounted_there(name: str) -> None:
    pod = PODS[name]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    items = {
        f"{mounts[volume['name']]}/{item['path']}"
        for volume in pod["volumes"]
        for item in volume.get("secret", {}).get("items", [{"path": "tls.crt"}, {"path": "tls.key"}])
        if "secret" in volume
    }
    told = {
        value
        for variable, value in environment(pod).items()
        if isinstance(value, str) and value.startswith("/run/secrets/") and (name, variable) not in UNREAD
    }
    assert told == items


# Of the settings that all of them share: only web reads the password of the operators' listener.
UNREAD = {(f"evergrant-{kind}", "EVERGRANT_OPS_PASSWORD_FILE") for kind in ("worker", "beat", "migrate")}


def test_each_ring_goes_where_it_is_opened_and_nowhere_else() -> None:
    held = {name: {key for key in members(pod, "path") if str(key).endswith("-keys")} for name, pod in PODS.items()}
    assert held == {
        "evergrant-migrate": set(),
        "evergrant-beat": set(),
        "evergrant-web": {"access-keys"},
        "evergrant-worker": {"refresh-keys", "access-keys"},
    }


def test_journals_lie_on_a_volume_of_each_worker() -> None:
    worker = named("StatefulSet")["evergrant-worker"]
    claims = [claim["metadata"]["name"] for claim in worker["spec"]["volumeClaimTemplates"]]
    mounts = worker["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert claims == ["journals"]
    assert {"name": "journals", "mountPath": CONFIG["EVERGRANT_HOME"]} in mounts
    assert worker["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


def test_a_worker_has_time_to_settle_the_last_answers() -> None:
    assert PODS["evergrant-worker"]["terminationGracePeriodSeconds"] > WHOLE_DEADLINE.total_seconds()


def test_what_selects_finds_its_pods() -> None:
    labels = {
        each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
        for each in RESOURCES
        if "template" in each.get("spec", {})
    }
    assert labels == set(PODS)
    selected = [
        found["app.kubernetes.io/name"]
        for each in RESOURCES
        for found in members(each, "matchLabels")
        if "app.kubernetes.io/name" in found
    ]
    assert set(selected) == labels - {"evergrant-migrate"}
    assert {name for name, each in named("PodDisruptionBudget").items() if each["spec"]["maxUnavailable"] == 1} == (
        set(selected)
    )


def test_only_workers_reach_the_providers_and_nobody_reaches_them() -> None:
    policies = named("NetworkPolicy")
    out = [name for name, each in policies.items() if "443" in re.findall(r"\d+", str(each["spec"].get("egress", "")))]
    assert out == ["evergrant-providers"]
    assert policies["evergrant-providers"]["spec"]["podSelector"] == {
        "matchLabels": {"app.kubernetes.io/name": "evergrant-worker"}
    }
    assert "ingress" not in policies["evergrant-closed"]["spec"]
    assert "Ingress" in policies["evergrant-closed"]["spec"]["policyTypes"]
    assert [name for name, each in policies.items() if "ingress" in each["spec"]] == ["evergrant-web"]


def test_the_autoscaler_asks_for_a_metric_that_we_tell() -> None:
    from tests.deploy.metrics_named import on_the_page

    (scaler,) = named("HorizontalPodAutoscaler").values()
    (metric,) = members(scaler, "metric")
    assert metric["name"] in on_the_page()
