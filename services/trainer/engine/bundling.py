"""Sealing: the bundle is made, opened again, asked, compared, and only then signed for good."""

from __future__ import annotations

import hashlib
from typing import Any

import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.trainer.domain.ports import Fitted
from services.trainer.engine.forests import FittedForest
from services.trainer.engine.linear import FittedLinear
from tenon.bundle import Evaluator, load_evaluator, load_without_history, open_bundle, write_bundle
from tenon.bundle.archive import WITHOUT_HISTORY
from tenon.core.errors import Precondition
from tenon.core.manifest import Manifest


class SigningBundler:
    """Makes bundles signed with the platform's key."""

    def __init__(self, signing_key: Ed25519PrivateKey) -> None:
        self._key = signing_key

    def seal(
        self, fitted: Fitted, manifest: Manifest, rows: pl.DataFrame, without_history: Fitted | None = None
    ) -> tuple[bytes, str]:
        """See `Bundler`."""
        files = _files(fitted)
        if without_history is not None:
            files |= {WITHOUT_HISTORY + name: content for name, content in _files(without_history).items()}
        draft = open_bundle(write_bundle(manifest, files, self._key), self._key.public_key())
        manifest = manifest.model_copy(update={"parity": _compare(fitted, load_evaluator(draft), manifest, rows)})
        second = load_without_history(draft)
        if without_history is not None and second is not None and manifest.fallback is not None:
            found = _compare(without_history, second, manifest, rows.select(request_columns(manifest)))
            model = manifest.fallback.without_history
            ladder = manifest.fallback.model_copy(
                update={"without_history": model.model_copy(update={"parity": found}) if model else None}
            )
            manifest = manifest.model_copy(update={"fallback": ladder})
        bundle = write_bundle(manifest, files, self._key)
        return bundle, hashlib.sha256(bundle).hexdigest()


def request_columns(manifest: Manifest) -> list[str]:
    """What the model without history may see."""
    return [item.name for item in manifest.signature.inputs if item.source == "request"]


def _files(fitted: Fitted) -> dict[str, bytes]:
    if not isinstance(fitted, FittedForest | FittedLinear):
        raise TypeError(f"{type(fitted).__name__} cannot be bundled")
    return fitted.files()


def _compare(fitted: Fitted, evaluator: Evaluator, manifest: Manifest, rows: pl.DataFrame) -> dict[str, Any]:
    """The evidence of parity. Raises `Precondition` when there is none."""
    if not isinstance(fitted, FittedForest | FittedLinear):
        raise TypeError(f"{type(fitted).__name__} cannot be bundled")
    found = fitted.differences(evaluator, rows)
    if not fitted.holds(found):
        raise Precondition(
            "PARITY_FAILED",
            f"the bundle of {manifest.model!r} does not answer as the fitted pipeline does (largest difference "
            f"{found['max_difference']:.3g} over {found['rows']} test rows); it was not registered",
            data={"parity": found},
        )
    return found
