"""The plain files of `deploy/helm/observability`, read as their users read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from tests.support.service_process import ROOT

FOLDER = ROOT / "deploy/helm/observability"
RULES = sorted((FOLDER / "rules").glob("*.yaml"))
DASHBOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
RUNBOOKS = sorted((FOLDER / "runbooks").glob("*.md"))


class Query(NamedTuple):
    """A panel's query, as it stands in the file."""

    dashboard: str
    panel: str
    expression: str


def rules() -> list[dict[str, Any]]:
    """Every rule of every file, recorded ones too."""
    documents = [yaml.safe_load(path.read_text()) for path in RULES]
    return [rule for document in documents for group in document["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert by its name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel, those in folded rows too, but not the rows."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", [])
        else:
            yield panel


def queries() -> list[Query]:
    """Every panel's queries."""
    found = []
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        found += [
            Query(path.stem, panel["title"], target["expr"])
            for panel in panels(dashboard)
            for target in panel.get("targets", [])
        ]
    return found


_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACED = re.compile(r"\{[^}]*\}")
_GROUPED = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_WORDS = frozenset(
    [
        "and",
        "or",
        "unless",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "offset",
        "bool",
        "sum",
        "min",
        "max",
        "avg",
        "count",
        "count_values",
        "topk",
        "bottomk",
        "quantile",
        "stddev",
        "rate",
        "irate",
        "increase",
        "delta",
        "deriv",
        "idelta",
        "predict_linear",
        "histogram_quantile",
        "abs",
        "absent",
        "absent_over_time",
        "avg_over_time",
        "min_over_time",
        "max_over_time",
        "sum_over_time",
        "last_over_time",
        "changes",
        "resets",
        "clamp_min",
        "clamp_max",
        "clamp",
        "ceil",
        "floor",
        "round",
        "sqrt",
        "time",
        "vector",
        "scalar",
        "sort",
        "sort_desc",
        "label_replace",
        "label_join",
        "inf",
        "nan",
        "e",
    ]
)


def metrics_of(expression: str) -> set[str]:
    """The names of metrics and recorded series in an expression of PromQL."""
    text = _QUOTED.sub('""', expression)
    text = _GROUPED.sub(" ", _BRACED.sub(" ", text))
    text = re.sub(r"\[[^\]]*\]|\boffset\s+\S+|\$\w+", " ", text)
    return {
        name for name in _NAME.findall(text) if name.lower() not in _WORDS and not re.fullmatch(r"e\d+|[smhdwy]", name)
    }


def labels_of(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Of each selector its metric and the labels it matches."""
    for name, inside in re.findall(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{([^}]*)\}", _QUOTED.sub('""', expression)):
        yield name, set(re.findall(r"([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)", inside))
