"""Training sets as Parquet in the blob store, each with a small description beside it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from services.features.domain.model import TrainingSet
from tenon.core.errors import NotFound
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import BlobStore

_ROW_GROUP = 131_072


class BlobTrainingFiles:
    """See `ports.TrainingFiles`. `scratch` is a local folder for the file before it is stored."""

    def __init__(self, blobs: BlobStore, scratch: Path) -> None:
        self._blobs, self._scratch = blobs, scratch

    def find(self, tenant: TenantId, fingerprint: str) -> TrainingSet | None:
        """See `ports.TrainingFiles`."""
        key = _key(tenant, fingerprint)
        try:
            description = json.loads(self._blobs.get_bytes(f"{key}.json"))
        except NotFound:
            return None
        if not self._blobs.exists(f"{key}.parquet"):
            return None
        return TrainingSet(**{**description, "uri": self._blobs.uri(f"{key}.parquet")})

    def write(
        self,
        tenant: TenantId,
        fingerprint: str,
        frame: pl.DataFrame | pl.LazyFrame,
        *,
        dataset_versions: dict[str, int],
        view_digests: dict[str, str],
    ) -> TrainingSet:
        """See `ports.TrainingFiles`; the description is written last, so a file without one is not found."""
        key = _key(tenant, fingerprint)
        self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            path = Path(folder) / "training.parquet"
            # Everything that shapes the bytes is fixed here; the writer is otherwise deterministic, and the same for both.
            # Level 1 takes a third less time than level 3 for files a sixth larger; none would be three times as large.
            shape: dict[str, Any] = {
                "compression": "zstd", "compression_level": 1, "statistics": True, "row_group_size": _ROW_GROUP,
            }  # fmt: skip
            if isinstance(frame, pl.LazyFrame):
                frame.sink_parquet(path, maintain_order=True, engine="streaming", **shape)
                rows = pl.scan_parquet(path).select(pl.len()).collect().item()
            else:
                frame.rechunk().write_parquet(path, **shape)
                rows = frame.height
            with path.open("rb") as source:
                digest = hashlib.file_digest(source, "sha256").hexdigest()
            self._blobs.put_file(f"{key}.parquet", path)
        made = TrainingSet(
            uri=self._blobs.uri(f"{key}.parquet"),
            rows=rows,
            fingerprint=fingerprint,
            file_sha256=digest,
            dataset_versions=dataset_versions,
            view_digests=view_digests,
        )
        self._blobs.put_bytes(f"{key}.json", json.dumps(asdict(made), sort_keys=True).encode())
        return made


def _key(tenant: TenantId, fingerprint: str) -> str:
    return f"features/{tenant}/training/{fingerprint}"
