"""Eight years of one airline in a few minutes: a model trained on 2008 and 2009 answers every flight from 2010 to 2017, and monitor looks at it.

The flights of 2008 and 2009 are ingested, a model is trained and released, the rest is ingested. Then each flight is asked about with
the history as it was known at its scheduled departure (features' training set, bit for bit what a lookup of that moment gives), and its label comes
with the time at which it landed. The platform is left running, so that its pages can be looked at.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import polars as pl
import urllib3
import yaml

from examples.flights.prepare import COLUMNS, read_flights
from examples.flights.report import MODEL, SPECS, Tenon
from tenon.api.features.v1 import features_pb2, features_pb2_grpc

FIRST = datetime(2010, 1, 1, tzinfo=UTC)
LATE_MINUTES = 15
ROWS_A_REQUEST = 1_000


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="examples/flights/replay", description=__doc__)
    default = os.environ.get("TENON_TEST_DATA", "../shared/data")
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="folder of the platform that is started, and left running"
    )
    parser.add_argument("--data", type=Path, default=Path(default), help=f"folder with flights/ (default: {default})")
    parser.add_argument("--airline", default="aa", help="carrier's code, such as aa or wn (default: aa)")
    arguments = parser.parse_args()
    if not (arguments.data / "flights" / "flights.csv.gz").is_file():
        sys.exit(f"error: there is no flights/flights.csv.gz in {arguments.data}; name the data folder with --data")
    began = time.monotonic()
    tenon = Tenon(arguments.folder.absolute())
    services = tenon.run("up", "--detach")["services"]
    with tempfile.TemporaryDirectory(prefix="tenon-replay-") as scratch:
        learn(tenon, arguments.data, arguments.airline, Path(scratch))
    platform = Doors(
        services, json.loads((arguments.folder / "credentials.json").read_text())["admin_key"], arguments.airline
    )
    rows, labels = platform.replay()
    address = f"{services['monitor']['http']}/pages/tenants/{arguments.airline}/models/{MODEL}"
    print(
        f"{rows:,} flights from 2010 to 2017 answered, {labels:,} labelled, {time.monotonic() - began:.0f} s in all.\n"
        f"Look at {address}\n"
        f"  the key to sign in with: tenon monitor open --data {arguments.folder}\n"
        f"  in the terminal:         tenon monitor drift {MODEL} --tenant {arguments.airline} --by event_time --last all --data {arguments.folder}\n"
        f"  to end it:               tenon down --data {arguments.folder}"
    )


def learn(tenon: Tenon, data: Path, airline: str, scratch: Path) -> None:
    """Train on what was there before 2010 and release it; ingest the rest afterwards."""
    flights = read_flights(data).filter(pl.col("carrier") == airline.upper()).select(COLUMNS)
    if flights.is_empty():
        sys.exit(f"error: no flight of the data is of an airline {airline!r}")
    specs = scratch / "specs"
    specs.mkdir()
    for path in SPECS.glob("*.yaml"):
        documents = list(yaml.safe_load_all(path.read_text()))
        for document in documents:
            if document["kind"] == "Model":
                # As if nothing were known of later years: the last 90 days of what is there are the test.
                document["split"] = {"by": "time", "test": "90d", "gap": "2d"}
        (specs / path.name).write_text(yaml.safe_dump_all(documents, sort_keys=False))
    say("apply the documents")
    tenon.run("apply", "-f", str(specs))
    early = pl.col("scheduled_departure") < FIRST.replace(tzinfo=None)
    for name, part in (("before-2010", flights.filter(early)), ("from-2010", flights.filter(~early))):
        file = scratch / f"{name}.csv"
        part.write_csv(file, datetime_format="%Y-%m-%dT%H:%M:%SZ")
        say(f"ingest {len(part):,} flights ({name})")
        tenon.run("ingest", "flights", str(file), "--tenant", airline)
        if name == "before-2010":
            say("train on them, test on the last 90 days, and release")
            tenon.run("train", MODEL, "--tenant", airline, "--wait")
            tenon.run("release", "set", MODEL, "--stable", "1", "--tenant", airline)


class Doors:
    """The running platform's doors, for one airline."""

    def __init__(self, services: dict[str, Any], key: str, airline: str) -> None:
        self._services, self._airline = services, airline
        self._headers = {"authorization": f"Bearer {key}", "x-tenon-tenant": airline}
        self._pool = urllib3.PoolManager(retries=False, timeout=120.0)

    def replay(self) -> tuple[int, int]:
        """Ask about every flight since 2010, and say what became of it; gives how many were answered and labelled."""
        inputs = self._json("GET", "predictor", f"/v2/models/{MODEL}")["inputs"]
        flights = self._with_history(inputs).filter(pl.col("scheduled_departure") >= FIRST).sort("scheduled_departure")
        ids: list[str] = []
        for first in range(0, len(flights), ROWS_A_REQUEST):
            say(f"answer flights {first + 1:,} to {min(first + ROWS_A_REQUEST, len(flights)):,} of {len(flights):,}")
            part = flights.slice(first, ROWS_A_REQUEST)
            tensors = [_tensor(one, part) for one in inputs if one["name"] in part.columns]
            asked = {"inputs": tensors, "outputs": [{"name": "prediction_id"}]}
            answer = self._json("POST", "predictor", f"/v2/models/{MODEL}/infer", asked)
            ids += next(one["data"] for one in answer["outputs"] if one["name"] == "prediction_id")
        say("send what became of them")
        text = io.StringIO()
        lines = csv.writer(text)
        lines.writerow(["prediction_id", "value", "known_at"])
        landed = flights.with_columns(id=pl.Series(ids)).drop_nulls(["arr_delay", "arrived_at"])
        known = landed["arrived_at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        lines.writerows(zip(landed["id"], (landed["arr_delay"] > LATE_MINUTES).cast(pl.Int8), known, strict=True))
        path = f"/v1/tenants/{self._airline}/models/{MODEL}/labels"
        said = self._json("POST", "monitor", path, text.getvalue().encode(), "text/csv")
        return len(ids), said["accepted"]

    def _with_history(self, inputs: list[dict[str, Any]]) -> pl.DataFrame:
        """Every flight with each feature as it was known at its scheduled departure."""
        say("look the history of every flight up, as of its scheduled departure")
        views = sorted({one["name"].partition(".")[0] for one in inputs if "." in one["name"]})
        columns = [one["name"] for one in inputs if "." not in one["name"]]
        asked = features_pb2.BuildTrainingSetRequest(
            tenant=self._airline, spine="flights", columns=[*columns, "arr_delay", "arrived_at"], views=views
        )
        with grpc.insecure_channel(
            self._services["features"]["grpc"], options=[("grpc.enable_http_proxy", 0)]
        ) as channel:
            stub = features_pb2_grpc.FeatureServiceStub(channel)
            made = stub.BuildTrainingSet(
                asked, metadata=[("authorization", self._headers["authorization"])], timeout=300
            )
        instants = ["scheduled_departure", "arrived_at"]
        frame = pl.read_parquet(made.uri.removeprefix("file://"))
        return frame.with_columns(pl.col(instants).cast(pl.Datetime("us", "UTC")))

    def _json(
        self, method: str, service: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> dict[str, Any]:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        url = self._services[service]["http"] + path
        said = self._pool.request(method, url, headers={**self._headers, "content-type": kind}, body=data)
        if said.status >= 300:
            sys.exit(f"error: {service} answered {method} {path} with {said.status}: {said.data.decode()[:500]}")
        answer: dict[str, Any] = json.loads(said.data)
        return answer


def _tensor(one: dict[str, Any], rows: pl.DataFrame) -> dict[str, Any]:
    values = rows[one["name"]]
    if values.dtype == pl.Datetime:
        values = values.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    if values.dtype.is_float():
        values = values.fill_nan(None)
    if one["datatype"] == "INT64":
        values = values.cast(pl.Int64)
    return {"name": one["name"], "datatype": one["datatype"], "shape": [len(values)], "data": values.to_list()}


def say(what: str) -> None:
    """One line of progress."""
    print(f"- {what}", flush=True)


if __name__ == "__main__":
    main()
