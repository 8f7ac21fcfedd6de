"""conf/kubernetes: held against Kubernetes' own schemas, the checkout and the jobs' flags."""

from __future__ import annotations

import copy
import importlib.util
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from submitting.line import IMAGE_ROOT, SERVICE_ACCOUNT

# The newest whose schemas the package has; all fields used here are older than Kubernetes 1.25.
KUBERNETES = "1.37"
FOLDER = Path(__file__).resolve().parents[2] / "conf" / "kubernetes"
MANIFESTS = sorted(path.name for path in FOLDER.glob("*.yaml"))


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def validate(document: dict[str, Any]) -> None:
    """Raise for an unknown field, a wrong type or a missing one."""
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


def driver(name: str) -> dict[str, Any]:
    """The container of the driver in a workload."""
    [workload] = documents(name)
    [container] = workload["spec"]["template"]["spec"]["containers"]
    return dict(container)


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest_fits_kubernetes_schemas(name: str) -> None:
    for document in documents(name):
        validate(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "replicass"), 1),
        (("spec", "replicas"), "one"),
        (("spec", "template", "spec", "terminationGracePeriodSecond"), 60),
        (("spec", "template", "spec", "containers", 0, "resources", "limit"), {"memory": "2Gi"}),
        (("spec", "template", "spec", "containers", 0, "args"), "--help"),
    ],
    ids=str,
)
def test_a_wrong_field_or_type_is_noticed(path: tuple[Any, ...], value: object) -> None:
    [document] = copy.deepcopy(documents("stream-detect.yaml"))
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value

    with pytest.raises(kubernetes_validate.ValidationError):
        validate(document)


def test_the_role_is_bound_to_the_account_that_drivers_run_as() -> None:
    account, role, binding = documents("rbac.yaml")

    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account["metadata"]["name"]}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert account["metadata"]["name"] == SERVICE_ACCOUNT
    for name in ("stream-detect.yaml", "batch-embed.yaml"):
        pod = documents(name)[0]["spec"]["template"]["spec"]
        assert pod["serviceAccountName"] == SERVICE_ACCOUNT


@pytest.mark.parametrize("name", ["stream-detect.yaml", "batch-embed.yaml"])
def test_what_a_driver_names_in_the_image_is_in_the_checkout(name: str, root: Path) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    named = re.findall(rf"{IMAGE_ROOT}/([\w/.-]+)", text)

    assert len(named) >= 3  # the job, its model, the executors' pod
    assert [path for path in named if not (root / path).exists()] == []


@pytest.mark.parametrize(
    ("name", "job"), [("stream-detect.yaml", "stream_detect"), ("batch-embed.yaml", "batch_embed")]
)
def test_a_drivers_flags_are_the_jobs(name: str, job: str, root: Path) -> None:
    spec = importlib.util.spec_from_file_location(job, root / "jobs" / f"{job}.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    options = module.parser().parse_job(driver(name)["args"])

    assert options.model.startswith(IMAGE_ROOT)


@pytest.mark.parametrize("name", ["stream-detect.yaml", "batch-embed.yaml"])
def test_executors_run_the_drivers_image(name: str) -> None:
    container = driver(name)

    assert {"name": "IMAGE", "value": container["image"]} in container["env"]


@pytest.mark.parametrize("name", [name for name in MANIFESTS if name != "rbac.yaml"])
def test_pods_fit_the_restricted_pod_security_standard(name: str) -> None:
    [document] = documents(name)
    pod = document["spec"].get("template", document)["spec"]
    [container] = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_image_copies_what_the_checkout_has_and_installs_what_is_pinned(root: Path) -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    pins = dict(
        line.split("==")
        for line in (root / "conf" / "constraints.txt").read_text().splitlines()
        if "==" in line
    )

    copied = [
        source
        for words in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for source in words.split()[:-1]
    ]
    assert len(copied) > 5
    assert [source for source in copied if not (root / source).exists()] == []
    assert f"ARG SPARK={pins['pyspark']}\n" in text
    assert f"py4j-{pins['py4j']}-src.zip" in text
    installs = re.findall(r"pip install .*", text)
    assert len(installs) == 2
    assert all("--constraint conf/constraints.txt" in line for line in installs)
