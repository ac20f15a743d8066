"""The public listener in the kit: each of its forms has web open it, for nobody but a proxy that ends TLS."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from settings import PREFIX, Settings, bind_address
from tests.deploy.manifests import DEPLOY, documents, members
from tests.deploy.test_kubernetes import CONFIG, PODS, RESOURCES, VERSIONS
from worker.web.listening import public_listener

URL = "https://connect.example.com"
BASE = DEPLOY / "kubernetes"
FOLDER = BASE / "public"
COMPONENT = documents(FOLDER / "kustomization.yaml")[0]
ADDED = {each["kind"]: each for name in COMPONENT["resources"] for each in documents(FOLDER / name)}
PATCHES = {each["kind"]: each for patch in COMPONENT["patches"] for each in documents(FOLDER / patch["path"])}
(CONTAINER,) = PATCHES["Deployment"]["spec"]["template"]["spec"]["containers"]
TOOL = shutil.which("kustomize")
asks_kustomize = pytest.mark.skipif(TOOL is None, reason="no kustomize here to ask (Debian: apt install kustomize)")


def opened(environment: Mapping[str, str]) -> tuple[str, int]:
    """Where web listens for customers with these settings; they come by `URL`, and by TLS as far as a proxy."""
    names = {f"{PREFIX}{name.upper()}": name for name in Settings.model_fields if name.startswith("public_")}
    wanted = Settings(**{names[key]: value for key, value in environment.items() if key in names and value})  # type: ignore[arg-type]
    found = public_listener(wanted)
    assert found is not None, "nobody listens"
    address, tls = found
    assert isinstance(address, tuple)
    assert (wanted.public_url, wanted.public_behind_proxy, tls) == (URL, True, None)
    return address


# systemd


def test_the_example_of_the_environment_opens_it_once_its_lines_count() -> None:
    text = (DEPLOY / "systemd" / "evergrant.env.example").read_text(encoding="utf-8")
    host, _ = opened(dict(re.findall(r"^#(EVERGRANT_PUBLIC_\w+)=(.*)$", text, re.MULTILINE)))
    assert host == "127.0.0.1"  # the proxy is on the same machine
    assert not re.search(r"^EVERGRANT_PUBLIC", text, re.MULTILINE)


# compose


def interpolated(value: str, given: Mapping[str, str]) -> str:
    """As compose does it, of what we use: a default, and what is there only beside another."""
    value = re.sub(r"\$\{(\w+):-(.*?)\}", lambda found: given.get(found[1]) or found[2], value)
    return re.sub(r"\$\{(\w+):\+(.*?)\}", lambda found: found[2] if given.get(found[1]) else "", value)


def compose(given: Mapping[str, str]) -> dict[str, str]:
    (read,) = documents(DEPLOY / "container" / "compose.yaml")
    return {name: interpolated(str(value), given) for name, value in read["services"]["web"]["environment"].items()}


def test_compose_opens_it_where_it_is_told_by_which_address_customers_come() -> None:
    _, port = opened(compose({"EVERGRANT_PUBLIC_URL": URL}))
    (read,) = documents(DEPLOY / "container" / "compose.yaml")
    assert f"127.0.0.1:{port}:{port}" in read["services"]["web"]["ports"]


def test_compose_opens_nothing_else() -> None:
    said = compose({})
    assert (said["EVERGRANT_PUBLIC_BIND"], said["EVERGRANT_PUBLIC_URL"]) == ("", "")  # empty counts as unset


# Kubernetes


def environment() -> dict[str, str]:
    """What web is told where the component is added."""
    said = CONFIG | PATCHES["ConfigMap"]["data"] | {each["name"]: each["value"] for each in CONTAINER["env"]}
    return {str(name): str(value) for name, value in said.items()}


def test_nobody_is_led_in_kubernetes_without_the_component() -> None:
    assert "PUBLIC" not in "".join(str(each) for each in RESOURCES)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ADDED)
def test_kubernetes_takes_what_the_component_adds(kind: str, version: str) -> None:
    kubernetes_validate.validate(ADDED[kind], version, strict=True)
    assert "namespace" not in ADDED[kind]["metadata"]


def test_a_customer_gets_from_the_ingress_to_the_port_that_web_opens() -> None:
    _, port = opened(environment())
    (listening,) = CONTAINER["ports"]
    assert listening["containerPort"] == port
    (offered,) = ADDED["Service"]["spec"]["ports"]
    assert offered["targetPort"] == listening["name"]
    backend = next(members(ADDED["Ingress"], "backend"))["service"]
    assert backend == {"name": ADDED["Service"]["metadata"]["name"], "port": {"name": offered["name"]}}
    labels = {"app.kubernetes.io/name": PATCHES["Deployment"]["metadata"]["name"]}
    assert ADDED["Service"]["spec"]["selector"] == labels
    assert PATCHES["Deployment"]["metadata"]["name"] in PODS
    assert CONTAINER["name"] in {each["name"] for each in PODS["evergrant-web"]["containers"]}


def test_nothing_but_the_ingress_controllers_namespace_gets_to_that_port() -> None:
    spec = ADDED["NetworkPolicy"]["spec"]
    assert spec["podSelector"] == {"matchLabels": ADDED["Service"]["spec"]["selector"]}
    (way,) = spec["ingress"]
    assert way["from"] == [{"namespaceSelector": {"matchLabels": {"evergrant.public": "yes"}}}]
    assert [each["port"] for each in way["ports"]] == [CONTAINER["ports"][0]["containerPort"]]
    open_before = {
        each["port"]
        for each in members([x for x in RESOURCES if x["kind"] == "NetworkPolicy"], "ports")
        for each in each
    }
    assert CONTAINER["ports"][0]["containerPort"] not in open_before


def test_the_ingress_is_that_of_the_address_by_which_customers_come_over_tls() -> None:
    host = urlsplit(PATCHES["ConfigMap"]["data"]["EVERGRANT_PUBLIC_URL"]).hostname
    spec = ADDED["Ingress"]["spec"]
    assert [each["host"] for each in spec["rules"]] == [host]
    assert [each["hosts"] for each in spec["tls"]] == [[host]]
    assert ADDED["Ingress"]["metadata"]["annotations"] == {"nginx.ingress.kubernetes.io/enable-access-log": "false"}


@asks_kustomize
def test_kustomize_lays_the_component_over_the_rest(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    shutil.copytree(BASE, tmp_path / "kubernetes")
    said = {"resources": ["../kubernetes"], "components": ["../kubernetes/public"], "namespace": "evergrant"}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
    made = subprocess.run([str(TOOL), "build", str(overlay)], capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    found = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(made.stdout)}
    assert {name for kind, name in found if kind == "Ingress"} == {"evergrant-public"}
    assert len(found) == len(RESOURCES) + len(ADDED)
    pod: dict[str, Any] = found["Deployment", "evergrant-web"]["spec"]["template"]["spec"]["containers"][0]
    told = found["ConfigMap", "evergrant"]["data"] | {each["name"]: each.get("value") for each in pod["env"]}
    assert opened(told)[1] == bind_address(environment()["EVERGRANT_PUBLIC_BIND"])[1]  # type: ignore[index]
    assert {each["containerPort"] for each in pod["ports"]} == {9464, 9465, 9466}
