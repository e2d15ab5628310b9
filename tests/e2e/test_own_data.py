"""A user's own data: the shortest way from a file to a prediction, and what bad input is answered with."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from tenon.api.monitor.v1 import monitor_pb2, monitor_pb2_grpc
from tests.support.platform import Platform, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TENANT = "corner-shop"
SPECS = """\
kind: Dataset
name: orders
primaryKey: [order_id]
eventTime: placed_at
columns:
  order_id: {type: string}
  customer: {type: string}
  placed_at: {type: timestamp}
  basket: {type: decimal, scale: 2, min: 0}
  express: {type: boolean}
  country: {type: string, values: [at, ch, de]}
  settled_at: {type: timestamp, nullable: true}
  returned: {type: boolean, nullable: true, knownAt: settled_at}
---
kind: FeatureView
name: customer_history
dataset: orders
entity: [customer]
aggregates:
  - {functions: [count], windows: [30d]}
  - {column: basket, functions: [mean, max], windows: [30d]}
---
kind: Model
name: will_return
spine: orders
label: {column: returned}
task: binary
features: {request: [basket, express, country], views: [customer_history]}
split: {by: time, test: 20d, gap: 7d}
estimators: [logistic]
"""
PLACED = datetime(2024, 5, 1, 10, tzinfo=UTC)
ASKED = [
    {
        "customer": f"c{number}", "basket": 5 + number, "express": number % 4 == 0, "country": ("at", "ch", "de")[number % 3],
        "placed_at": f"{PLACED:%Y-%m-%dT%H:%M:%SZ}",
    }
    for number in range(150)
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents and one file of 2,000 orders over 100 days; dear orders come back more often."""
    made = tmp_path_factory.mktemp("shop")
    (made / "specs").mkdir()
    (made / "specs" / "shop.yaml").write_text(f"kind: Tenant\nname: {TENANT}\n---\n{SPECS}")
    rng = random.Random(5)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    lines = ["order_id,customer,placed_at,basket,express,country,settled_at,returned"]
    for number in range(2000):
        placed = start + timedelta(seconds=number * 4320)
        basket = round(rng.lognormvariate(3.5, 0.7), 2)
        returned = rng.random() < min(0.8, basket / 120)
        settled = placed + timedelta(days=rng.uniform(1, 6))
        lines.append(
            f"o{number},c{rng.randrange(150)},{placed:%Y-%m-%dT%H:%M:%SZ},{basket:.2f},{str(rng.random() < 0.3).lower()},"
            f"{rng.choice(['at', 'ch', 'de'])},{settled:%Y-%m-%dT%H:%M:%SZ},{str(returned).lower()}"
        )
    (made / "orders.csv").write_text("\n".join(lines) + "\n")
    return made


@pytest.fixture(scope="module")
def served(platform: Platform, folder: Path) -> Platform:
    """The shop's model, served: apply, ingest, train with release; four commands in all with `tenon up`."""
    platform.result("apply", "-f", str(folder / "specs"))
    loaded = platform.result("ingest", "orders", str(folder / "orders.csv"), "--tenant", TENANT)
    assert (loaded["rows_committed"], loaded["rows_quarantined"]) == (2000, 0)
    platform.result("train", "will_return", "--release", "--tenant", TENANT)
    return platform


@pytest.fixture(scope="module")
def key(served: Platform) -> str:
    """A key of the shop's that every service knows by now: they hear of a new one within a second or two."""
    made = served.create_key(TENANT)
    path = "/v2/models/will_return"
    eventually(lambda: served.ask("predictor", "GET", path, key=made).status_code == 200, "the new key is known")
    return made


def predict(platform: Platform, *values: str) -> dict[str, object]:
    """One prediction by `tenon predict`."""
    words = [word for value in values for word in ("--set", value)]
    answer = platform.result("predict", "will_return", *words, "--tenant", TENANT)["predictions"][0]
    assert isinstance(answer, dict)
    return answer


def test_prediction_follows_the_data(served: Platform) -> None:
    """A dear order is more likely to come back than a cheap one, and the customer's history is looked up."""
    when = "placed_at=2024-04-09T12:00:00Z"
    dear = predict(served, "customer=c7", "basket=110", "express=false", "country=at", when)
    cheap = predict(served, "customer=c7", "basket=6", "express=false", "country=at", when)
    assert 0 <= cheap["value"] < dear["value"] <= 1  # type: ignore[operator]
    assert (dear["model_version"], dear["role"], dear["fallback"]) == (1, "stable", [])


