"""The kernel, where it was built."""

from __future__ import annotations

import functools
import importlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenon.histograms import reference
from tenon.histograms.reference import Counts as Counts  # noqa: PLC0414 - the type of what is counted into
from tenon.native.build import digest_of_sources

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_log = logging.getLogger("tenon.histograms")


@functools.cache
def kernel() -> Any:
    """The compiled kernel; numpy's substitute, after a logged warning, where there is none or it was built from other sources."""
    try:
        module = importlib.import_module("tenon.histograms.kernel._kernel")
    except ImportError:
        problem = "is not built"
    else:
        if digest_of_sources(Path(__file__).parent / "kernel") == module.SOURCE:
            return module
        problem = "was built from other sources than these"
    _log.warning("the counting kernel %s: numpy counts, the same but slower; reinstall to build it", problem)
    return reference


def count_numbers(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64], counts: Counts) -> None:
    """Add to `counts` how many values lie in each bin: bin i is (edges[i-1], edges[i]], open at both ends; the last
    place, after the bins, is for NaN. All three lie in one piece."""
    kernel().count_numbers(values, edges, counts)


def count_codes(codes: npt.NDArray[np.int32], places: npt.NDArray[np.int32], counts: Counts) -> None:
    """Add to `counts[places[code]]` one for each code; code -1 is missing, the last place. All three lie in one piece."""
    kernel().count_codes(codes, places, counts)
