"""Use cases: apply, show and list feature views."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.features.domain.model import OnlineState, View
from services.features.domain.plan import compile_view
from services.features.domain.ports import Change, Datasets, OnlineStore, Views
from tenon.core.errors import Invalid, NotFound, Place, TenonError
from tenon.core.specs import FeatureViewSpec
from tenon.core.tenancy import TenantId


class DefineViews:
    """Checks a view against its data set before it is stored, and has it built afterwards."""

    def __init__(
        self, views: Views, datasets: Datasets, online: OnlineStore, request_build: Callable[[TenantId, str], None]
    ) -> None:
        self._views, self._datasets, self._online, self._request_build = views, datasets, online, request_build

    def apply(self, tenant: TenantId, spec: FeatureViewSpec, *, dry_run: bool = False) -> tuple[Change, View]:
        """Store a view unless it is the current one. Raises `Invalid` naming the field."""
        try:
            dataset = self._datasets.definition(tenant, spec.dataset)
        except NotFound as err:
            raise Invalid(
                "SPEC_INVALID",
                f"dataset: {err.message}",
                place=Place(field="dataset"),
                hint=err.hint or "apply the data set first",
                data={"problems": [{"path": ["dataset"], "message": err.message, "hint": err.hint}]},
            ) from err
        compile_view(spec, dataset)
        change, view = self._views.apply(tenant, spec, dry_run=dry_run)
        if not dry_run:
            self._request_build(tenant, view.name)
        return change, view

    def get(self, tenant: TenantId, name: str) -> View:
        """The newest revision. Raises `NotFound`."""
        return self._views.get(tenant, name)

    def list(self, tenant: TenantId) -> Sequence[View]:
        """The newest revision of each view, by name."""
        return self._views.list(tenant)

    def online_state(self, tenant: TenantId, name: str) -> OnlineState | None:
        """What the online store holds of a view; None when it holds nothing or cannot be asked."""
        try:
            return self._online.state(tenant, name)
        except TenonError:
            return None
