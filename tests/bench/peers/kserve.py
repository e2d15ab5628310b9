"""KServe's Python model server, for the benches: `kserve.py --model FILE --http PORT --grpc PORT`.

Its XGBoost server is not on PyPI; the model class below does what that one does (a DMatrix and `Booster.predict`), except
that without the DMatrix it is faster, so it gets `inplace_predict`. Its logs of every request are off.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

# This file is called what it imports; its folder must not be searched first.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
os.environ["OMP_NUM_THREADS"] = "1"


def main() -> None:
    """Serve model `bench` until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--http", type=int, required=True)
    parser.add_argument("--grpc", type=int, required=True)
    given = parser.parse_args()
    # KServe reads the command line itself as soon as it is imported.
    sys.argv = sys.argv[:1]

    # After the name is free and the command line is out of the way.
    import xgboost
    from kserve import Model, ModelServer
    from kserve.utils.utils import get_predict_input, get_predict_response

    class BenchModel(Model):
        """One booster."""

        def load(self) -> bool:
            """Read the file."""
            self.booster = xgboost.Booster(model_file=given.model)
            self.ready = True
            return True

        async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
            """Probabilities."""
            scores = self.booster.inplace_predict(get_predict_input(payload))
            return get_predict_response(payload, scores, self.name)

    model = BenchModel("bench")
    model.load()
    server = ModelServer(http_port=given.http, grpc_port=given.grpc, workers=1, enable_latency_logging=False)
    for name in ("uvicorn.access", "kserve", "kserve.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)
    server.start([model])


if __name__ == "__main__":
    main()