def test_status_agrees(served: Platform) -> None:
    """`tenon status` says that everything is up and that the shop's release is served."""
    status = served.result("status", "--tenant", TENANT)
    assert status["ok"] is True
    assert [(model["model"], model["problems"]) for model in status["models"]] == [("will_return", [])]


def test_same_folder_again_changes_nothing(served: Platform, folder: Path) -> None:
    """A second apply is no change, and the same file again is loaded only once."""
    assert served.tenon("apply", "-f", str(folder / "specs"), "--diff").returncode == 0
    again = served.result("ingest", "orders", str(folder / "orders.csv"), "--tenant", TENANT)
    assert (again["rows_committed"], again["unchanged"]) == (0, 1)


@pytest.mark.parametrize(
    ("values", "reason", "names"),
    [
        ({"customer": "c1", "basket": 5, "express": True, "country": "at", "baskte": 5}, "INPUT_UNKNOWN", "baskte"),
        ({"customer": "c1", "express": True, "country": "at"}, "INPUT_MISSING", "basket"),
        ({"customer": "c1", "basket": "much", "express": True, "country": "at"}, "VALUE_TYPE", "basket"),
        ({"basket": 5, "express": True, "country": "at"}, "INPUT_MISSING", "customer"),
    ],
)
def test_mistakes_in_a_request_are_named(
    served: Platform, key: str, values: dict[str, object], reason: str, names: str
) -> None:
    """An unknown, missing or wrong input is a 400 that names the column."""
    body = {"instances": [{"features": values}]}
    answer = served.ask("predictor", "POST", "/v1/models/will_return:predict", key=key, body=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["reason"] == reason
    assert names in answer.json()["error"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("ingest", "ordres", "{orders}", "--tenant", TENANT), "orders"),
        (("ingest", "orders", "{empty}", "--tenant", TENANT), "empty"),
        (("ingest", "orders", "{noise}", "--tenant", TENANT), "noise"),
        (("ingest", "orders", "{absent}", "--tenant", TENANT), "absent"),
        (("train", "will_retrun", "--tenant", TENANT), "will_return"),
        (("train", "will_return", "--tenant", "corner-shp"), TENANT),
        (("release", "set", "will_return", "--stable", "99", "--tenant", TENANT), "99"),
        (("predict", "will_return", "--set", "basket", "--tenant", TENANT), "basket"),
    ],
)
def test_mistakes_on_the_command_line_are_named(
    served: Platform, words: tuple[str, ...], names: str, folder: Path, tmp_path: Path
) -> None:
    """An unknown name, an empty or unreadable file: exit code 1 or 2, the thing is named, no traceback."""
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "noise.csv").write_bytes(bytes(range(256)) * 8)
    files = {
        "{orders}": folder / "orders.csv",
        **{f"{{{name}}}": tmp_path / f"{name}.csv" for name in ("empty", "noise", "absent")},
    }
    done = served.tenon(*(str(files.get(word, word)) for word in words))
    said = done.stdout + done.stderr
    assert done.returncode in (1, 2), said
    assert names in said
    assert "Traceback" not in said


def test_no_valid_rows_and_one_class(served: Platform, folder: Path, tmp_path: Path) -> None:
    """A file without one valid row loads nothing and says why; training with one class fails with its reason."""
    tenant = "one-class"
    specs = tmp_path / "specs.yaml"
    specs.write_text(f"kind: Tenant\nname: {tenant}\n---\n{SPECS}")
    served.result("apply", "-f", str(specs))
    lines = (folder / "orders.csv").read_text().splitlines()
    bad, good = tmp_path / "bad.csv", tmp_path / "good.csv"
    bad.write_text("\n".join([lines[0], *(line.replace(",", ",,", 1) for line in lines[1:20])]) + "\n")
    refused = served.tenon("ingest", "orders", str(bad), "--tenant", tenant)
    assert refused.returncode == 1
    assert "NO_VALID_ROWS" in refused.stderr
    assert "FIELD_COUNT" in refused.stderr
    good.write_text("\n".join([lines[0], *(line for line in lines[1:] if line.endswith("false"))]) + "\n")
    served.result("ingest", "orders", str(good), "--tenant", tenant)
    done = served.tenon("train", "will_return", "--wait", "--tenant", tenant, "--json")
    assert done.returncode == 1
    run = json.loads(done.stdout.splitlines()[0])
    assert (run["state"], run["reason"]) == ("failed", "TRAINING_ONE_CLASS")


