"""The hospital example's documents hold together, and refuse what would be a leak."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.hospital.generate import HEADER, KNOWN_LATER
from examples.hospital.hospitals import DIAGNOSES, HOSPITALS
from tenon.core.errors import Invalid
from tenon.core.specs import (
    DatasetSpec,
    FeatureViewSpec,
    ModelSpec,
    MonitorSpec,
    TenantSpec,
    check_feature_view,
    check_model,
    check_monitor,
    model_signature,
    parse_spec,
)
from tests.support.hospital_documents import documents, parsed


def of(kind: str, name: str) -> DatasetSpec | FeatureViewSpec | ModelSpec | MonitorSpec | TenantSpec:
    """One document."""
    found = documents()[kind, name]
    assert isinstance(found, DatasetSpec | FeatureViewSpec | ModelSpec | MonitorSpec | TenantSpec)
    return found


def views() -> dict[str, FeatureViewSpec]:
    """Every view."""
    return {name: spec for (_, name), spec in documents().items() if isinstance(spec, FeatureViewSpec)}


def visits() -> DatasetSpec:
    """The contract."""
    spec = of("Dataset", "visits")
    assert isinstance(spec, DatasetSpec)
    return spec


def visit_cost() -> ModelSpec:
    """The model."""
    spec = of("Model", "visit_cost")
    assert isinstance(spec, ModelSpec)
    return spec


def test_documents_pass_every_check() -> None:
    """All documents parse, and views and model agree with the data set."""
    for view in views().values():
        check_feature_view(view, visits())
    check_model(visit_cost(), visits(), views())
    assert set(visit_cost().features.views) == views().keys()
    watched = of("Monitor", "visit_cost")
    assert isinstance(watched, MonitorSpec)
    check_monitor(watched, visit_cost(), [item.name for item in model_signature(visit_cost(), visits(), views())])


def test_tenants_are_the_simulated_hospitals() -> None:
    """There is one Tenant document for each hospital of the simulation; the others are for all of them."""
    declared = {document.spec.name for document in parsed() if document.kind == "Tenant"}
    assert declared == {hospital.tenant for hospital in HOSPITALS}
    assert all(document.tenant is None for document in parsed())


def test_contract_has_the_columns_of_the_files() -> None:
    """The generator's header is the contract's columns in order, and its departments are the allowed ones."""
    assert list(visits().columns) == HEADER
    assert visits().columns["department"].values == list(DIAGNOSES)


def test_what_is_known_later_says_when() -> None:
    """Each value that is known after admission has a knownAt, except the moments themselves."""
    known = {name: visits().columns[name].known_at for name in KNOWN_LATER}
    assert known == {
        "discharged_at": None,
        "length_of_stay_days": "discharged_at",
        "billed_at": None,
        "bill_amount": "billed_at",
    }


@pytest.mark.parametrize("column", KNOWN_LATER)
def test_leak_is_refused(column: str) -> None:
    """No column that is known later can be a request feature, nor can the label."""
    spec = visit_cost()
    body = spec.canonical()
    body["features"] = {"request": [column], "views": []}
    del body["fallback"]
    with pytest.raises(Invalid) as refusal:
        check_model(parse_spec(ModelSpec, body), visits(), views())
    assert column in str(refusal.value)


def test_signature_needs_no_month() -> None:
    """The model takes no column that says which month it is: in any single month it would look drifted."""
    names = [item.name for item in model_signature(visit_cost(), visits(), views())]
    assert "month" not in names
    assert names[-2:] == ["patient_id", "admitted_at"]


def test_readme_names_every_document() -> None:
    """The example's README speaks of each file of the specs folder."""
    folder = Path(__file__).resolve().parents[3] / "examples" / "hospital"
    text = (folder / "README.md").read_text()
    for path in (folder / "specs").glob("*.yaml"):
        assert path.name in text, path.name
    assert "simulated" in text.lower()
