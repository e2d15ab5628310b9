"""Declaring models."""

from __future__ import annotations

from dataclasses import dataclass

from services.trainer.domain.model import Model
from services.trainer.domain.ports import Definitions, Models
from tenon.core.errors import Invalid, NotFound, Place
from tenon.core.specs import ModelSpec, check_model
from tenon.core.tenancy import TenantId


@dataclass(frozen=True)
class DefineModel:
    """Checks a document against its data set and views, as they are now, and stores it."""

    models: Models
    definitions: Definitions

    def __call__(self, tenant: TenantId, spec: ModelSpec, *, dry_run: bool = False) -> tuple[str, Model]:
        """Gives what changed ("created", "updated" or "unchanged") and the model. Raises `Invalid` with the field."""
        try:
            spine = self.definitions.get_dataset(tenant, spec.spine)
        except NotFound as err:
            raise Invalid(
                "SPEC_INVALID",
                f"spine: there is no data set {spec.spine!r}",
                place=Place(field="spine"),
                hint=err.hint,
                data={
                    "problems": [
                        {"path": ["spine"], "message": f"there is no data set {spec.spine!r}", "hint": err.hint}
                    ]
                },
            ) from None
        views = {name: view.spec for name, view in self.definitions.list_views(tenant).items()}
        check_model(spec, spine, views)
        return self.models.put(tenant, spec, dry_run=dry_run)
