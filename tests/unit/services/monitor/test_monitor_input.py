"""What comes in: log batches and labels, right and wrong; every refusal names the thing and the place."""

from typing import Any, Literal

import numpy as np
import orjson
import pytest

from services.monitor.domain.kept.segment import Segment
from services.monitor.domain.labels.read import labels_from_csv, labels_from_document
from services.monitor.domain.labels.record import RecordLabels
from services.monitor.domain.log.receive import batch_from_document
from services.monitor.domain.model import Label, NumericColumn, TextColumn
from services.monitor.domain.window import role_from, window_from
from services.monitor.storage.log.former_payload import pack_rows, unpack_rows
from services.monitor.worker import batches_handler
from tenon.core.errors import Invalid, TenonError, TooLarge
from tenon.core.tenancy import TenantId
from tenon.kit.prediction_batches import pack_batch, row_dtype
from tests.support.monitor_data import DAY, START, batch_document, manifest, numeric_baseline
from tests.support.monitor_fakes import MemoryLog, MemoryVersions

NORTH = TenantId("north")


def document(**changes: Any) -> dict[str, Any]:
    """A batch of three rows."""
    made = batch_document(np.array([0.1, 0.2, 0.3]), {"x": [1.5, None, True], "ward": ["a", None, "b"]})
    return {**made, **changes}


def test_columns_are_typed_and_missing_values_kept() -> None:
    """Numbers and booleans become floats, texts become codes, null is missing in both, and the blob keeps all."""
    batch = batch_from_document(document(score=[0.1, None, 0.3]))
    stored = unpack_rows(pack_rows(batch))
    for columns in (batch.columns, stored.columns):
        x, ward = columns["x"], columns["ward"]
        assert isinstance(x, NumericColumn)
        assert isinstance(ward, TextColumn)
        np.testing.assert_array_equal(x.values, [1.5, np.nan, 1.0])
        assert ward.codes.tolist() == [0, -1, 1]
        assert ward.levels == ("a", "b")
    np.testing.assert_array_equal(stored.score, [0.1, np.nan, 0.3])
    assert stored.at.tolist() == batch.at.tolist()
    assert stored.event_time.tolist() == batch.event_time.tolist()
    assert stored.request_ids == batch.request_ids


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"batch_id": 7}, "batch_id"),
        ({"version": "1"}, "version"),
        ({"version": True}, "version"),
        ({"role": "The King"}, "role"),
        ({"prediction_id": []}, "prediction_id"),
        ({"prediction_id": ["a", "b"]}, "request_id"),
        ({"at": [1, 2]}, "at"),
        ({"at": [1.5, 2, 3]}, "at"),
        ({"event_time": [1, 2, 2**70]}, "event_time"),
        ({"score": [0.1, "x", 0.3]}, "score"),
        ({"columns": []}, "columns"),
        ({"columns": {"x": [1.0]}}, "columns.x"),
        ({"columns": {"x": [1.0, {}, 2.0]}}, "columns.x"),
        ({"tenant": "No Tenant"}, "tenant"),
        ({"model": "../x"}, "model"),
    ],
)
def test_a_wrong_batch_names_its_field(changes: dict[str, Any], field: str) -> None:
    """Each kind of broken batch is refused with the field in the place."""
    with pytest.raises(Invalid) as caught:
        batch_from_document(document(**changes))
    assert caught.value.place is not None
    assert caught.value.place.field == field


@pytest.mark.parametrize("fields", [{}, {b"batch": b"{"}, {b"batch": b"[]"}])
def test_an_entry_that_is_no_batch_is_refused(fields: dict[bytes, bytes]) -> None:
    """What is not a batch raises, so that the consumer sets it aside with the reason."""
    with pytest.raises(Invalid):
        batches_handler(list)([("1-0", fields)])


def entry(**changes: Any) -> dict[bytes, bytes]:
    """Two rows as the predictor puts them on the stream."""
    about = {
        "batch_id": "r-1", "replica": "r", "tenant": "north", "model": "cost", "version": 3, "role": "canary",
        "protocol": "grpc", "width": 8, "numbers": ["x", "y"], "texts": ["ward"],
    }  # fmt: skip
    table = np.zeros(2, row_dtype(8, 2))
    table["at"], table["event_time"], table["score"] = [5, 6], [3, 4], [0.5, np.inf]
    table["id"] = np.frombuffer(bytes(range(32)), "V16")
    table["request_id"] = [b"one", "é".encode()]
    table["numbers"] = [[1.0, 2.0], [np.nan, 4.0]]
    fields = pack_batch(about, table.tobytes(), b'["a"],[null]')
    fields["batch"] = orjson.dumps(orjson.loads(fields["batch"]) | changes)
    return {name.encode(): value for name, value in fields.items()}


