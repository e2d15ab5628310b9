"""Lookups of entities in pieces whose chunks are replaced between the two round trips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from services.features.domain.look_up_online import LookUpOnline
from services.features.domain.model import EntityKeys, OnlineState
from services.features.domain.plan import compile_view
from services.features.domain.ports import EntityNames, ServedView
from tenon.core.errors import Unavailable
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.windows.blob import EntityBlob
from tenon.windows.events import Column, Events
from tenon.windows.pieces import Sizes
from tests.support.features_fakes import FakeMeter, FakeViews
from tests.support.features_in_pieces import CuttingOnlineStore

NORTH, SECOND = TenantId("north"), 1_000_000
DATASET = DatasetSpec.model_validate(
    {
        "name": "d", "primaryKey": ["id"], "eventTime": "at",
        "columns": {"id": {"type": "integer"}, "at": {"type": "timestamp"}, "who": {"type": "string"},
                    "x": {"type": "integer"}},
    }
)  # fmt: skip
VIEW = FeatureViewSpec.model_validate(
    {"name": "v", "dataset": "d", "entity": ["who"],
     "aggregates": [{"column": "x", "functions": ["sum"], "windows": ["10s", "all"]}]}
)  # fmt: skip


@dataclass
class MovingStore(CuttingOnlineStore):
    """Somebody writes the entity anew after its head was read, some times."""

    moves: int = 0
    reads: list[int] = field(default_factory=list)

    def serve(self, tenant: TenantId, views: Sequence[str], entities: EntityNames) -> dict[str, ServedView | None]:
        """See `ports.OnlineStore`."""

        def reading(view: ServedView) -> ServedView:
            def chunks(names: Sequence[bytes]) -> Sequence[bytes | None]:
                self.reads.append(len(names))
                self.moves -= 1
                return view.chunks(names) if self.moves < 0 else [None] * len(names)

            return replace(view, chunks=chunks)

        served = super().serve(tenant, views, entities)
        return {name: view and reading(view) for name, view in served.items()}


def moving(moves: int) -> MovingStore:
    """An entity of a hundred events."""
    store, plan = MovingStore(sizes=Sizes(20, 10, 10), moves=moves), compile_view(VIEW, DATASET)
    time = np.arange(100) * SECOND
    state = OnlineState(
        plan_digest=plan.digest, view_digest="d", revision=1, table_uri="u", table_version=1, horizon=0, newest_event=1,
        entities=0, blob_bytes=0, built_at=2,
    )  # fmt: skip
    blob = EntityBlob("a", 1, 0, Events(time, (Column(), Column(value=np.arange(100)))))
    store.publish(NORTH, "v", (VIEW, DATASET), state, [blob])
    return store


def test_a_head_that_has_changed_is_read_again() -> None:
    """A chunk that is gone sends the lookup back to the head; only the chunks with an edge are read."""
    store = moving(moves=3)
    online = LookUpOnline(store, FakeViews(), FakeMeter())
    found = online.look_up(NORTH, ["v"], [EntityKeys({"who": "a"}, 85 * SECOND + 1), EntityKeys({"who": "b"}, SECOND)])
    assert found.rows[0].values == [sum(range(76, 86)), sum(range(86))]
    assert store.reads == [2, 2, 2, 2]


def test_an_entity_that_never_rests_is_unavailable() -> None:
    """After some tries the caller is told to ask again."""
    with pytest.raises(Unavailable, match="changing all the time"):
        LookUpOnline(moving(moves=99), FakeViews(), FakeMeter()).look_up(
            NORTH, ["v"], [EntityKeys({"who": "a"}, 85 * SECOND + 1)]
        )
