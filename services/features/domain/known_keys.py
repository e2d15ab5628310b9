"""Which primary keys a table has: a pushed row whose key is there is not fresh any more."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import polars as pl

from services.features.domain.model import LakeTable
from services.features.domain.ports import REPLACED_IN, Lake
from services.features.domain.read_pushed import key_texts

_MOST_KEYS = 40_000_000
_Hashes = np.ndarray[Any, np.dtype[np.uint64]]


class KnownKeys:
    """Remembers, of the tables asked for last, a 64-bit hash of each key: eight bytes a row, 40 million rows at most.

    A new key passes for a known one in one of 10^19 / rows cases; its row is then seen with the next commit only.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake, self._locks = lake, dict[str, threading.Lock]()
        self._tables: OrderedDict[str, tuple[int, _Hashes]] = OrderedDict()

    def known(self, table: LakeTable | None, keys: pl.Series) -> list[bool]:
        """For each key, as `key_texts` gives them, whether the table has it at its version."""
        if table is None or keys.is_empty():
            return [False] * len(keys)
        hashes, wanted = self._at(table), _hashed(keys)
        places = np.searchsorted(hashes, wanted)
        found = places < len(hashes)
        found[found] = hashes[places[found]] == wanted[found]
        return [bool(one) for one in found]

    def removed(self, table: LakeTable, since: int) -> dict[str, int]:
        """The keys, as `key_texts` gives them, whose rows were removed after version `since`, and in which version last."""
        rows = self._lake.read_removed(table, since)
        return dict(
            sorted(zip(key_texts(table.spec, rows), rows[REPLACED_IN], strict=True), key=lambda item: int(item[1]))
        )

    def _at(self, table: LakeTable) -> _Hashes:
        names = list(table.spec.primary_key)
        with self._locks.setdefault(table.uri, threading.Lock()):
            version, hashes = self._tables.get(table.uri, (-1, None))
            if hashes is not None and version == table.version:
                self._tables.move_to_end(table.uri)
                return hashes
            if hashes is not None and version < table.version:
                added = self._lake.read_added(table, names, version)
                made = None if added is None else np.union1d(hashes, _hashed(key_texts(table.spec, added)))
            else:
                made = None
            if made is None:
                made = np.unique(_hashed(key_texts(table.spec, self._lake.read(table, names))))
            if version < table.version:
                self._tables[table.uri] = table.version, made
                self._tables.move_to_end(table.uri)
                while len(self._tables) > 1 and sum(len(held) for _, held in [*self._tables.values()]) > _MOST_KEYS:
                    self._tables.popitem(last=False)
            return made


def _hashed(keys: pl.Series) -> _Hashes:
    # Polars' hash is the same within one process, and these never leave it.
    return keys.hash(seed=7).to_numpy()
