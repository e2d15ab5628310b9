"""Nodes that exist only in the API, and what KWOK says of the pods on them.

The stages are KWOK's own for pods that start at once, with three cases added: a predictor that is pinned to `BROKEN`
runs and is never ready (as a real one whose bundle cannot be verified), a program from an image tagged `broken` ends in
failure (a migration that cannot be applied), and the pods of `helm test` end well.
"""

from __future__ import annotations

import copy
from typing import Any

import yaml

from tests.cluster.tools import manifests

BROKEN = 13
"""The version of any model whose bundle cannot be verified."""

REAL = "real-"
"""In namespaces that begin so, pods are real processes (real_pods.py), of which KWOK says nothing."""

REAL_PLATFORM = "real-platform"
"""Of them, those whose processes are a whole platform (real_platform.py)."""

NODES = [
    {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": f"node-{number}",
            "labels": {
                "kubernetes.io/hostname": f"node-{number}",
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "topology.kubernetes.io/zone": f"zone-{number}",
            },
        },
        "status": {"allocatable": size, "capacity": size},
    }
    for number in (1, 2, 3)
    for size in ({"cpu": "32", "memory": "128Gi", "pods": "110", "ephemeral-storage": "1Ti"},)
]

# gojq, over the pod. A predictor names its versions in its environment; anything else yields nothing.
_PINNED = (
    '.spec.containers.[] | .env // [] | .[] | select( .name == "TENON_PREDICTOR_PINNED" ) | .value | fromjson | .[] '
    "| .version | tostring"
)
_BROKEN_IMAGE = '.spec.containers.[] | .image | endswith(":broken") | tostring'
_REAL = f'.metadata.namespace | startswith("{REAL}") | tostring'
_HOOK = '.metadata.annotations | .["helm.sh/hook"] // "" | split(",") | .[] | tostring'


def stages() -> list[dict[str, Any]]:
    """KWOK's stages and ours."""
    found = {
        stage["metadata"]["name"]: stage for path in manifests("kwok") for stage in yaml.safe_load_all(path.read_text())
    }
    ready, complete = found["pod-ready"], found["pod-complete"]
    unready, failed, tested = copy.deepcopy(ready), copy.deepcopy(complete), copy.deepcopy(complete)
    _rename(unready, "predictor-unready")
    _when(unready, _PINNED, "In", str(BROKEN))
    _when(ready, _PINNED, "NotIn", str(BROKEN))
    _replace(unready, 'status: "True"\n  type: Ready', 'status: "False"\n  type: Ready')
    _replace(unready, 'status: "True"\n  type: ContainersReady', 'status: "False"\n  type: ContainersReady')
    _replace(unready, "ready: true", "ready: false")

    _rename(failed, "pod-failed")
    _when(failed, _BROKEN_IMAGE, "In", "true")
    _when(complete, _BROKEN_IMAGE, "NotIn", "true")
    _replace(failed, "exitCode: 0", "exitCode: 1")
    _replace(failed, "reason: Completed", "reason: Error")
    _replace(failed, "phase: Succeeded", "phase: Failed")

    _rename(tested, "helm-test-complete")
    _rules(tested)[:] = [rule for rule in _rules(tested) if "ownerReferences" not in rule["key"]]
    _when(tested, _HOOK, "In", "test")
    all_stages = [*found.values(), unready, failed, tested]
    for stage in all_stages:
        if stage["spec"]["resourceRef"]["kind"] == "Pod":
            _when(stage, _REAL, "NotIn", "true")
    return all_stages


def _rules(stage: dict[str, Any]) -> list[dict[str, Any]]:
    return stage["spec"]["selector"]["matchExpressions"]


def _rename(stage: dict[str, Any], name: str) -> None:
    stage["metadata"]["name"] = name


def _when(stage: dict[str, Any], key: str, operator: str, *values: str) -> None:
    _rules(stage).append({"key": key, "operator": operator, "values": list(values)})


def _replace(stage: dict[str, Any], old: str, new: str) -> None:
    template = stage["spec"]["next"]["statusTemplate"]
    assert old in template, f"KWOK's stage has changed: no {old!r}"
    stage["spec"]["next"]["statusTemplate"] = template.replace(old, new)
