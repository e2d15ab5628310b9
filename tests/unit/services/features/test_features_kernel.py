"""The heart of the promise: a value is the same bits offline, online and by the definition."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from services.features.domain.blob import decode_blob, encode_blob
from services.features.domain.frames import blobs_of, codes_of, history_of
from services.features.domain.kernel import evaluate
from services.features.domain.lookup import Lookup, Status, all_together, look_up, one_by_one
from services.features.domain.plan import compile_view
from tenon.core.feature_semantics import Event, Value, value_at
from tenon.core.specs import DatasetSpec, FeatureViewSpec

SECOND = 1_000_000
DATASET = DatasetSpec.model_validate(
    {
        "name": "events",
        "primaryKey": ["id"],
        "eventTime": "ts",
        "columns": {
            "id": {"type": "integer"},
            "ts": {"type": "timestamp"},
            "seen": {"type": "timestamp", "nullable": True},
            "who": {"type": "string", "nullable": True},
            "group": {"type": "integer", "nullable": True},
            "cost": {"type": "decimal", "scale": 2, "nullable": True, "knownAt": "seen"},
            "size": {"type": "integer", "nullable": True},
            "note": {"type": "string", "nullable": True, "knownAt": "seen"},
        },
    }
)
FUNCTIONS = ["count", "sum", "mean", "min", "max", "rate"]
# Mostly small, so that values tie and thresholds are met; some so large that a sum of two leaves int64.
AMOUNTS = st.none() | st.integers(-300, 300) | st.integers(-3, 3) | st.sampled_from([2**63 - 1, -(2**63), 2**62])


def bits(value: float) -> bytes:
    """The float's bytes, all NaN alike."""
    return struct.pack("<d", math.nan if math.isnan(value) else value)


def view_of(windows: list[str], entity: list[str], above: float) -> FeatureViewSpec:
    """A view with every function over every kind of column."""
    return FeatureViewSpec.model_validate(
        {
            "name": "v",
            "dataset": "events",
            "entity": entity,
            "aggregates": [
                {"functions": ["count"], "windows": windows},
                {"column": "cost", "functions": FUNCTIONS, "windows": windows, "above": above},
                {"column": "size", "functions": FUNCTIONS, "windows": windows, "above": above},
                {"column": "note", "functions": ["count"], "windows": windows},
            ],
        }
    )


def frame_of(rows: list[dict]) -> pl.DataFrame:
    """Rows as the lake holds them."""
    moment = pl.Datetime("us", "UTC")
    schema: dict[str, Any] = {"ts": moment, "seen": moment, "who": pl.String, "group": pl.Int64, "cost": pl.Int64, "size": pl.Int64,
              "note": pl.String}  # fmt: skip
    return pl.DataFrame(
        {
            name: pl.Series(name, [row[name] for row in rows], pl.Int64 if kind == moment else kind).cast(kind)
            for name, kind in schema.items()
        }
    )


def events_of(rows: list[dict], entity: list[str], key: tuple) -> list[Event]:
    """One entity's history as the definition takes it."""
    events = []
    for row in rows:
        if tuple(row[name] for name in entity) != key:
            continue
        values = {}
        if row["seen"] is not None:
            values = {name: Value(row[name] if name == "cost" else 0, row["seen"])
                      for name in ("cost", "note") if row[name] is not None}  # fmt: skip
        if row["size"] is not None:
            values["size"] = Value(row["size"], row["ts"])
        events.append(Event(row["ts"], values))
    return events


