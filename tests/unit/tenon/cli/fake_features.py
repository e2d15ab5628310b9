"""The features service's answers as the stand-in platform gives them: one view with two features."""

from __future__ import annotations

from typing import Any


def feature_view(name: str) -> dict[str, Any]:
    """What a view has beside its document."""
    return {
        "revision": 2, "features": [f"{name}.count_30d", f"{name}.amount_mean_30d"],
        "online": {"serves_this_revision": False, "revision": 1, "table_version": 3, "entities": 40, "blob_bytes": 4000,
                   "entity_bytes": {"p50": 96, "p99": 180, "largest": 200},
                   "newest_event": "2026-01-01T10:00:00Z"},
    }  # fmt: skip


def feature_answer(_tenant: str, view: str, what: str) -> Any:
    """Lineage, statistics, or the page."""
    if what == "statistics.html":
        return b"<!doctype html>"
    if what == "lineage":
        return {
            "features": [{"feature": f"{view}.count_30d", "meaning": "count of events in 30d", "columns": []},
                         {"feature": f"{view}.amount_mean_30d", "meaning": "mean of amount in 30d", "columns": ["amount"]}],
            "dataset": {"name": "orders", "table_version": 4},
            "files": [{"name": f"orders{n}.csv", "rows": 10, "committed_at": "2026-01-01T00:00:00Z", "sha256": "ab" * 32}
                      for n in range(7)],
        }  # fmt: skip
    one = {"rows": 60, "low": 1.0, "median": 2.0, "high": 1234.5}
    return {
        "rows": 60, "sampled": 60, "table_version": 4,
        "features": [one | {"feature": f"{view}.count_30d", "missing": 0},
                     one | {"feature": f"{view}.amount_mean_30d", "missing": 15}],
    }  # fmt: skip


def feature_history(body: dict[str, Any]) -> Any:
    """Two moments."""
    points = [{"at": f"2026-01-0{n}T00:00:00Z", "values": [float(n), None, *[0.5] * 5]} for n in (1, 2)]
    return {"features": [f"v.f{n}" for n in range(7)], "points": points, "asked": body}


def online_features(body: dict[str, Any]) -> Any:
    """One row."""
    (view,) = body["views"]
    values = {f"{view}.count_30d": {"value": 3.0, "status": "PRESENT"},
              f"{view}.amount_mean_30d": {"value": None, "status": "UNKNOWN_ENTITY"}}  # fmt: skip
    return {"rows": [{"values": values, "known_until": {view: body["rows"][0].get("at")}}]}


def pushed_events(body: dict[str, Any]) -> Any:
    """The first row of each push is in the table already."""
    return {
        "accepted": len(body["rows"]) - 1,
        "known": 1,
        "views": ["customer_history", "customer_history@0123456789abcdef"],
    }


def training_sets() -> Any:
    """One that is there, one that is not any more, one of before records said more."""
    one = {"rows": 1204, "spine": "orders", "dataset_versions": {"orders": 9, "customers": 3}, "erased": None}
    gone = {"dataset": "customers", "rows": 4, "at": "2026-01-02T10:00:00Z", "table_version": 4}
    return {
        "training_sets": [
            one | {"fingerprint": "a" * 64, "made_at": "2026-01-03T10:00:00Z"},
            one | {"fingerprint": "b" * 64, "made_at": "2026-01-01T10:00:00Z", "erased": gone},
            one | {"fingerprint": "c" * 64, "made_at": None, "spine": "", "erased": gone | {"rows": None}},
        ]
    }


def erased_rows(dataset: str, body: dict[str, Any]) -> Any:
    """Ingest's answer: seven is known, nobody else."""
    (value,) = body["key"].values()
    files = [{"batch": "b1", "file_name": f"{dataset}.csv", "file_sha256": "ab" * 32}]
    return {"rows": 3 if value == "7" else 0, "table_version": 5, "files": files if value == "7" else []}


def erased_predictions() -> Any:
    """Monitor's answer."""
    return {"models": [{"model": "returned", "rows": 2, "labels": 1, "versions": [1, 3]}]}