def test_other_tenants_see_nothing(served: Platform) -> None:
    """Another tenant's key gets the same answer for the shop as for a tenant that does not exist, on every service."""
    served.create_tenant("stranger")
    key = served.create_key("stranger")
    lists = {"ingest": "datasets", "features": "feature-views", "trainer": "models", "monitor": "models"}
    for service, path in lists.items():
        eventually(
            lambda: served.ask(service, "GET", f"/v1/tenants/stranger/{path}", key=key).status_code == 200,  # noqa: B023
            f"{service} knows the new key",
        )
    paths = {
        "registry": "models/will_return/versions",
        "ingest": "datasets/orders",
        "features": "feature-views/customer_history",
        "trainer": "models/will_return",
        "monitor": "models/will_return/report",
    }
    for service, path in paths.items():
        shop, nowhere = (served.ask(service, "GET", f"/v1/tenants/{t}/{path}", key=key) for t in (TENANT, "nowhere"))
        assert shop.status_code == nowhere.status_code == 404, (service, shop.text, nowhere.text)
        assert shop.json()["reason"] == nowhere.json()["reason"]
        assert shop.json()["error"].replace(TENANT, "nowhere") == nowhere.json()["error"]
        assert served.ask(service, "GET", f"/v1/tenants/{TENANT}/{path}").status_code == 401


def _orders(folder: Path, name: str, returned: Callable[[int], bool] | None, settled: timedelta) -> str:
    """The file of the orders that were predicted, as the shop knows them by then."""
    lines = ["order_id,customer,placed_at,basket,express,country,settled_at,returned"]
    for number, order in enumerate(ASKED):
        known = "," if returned is None else f"{PLACED + settled:%Y-%m-%dT%H:%M:%SZ},{str(returned(number)).lower()}"
        placed, basket, express, country = (order[key] for key in ("placed_at", "basket", "express", "country"))
        lines.append(f"asked{number},{order['customer']},{placed},{basket},{str(express).lower()},{country},{known}")
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_the_shops_own_rows_become_labels_and_can_be_corrected(
    served: Platform, key: str, folder: Path, tmp_path: Path
) -> None:
    """Nobody sends a label: rows that come again with the truth give it, rows that come again with another one correct it, and
    what was known before is told as it was."""
    for begin in range(0, len(ASKED), 50):
        body = {"instances": [{"features": order} for order in ASKED[begin : begin + 50]]}
        answer = served.ask("predictor", "POST", "/v1/models/will_return:predict", key=key, body=body)
        assert answer.status_code == 200, answer.text
    window = "by=event_time&from=2024-05-01T00:00:00Z&to=2024-05-02T00:00:00Z"

    def asked(what: str, **more: str) -> Any:
        path = f"/v1/tenants/{TENANT}/models/will_return/{what}?{window}" + "".join(
            f"&{k}={v}" for k, v in more.items()
        )
        answer = served.ask("monitor", "GET", path, key=key)
        return answer.json() if answer.status_code == 200 else {"predictions": 0, "labels": 0}

    def figures(**more: str) -> tuple[Any, ...]:
        """Coverage, delay, quality, calibration, and what was estimated beside what came true."""
        report, depth = asked("report", **more), asked("quality", **more)
        (version,) = report["versions"]
        return (
            report["label_coverage"], version["label_delay_median_seconds"], report["quality"], depth["calibration"],
            depth["estimates"],
        )  # fmt: skip

    eventually(lambda: asked("report")["predictions"] == len(ASKED), "the answers are in the log", seconds=300)
    served.result("ingest", "orders", _orders(tmp_path, "placed.csv", None, timedelta()), "--tenant", TENANT)
    before = figures()
    assert before[:3] == (0.0, None, [])
    truth = timedelta(days=2)
    served.result("ingest", "orders", _orders(tmp_path, "settled.csv", lambda n: n % 3 == 0, truth), "--tenant", TENANT)
    eventually(lambda: asked("report")["labels"] == len(ASKED), "the rows' truth labels the answers", seconds=300)
    first = figures()
    assert first[:2] == (1.0, truth.total_seconds())
    assert {one["value"] for one in first[2]}
    assert any(one.get("realised") is not None for one in first[4]), first[4]
    corrected = timedelta(days=9)
    served.result(
        "ingest", "orders", _orders(tmp_path, "corrected.csv", lambda n: n % 3 != 0, corrected), "--tenant", TENANT
    )
    eventually(lambda: figures()[1] == corrected.total_seconds(), "the corrections are in", seconds=300)
    now = figures()
    assert now[2] != first[2]
    assert figures(known_at="2024-05-05T00:00:00Z") == first
    assert figures(known_at="2024-05-02T12:00:00Z") == before
    # The other doors tell the same: the terminal over all of the model's events, services by gRPC.
    told = served.result(
        "monitor", "quality", "will_return", "--by", "event_time", "--last", "all", "--known-at", "2024-05-05T00:00:00Z",
        "--tenant", TENANT,
    )  # fmt: skip
    came_true = {one["metric"]: one["realised"] for one in first[4]}
    assert {one["metric"]: one["realised"] for one in told["estimates"]} == came_true
    if "monitor" not in served.targets:
        return  # Under compose services hear gRPC among themselves alone.
    day = datetime(2024, 5, 1, tzinfo=UTC)
    request = monitor_pb2.GetQualityRequest(tenant=TENANT, model="will_return", by="event_time")
    for field, days in (("window_start", 0), ("window_end", 1), ("known_at", 4)):
        getattr(request, field).FromDatetime(day + timedelta(days=days))
    with grpc.insecure_channel(served.targets["monitor"]) as channel:
        stub = monitor_pb2_grpc.MonitorServiceStub(channel)
        answer = stub.GetQuality(request, metadata=[("authorization", f"Bearer {key}")], timeout=60)
    assert {one.metric: one.realised for one in answer.report.estimates} == came_true


