"""Charts as `helm template` renders them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.tools import tool

ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "deploy/helm"

Document = dict[str, Any]


class Refused(AssertionError):
    """Helm does not render it; the text is what it said."""


def render(
    chart: str,
    *arguments: str,
    values: Mapping[str, Any] | Path | None = None,
    name: str = "some",
    namespace: str = "ns",
) -> dict[str, Document]:
    """The documents by kind and name; `arguments` are helm's own, such as `--set`. Raises `Refused`."""
    command = [tool("helm"), "template", name, str(CHARTS / chart), "-n", namespace, *arguments]
    text = ""
    if isinstance(values, Path):
        command += ["-f", str(values)]
    elif values is not None:
        command += ["-f", "-"]
        text = yaml.safe_dump(dict(values))
    answer = subprocess.run(command, input=text, capture_output=True, text=True, timeout=180, check=False)
    if answer.returncode:
        raise Refused(answer.stderr)
    documents = [document for document in yaml.safe_load_all(answer.stdout) if document]
    found = {f"{item['kind']}/{item['metadata']['name']}": item for item in documents}
    assert len(found) == len(documents), "two documents of one kind have one name"
    return found


def environment(workload: Document) -> dict[str, str]:
    """The environment of a workload's first container, as far as it stands in the manifest itself."""
    container = workload["spec"]["template"]["spec"]["containers"][0]
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
