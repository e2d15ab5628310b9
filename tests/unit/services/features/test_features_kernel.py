"""The heart of the promise: a value is the same bits offline, online and by the definition."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from services.features.domain.frames import blobs_of, codes_of, series_of
from services.features.domain.lookup import STATUSES, Status, look_up
from services.features.domain.plan import Plan, compile_view
from services.features.domain.texts import TextTable, place_texts, shown
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.windows.blob import encode_blob
from tenon.windows.held import HeldBlobs
from tenon.windows.program import NOTHING_KNOWN
from tests.support.feature_oracle import value_of
from tests.support.properties import examples

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
            "load": {"type": "float", "nullable": True, "knownAt": "seen"},
            "note": {"type": "string", "nullable": True, "knownAt": "seen"},
            "tag": {"type": "string", "nullable": True},
            "ok": {"type": "boolean", "nullable": True},
        },
    }
)
FUNCTIONS = ["count", "sum", "mean", "std", "min", "max", "first", "last", "distinct", "quantile", "rate", "since_last"]
# Mostly small, so that values tie and thresholds are met; some so large that a sum of two leaves int64.
AMOUNTS = st.none() | st.integers(-300, 300) | st.integers(-3, 3) | st.sampled_from([2**63 - 1, -(2**63), 2**62])


# What a float can be: its sums depend on their order, unless they are exact.
LOADS = (
    st.none()
    | st.sampled_from([0.1, 0.2, 0.3, -0.1, 0.0, -0.0, 1e16, -1e16, 1e308, 5e-324])
    | st.floats(allow_nan=False, allow_infinity=False)
)


def bits(value: float | str | None) -> bytes:
    """The float's bytes, all that is missing alike; a text's."""
    if isinstance(value, str):
        return b"text " + value.encode()
    value = math.nan if value is None else value
    return struct.pack("<d", math.nan if math.isnan(value) else value)


def view_of(windows: list[str], entity: list[str], above: float) -> FeatureViewSpec:
    """A view with every function over every kind of column."""
    return FeatureViewSpec.model_validate(
        {
            "name": "v",
            "dataset": "events",
            "entity": entity,
            "aggregates": [
                {"functions": ["count", "since_last"], "windows": windows},
                {"column": "cost", "functions": FUNCTIONS, "windows": windows, "above": above, "quantiles": [0.5, 0.9]},
                {"column": "size", "functions": FUNCTIONS, "windows": windows, "above": above, "quantiles": [1.0]},
                {"column": "load", "functions": FUNCTIONS, "windows": windows, "above": above, "quantiles": [0.5]},
                {
                    "column": "load",
                    "functions": ["mean"],
                    "windows": windows,
                    "as": "heavy",
                    "where": {"load": {"above": 0}},
                },
                {"column": "note", "functions": ["count", "distinct", "first", "last"], "windows": windows},
                {"column": "ok", "functions": ["rate", "last", "sum"], "windows": windows},
                {"column": "note", "functions": ["rate"], "windows": windows, "condition": {"in": ["x"]}},
                {
                    "column": "size",
                    "functions": ["sum", "count"],
                    "windows": windows,
                    "as": "late_found",
                    "where": {"cost": {"above": above, "below": 2.5}, "ok": {"in": [True]}},
                },
                {"functions": ["count"], "windows": windows, "as": "few", "where": {"size": {"in": [1, 2.0, 0.5]}}},
            ],
            "latest": [
                {"column": "cost", "ttl": windows[0]},
                {"column": "size"},
                {"column": "load"},
                {"column": "note", "ttl": windows[0]},
            ],
            "static": ["size", "tag"],
            "expressions": {
                "share": f"few_count_{windows[0]} / count_{windows[0]}",
                "either": "coalesce(cost_latest, -size_latest) if size > 0 else abs(size)",
            },
        }
    )


def frame_of(rows: list[dict]) -> pl.DataFrame:
    """Rows as the lake holds them."""
    moment = pl.Datetime("us", "UTC")
    schema: dict[str, Any] = {"ts": moment, "seen": moment, "who": pl.String, "group": pl.Int64, "cost": pl.Int64, "size": pl.Int64, "load": pl.Float64,
              "note": pl.String, "tag": pl.String, "ok": pl.Boolean}  # fmt: skip
    return pl.DataFrame(
        {
            name: pl.Series(name, [row[name] for row in rows], pl.Int64 if kind == moment else kind).cast(kind)
            for name, kind in schema.items()
        }
    )


MOMENTS = st.integers(0, 12).map(lambda n: n * SECOND)
ROWS = st.lists(
    st.builds(
        lambda ts, late, who, group, cost, size, load, note, tag, ok: {
            "ts": ts, "seen": None if late is None else ts + late, "who": who, "group": group, "cost": cost,
            "size": size, "load": load, "note": note, "tag": tag, "ok": ok,
        },
        ts=MOMENTS,
        late=st.sampled_from([None, *range(-2, 9)]).map(lambda n: None if n is None else n * SECOND),
        who=st.sampled_from(["a", "a", "a", "a|b", "\\", "", None]),
        group=st.sampled_from([1, 1, -7, None]),
        cost=AMOUNTS,
        size=AMOUNTS,
        load=LOADS,
        note=st.sampled_from([None, "x", "y", "", "é|"]),
        tag=st.sampled_from([None, "round", "square"]),
        ok=st.sampled_from([None, True, False]),
    ),
    min_size=1,
    max_size=25,
)  # fmt: skip


@settings(max_examples=examples(22), deadline=None)
@given(
    rows=ROWS,
    windows=st.lists(st.sampled_from(["1s", "3s", "7s", "1d", "all"]), min_size=1, max_size=2, unique=True),
    entity=st.sampled_from([["who"], ["group"], ["who", "group"]]),
    above=st.sampled_from([0.0, 1.5, -0.01, 2.999, 1e300]),
    seed=st.randoms(use_true_random=False),
)
def test_offline_online_and_definition_agree(rows, windows, entity, above, seed) -> None:
    """Offline, online and brute force give the same bits, for any lateness and any order of arrival."""
    view = view_of(windows, entity, above)
    # The moments at which anything can change: when a value becomes known and when it leaves a window.
    spans = {f.window_micros for f in view.features() if f.window != "all"}
    edges = [row["seen"] or 0 for row in rows] + [row["ts"] + span for row in rows for span in spans] + [0, 0, 0]
    times = sorted({edge + after for edge in seed.sample(edges, min(len(edges), 6)) for after in (0, 1)})
    plan = compile_view(view, DATASET)
    arrived = list(rows)
    seed.shuffle(arrived)
    keys = [*sorted({tuple(row[name] for name in entity) for row in rows}, key=repr), ("never seen", 99)[: len(entity)]]
    if entity == ["group"]:
        keys[-1] = (99,)
    asked = [(key, at) for key in keys for at in times]
    spine = frame_of(
        [dict.fromkeys(("ts", "seen", "cost", "size", "load", "note", "tag", "ok"), None) | {"who": None, "group": None}
         | dict(zip(entity, key, strict=True)) for key, _ in asked]
    )  # fmt: skip
    offline = offline_of(plan, frame_of(arrived), spine, [at for _, at in asked])
    blobs = {
        blob.entity: encode_blob(blob) for blob in blobs_of(plan, frame_of(rows), table_version=3, horizon=min(times))
    }
    names = list(blobs)
    lookups = []
    for key, _ in asked:
        text = None if None in key else "|".join(str(k).replace("\\", "\\\\").replace("|", "\\|") for k in key)
        lookups.append(-1 if text is None else names.index(text) if text in blobs else len(names))
    held, moments = HeldBlobs.of([*blobs.values(), None]), np.array([at for _, at in asked], np.int64)
    places, table = np.array(lookups, np.int64), TextTable()
    answer = look_up(plan, held, places, moments)
    place_texts(plan, answer, held, places, table)
    online = [
        [shown(value, table.texts if feature.is_text else None) for value in values]
        for feature, values in zip(plan.features, answer.values.tolist(), strict=True)
    ]
    for row, (key, at) in enumerate(asked):
        for index, feature in enumerate(view.features()):
            expected = value_of(view, DATASET, rows, key, feature, at)
            assert bits(offline[index][row]) == bits(expected), (feature.name, key, at)
            assert bits(online[index][row]) == bits(expected), (feature.name, key, at)


def offline_of(plan: Plan, known: pl.DataFrame, spine: pl.DataFrame, at: list[int]) -> list[list[Any]]:
    """The values of a training set by feature and row; all missing where a key is."""
    codes, asked, entities = codes_of(plan, known, spine)
    return [column.to_list() for column in series_of(plan, known, (codes, asked, entities), np.array(at, np.int64))]


@settings(max_examples=examples(30), deadline=None)
@given(rows=ROWS, at=MOMENTS, seed=st.randoms(use_true_random=False))
def test_what_is_known_later_never_changes_a_value(rows, at, seed) -> None:
    """Deleting or shuffling what was not known before t changes no feature at t: there is no leak."""
    plan = compile_view(view_of(["3s", "1d"], ["who"], 1.0), DATASET)
    past, future = [], [row for row in rows if row["ts"] >= at]
    hidden_values = []
    for row in rows:
        if row["ts"] >= at:
            continue
        hidden = row["seen"] is None or max(row["seen"], row["ts"]) >= at
        if hidden:
            hidden_values.append(row)
        past.append(row | ({"cost": None, "load": None, "note": None, "seen": None} if hidden else {}))
    # Static facts are outside of time: whoever declares one says that it never changes.
    timeless = [i for i, f in enumerate(plan.features) if f.reference not in ("v.size", "v.either", "v.tag")]
    spine = frame_of([row | {"ts": at} for row in rows])

    def values(known: list[dict]) -> list[list[bytes]]:
        found = offline_of(plan, frame_of(known), spine, [at] * len(rows))
        return [[bits(value) for value in found[index]] for index in timeless]

    assert values(rows) == values(past)
    # Later rows change their values and times among themselves, and values that are not known yet do likewise.
    shuffled = [row for row in rows if row["ts"] < at and row not in hidden_values]
    for some, names in (
        (future, ("ts", "seen", "cost", "size", "load", "note", "tag", "ok")),
        (hidden_values, ("cost", "load", "note")),
    ):
        others = list(some)
        seed.shuffle(others)
        shuffled += [row | {name: other[name] for name in names} for row, other in zip(some, others, strict=True)]
    seed.shuffle(shuffled)
    assert values(shuffled) == values(rows)


def test_boundaries() -> None:
    """A value counts from just after it is known up to and including event time + window."""
    plan = compile_view(view_of(["5s"], ["who"], 0.0), DATASET)
    row = {
        "ts": 10 * SECOND,
        "seen": 12 * SECOND,
        "who": "a",
        "group": 1,
        "cost": 100,
        "size": None,
        "load": None,
        "note": None,
        "tag": None,
        "ok": None,
    }
    at = [12 * SECOND, 12 * SECOND + 1, 15 * SECOND, 15 * SECOND + 1]
    found = offline_of(plan, frame_of([row]), frame_of([row] * 4), at)
    values = dict(zip([f.reference for f in plan.features], found, strict=True))
    assert values["v.cost_count_5s"] == [0, 1, 1, 0]
    assert values["v.count_5s"] == [1, 1, 1, 0]


def test_statuses_and_known_until() -> None:
    """Each status says why a value is there or not, and a present one when its newest event was known."""
    plan = compile_view(view_of(["5s"], ["who"], 0.0), DATASET)
    row = {
        "ts": 10 * SECOND,
        "seen": 12 * SECOND,
        "who": "a",
        "group": 1,
        "cost": 100,
        "size": None,
        "load": None,
        "note": None,
        "tag": None,
        "ok": None,
    }
    (blob,) = blobs_of(plan, frame_of([row]), table_version=1, horizon=9 * SECOND)
    data = encode_blob(blob)
    at = [13 * SECOND, 60 * SECOND, 13 * SECOND, 13 * SECOND, 8 * SECOND, 8 * SECOND]
    answer = look_up(plan, HeldBlobs.of([data, None]), np.array([0, 0, 1, -1, 0, 1]), np.array(at, np.int64))
    mean = next(i for i, f in enumerate(plan.features) if f.reference == "v.cost_mean_5s")
    assert [STATUSES[status] for status in answer.statuses[mean]] == [
        Status.PRESENT, Status.MISSING, Status.UNKNOWN_ENTITY, Status.MISSING, Status.BEFORE_HORIZON,
        Status.UNKNOWN_ENTITY,
    ]  # fmt: skip
    assert answer.values[mean][0] == 1.0
    # The whole history still counts for `size_latest`, of which there is none; `cost_latest` has the window of 5 s.
    assert answer.known.tolist() == [12 * SECOND, *[NOTHING_KNOWN] * 5]
    assert answer.values[0][2] == 0.0
