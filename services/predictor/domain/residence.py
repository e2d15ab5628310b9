"""Which models stay in memory: the most recently used that fit into the budget, and those that must always be there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from services.predictor.domain.model import ModelKey


class Residence:
    """Sizes and order of use; not thread-safe, its owner has a lock.

    Without a budget everything stays. What was used between two looks counts as used at the later one (`used`), so that
    answering a request costs nothing here.
    """

    def __init__(
        self, budget_bytes: int | None = None, always: Callable[[ModelKey], bool] = lambda _key: False
    ) -> None:
        self.budget = budget_bytes
        self.always = always
        self._sizes: OrderedDict[ModelKey, int] = OrderedDict()
        self._total = 0
        self._seen: dict[ModelKey, int] = {}

    def __contains__(self, key: ModelKey) -> bool:
        return key in self._sizes

    @property
    def total(self) -> int:
        """Bytes of all that are in memory."""
        return self._total

    @property
    def order(self) -> list[ModelKey]:
        """All that are in memory, the one that was used longest ago first."""
        return list(self._sizes)

    def put(self, key: ModelKey, nbytes: int, *, used: bool) -> None:
        """A model is in memory now. One that nobody asked for is the first to go again."""
        fresh = key not in self._sizes
        self._total += nbytes - self._sizes.get(key, 0)
        self._sizes[key] = self._seen[key] = nbytes
        if used or fresh:
            self._sizes.move_to_end(key, last=used)

    def drop(self, key: ModelKey) -> None:
        """It is not any more."""
        self._total -= self._sizes.pop(key, 0)

    def used(self, keys: Iterable[ModelKey]) -> None:
        """These were used since the last look."""
        for key in keys:
            if key in self._sizes:
                self._sizes.move_to_end(key)

    def has_room(self, nbytes: int) -> bool:
        """Whether so much more fits without taking anything out."""
        return self.budget is None or self._total + nbytes <= self.budget

    def expected(self, key: ModelKey) -> int:
        """How large a model will be: as it was last time, else as the others are."""
        return self._seen.get(key) or (self._total // len(self._sizes) if self._sizes else 0)

    def victims(self, keep: ModelKey, others: int = 0) -> list[ModelKey]:
        """What has to go for the total (with `others`, bytes held elsewhere) to fit: never `keep`, nor what must stay.

        One model that is larger than the whole budget is served all the same, alone.
        """
        if self.budget is None:
            return []
        found, excess = [], self._total + others - self.budget
        for key, size in self._sizes.items():
            if excess <= 0:
                break
            if key != keep and not self.always(key):
                found.append(key)
                excess -= size
        return found


def always_of(names: Iterable[str]) -> Callable[[ModelKey], bool]:
    """From `tenant/model` and `tenant` (all of its models) to a question."""
    wanted = frozenset(names)
    return lambda key: key.tenant.value in wanted or f"{key.tenant.value}/{key.model}" in wanted
