"""Answers rows with model.onnx, as the platform does; needs only onnxruntime and numpy.

    python run.py < rows.json        [{"column": value, …}, …], or {"instances": […]}, or CSV with a header
    from run import predict          predict([{"column": value, …}, …]) gives a list of numbers

None, or a column left out, is a missing value; so is an empty cell of CSV. README.md says more.
"""

import csv
import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent
MANIFEST = json.loads((HERE / "manifest.json").read_bytes())
GRAPH = (HERE / "model.onnx").read_bytes()
if hashlib.sha256(GRAPH).hexdigest() not in MANIFEST["files"].values():
    raise SystemExit("model.onnx is not the file that manifest.json names")
OPTIONS = onnxruntime.SessionOptions()
OPTIONS.intra_op_num_threads = 1  # Several threads would add the trees in another order.
SESSION = onnxruntime.InferenceSession(GRAPH, OPTIONS, providers=["CPUExecutionProvider"])
WORDS = json.loads(SESSION.get_modelmeta().custom_metadata_map["tenon"])
KNOWN = {column["name"]: column for column in MANIFEST["signature"]["inputs"]}
BLOCK = 16
LARGEST = float(np.finfo(np.float32).max)


def predict(rows: list[dict[str, Any]]) -> list[float]:
    """One number for each row: a probability or a value. Raises ValueError, naming the row and the column."""
    for at, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(f"row {at}: an object of columns is expected, not {row!r}")
        for name in row.keys() - KNOWN.keys():
            raise ValueError(f"row {at}: there is no column {name!r}; there are {', '.join(KNOWN)}")
    # Whole blocks of rows: the runtime's last, incomplete step may differ in the last bit of an answer.
    padded = rows + rows[-1:] * (-len(rows) % BLOCK)
    feed: dict[str, Any] = {}
    for node in SESSION.get_inputs():
        text = node.type == "tensor(string)"
        read, values = _text if text else _number, np.empty((len(padded), 1), object if text else np.float64)
        values[:, 0] = [read(at, KNOWN[node.name], row.get(node.name)) for at, row in enumerate(padded)]
        feed[node.name] = values
    answers = [
        SESSION.run(None, {name: values[at : at + BLOCK] for name, values in feed.items()})[0][:, 0]
        for at in range(0, len(padded), BLOCK)
    ]
    return np.concatenate(answers)[: len(rows)].tolist() if answers else []


def _number(at: int, column: dict[str, Any], value: Any) -> Any:
    if value is None or value != value:  # Only NaN differs from itself.
        return _missing(at, column, np.nan)
    kind = column["type"]
    if not isinstance(value, int | float):
        fits = False
    elif kind == "boolean":
        fits = value in (0, 1)
    else:
        fits = (
            value is not True and value is not False and abs(value) <= LARGEST and (kind != "integer" or value % 1 == 0)
        )
    if not fits:
        raise ValueError(f"row {at}: column {column['name']!r} takes a value of type {kind}, not {value!r}")
    return float(value)


def _text(at: int, column: dict[str, Any], value: Any) -> str:
    missing = WORDS["missing"][column["name"]]
    if value is None:
        return str(_missing(at, column, missing))
    if not isinstance(value, str):
        raise ValueError(f"row {at}: column {column['name']!r} takes text, not {value!r}")
    # No level of the model: the word that stands for missing, and text that the runtime would cut short or refuse.
    odd = value == missing or "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)
    return str(WORDS["unknown"][column["name"]]) if odd else value


def _missing(at: int, column: dict[str, Any], stands_for: Any) -> Any:
    if not column["nullable"]:
        raise ValueError(f"row {at}: column {column['name']!r} may not be missing")
    return stands_for


def read_rows(text: str) -> Any:
    """Rows from JSON or CSV."""
    if not text.strip():
        raise ValueError("there are no rows")
    if text.lstrip()[:1] in ("[", "{"):
        found = json.loads(text)
        return found["instances"] if isinstance(found, dict) else found
    table = csv.DictReader(io.StringIO(text))
    return [{name: _cell(KNOWN.get(name, {}), cell) for name, cell in row.items()} for row in table]


def _cell(column: dict[str, Any], cell: Any) -> Any:
    if cell in (None, ""):
        return None
    kind = column.get("type", "string")
    if kind == "string":
        return cell
    if kind == "boolean":
        return {"true": True, "false": False, "1": True, "0": False}.get(cell.lower(), cell)
    try:
        return float(cell)
    except ValueError:
        return cell


if __name__ == "__main__":
    try:
        answers = predict(read_rows(sys.stdin.read()))
    except (ValueError, KeyError, AttributeError) as err:
        raise SystemExit(f"error: {err}") from None
    sys.stdout.write(json.dumps({MANIFEST["signature"]["output"]: answers}) + "\n")
