"""An online store in memory that cuts entities' blobs as the real one does, after very few events if it is to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from services.features.domain.model import OnlineState
from services.features.domain.ports import EntityNames, Pending, ServedView
from tenon.core.specs import DatasetSpec, FeatureViewSpec
from tenon.core.tenancy import TenantId
from tenon.windows.blob import EntityBlob, decode_blob, encode_blob
from tenon.windows.pieces import Sizes, cut, names_in
from tenon.windows.program import Windows
from tests.support.features_fakes import FakeOnlineStore


class CutBlobs(dict[str, bytes]):
    """Blobs by entity, cut when they are put."""

    def __init__(self, windows: Windows, sizes: Sizes) -> None:
        super().__init__()
        self.windows, self.sizes = windows, sizes
        self.chunks: dict[bytes, bytes] = {}

    def __setitem__(self, entity: str, data: bytes) -> None:
        head, made = cut(decode_blob(data), self.windows, self.read, self.sizes)
        self.chunks |= made
        super().__setitem__(entity, encode_blob(head))
        wanted = set().union(*map(names_in, self.values()))
        self.chunks = {name: data for name, data in self.chunks.items() if name in wanted}
        assert wanted == self.chunks.keys()

    def read(self, names: Sequence[bytes]) -> list[bytes | None]:
        """Chunks."""
        return [self.chunks.get(name) for name in names]


@dataclass
class CuttingOnlineStore(FakeOnlineStore):
    """See `ports.OnlineStore`."""

    sizes: Sizes = field(default_factory=Sizes)

    def serve(self, tenant: TenantId, views: Sequence[str], entities: EntityNames) -> dict[str, ServedView | None]:
        """See `ports.OnlineStore`."""
        served = super().serve(tenant, views, entities)
        for view, found in served.items():
            held = self.blobs.get((tenant, view))
            if found is not None and isinstance(held, CutBlobs):
                served[view] = replace(found, chunks=held.read)
        return served

    def publish(
        self,
        tenant: TenantId,
        view: str,
        source: tuple[FeatureViewSpec, DatasetSpec],
        state: OnlineState,
        blobs: Iterable[EntityBlob],
        pending: Pending | None = None,
    ) -> OnlineState:
        """See `ports.OnlineStore`."""
        state = super().publish(tenant, view, source, state, blobs, pending)
        held = CutBlobs(self.plans[tenant, view].program, self.sizes)
        for entity, data in self.blobs[tenant, view].items():
            held[entity] = data
        self.blobs[tenant, view] = held
        return state
