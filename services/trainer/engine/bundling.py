"""Sealing: the bundle is made, opened again, asked, compared, and only then signed for good."""

from __future__ import annotations

import hashlib
from typing import Any

import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.trainer.domain.ports import Fitted, Sealed
from services.trainer.engine.forests import FittedForest
from services.trainer.engine.linear import FittedLinear
from services.trainer.engine.networks import FittedNetwork
from services.trainer.engine.onnx_gate import judge_onnx
from tenon.bundle import Evaluator, OnnxEvaluator, load_evaluator, load_without_history, open_bundle, write_bundle
from tenon.bundle.archive import ONNX, WITHOUT_HISTORY
from tenon.core.errors import Precondition
from tenon.core.manifest import Form, Manifest

Bundled = FittedForest | FittedLinear | FittedNetwork


class SigningBundler:
    """Makes bundles signed with the platform's key."""

    def __init__(self, signing_key: Ed25519PrivateKey) -> None:
        self._key = signing_key

    def seal(
        self, fitted: Fitted, manifest: Manifest, rows: pl.DataFrame, without_history: Fitted | None = None
    ) -> Sealed:
        """See `Bundler`."""
        models = {"": (_bundled(fitted), rows)}
        if without_history is not None:
            models[WITHOUT_HISTORY] = (_bundled(without_history), rows.select(request_columns(manifest)))
        files: dict[str, bytes] = {}
        for prefix, (model, judged) in models.items():
            found, form = _files(model, manifest, judged)
            files |= {prefix + name: content for name, content in found.items()}
            manifest = _with_form(manifest, prefix + "onnx", form)
        draft = open_bundle(write_bundle(manifest, files, self._key), self._key.public_key())
        manifest = manifest.model_copy(update={"parity": _compare(fitted, load_evaluator(draft), manifest, rows)})
        second = load_without_history(draft)
        if without_history is not None and second is not None and manifest.fallback is not None:
            parity = _compare(without_history, second, manifest, rows.select(request_columns(manifest)))
            evidence = manifest.fallback.without_history
            ladder = manifest.fallback.model_copy(
                update={"without_history": evidence.model_copy(update={"parity": parity}) if evidence else None}
            )
            manifest = manifest.model_copy(update={"fallback": ladder})
        bundle = write_bundle(manifest, files, self._key)
        return Sealed(bundle, hashlib.sha256(bundle).hexdigest(), manifest)


def request_columns(manifest: Manifest) -> list[str]:
    """What the model without history may see."""
    return [item.name for item in manifest.signature.inputs if item.source == "request"]


def _bundled(fitted: Fitted) -> Bundled:
    if not isinstance(fitted, Bundled):
        raise TypeError(f"{type(fitted).__name__} cannot be bundled")
    return fitted


def _files(model: Bundled, manifest: Manifest, rows: pl.DataFrame) -> tuple[dict[str, bytes], Form]:
    """A model's members, the ONNX form among them if it passed its gate."""
    graph, form = judge_onnx(
        manifest.task,
        model.pipeline,
        lambda: model.onnx(manifest.signature.output),
        model.predict(rows),
        rows,
        0.5 if manifest.threshold is None else manifest.threshold,
    )
    if not form.included and model.engine == "onnxruntime":
        raise _no_parity(manifest, f"by {model.engine}: {form.reason}", form.model_dump())
    files = model.files()
    return (files | {ONNX: graph} if form.included else files), form


def _with_form(manifest: Manifest, name: str, form: Form) -> Manifest:
    """The manifest with the verdict on a form; one that is left out is also a warning."""
    changes: dict[str, Any] = {"forms": {**manifest.forms, name: form}}
    if not form.included:
        warning = f"the bundle's {name} form is left out, so it cannot be exported: {form.reason}"
        evidence = manifest.evidence
        changes["evidence"] = evidence.model_copy(update={"warnings": [*evidence.warnings, warning]})
    return manifest.model_copy(update=changes)


def _compare(
    fitted: Fitted, evaluator: Evaluator | OnnxEvaluator, manifest: Manifest, rows: pl.DataFrame
) -> dict[str, Any]:
    """The evidence of parity. Raises `Precondition` when there is none."""
    model = _bundled(fitted)
    found = model.differences(evaluator, rows)
    if not model.holds(found):
        largest = found["max_difference"]
        words = "an answer is no number" if largest is None else f"largest difference {largest:.3g}"
        raise _no_parity(manifest, f"{words} over {found['rows']} test rows", found)
    return found


def _no_parity(manifest: Manifest, how: str, found: dict[str, Any]) -> Precondition:
    return Precondition(
        "PARITY_FAILED",
        f"the bundle of {manifest.model!r} does not answer as the fitted pipeline does ({how}); it was not registered",
        data={"parity": found},
    )
