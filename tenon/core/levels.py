"""What an answer rests on: the rungs of a model's fallback ladder, as answers and the prediction log call them."""

from __future__ import annotations

import enum


class Level(enum.StrEnum):
    """From best to worst. An answer for which no history had to be looked up has none."""

    FRESH = "fresh"
    STALE = "stale"
    MISSING = "missing"
    WITHOUT_HISTORY = "without_history"
    RULE = "rule"
    PRIOR = "prior"
    CONSTANT = "constant"

    @property
    def by_the_model(self) -> bool:
        """Whether the version's own model answers."""
        return self in (Level.FRESH, Level.STALE, Level.MISSING)


BY_THE_MODEL = frozenset(level for level in Level if level.by_the_model)
BESIDE_THE_MODEL = frozenset(Level) - BY_THE_MODEL
