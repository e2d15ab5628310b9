"""The predictor with a prediction log that keeps nothing: the yardstick of `bench-log`, and nothing else."""

from __future__ import annotations

from typing import Any

from services.predictor import main
from services.predictor.storage import spool


def nothing(*_: Any, **__: Any) -> None:
    """Log nothing."""


if __name__ == "__main__":
    spool.Spool.append = nothing  # type: ignore[method-assign]
    spool.Spool.append_row = nothing  # type: ignore[method-assign]
    main.main()
