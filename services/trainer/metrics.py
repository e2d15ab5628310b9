"""Every metric of the trainer."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

MODELS_DEFINED = Counter("tenon_trainer_models_defined_total", "Model documents sent, by what changed.", ["change"])
RUNS_STARTED = Counter("tenon_trainer_runs_started_total", "Runs asked for.")
QUEUE_TROUBLE = Counter(
    "tenon_trainer_enqueue_failures_total", "Runs that could not be put on the queue when they were made."
)
RUNS_ATTENDED = Counter(
    "tenon_trainer_runs_attended_total", "Runs enqueued again because they had no task or no living worker."
)
RUNS = Gauge("tenon_trainer_runs", "Runs in the run table, by state.", ["state"])
OLDEST_WAITING = Gauge(
    "tenon_trainer_oldest_waiting_seconds", "Age of the run that has waited longest; 0 when none waits."
)

# Of the worker's process.
RUNS_WORKED = Counter("tenon_trainer_runs_worked_total", "Tasks done, by how they ended.", ["verdict"])
RUN_DURATION = Histogram(
    "tenon_trainer_run_duration_seconds",
    "Time a worker spent on a run, by how it ended.",
    ["verdict"],
    buckets=(0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600),
)
SURPRISES = Counter("tenon_trainer_run_surprises_total", "Runs that ended with an exception nobody foresaw.")
