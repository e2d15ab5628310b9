"""The public doors the story goes through: the `tenon` command, HTTP and gRPC. Nothing else of Tenon is imported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import urllib3

from examples.hospital.story import StepFailed
from tenon.api.inference.v2 import inference_pb2, inference_pb2_grpc
from tenon.api.predictor.v1 import predictor_pb2, predictor_pb2_grpc

MODEL = "visit_cost"
DATASET = "visits"
_DEADLINE_SECONDS = 60.0


class Command:
    """The `tenon` command on one data folder, or on the platform that `target` names in TENON_* variables."""

    def __init__(self, folder: Path, target: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        # What the reader has set for another platform must not lead us there.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TENON_")}
        # On a busy machine commands wait longer, and predictions for their history, so that the story is about the hospitals.
        patient = {"TENON_DEADLINE_SECONDS": "120"}
        history = {"TENON_PREDICTOR_HISTORY_TIMEOUT_MS": "10000", "TENON_FEATURES_REDIS_TIMEOUT_SECONDS": "10"}
        embedded = {"TENON_HOME": str(folder)} | history
        self._environment = kept | patient | (embedded if target is None else dict(target))
        # A platform in the folder the reader stands in would be preferred to one that the environment names.
        self._stand = None if target is None else folder.parent
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def run(self, *words: str, expect: int = 0) -> dict[str, Any]:
        """Run a command with `--json` and give its result. Raises `StepFailed` for another exit code."""
        code, out, err = self.finish(*words, "--json")
        if code != expect:
            said = err.strip() or out.strip()
            raise StepFailed(f"`tenon {' '.join(words)}` ended with exit code {code}, not {expect}:\n{said}")
        # An error is a document of its own after (or instead of) the result; the result is what was asked for.
        answer: dict[str, Any] = json.loads(out.splitlines()[0]) if out.strip() else {}
        return answer

    def finish(self, *words: str) -> tuple[int, str, str]:
        """Run a command to its end; gives exit code, stdout and stderr."""
        program = [sys.executable, "-m", "tenon.cli.main", *words]
        process = subprocess.Popen(
            program,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
            cwd=self._stand,
        )
        with self._lock:
            self._running.add(process)
        try:
            out, err = process.communicate()
        except BaseException:
            _end(process)
            raise
        finally:
            with self._lock:
                self._running.discard(process)
        return process.returncode, out, err

    @contextmanager
    def together(self, jobs: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Future[dict[str, Any]]]]:
        """Several commands side by side; they are ended when the block is left early."""
        pool = ThreadPoolExecutor(len(jobs))
        try:
            yield {name: pool.submit(self.run, *words) for name, words in jobs.items()}
        except BaseException:
            with self._lock:
                running = list(self._running)
            for process in running:
                _end(process)
            raise
        finally:
            pool.shutdown()


def _end(process: subprocess.Popen[str]) -> None:
    """End a command as Ctrl-C does, so that it can take back what it has begun; by force when it does not."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        process.wait(_DEADLINE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


@dataclass(frozen=True)
class Prediction:
    """One answer, whichever door it came through."""

    value: float
    prediction_id: str
    tenant: str
    version: int
    role: str
    fallback: bool
    level: str = ""


