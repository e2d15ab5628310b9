"""The flights example: its specs are sound, leaks are refused, and its instants are right."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from examples.flights.prepare import read_flights
from tenon.core.documents import parse_documents
from tenon.core.errors import Invalid
from tenon.core.specs import (
    DatasetSpec,
    FeatureViewSpec,
    ModelSpec,
    check_feature_view,
    check_model,
    parse_spec,
)

SPECS = Path(__file__).parents[3] / "examples" / "flights" / "specs"


def documents() -> dict[str, list]:
    found: dict[str, list] = {}
    for path in sorted(SPECS.glob("*.yaml")):
        for document in parse_documents(path.read_text(), path.name):
            found.setdefault(document.kind, []).append(document.spec)
    return found


@pytest.fixture
def specs() -> tuple[DatasetSpec, dict[str, FeatureViewSpec], ModelSpec]:
    found = documents()
    return found["Dataset"][0], {view.name: view for view in found["FeatureView"]}, found["Model"][0]


def test_the_specs_are_sound(specs) -> None:
    """Every document parses and the checks across documents pass."""
    dataset, views, model = specs
    for view in views.values():
        check_feature_view(view, dataset)
    check_model(model, dataset, views)
    assert len(documents()["Tenant"]) == 15


@pytest.mark.parametrize("column", ["dep_delay", "air_time", "arr_delay", "departed_at", "arrived_at"])
def test_nothing_known_after_departure_can_be_a_request_feature(specs, column: str) -> None:
    """The data set says when each column is known, and the spec refuses what comes too late."""
    dataset, views, model = specs
    data = model.canonical()
    data["features"]["request"].append(column)
    with pytest.raises(Invalid, match=column):
        check_model(parse_spec(ModelSpec, data), dataset, views)


def test_a_planted_column_known_only_after_arrival_is_refused(specs) -> None:
    """A column that gives the answer away is planted in the data set; the model that wants it is refused by name."""
    dataset, views, model = specs
    planted = dataset.canonical()
    planted["columns"]["taxi_in_minutes"] = {"type": "integer", "nullable": True, "knownAt": "arrived_at"}
    data = model.canonical()
    data["features"]["request"].append("taxi_in_minutes")
    with pytest.raises(Invalid) as caught:
        check_model(parse_spec(ModelSpec, data), parse_spec(DatasetSpec, planted), views)
    assert "leaks" in caught.value.message
    assert "arrived_at" in caught.value.message


@pytest.mark.data
def test_instants_agree_with_the_time_in_the_air() -> None:
    """Departure and arrival instants, worked out from two time zones, differ by the air time and some taxiing."""
    flights = read_flights(Path(os.environ.get("TENON_TEST_DATA", "../shared/data")))
    assert len(flights) == 285_541
    assert not flights["flight_id"].is_duplicated().any()
    landed = flights.drop_nulls("arr_delay")
    gate_to_gate = (landed["arrived_at"] - landed["departed_at"]).dt.total_minutes()
    taxi = gate_to_gate - landed["air_time"].cast(int)
    assert ((taxi > 0) & (taxi < 120)).sum() > 0.998 * len(taxi)
    assert (taxi < 10).sum() < len(taxi) / 2 < (taxi < 25).sum()


@pytest.mark.data
def test_landings_are_when_the_source_says_they_were() -> None:
    """The worked-out instant of each landing, on the wall clock of its destination, is the source's own `arr_time`,
    also in the nights when the clocks change."""
    flights = read_flights(Path(os.environ.get("TENON_TEST_DATA", "../shared/data")))
    landed = flights.drop_nulls(["arr_delay", "arr_time"])
    clocks = pl.concat(
        rows.select(
            "flight_id",
            told=pl.col("arr_time").cast(pl.Int32),
            found=pl.col("arrived_at").dt.replace_time_zone("UTC").dt.convert_time_zone(str(zone)),
        ).with_columns(found=pl.col("found").dt.hour().cast(pl.Int32) * 100 + pl.col("found").dt.minute())
        for (zone,), rows in landed.group_by("zone")
    )
    assert len(clocks) == 282_525
    assert clocks.filter(pl.col("found") != pl.col("told") % 2400).is_empty()
