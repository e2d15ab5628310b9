"""Rows given one by one, by entity: turned into columns for the one use case."""

from __future__ import annotations

import json
from typing import Any

from tenon.core.errors import Invalid, Place

MAX_NAMES = 2000


def columns_of_instances(instances: Any) -> tuple[int, dict[str, list[Any]], frozenset[str]]:
    """(rows, columns, names that only some instances gave) of [{"entity": {…}, "features": {…}}, …]. Raises `Invalid`."""
    if not isinstance(instances, list) or not instances:
        raise Invalid(
            "INSTANCES_MISSING",
            "`instances` must be a list with at least one instance",
            place=Place(field="instances"),
            hint='{"instances": [{"entity": {"patient_id": "p17"}, "features": {"age": 61}}]}',
        )
    columns: dict[str, list[Any]] = {}
    seen: dict[str, int] = {}
    for row, instance in enumerate(instances):
        if not isinstance(instance, dict) or not instance.keys() <= {"entity", "features"}:
            raise _not_an_instance(row, instance)
        parts = [instance.get("entity", {}), instance.get("features", {})]
        if not all(isinstance(part, dict) for part in parts):
            raise _refuse(row, "`entity` and `features` are objects")
        for part in parts:
            for name, value in part.items():
                column = columns.get(name)
                if column is None:
                    if len(columns) >= MAX_NAMES:
                        raise _refuse(row, "there are too many different names")
                    column = columns[name] = [None] * len(instances)
                if part is parts[1] and name in parts[0] and parts[0][name] != value:
                    raise _refuse(row, f"{name[:80]!r} is given in `entity` and in `features`, and they differ")
                column[row] = value
        for name in parts[0].keys() | parts[1].keys():
            seen[name] = seen.get(name, 0) + 1
    partial = frozenset(name for name, count in seen.items() if count < len(instances))
    return len(instances), columns, partial


def _not_an_instance(row: int, instance: Any) -> Invalid:
    if not isinstance(instance, dict):
        return _refuse(row, f"an object with `entity` and `features` is expected, not {str(instance)[:40]!r}")
    other = next(str(name) for name in instance if name not in {"entity", "features"})
    shape = f'write {{"entity": {{…}}, "features": {{{json.dumps(other[:80], ensure_ascii=False)}: …}}}}'
    return _refuse(row, f"the key {other[:80]!r} is not read here, only `entity` and `features`", hint=shape)


def _refuse(row: int, what: str, hint: str | None = None) -> Invalid:
    return Invalid("INSTANCE_INVALID", f"instance {row}: {what}", place=Place(field=f"instances.{row}"), hint=hint)
