"""Monitor's answers as the stand-in platform gives them: two models, one of which drifts and answers worse."""

from __future__ import annotations

from typing import Any


def overview() -> dict[str, Any]:
    """Every model, the worst first."""
    verdict = {
        "drift_verdict": "drift",
        "quality_verdict": "worse",
        "drifted_columns": ["amount"],
        "summary": "amount drifted",
    }
    released = {
        "revision": 2,
        "tracks": [{"role": "stable", "version": 1, "share": 0.9}, {"role": "canary", "version": 2, "share": 0.1}],
    }
    line = {
        "tenant": "shop",
        "labels": 0,
        "predictions": 0,
        "last_prediction_at": None,
        "latest_verdict": None,
        "release": None,
    }
    return {
        "tenants": ["shop"], "releases_known_at": "2026-01-01T00:00:00Z", "registry_answers": True,
        "models": [
            line | {"model": "returned", "state": "worse", "release": released, "latest_verdict": verdict, "predictions": 1000,
                    "labels": 900, "last_prediction_at": "2026-01-01T09:00:00Z", "advice": "Take the canary back.",
                    "command": "tenon release rollback returned --tenant shop"},
            line | {"model": "churn", "state": "fine", "advice": "Nothing to do.", "command": None},
        ],
    }  # fmt: skip


def history() -> dict[str, Any]:
    """Two buckets: the second is worse, and one of two columns has drifted in it."""

    def bucket(day: int, effect: float, verdict: str, auc: float, quality: str) -> dict[str, Any]:
        return {
            "start": f"2026-01-0{day}T00:00:00Z", "end": f"2026-01-0{day + 1}T00:00:00Z", "version": 1, "predictions": 200,
            "labels": 150, "traffic": [{"version": 1, "role": "stable", "predictions": 200}],
            "columns": [{"column": "amount", "verdict": verdict, "severity": 10 * effect, "effect": effect, "psi": 0.1, "rows": 200},
                        {"column": "age", "verdict": "not_enough_evidence", "severity": 0.0, "effect": 0.0, "psi": 0.0, "rows": 3}],
            "quality": [{"metric": "roc_auc", "version": 1, "value": auc, "low": auc - 0.02, "high": auc + 0.02, "expected": 0.8,
                         "rows": 150, "verdict": quality}],
        }  # fmt: skip

    release = {"revision": 2, "tracks": [{"role": "stable", "version": 1, "share": 1.0}], "made_at": "2026-01-02T08:00:00Z",
               "made_by": "ada", "action": "promote", "reason": "better"}  # fmt: skip
    return {
        "tenant": "shop", "model": "returned", "last": "7d", "window_start": "2026-01-01T00:00:00Z", "by": "at",
        "window_end": "2026-01-03T00:00:00Z", "metric": "roc_auc", "releases": [release],
        "buckets": [bucket(1, 0.02, "no_drift", 0.79, "as_expected"), bucket(2, 0.31, "drift", 0.6, "worse")],
    }  # fmt: skip


def in_depth() -> dict[str, Any]:
    """What was estimated, beside what came true, and calibration."""
    estimate = {
        "metric": "roc_auc", "version": 1, "rows": 400, "value": 0.7125, "low": 0.69, "high": 0.73, "expected": 0.8,
        "verdict": "worse", "realised": 0.6, "realised_low": 0.58, "realised_high": 0.62, "realised_rows": 300,
    }  # fmt: skip
    later = estimate | {"metric": "brier", "realised": None, "realised_rows": 0}
    return {"estimates": [estimate, later], "calibration": [{"version": 1, "summary": "answers are 0.1 too high"}]}


def retraining() -> dict[str, Any]:
    """What `GET …/retraining` of monitor says: one request waits, one was worth it."""

    def request(name: str, state: str, new_version: int | None) -> dict[str, Any]:
        reason = {"reason": "quality", "text": "version 1 answered worse than on its test for 25 hours"}
        return {
            "id": name, "model": "returned", "version": 1, "asked_at": "2026-01-02T08:00:00Z", "reasons": [reason],
            "state": state, "run_id": None, "new_version": new_version, "note": "", "changed_at": "2026-01-02T08:00:00Z",
            "changed_by": "",
        }  # fmt: skip

    return {"requests": [request("rt-2", "asked", None), request("rt-1", "better", 2)]}
