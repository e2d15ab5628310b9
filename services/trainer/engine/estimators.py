"""The estimators that are installed, by the names used in Model documents."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version

import xgboost

from services.trainer.domain.ports import Estimator, Plan
from services.trainer.engine.forests import FittedForest, XGBoostEstimator
from services.trainer.engine.linear import FittedLinear, LinearEstimator
from services.trainer.engine.networks import FittedNetwork, NetworkEstimator

_LIBRARIES = ("numpy", "onnx", "onnxruntime", "polars", "scikit-learn", "scipy", "skops")


class InstalledEstimators:
    """Builds estimators; `threads` is how many threads one training may use."""

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def build(self, name: str, plan: Plan) -> Estimator:
        """See `Estimators`."""
        if name == "xgboost":
            return XGBoostEstimator(plan, self._threads)
        return NetworkEstimator(plan) if name == "mlp" else LinearEstimator(name, plan)

    def engine_of(self, name: str) -> str:
        """See `Estimators`."""
        return {"xgboost": FittedForest.engine, "mlp": FittedNetwork.engine}.get(name, FittedLinear.engine)

    def environment(self) -> Mapping[str, str]:
        """See `Estimators`."""
        found = {name: version(name) for name in _LIBRARIES}
        return {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "xgboost": xgboost.__version__,
            **found,
        }