def test_a_batch_of_arrays_becomes_the_same_as_one_of_lists() -> None:
    """Names, times, ids as text, numbers by column, texts as codes; what is no number is missing."""
    taken: list[Segment] = []
    batches_handler(taken.extend)([("1-0", entry())])
    (batch,) = taken
    assert (batch.tenant, batch.model, batch.version, batch.role.value) == (NORTH, "cost", 3, "canary")
    assert batch.ids.texts() == ["00010203-0405-0607-0809-0a0b0c0d0e0f", "10111213-1415-1617-1819-1a1b1c1d1e1f"]
    assert [one.decode() for one in batch.request_ids.tolist()] == ["one", "é"]
    assert (batch.at.tolist(), batch.event_time.tolist()) == ([5, 6], [3, 4])
    np.testing.assert_array_equal(batch.score, [0.5, np.nan])
    columns: dict[str, Any] = batch.columns
    np.testing.assert_array_equal(columns["x"].values, [1.0, np.nan])
    np.testing.assert_array_equal(columns["y"].values, [2.0, 4.0])
    assert columns["ward"].levels == ("a",)
    assert columns["ward"].codes.tolist() == [0, -1]


def test_a_single_row_is_a_batch_too() -> None:
    """Its bytes lie as columns do, and are nobody's to write on; a quiet model sends nothing else."""
    fields = entry(rows=1) | {b"texts": b'[["a"]]'}
    fields[b"rows"] = fields[b"rows"][len(fields[b"rows"]) // 2 :]
    taken: list[Segment] = []
    batches_handler(taken.extend)([("1-0", fields)])
    columns: dict[str, Any] = taken[0].columns
    assert np.isnan(columns["x"].values).all()
    assert (columns["y"].values.tolist(), len(taken[0])) == ([4.0], 1)
    assert np.isnan(taken[0].score).all()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        (entry() | {b"rows": b"x" * 40}, "rows"),
        (entry(numbers=["x"]), "rows"),
        (entry() | {b"texts": b"["}, "texts"),
        (entry() | {b"texts": b'[["a"]]'}, "texts"),
        (entry(texts=["ward", "payer"]), "texts"),
        (entry() | {b"batch": b"{}"}, "batch"),
        (entry() | {b"batch": b"[]"}, "batch"),
    ],
)
def test_a_batch_of_arrays_that_does_not_fit_names_its_field(fields: dict[bytes, bytes], field: str) -> None:
    """It is set aside with the reason instead of being read askew."""
    with pytest.raises(Invalid) as caught:
        batches_handler(list)([("1-0", entry()), ("1-1", fields)])
    assert caught.value.place is not None
    assert caught.value.place.field == field


def test_labels_in_json_and_csv_are_the_same() -> None:
    """Both ways of sending give the same labels, and the time of the call where none is given."""
    sent = {
        "labels": [
            {"prediction_id": "p", "value": 1, "known_at": "2023-11-14T22:13:20Z"},
            {"prediction_id": "q", "value": False},
        ]
    }
    expected = [Label("p", 1.0, START), Label("q", 0.0, 5)]
    assert labels_from_document(sent, now=5) == expected
    csv = b"\xef\xbb\xbfvalue,prediction_id,known_at\r\n1,p,2023-11-14T22:13:20Z\r\n\r\nfalse,q,\r\n"
    assert labels_from_csv(csv, now=5) == expected


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ([], "labels"),
        ({"label": []}, "labels"),
        ({"labels": [], "model": "x"}, "model"),
        ({"labels": [1]}, "labels[0]"),
        ({"labels": [{"prediction_id": "p", "value": 1}, {"prediction_id": 3, "value": 1}]}, "labels[1].prediction_id"),
        ({"labels": [{"prediction_id": "p"}]}, "labels[0].value"),
        ({"labels": [{"prediction_id": "p", "value": "1"}]}, "labels[0].value"),
        ({"labels": [{"prediction_id": "p", "value": 10**400}]}, "labels[0].value"),
        ({"labels": [{"prediction_id": "p", "value": 1, "known": "x"}]}, "labels[0].known"),
        ({"labels": [{"prediction_id": "p", "value": 1, "known_at": 5}]}, "labels[0].known_at"),
        ({"labels": [{"prediction_id": "p", "value": 1, "known_at": "soon"}]}, "labels[0].known_at"),
    ],
)
def test_wrong_json_labels_name_their_place(body: Any, place: str) -> None:
    """Each kind of broken JSON label is refused with its place."""
    with pytest.raises(Invalid) as caught:
        labels_from_document(body, now=0)
    assert caught.value.place is not None
    assert caught.value.place.field == place


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        (b"", 1, "lacks the column 'prediction_id'"),
        (b"prediction_id,valeu\n", 1, "unknown field 'valeu'"),
        (b"prediction_id,value,value\n", 1, "twice"),
        (b"prediction_id,value\np,1\nq,one\n", 3, "'one' is not a number"),
        (b"prediction_id,value\np,1,2\n", 2, "3 values"),
        (b"prediction_id,value,known_at\np,1,soon\n", 2, "is not a time"),
        (b"prediction_id,value\np,1\n\xff,1\n", 3, "not UTF-8"),
        (b'prediction_id,value\n"p,1\n', 2, "line 2"),
    ],
)
def test_wrong_csv_labels_name_their_line(body: bytes, line: int, words: str) -> None:
    """Each kind of broken CSV is refused with its line."""
    with pytest.raises(Invalid) as caught:
        labels_from_csv(body, now=0)
    assert caught.value.place is not None
    assert caught.value.place.line == line
    assert words in caught.value.message


