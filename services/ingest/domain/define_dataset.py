"""Use case: apply a data set's contract, and refuse one that the rows already there would not fit."""

from __future__ import annotations

from services.ingest.domain.cast_rows import check_castable
from services.ingest.domain.model import Change, Dataset
from services.ingest.domain.ports import Datasets, Tenants
from tenon.core.errors import Invalid, Place, Precondition
from tenon.core.specs import ColumnType, DatasetSpec, parse_spec
from tenon.core.tenancy import TenantId


class DefineDataset:
    """Applies contracts."""

    def __init__(self, tenants: Tenants, datasets: Datasets) -> None:
        self._tenants, self._datasets = tenants, datasets

    def apply(self, tenant: TenantId, name: str, document: object, *, dry_run: bool = False) -> tuple[Change, Dataset]:
        """Store a Dataset document under `name` unless nothing changes; with `dry_run` only say what would happen."""
        spec = parse_spec(DatasetSpec, document)
        if spec.name != name:
            raise _refused(["name"], f"the document's name is {spec.name!r}, the address says {name!r}")
        check_contract(spec)
        self._tenants.require(tenant)
        return self._datasets.apply(tenant, spec, dry_run=dry_run)


def check_contract(spec: DatasetSpec) -> None:
    """Check what a single document cannot check of itself, because it depends on how we load. Raises `Invalid`."""
    folded: dict[str, str] = {}
    for name in spec.columns:
        if name.startswith("_"):
            raise _refused(["columns", name], f"{name!r}: names that begin with _ are kept for Tenon's own columns")
        if name.lower() in folded:
            raise _refused(["columns", name], f"{name!r} and {folded[name.lower()]!r} differ only in case")
        folded[name.lower()] = name
    for index, name in enumerate(spec.primary_key):
        if spec.columns[name].type is ColumnType.FLOAT:
            raise _refused(
                ["primaryKey", index],
                f"{name!r} is a float, which cannot identify a row",
                "use string, integer or decimal",
            )
    for path, message in check_castable(spec):
        raise _refused(list(path), f"{'.'.join(path)}: {message}")


def check_change(old: DatasetSpec, new: DatasetSpec) -> None:
    """Check that rows loaded under `old` are still true under `new`. Raises `Precondition` naming the field."""

    def refuse(path: list[str], message: str, hint: str = "declare a new data set under another name") -> None:
        where = ".".join(path)
        raise Precondition(
            "CONTRACT_INCOMPATIBLE", f"{where}: {message}; data set {old.name!r} has rows already",
            place=Place(field=where), hint=hint,
            data={"problems": [{"path": path, "message": message, "hint": hint}]},
        )  # fmt: skip

    if old.primary_key != new.primary_key:
        refuse(["primaryKey"], f"cannot change from {', '.join(old.primary_key)} to {', '.join(new.primary_key)}")
    for name, before in old.columns.items():
        after = new.columns.get(name)
        if after is None:
            refuse(["columns", name], f"column {name!r} cannot be removed", "keep it, and make it nullable")
        elif before.type is not after.type:
            refuse(["columns", name, "type"], f"cannot change from {before.type.value} to {after.type.value}")
        elif before.scale != after.scale:
            refuse(["columns", name, "scale"], f"cannot change from {before.scale} to {after.scale}")
        elif before.nullable and not after.nullable:
            refuse(["columns", name, "nullable"], "cannot become required", "keep `nullable: true`")
    for name, column in new.columns.items():
        if name not in old.columns and not column.nullable:
            refuse(["columns", name], f"new column {name!r} must be nullable", "add `nullable: true`")
    if old.event_time != new.event_time:
        refuse(["eventTime"], f"cannot change from {old.event_time!r} to {new.event_time!r}")


def _refused(path: list[str | int], message: str, hint: str | None = None) -> Invalid:
    return Invalid(
        "SPEC_INVALID", f"Dataset: {message}", place=Place(field=".".join(str(part) for part in path)), hint=hint,
        data={"problems": [{"path": path, "message": message, "hint": hint}]},
    )  # fmt: skip