def test_a_changed_view_leaves_a_served_model_alone(served: Platform, tmp_path: Path) -> None:
    """While another definition is computed and takes its place, the model answers on the one it was trained on, with the
    same bits; the next version has the new one, and after a rollback the old one answers as it did."""
    asked = ("customer=c7", "basket=60", "express=true", "country=ch", "placed_at=2024-04-09T12:00:00Z")

    def in_time() -> dict[str, object]:
        # A busy machine may take longer for history than a prediction waits; that is not what is looked at here.
        made = predict(served, *asked)
        return made | {"prediction_id": ""} if made["fallback"] == [] else {}

    def answered() -> dict[str, object]:
        return eventually(in_time, "history came in time")

    before = answered()
    # The same names, another meaning: only baskets of one country count.
    changed = SPECS.replace(
        "{column: basket, functions: [mean, max], windows: [30d]}",
        "{column: basket, functions: [mean, max], windows: [30d], as: basket, where: {country: {in: [at]}}}",
    )
    assert changed != SPECS
    (tmp_path / "specs.yaml").write_text(f"kind: Tenant\nname: {TENANT}\n---\n{changed}")
    served.result("apply", "-f", str(tmp_path / "specs.yaml"))

    def serves_the_new() -> bool:
        assert answered() == before
        shown = served.result("features", "show", "customer_history", "--tenant", TENANT)
        return bool(shown["revision"] == 2 and shown["online"] and shown["online"]["serves_this_revision"])

    eventually(serves_the_new, "the new definition is online")
    assert answered() == before
    served.result("train", "will_return", "--wait", "--tenant", TENANT)
    served.result("release", "set", "will_return", "--stable", "2", "--tenant", TENANT)
    assert answered()["model_version"] == 2
    served.result("release", "rollback", "will_return", "--tenant", TENANT)
    assert answered() == before


def test_somebody_is_forgotten_everywhere(served: Platform) -> None:
    """Rows leave the lake, and with them training sets that read them and what is online; who was not named stays."""
    made = served.result("features", "training-sets", "--tenant", TENANT)["training_sets"]
    assert made
    assert [one["erased"] for one in made] == [None] * len(made)
    done = served.result("erase", "--key", "customer=c7", "--tenant", TENANT, "--yes")
    rows = done["datasets"]["orders"]["rows"]
    assert rows > 0

    def all_erased() -> bool:
        found = served.result("features", "training-sets", "--tenant", TENANT)["training_sets"]
        # One that was made before the last rows came held fewer of them.
        return all(one["erased"] and 0 < one["erased"]["rows"] <= rows for one in found)

    eventually(all_erased, "the training sets are erased")
    assert not list((served.blobs() / f"features/{TENANT}/training").glob("*.parquet"))

    def status(customer: str) -> str:
        words = ("customer_history", "--key", f"customer={customer}", "--at", "2024-04-09T12:00:00Z")
        answer = served.result("features", "get", *words, "--tenant", TENANT)["rows"][0]
        return str(answer["values"]["customer_history.count_30d"]["status"])

    eventually(lambda: status("c7") == "UNKNOWN_ENTITY", "nobody knows c7 online")
    assert status("c8") == "PRESENT"
    assert (
        served.result("erase", "--key", "customer=c7", "--tenant", TENANT, "--yes")["datasets"]["orders"]["rows"] == 0
    )
