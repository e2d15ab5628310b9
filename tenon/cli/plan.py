"""What `tenon apply` would do: the platform's documents beside the folder's, difference by difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tenon.cli.folder import Item
from tenon.cli.paths import path_of
from tenon.core.errors import NotFound
from tenon.core.specs import KINDS, Spec, parse_spec

if TYPE_CHECKING:
    from tenon.cli.client import Client

_HOMES = {
    "Tenant": ("registry", ""),
    "Dataset": ("ingest", "datasets"),
    "FeatureView": ("features", "feature-views"),
    "Model": ("trainer", "models"),
    "Monitor": ("monitor", "monitors"),
}
"""Each kind's service, and its folder in the path."""


@dataclass(frozen=True)
class Difference:
    """One key that is not the same."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        if self.old is None:
            return f"+ {self.key}: {_short(self.new)}"
        if self.new is None:
            return f"- {self.key}: {_short(self.old)}"
        return f"~ {self.key}: {_short(self.old)} → {_short(self.new)}"


@dataclass(frozen=True)
class Step:
    """What happens to one document: `create`, `update` or nothing."""

    item: Item
    action: str  # create, update, unchanged
    differences: list[Difference] = field(default_factory=list)


def home_of(kind: str, tenant: str, name: str) -> tuple[str, str]:
    """The service that owns a document, and its path there."""
    service, folder = _HOMES[kind]
    return service, path_of("tenants", tenant, *([folder, name] if folder else []))


def fetch_spec(client: Client, kind: str, tenant: str, name: str) -> Spec:
    """A document as the platform has it. Raises `NotFound`."""
    service, path = home_of(kind, tenant, name)
    return parse_spec(KINDS[kind], client.get(service, path)["spec"])


def make_plan(client: Client, items: list[Item]) -> list[Step]:
    """What would happen to each document, in the order in which it would."""
    return [_step(client, item) for item in items]


def _step(client: Client, item: Item) -> Step:
    wanted = item.spec.canonical()
    try:
        current = fetch_spec(client, item.kind, item.tenant, item.name).canonical()
    except NotFound:
        return Step(item, "create")
    differences = list(compare(current, wanted))
    return Step(item, "update" if differences else "unchanged", differences)


def carry_out(client: Client, step: Step) -> str:
    """Make the platform have the document; gives what the service says it did."""
    service, path = home_of(step.item.kind, step.item.tenant, step.item.name)
    answer = client.put(service, path, step.item.spec.canonical())
    done = {"create": "created", "update": "updated"}[step.action]
    return str(answer.get("change", done)) if isinstance(answer, dict) else done


def compare(old: Any, new: Any, path: str = "") -> Iterator[Difference]:
    """The keys in which two documents differ; lists are compared as wholes, because their order means something."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from compare(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new:
        yield Difference(path, old, new)


def _short(value: Any) -> str:
    # json costs 5 ms and is loaded with the client anyway.
    import json

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"