MOMENTS = st.integers(0, 12).map(lambda n: n * SECOND)
ROWS = st.lists(
    st.builds(
        lambda ts, late, who, group, cost, size, note: {
            "ts": ts, "seen": None if late is None else ts + late, "who": who, "group": group, "cost": cost,
            "size": size, "note": note,
        },
        ts=MOMENTS,
        late=st.sampled_from([None, *range(-2, 9)]).map(lambda n: None if n is None else n * SECOND),
        who=st.sampled_from(["a", "a", "a", "a|b", "\\", "", None]),
        group=st.sampled_from([1, 1, -7, None]),
        cost=AMOUNTS,
        size=AMOUNTS,
        note=st.sampled_from([None, "x"]),
    ),
    min_size=1,
    max_size=25,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    rows=ROWS,
    windows=st.lists(st.sampled_from(["1s", "2s", "3s", "7s", "1d"]), min_size=1, max_size=2, unique=True),
    entity=st.sampled_from([["who"], ["group"], ["who", "group"]]),
    above=st.sampled_from([0.0, 1.5, -0.01, 2.999, 1e300]),
    seed=st.randoms(use_true_random=False),
)
def test_offline_online_and_definition_agree(rows, windows, entity, above, seed) -> None:
    """Offline, online and brute force give the same bits, for any lateness and any order of arrival."""
    view = view_of(windows, entity, above)
    # The moments at which anything can change: when a value becomes known and when it leaves a window.
    edges = [row["seen"] or 0 for row in rows] + [row["ts"] + f.window_micros for row in rows for f in view.features()]
    times = sorted({edge + after for edge in seed.sample(edges, min(len(edges), 6)) for after in (0, 1)})
    plan = compile_view(view, DATASET)
    arrived = list(rows)
    seed.shuffle(arrived)
    history, entities = history_of(plan, frame_of(arrived))
    keys = [*sorted({tuple(row[name] for name in entity) for row in rows}, key=repr), ("never seen", 99)[: len(entity)]]
    if entity == ["group"]:
        keys[-1] = (99,)
    asked = [(key, at) for key in keys for at in times]
    spine = frame_of(
        [dict.fromkeys(("ts", "seen", "cost", "size", "note"), None) | {"who": None, "group": None}
         | dict(zip(entity, key, strict=True)) for key, _ in asked]
    )  # fmt: skip
    offline = evaluate(plan, history, codes_of(plan, spine, entities), np.array([at for _, at in asked]))
    blobs = {
        blob.entity: decode_blob(encode_blob(blob))
        for blob in blobs_of(plan, frame_of(rows), table_version=3, horizon=min(times))
    }
    lookups = []
    for key, at in asked:
        text = None if None in key else "|".join(str(k).replace("\\", "\\\\").replace("|", "\\|") for k in key)
        lookups.append(Lookup(text, blobs.get(text) if text is not None else None, at))
    online = look_up(plan, lookups)
    assert all_together(plan, lookups)[1] == one_by_one(plan, lookups)[1]
    together = all_together(plan, [lookup for lookup in lookups if lookup.entity is not None])[0]
    few = one_by_one(plan, [lookup for lookup in lookups if lookup.entity is not None])[0]
    assert [[bits(value) for value in column] for column in together] == [
        [bits(value) for value in column] for column in few
    ]
    for row, (key, at) in enumerate(asked):
        truth = events_of(rows, entity, key)
        for index, feature in enumerate(view.features()):
            scale = 2 if feature.column == "cost" else 0
            expected = math.nan if None in key else value_at(feature, scale, truth, at)
            assert bits(offline[index][row]) == bits(expected), (feature.name, key, at)
            assert bits(online[row].values[index]) == bits(expected), (feature.name, key, at)


@settings(max_examples=100, deadline=None)
@given(rows=ROWS, at=MOMENTS)
def test_what_is_known_later_never_changes_a_value(rows, at) -> None:
    """Deleting every value that was not known before t changes no feature at t: there is no leak."""
    plan = compile_view(view_of(["3s", "1d"], ["who"], 1.0), DATASET)
    past = []
    for row in rows:
        if row["ts"] >= at:
            continue
        hidden = row["seen"] is None or max(row["seen"], row["ts"]) >= at
        past.append(row | ({"cost": None, "note": None, "seen": None} if hidden else {}))
    spine = frame_of([row | {"ts": at} for row in rows])

    def values(known: list[dict]) -> list[list[bytes]]:
        history, entities = history_of(plan, frame_of(known))
        found = evaluate(plan, history, codes_of(plan, spine, entities), np.full(len(rows), at))
        return [[bits(value) for value in column] for column in found]

    assert values(rows) == values(past)


def test_boundaries() -> None:
    """A value counts from just after it is known up to and including event time + window."""
    plan = compile_view(view_of(["5s"], ["who"], 0.0), DATASET)
    row = {"ts": 10 * SECOND, "seen": 12 * SECOND, "who": "a", "group": 1, "cost": 100, "size": None, "note": None}
    history, _ = history_of(plan, frame_of([row]))
    at = np.array([12 * SECOND, 12 * SECOND + 1, 15 * SECOND, 15 * SECOND + 1])
    values = dict(
        zip([f.reference for f in plan.features], evaluate(plan, history, np.zeros(4, np.int64), at), strict=True)
    )
    assert values["v.cost_count_5s"].tolist() == [0, 1, 1, 0]
    assert values["v.count_5s"].tolist() == [1, 1, 1, 0]


def test_statuses_and_known_until() -> None:
    """Each status says why a value is there or not, and a present one when its newest event was known."""
    plan = compile_view(view_of(["5s"], ["who"], 0.0), DATASET)
    row = {"ts": 10 * SECOND, "seen": 12 * SECOND, "who": "a", "group": 1, "cost": 100, "size": None, "note": None}
    (blob,) = blobs_of(plan, frame_of([row]), table_version=1, horizon=9 * SECOND)
    rows = [
        Lookup("a", blob, 13 * SECOND), Lookup("a", blob, 60 * SECOND), Lookup("z", None, 13 * SECOND),
        Lookup(None, None, 13 * SECOND), Lookup("a", blob, 8 * SECOND), Lookup("z", None, 8 * SECOND),
    ]  # fmt: skip
    answers = look_up(plan, rows)
    mean = next(i for i, f in enumerate(plan.features) if f.reference == "v.cost_mean_5s")
    assert [answer.statuses[mean] for answer in answers] == [
        Status.PRESENT, Status.MISSING, Status.UNKNOWN_ENTITY, Status.MISSING, Status.BEFORE_HORIZON,
        Status.UNKNOWN_ENTITY,
    ]  # fmt: skip
    assert answers[0].values[mean] == 1.0
    assert [answer.known_until for answer in answers] == [12 * SECOND, None, None, None, None, None]
    assert answers[2].values[0] == 0.0
