"""Traffic of three tenants for monitor's pages: one drifts, one is calm with a canary, one has hardly begun."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from tenon.api.registry.v1 import registry_pb2
from tenon.core.manifest import CategoricalBaseline, NumericBaseline
from tests.support.fakes_monitor import FakeRegistry
from tests.support.monitor_data import DAY, batch_document, categorical_baseline, manifest, numeric_baseline

if TYPE_CHECKING:
    import redis

KEYS = {"north": "key-of-north", "south": "key-of-south", "west": "key-of-west"}
MODEL = "readmission"
WARDS = ["surgery", "medicine", "geriatrics"]
_TRAINED = np.random.default_rng(7)
_BATCHES = 28


def pages_registry() -> FakeRegistry:
    """Two versions for each tenant; south tries the second as a canary."""
    age, stay = _TRAINED.normal(62, 15, 10_000), _TRAINED.gamma(2.0, 3.0, 10_000)
    columns: dict[str, NumericBaseline | CategoricalBaseline] = {
        "age": numeric_baseline(age),
        "length_of_stay": numeric_baseline(stay),
        "ward": categorical_baseline(_TRAINED.choice(WARDS, 10_000).tolist()),
    }
    figures = {"roc_auc": 0.715, "log_loss": 0.585, "brier": 0.2}
    score = numeric_baseline(risk(age, stay))
    fake = FakeRegistry(keys=KEYS)
    for tenant in KEYS:
        for version in (1, 2):
            fake.manifests[tenant, MODEL, version] = manifest(columns, score, tenant=tenant, metrics=figures)
    return fake


def released(tenant: str, revision: int, at: int, tracks: dict[str, tuple[int, int]], action: str = "set") -> Any:
    """A release; tracks are role to (version, permille)."""
    roles = {"stable": registry_pb2.ROLE_STABLE, "canary": registry_pb2.ROLE_CANARY}
    release = registry_pb2.Release(
        tenant=tenant, model=MODEL, revision=revision, action=action, created_by="ada", reason="a new year of data"
    )
    release.created_at.FromMicroseconds(at)
    for role, (version, permille) in tracks.items():
        release.tracks.add(role=roles[role], version=version, weight_permille=permille)
    return release


def risk(age: np.ndarray, stay: np.ndarray) -> np.ndarray:
    """The model."""
    return 1 / (1 + np.exp(-((age - 62) / 15 + (stay - 6) / 5)))


def pages_traffic(
    client: redis.Redis, now: int, registry: FakeRegistry | None = None
) -> dict[str, list[dict[str, Any]]]:
    """A week of batches on the stream; gives the labels to send, by tenant. North's patients are older from mid-week on."""
    rng = np.random.default_rng(3)
    labels: dict[str, list[dict[str, Any]]] = {}
    if registry is not None:
        for tenant in KEYS:
            registry.releases.append(released(tenant, 1, now - 8 * DAY, {"stable": (1, 0)}))
        registry.releases.append(released("south", 2, now - 2 * DAY, {"stable": (1, 0), "canary": (2, 100)}))
        registry.releases.append(released("north", 2, now - 3 * DAY - DAY // 2, {"stable": (2, 0)}, "promote"))
    for tenant in KEYS:
        for number in range(_BATCHES):
            at = now - 7 * DAY + (number + 1) * (7 * DAY // _BATCHES) - 3_600_000_000
            late = number >= _BATCHES // 2
            rows = 15 if tenant == "west" else 80
            age = rng.normal(62 + (12 if tenant == "north" and late else 0), 15, rows)
            stay = rng.gamma(2.0, 3.0, rows)
            score = risk(age, stay)
            outcome = rng.random(rows) < (1 - score if tenant == "north" and late else score)
            columns = {"age": age, "length_of_stay": stay, "ward": rng.choice(WARDS, rows).tolist()}
            version, role = 1, "stable"
            if tenant == "north" and late:
                version = 2
            if tenant == "south" and number >= 20 and number % 5 == 0:
                version, role = 2, "canary"
            document = batch_document(
                score, columns, tenant=tenant, model=MODEL, version=version, role=role, at=at, event_time=at
            )
            client.xadd("tenon:predictions", {"batch": json.dumps(document)})
            if tenant != "west":
                labels.setdefault(tenant, []).extend(
                    {"prediction_id": name, "value": int(value)}
                    for name, value in zip(document["prediction_id"], outcome, strict=True)
                )
    return labels
