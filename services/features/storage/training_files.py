"""Training sets as Parquet in the blob store, each with a small description beside it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import polars as pl

from services.features.domain.model import ErasedBy, TrainingSet
from tenon.core.errors import NotFound
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import BlobStore

_ROW_GROUP = 131_072
_SAID = {one.name for one in fields(TrainingSet)}
_CHECKED = "features/_checked/"
"""No tenant is called so."""


class BlobTrainingFiles:
    """See `ports.TrainingFiles`. `scratch` is a local folder for the file before it is stored."""

    def __init__(self, blobs: BlobStore, scratch: Path) -> None:
        self._blobs, self._scratch = blobs, scratch

    def find(self, tenant: TenantId, fingerprint: str) -> TrainingSet | None:
        """See `ports.TrainingFiles`."""
        key = _key(tenant, fingerprint)
        try:
            found = self._described(tenant, self._blobs.get_bytes(f"{key}.json"))
        except NotFound:
            return None
        return found if found.erased or self._blobs.exists(f"{key}.parquet") else None

    def write(self, tenant: TenantId, made: TrainingSet, frame: pl.DataFrame | pl.LazyFrame) -> TrainingSet:
        """See `ports.TrainingFiles`; the description is written last, so a file without one is not found."""
        key = _key(tenant, made.fingerprint)
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
        made = replace(made, uri=self._blobs.uri(f"{key}.parquet"), rows=rows, file_sha256=digest)
        self._describe(tenant, made)
        return made

    def list(self, tenant: TenantId) -> Iterator[TrainingSet]:
        """See `ports.TrainingFiles`."""
        for key in self._blobs.list(f"features/{tenant}/training/"):
            if key.endswith(".json"):
                yield self._described(tenant, self._blobs.get_bytes(key))

    def erase(self, tenant: TenantId, training_set: TrainingSet, why: ErasedBy) -> None:
        """See `ports.TrainingFiles`: the record says so last, so that what was cut off is found again."""
        self._blobs.delete(f"{_key(tenant, training_set.fingerprint)}.parquet")
        self._describe(tenant, replace(training_set, erased=why))

    def note_checked(self, tenant: TenantId, dataset: str, version: int) -> None:
        """See `ports.TrainingFiles`. It lies beside the files: whoever puts these back from a backup puts back how far
        they were checked, and what was erased since goes again."""
        self._blobs.put_bytes(f"{_CHECKED}{tenant}/{dataset}.json", json.dumps({"version": version}).encode())

    def checked(self, tenant: TenantId, dataset: str) -> int | None:
        """See `ports.TrainingFiles`."""
        try:
            return int(json.loads(self._blobs.get_bytes(f"{_CHECKED}{tenant}/{dataset}.json"))["version"])
        except NotFound:
            return None

    def list_checked(self) -> Iterator[tuple[TenantId, str]]:
        """See `ports.TrainingFiles`."""
        for key in self._blobs.list(_CHECKED):
            tenant, name = key.removeprefix(_CHECKED).split("/")
            yield TenantId(tenant), name.removesuffix(".json")

    def _describe(self, tenant: TenantId, made: TrainingSet) -> None:
        self._blobs.put_bytes(
            f"{_key(tenant, made.fingerprint)}.json", json.dumps(asdict(made), sort_keys=True).encode()
        )

    def _described(self, tenant: TenantId, data: bytes) -> TrainingSet:
        # A later version of this program may say more.
        said = {name: value for name, value in json.loads(data).items() if name in _SAID}
        said["uri"] = self._blobs.uri(f"{_key(tenant, said['fingerprint'])}.parquet")
        said["columns"] = tuple(said.get("columns", ()))
        said["erased"] = ErasedBy(**said["erased"]) if said.get("erased") else None
        return TrainingSet(**said)


def _key(tenant: TenantId, fingerprint: str) -> str:
    return f"features/{tenant}/training/{fingerprint}"
