"""A yardstick of bench-predictor: what many teams deploy, FastAPI and pydantic around `Booster.inplace_predict`.

It reads the same request body and answers in the same form; it has no keys, no routing, no metrics and no log.
`python -m tests.bench.peer_fastapi MODEL.ubj PORT`
"""

import sys

import numpy as np
import uvicorn
import xgboost
from fastapi import FastAPI
from pydantic import BaseModel


class Tensor(BaseModel):
    """One tensor."""

    name: str
    datatype: str
    shape: list[int]
    data: list[float | None]


class Asked(BaseModel):
    """A request."""

    inputs: list[Tensor]


class Answered(BaseModel):
    """An answer."""

    model_name: str
    outputs: list[Tensor]


def main() -> None:
    """Serve one model on one core until the process is ended."""
    booster = xgboost.Booster(model_file=sys.argv[1])
    booster.set_param({"nthread": 1})
    app = FastAPI()

    @app.post("/v2/models/bench/infer")
    async def infer(asked: Asked) -> Answered:
        if len(asked.inputs) == 1:
            rows = np.array(asked.inputs[0].data, np.float64).reshape(asked.inputs[0].shape)
        else:
            rows = np.array([tensor.data for tensor in asked.inputs], np.float64).T
        scores = booster.inplace_predict(rows).tolist()
        output = Tensor(name="probability", datatype="FP32", shape=[len(scores)], data=scores)
        return Answered(model_name="bench", outputs=[output])

    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
