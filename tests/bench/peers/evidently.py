"""Evidently for `make bench-monitor`, in an environment of its own: `evidently.py FOLDER`.

Reads `reference.parquet` and `current.parquet`, runs the default drift preset once, and prints the processor time it took
(reading left out), the most memory, and the columns it calls drifted.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

# This file is called what it imports; its folder must not be searched first.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]


def main() -> None:
    """Read, compare, print."""
    import numpy as np
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    folder = Path(sys.argv[1])
    frames = []
    for name in ("current", "reference"):
        held = np.load(folder / f"{name}.npz", allow_pickle=False)
        levels = json.loads((folder / "levels.json").read_text())
        columns: dict[str, Any] = {
            key: pd.Categorical.from_codes(held[key], levels[key]).astype(object) if key in levels else held[key]
            for key in held.files
        }
        frames.append(pd.DataFrame(columns))
    definition = DataDefinition(
        numerical_columns=[key for key in frames[0] if key not in levels], categorical_columns=list(levels)
    )
    began = _processor_seconds()
    current, reference = (Dataset.from_pandas(frame, data_definition=definition) for frame in frames)
    snapshot = Report([DataDriftPreset()]).run(current, reference)
    found = json.loads(snapshot.json())
    seconds = _processor_seconds() - began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"seconds": seconds, "mb": usage.ru_maxrss / 1024, "drifted": _drifted(found)}))


def _processor_seconds() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return time.process_time() if own is None else own.ru_utime + own.ru_stime


def _drifted(found: dict[str, Any]) -> list[str]:
    """Columns whose drift score is on the drifted side of the default threshold."""
    drifted = []
    for metric in found["metrics"]:
        config = metric.get("config", {})
        if "column" not in config or not isinstance(metric["value"], int | float):
            continue
        threshold = config.get("threshold") or 0.1
        by_p_value = "p_value" in str(metric.get("metric_name", ""))
        if metric["value"] < threshold if by_p_value else metric["value"] >= threshold:
            drifted.append(config["column"])
    return drifted


if __name__ == "__main__":
    main()
