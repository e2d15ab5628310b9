"""`make bench-canaries`: how often equal canaries are rolled back wrongly, and how soon worse ones are found.

Simulated tenants of 50 requests a day, judged every other day (25 times until the horizon) by the same function that monitor uses. Wrong rollbacks: 1,000 equal
canaries and shadows, a quarter of a year each. Found: canaries whose area under the ROC curve is 10 points less, within the days that
their first verdict printed. No yardstick: both are promises.
"""

from __future__ import annotations

import math

import numpy as np

from services.monitor.domain.canary.words import CanaryVerdict
from tests.bench import frame
from tests.support.canary_trials import World, first_horizon, run

RUNS, DAYS = 1000, 90
WORLDS = {
    "half of the requests": World(),
    "a tenth of the requests": World(share=0.1),
    "rare positives (10 %)": World(positives=0.1),
    "a strong model (AUC 0.9)": World(auc=0.9),
    "labels after 14 days": World(delay_days=14),
    "more errors and slow answers on both": World(errors=(0.03, 0.03), slow=(0.2, 0.2)),
    "a shadow, scores much alike (0.8)": World(shadow=True, share=1.0),
    "a shadow, scores hardly alike (0.3)": World(shadow=True, share=1.0, alike=0.3),
    "a shadow, nearly the same scores (0.99)": World(shadow=True, share=1.0, alike=0.99),
}


def share_of(world: World, days: int, runs: int, seed: int, every: int) -> tuple[float, float]:
    """Share that was rolled back, and the median day on which."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(runs):
        judged, day = run(world, days, rng, every=every)
        if judged.verdict is CanaryVerdict.ROLL_BACK:
            found.append(day)
    return len(found) / runs, float(np.median(found)) if found else math.nan


def main() -> None:
    """Measure, and print."""
    figures: list[frame.Figure] = []
    wrong, each = 0.0, math.ceil(RUNS / len(WORLDS))
    for place, (name, world) in enumerate(WORLDS.items()):
        frame.tell(f"{name} …")
        share, _ = share_of(world, DAYS, each, 100 + place, 2)
        wrong += share * each
        figures.append(frame.figure(f"wrong rollbacks in {DAYS} days, {each} equal canaries, {name}", share, ""))
    total = wrong / (each * len(WORLDS))
    figures.insert(
        0, frame.figure(f"wrong rollbacks, all {each * len(WORLDS):,} equal canaries", total, "", at_most=0.05)
    )
    for place, (name, world) in enumerate(WORLDS.items()):
        worse = World(**{**world.__dict__, "loss": 0.1})
        days = first_horizon(worse, np.random.default_rng(7))
        frame.tell(f"10 points worse, {name}, {days} days …")
        share, median = share_of(worse, days, 100, 200 + place, math.ceil(days / 25))
        figures.append(
            frame.figure(
                f"10 points of AUC worse, found within the {days} days printed, {name}", share, "", at_least=0.8
            )
        )
        figures.append(frame.figure(f"median day on which, {name}", median, "days"))
    frame.report("canaries", "Canary verdicts at 50 requests a day", figures)


if __name__ == "__main__":
    main()
