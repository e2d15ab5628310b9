"""The edge form of a version: files that answer without Tenon, with only ONNX Runtime and numpy installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tenon.bundle.archive import MANIFEST, ONNX, SIGNATURE, Bundle
from tenon.core.errors import Precondition
from tenon.core.manifest import CategoricalBaseline, Manifest, NumericBaseline

RUNNER = "run.py"
EXAMPLE = "example.json"
README = "README.md"
SIGNER = "signer.pem"
FILES = (ONNX, MANIFEST, SIGNATURE, SIGNER, RUNNER, EXAMPLE, README)


def edge_files(bundle: Bundle, signer: bytes, version: int) -> dict[str, bytes]:
    """The files of the edge form by name. `signer` is the public key (PEM) that the bundle was verified with.

    Raises `Precondition` (NO_ONNX_FORM) for a bundle without the form.
    """
    manifest = bundle.manifest
    if ONNX not in bundle.files:
        form = manifest.forms.get("onnx")
        why = f"it did not pass its gate: {form.reason}" if form else "it was trained before there was one"
        raise Precondition(
            "NO_ONNX_FORM",
            f"version {version} of {manifest.model!r} has no ONNX form; {why}",
            hint=f"tenon train {manifest.model}",
        )
    return {
        **{name: bytes(bundle.files[name]) for name in (ONNX, MANIFEST, SIGNATURE)},
        SIGNER: signer,
        RUNNER: (Path(__file__).parent / "runner.py").read_bytes(),
        EXAMPLE: json.dumps([example_row(manifest)], indent=2, ensure_ascii=False).encode() + b"\n",
        README: _readme(manifest, version).encode(),
    }


def example_row(manifest: Manifest) -> dict[str, Any]:
    """A row of middling values, from what the training data looked like."""
    types = {item.name: item.type for item in manifest.signature.inputs}
    row = {}
    for name, described in manifest.baseline.columns.items():
        value = _usual(described)
        if value is not None and types.get(name) == "boolean":
            value = float(value) >= 0.5
        elif value is not None and types.get(name) == "integer":
            value = round(float(value))
        row[name] = value
    return row


def _usual(described: NumericBaseline | CategoricalBaseline) -> str | float | None:
    if isinstance(described, NumericBaseline):
        return None if described.mean is None else float(f"{described.mean:.4g}")
    return max(described.counts, key=lambda level: described.counts[level], default=None)


def _readme(manifest: Manifest, version: int) -> str:
    form = manifest.forms["onnx"]
    rows = [
        f"| `{item.name}` | {item.type} | {'yes' if item.nullable else 'no'} | {_source(item.source)} |"
        for item in manifest.signature.inputs
        if item.source in ("request", "history")
    ]
    return _TEXT.format(
        tenant=manifest.tenant, model=manifest.model, version=version, output=manifest.signature.output,
        inputs="\n".join(rows), rows=form.rows, difference=form.max_difference, tolerance=form.tolerance,
    )  # fmt: skip


def _source(source: str) -> str:
    return "history: nothing looks it up here, so it must be given" if source == "history" else ""


_TEXT = """# {model} of {tenant}, version {version}

Answers without the platform. Needs Python 3.10 or newer with two packages:

    pip install onnxruntime numpy
    openssl pkeyutl -verify -pubin -inkey signer.pem -rawin -in manifest.json -sigfile signature
    python run.py < example.json

The second command says whether the manifest is the one that was signed when the version was trained; it needs OpenSSL 3. Compare
`signer.pem` with the key that you know to be the platform's: a key that comes with the files it vouches for proves nothing by itself. `run.py`
refuses a `model.onnx` whose sha256 is not in the manifest.

Rows are JSON (`[{{"column": value, ...}}, ...]` or `{{"instances": [...]}}`) or CSV with a header; the answer is `{{"{output}": [...]}}`. In Python:
`from run import predict`, `predict([{{"column": value, ...}}, ...])`.

| column | type | may be missing | |
|---|---|---|---|
{inputs}

On the {rows} held-out rows of its training this form was at most {difference} from the fitted pipeline (allowed: {tolerance}).
"""
