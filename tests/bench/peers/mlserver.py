"""MLServer with its own XGBoost runtime, for the benches: `mlserver.py --model FILE --http PORT --grpc PORT`.

As a good operator would run it on one core: no access log (it is on by default), no second process for inference (on by
default too, and slower there), uvloop and httptools. `--batching` switches on its adaptive batching.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

# This file is called what it imports; its folder must not be searched first.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
os.environ["OMP_NUM_THREADS"] = "1"


def main() -> None:
    """Serve model `bench` until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--http", type=int, required=True)
    parser.add_argument("--grpc", type=int, required=True)
    parser.add_argument("--batching", action="store_true")
    given = parser.parse_args()

    # After the thread count is set and the name is free.
    import uvloop
    from mlserver import MLServer, ModelSettings, Settings
    from mlserver.settings import ModelParameters

    batching = {"max_batch_size": 64, "max_batch_time": 0.001} if given.batching else {}
    model = ModelSettings(
        name="bench",
        implementation="mlserver_xgboost.XGBoostModel",
        parameters=ModelParameters(uri=given.model, version="1"),
        **batching,
    )
    settings = Settings(
        host="127.0.0.1",
        http_port=given.http,
        grpc_port=given.grpc,
        metrics_endpoint=None,
        debug=False,
        parallel_workers=0,
        load_models_at_startup=False,
    )

    async def serve() -> None:
        await MLServer(settings).start([model])

    uvloop.run(serve()) if hasattr(uvloop, "run") else asyncio.run(serve())


if __name__ == "__main__":
    main()
