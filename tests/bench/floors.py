"""The bare servers of bench-predictor: the least that can be done around the same kernel. No keys, routing, metrics or log.

`python -m tests.bench.floors asgi|hello|grpc BUNDLE PORT`
"""

from __future__ import annotations

import sys
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import orjson
import uvicorn

from tenon.api.inference.v2 import inference_pb2 as pb
from tenon.api.inference.v2 import inference_pb2_grpc
from tenon.bundle import Evaluator, load_evaluator, open_bundle


def asgi(evaluator: Evaluator) -> Any:
    """JSON in, one matrix; JSON out."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        tensor = orjson.loads(body)["inputs"][0]
        rows, width = tensor["shape"]
        if rows == 1:
            scores = [evaluator.predict_row(tensor["data"])]
        else:
            scores = evaluator.predict_matrix(np.array(tensor["data"], np.float64).reshape(rows, width)).tolist()
        output = {"name": "probability", "datatype": "FP64", "shape": [rows], "data": scores}
        data = orjson.dumps({"model_name": "bench", "outputs": [output]})
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": data})

    return app


def hello() -> Any:
    """Two bytes."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        head = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b"ok"})

    return app


class Bare(inference_pb2_grpc.GRPCInferenceServiceServicer):
    """Raw in, raw out."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def ModelInfer(self, request: pb.ModelInferRequest, call: Any) -> pb.ModelInferResponse:
        """One matrix of FP64."""
        rows, width = request.inputs[0].shape
        matrix = np.frombuffer(request.raw_input_contents[0], np.float64).reshape(rows, width)
        scores = self._evaluator.predict_matrix(matrix)
        response = pb.ModelInferResponse(model_name="bench", raw_output_contents=[scores.tobytes()])
        response.outputs.add(name="probability", datatype="FP64", shape=[rows])
        return response


def main() -> None:
    """Serve until the process is ended."""
    kind, bundle, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    evaluator: Any = None
    if kind != "hello":
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        key: Any = load_pem_public_key((bundle.parent / "predictor" / "verify.pem").read_bytes())
        evaluator = load_evaluator(open_bundle(bundle.read_bytes(), key))
    if kind == "grpc":
        server = grpc.server(futures.ThreadPoolExecutor(int(sys.argv[4]) if len(sys.argv) > 4 else 4))
        inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Bare(evaluator), server)
        server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        server.wait_for_termination()
        return
    uvicorn.run(
        hello() if evaluator is None else asgi(evaluator), host="127.0.0.1", port=port, access_log=False,
        log_level="warning", lifespan="off",
    )  # fmt: skip


if __name__ == "__main__":
    main()
