"""Which of thousands of differences are called discoveries, so that few of the incidents opened in a month are false.

Within a round (all cells that became due together, of all tenants, models and features) the step-up procedure of
Benjamini and Hochberg, which holds when statistics are independent or positively dependent (a tenant's features are).
Over time its level is spent: a round gets the share of the yearly, monthly … rate that the time since the last round is of
the period. The false discovery proportion of a period is at most the sum of its rounds', so its expectation is at most the
sum of their levels, however rounds depend on each other. Zrnic et al. show how to earn level back by discoveries; it is
left out here: p-values of shifts that matter fall exponentially with rows, so that a level a hundred times smaller
costs a sixth more rows, and the bound without it needs no independence over time.

Benjamini, Y., Hochberg, Y. (1995). Controlling the false discovery rate. J. R. Stat. Soc. B 57(1).
Benjamini, Y., Yekutieli, D. (2001). The control of the false discovery rate under dependency. Ann. Stat. 29(4).
Zrnic, T., Jiang, D., Ramdas, A., Jordan, M. (2020). The power of batching in multiple hypothesis testing. AISTATS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


def round_level(rate: float, elapsed: int, period: int) -> float:
    """The level of a round `elapsed` after the one before it.

    >>> round_level(0.05, 1, 30)  # a day of a month
    0.0016666666666666668
    """
    return rate * min(1.0, max(0.0, elapsed / period))


def discover(
    p_values: npt.NDArray[np.float64], effects: npt.NDArray[np.float64], level: float
) -> npt.NDArray[np.bool_]:  # fmt: skip
    """Which cells are discoveries at a level. What does not matter (effect below 1) counts as tested and not found: its
    p-value is raised to 1, which keeps every guarantee.

    >>> discover(np.array([1e-9, 1e-9, 0.2]), np.array([3.0, 0.2, 3.0]), 0.05).tolist()
    [True, False, False]
    """
    count = len(p_values)
    if not count or level <= 0:
        return np.zeros(count, dtype=np.bool_)
    used = np.where(effects >= 1.0, p_values, 1.0)
    # Nothing above the level can pass: only the small ones are sorted.
    small = np.flatnonzero(used <= level)
    order = small[np.argsort(used[small], kind="stable")]
    passed = used[order] <= level * np.arange(1, len(order) + 1) / count
    last = int(np.flatnonzero(passed)[-1]) + 1 if passed.any() else 0
    found = np.zeros(count, dtype=np.bool_)
    found[order[:last]] = True
    return found