@dataclass
class Doors:
    """HTTP and gRPC addresses of a running platform."""

    urls: Mapping[str, str]
    targets: Mapping[str, str]
    _pool: urllib3.PoolManager = field(init=False, repr=False)
    _channel: grpc.Channel = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._pool = urllib3.PoolManager(maxsize=4, retries=False, timeout=_DEADLINE_SECONDS)
        # A proxy of the reader's environment has nothing to do with a server on this machine.
        self._channel = grpc.insecure_channel(self.targets["predictor"], options=[("grpc.enable_http_proxy", 0)])
        self.inference = inference_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self.prediction = predictor_pb2_grpc.PredictionServiceStub(self._channel)

    def ask(
        self, service: str, method: str, path: str, *, key: str | None, body: Any = None, tenant: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """One HTTP request; gives the status and the JSON body."""
        headers = {"content-type": "application/json"}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        if tenant is not None:
            headers["x-tenon-tenant"] = tenant
        data = None if body is None else json.dumps(body).encode()
        try:
            response = self._pool.request(method, self.urls[service] + path, headers=headers, body=data)
        except urllib3.exceptions.HTTPError as error:
            raise StepFailed(f"{service} did not answer {method} {path}: {error}") from error
        return response.status, json.loads(response.data)

    def get(self, service: str, path: str, key: str) -> dict[str, Any]:
        """A GET that must succeed."""
        status, body = self.ask(service, "GET", path, key=key)
        if status != 200:
            raise StepFailed(f"{service} answered GET {path} with {status}: {body.get('error', body)}")
        return body

    def infer_rest(self, key: str, columns: Sequence[Column], rows: Sequence[Row]) -> list[Prediction]:
        """Open Inference Protocol over HTTP, one tensor for each column."""
        body = {
            "inputs": [
                {"name": c.name, "datatype": c.datatype, "shape": [len(rows)], "data": [c.read(row) for row in rows]}
                for c in columns
            ],
            "outputs": [{"name": "prediction"}, {"name": "prediction_id"}],
        }
        status, answer = self.ask("predictor", "POST", f"/v2/models/{MODEL}/infer", key=key, body=body)
        if status != 200:
            raise StepFailed(f"the prediction by REST was refused with {status}: {answer.get('error', answer)}")
        found = {output["name"]: output["data"] for output in answer["outputs"]}
        said = answer["parameters"]
        return [
            Prediction(value, name, said["tenant"], int(said["version"]), said["role"], "fallback" in said)
            for value, name in zip(found["prediction"], found["prediction_id"], strict=True)
        ]

    def infer_grpc(self, key: str, columns: Sequence[Column], row: Row) -> Prediction:
        """Open Inference Protocol over gRPC, one row. A missing value is a column that is left out."""
        request = inference_pb2.ModelInferRequest(model_name=MODEL)
        for column in columns:
            value = column.read(row)
            if value is None:
                continue
            tensor = request.inputs.add(name=column.name, datatype=column.datatype, shape=[1])
            getattr(tensor.contents, column.contents).append(value.encode() if isinstance(value, str) else value)
        answer = self.inference.ModelInfer(request, metadata=bearer(key), timeout=_DEADLINE_SECONDS)
        said = answer.parameters
        return Prediction(
            answer.outputs[0].contents.fp64_contents[0],
            said["prediction_id"].string_param,
            said["tenant"].string_param,
            int(said["version"].string_param),
            said["role"].string_param,
            "fallback" in said,
        )

    def predict_rest(self, key: str, columns: Sequence[Column], row: Row) -> Prediction:
        """The entity-keyed door over HTTP: who it is and what is known now; history is looked up."""
        entity, features = split_entity(columns, row)
        body = {"instances": [{"entity": entity, "features": features}]}
        status, answer = self.ask("predictor", "POST", f"/v1/models/{MODEL}:predict", key=key, body=body)
        if status != 200:
            raise StepFailed(f"the prediction by entity was refused with {status}: {answer.get('error', answer)}")
        said = answer["predictions"][0]
        return Prediction(
            said["value"],
            said["prediction_id"],
            answer["tenant"],
            said["model_version"],
            said["role"],
            bool(said["fallback"]),
            said.get("fallback_level", ""),
        )

    def predict_grpc(self, key: str, columns: Sequence[Column], row: Row) -> Prediction:
        """The entity-keyed door over gRPC."""
        entity, features = split_entity(columns, row)
        instance = predictor_pb2.Instance()
        instance.entity.update(entity)
        instance.features.update({name: value for name, value in features.items() if value is not None})
        request = predictor_pb2.PredictRequest(model=MODEL, instances=[instance])
        answer = self.prediction.Predict(request, metadata=bearer(key), timeout=_DEADLINE_SECONDS)
        said = answer.predictions[0]
        return Prediction(
            said.value,
            said.prediction_id,
            answer.tenant,
            said.model_version,
            said.role,
            bool(said.fallback),
            said.fallback_level,
        )

    def columns(self, key: str) -> list[Column]:
        """What the model takes, as its metadata says; history features are left to the platform."""
        inputs = self.get("predictor", f"/v2/models/{MODEL}", key)["inputs"]
        return [Column(item["name"], item["datatype"]) for item in inputs if "." not in item["name"]]

    def close(self) -> None:
        """Give the connections back."""
        self._channel.close()
        self._pool.clear()


Row = Mapping[str, str]
"""A line of a CSV file: column to text."""


@dataclass(frozen=True, slots=True)
class Column:
    """One input of the model."""

    name: str
    datatype: str

    @property
    def contents(self) -> str:
        """The field of the gRPC message for this datatype."""
        return {"BOOL": "bool_contents", "INT64": "int64_contents", "FP64": "fp64_contents"}.get(
            self.datatype, "bytes_contents"
        )

    def read(self, row: Row) -> Any:
        """The value of a line in the type that goes over the wire; empty is missing."""
        text = row[self.name]
        if text == "":
            return None
        match self.datatype:
            case "BOOL":
                return text == "true"
            case "INT64":
                return int(text)
            case "FP64":
                return float(text)
            case _:
                return text


def split_entity(columns: Sequence[Column], row: Row) -> tuple[dict[str, Any], dict[str, Any]]:
    """Who it is, and what is known about the visit."""
    values = {column.name: column.read(row) for column in columns}
    entity = {"patient_id": values.pop("patient_id")}
    return entity, values


def bearer(key: str | None) -> list[tuple[str, str]]:
    """Call metadata with an API key."""
    return [] if key is None else [("authorization", f"Bearer {key}")]