def recorder(task: Literal["binary", "regression"] = "binary") -> tuple[RecordLabels, MemoryLog]:
    """The use case on a model that has answered."""
    log = MemoryLog()
    batch = batch_from_document(batch_document(np.array([0.5]), {}, ids=["p"]))
    log.store(NORTH, batch)
    baseline = numeric_baseline(np.arange(100.0))
    versions = MemoryVersions({1: manifest({"x": baseline}, baseline, task=task)})
    return RecordLabels(log, log, versions, lambda: START), log


def test_a_label_of_a_file_is_named_by_its_place_in_the_file() -> None:
    """Also where the file is taken in parts."""
    use, _ = recorder()
    with pytest.raises(Invalid, match=r"labels\[10001\]: value 7"):
        use.check(TenantId("north"), "cost", [Label("a", 1.0, START), Label("b", 7.0, START)], 10_000)


def test_labels_are_counted_by_prediction() -> None:
    """A call's answer counts predictions: corrections in the same call are one label, unknown ids wait."""
    record, _ = recorder()
    found = record(NORTH, "cost", [Label("p", 0.0, 1), Label("p", 1.0, 2), Label("later", 1.0, 1)])
    assert (found.accepted, found.matched, found.unmatched) == (2, 1, 1)


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (Label("", 1.0, 0), "LABEL_INVALID"),
        (Label("p" * 129, 1.0, 0), "LABEL_INVALID"),
        (Label("p", float("nan"), 0), "LABEL_INVALID"),
        (Label("p", 2.0, 0), "LABEL_NOT_BINARY"),
        (Label("p", 1.0, START + 2 * DAY), "LABEL_FROM_FUTURE"),
    ],
)
def test_one_wrong_label_refuses_the_call(label: Label, reason: str) -> None:
    """A call with a wrong label is refused with the label's place, and nothing of it is kept."""
    record, log = recorder()
    with pytest.raises(Invalid) as caught:
        record(NORTH, "cost", [Label("p", 1.0, 0), label])
    assert caught.value.reason == reason
    assert "labels[1]" in caught.value.message
    assert not log.labels


def test_a_regression_takes_any_number() -> None:
    """Whether 0 or 1 is meant is the model's task; a number model takes numbers, an unheard one too."""
    record, _ = recorder("regression")
    assert record(NORTH, "cost", [Label("p", 1234.5, 0)]).matched == 1
    assert record(NORTH, "unheard", [Label("p", 7.0, 0)]).unmatched == 1


def test_too_many_or_no_labels_are_refused() -> None:
    """The cap of a call is named; an empty call is a mistake."""
    record, _ = recorder()
    with pytest.raises(TooLarge):
        record(NORTH, "cost", [Label("p", 1.0, 0)] * 10_001)
    with pytest.raises(Invalid):
        record(NORTH, "cost", [])


def test_windows_have_defaults_and_refuse_nonsense() -> None:
    """Without ends a window is the last days up to now; backwards or by an unknown time it is refused."""
    window = window_from(None, None, "at", now=100 * DAY, length=7 * DAY)
    assert (window.start, window.end) == (93 * DAY + 1, 100 * DAY + 1)
    assert window_from(None, 50 * DAY, "event_time", now=100 * DAY, length=7 * DAY).start == 43 * DAY
    for wrong in (
        lambda: window_from(5, 5, "at", now=9, length=1),
        lambda: window_from(1, 5, "eventtime", now=9, length=1),
        lambda: role_from("stabel"),
    ):
        with pytest.raises(TenonError):
            wrong()
