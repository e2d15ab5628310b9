"""Use case: take a file so that it can never be lost, then answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.ingest.domain.model import Batch, RawFile
from services.ingest.domain.ports import Batches, Datasets, RawFiles
from tenon.core.errors import Invalid, Place
from tenon.core.tenancy import TenantId


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to an upload."""

    batch: Batch
    duplicate: bool


class ReceiveFile:
    """Takes files."""

    def __init__(self, datasets: Datasets, batches: Batches, raw: RawFiles, wake: Callable[[], None]) -> None:
        self._datasets, self._batches, self._raw, self._wake = datasets, batches, raw, wake

    def check(self, tenant: TenantId, dataset: str, name: str) -> str:
        """Refuse before the body is read what would be refused after it; gives the file's plain name."""
        self._datasets.get(tenant, dataset)
        return check_file_name(name)

    def receive(self, tenant: TenantId, dataset: str, file: RawFile, path: Path) -> Receipt:
        """Store a local file and enter its batch. After this returns, the file survives a kill at any instant.

        The same content under the same rules is not taken twice: the earlier batch is the answer.
        """
        contract = self._datasets.get(tenant, dataset)
        earlier = self._batches.find_duplicate(tenant, contract, file.sha256)
        if earlier is not None:
            return Receipt(earlier, True)
        # The raw file first: a batch must never point at nothing. A kill in between leaves an unused raw file.
        self._raw.keep(tenant, dataset, file.sha256, path)
        batch, duplicate = self._batches.receive(tenant, contract, file)
        self._wake()
        return Receipt(batch, duplicate)


def check_file_name(name: str) -> str:
    """A plain file name: no folders, no control characters, at most 200 characters. Raises `Invalid`."""
    if (
        not name.strip()
        or len(name) > 200
        or not name.isprintable()
        or re.search(r"[/\\]", name)
        or name in (".", "..")
    ):
        raise Invalid(
            "FILE_NAME_INVALID", f"{name[:80]!r} is not a plain file name of at most 200 characters",
            place=Place(field="name"), hint="add ?name=visits.csv",
        )  # fmt: skip
    return name
