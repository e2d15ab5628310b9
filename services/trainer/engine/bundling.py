"""Sealing: the bundle is made, opened again, asked, compared, and only then signed for good."""

from __future__ import annotations

import hashlib

import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.trainer.domain.ports import Fitted
from services.trainer.engine.forests import FittedForest
from services.trainer.engine.linear import FittedLinear
from tenon.bundle import load_evaluator, open_bundle, write_bundle
from tenon.core.errors import Precondition
from tenon.core.manifest import Manifest


class SigningBundler:
    """Makes bundles signed with the platform's key."""

    def __init__(self, signing_key: Ed25519PrivateKey) -> None:
        self._key = signing_key

    def seal(self, fitted: Fitted, manifest: Manifest, rows: pl.DataFrame) -> tuple[bytes, str]:
        """See `Bundler`."""
        if not isinstance(fitted, FittedForest | FittedLinear):
            raise TypeError(f"{type(fitted).__name__} cannot be bundled")
        files = fitted.files()
        draft = write_bundle(manifest, files, self._key)
        evaluator = load_evaluator(open_bundle(draft, self._key.public_key()))
        found = fitted.differences(evaluator, rows)
        if not fitted.holds(found):
            raise Precondition(
                "PARITY_FAILED",
                f"the bundle of {manifest.model!r} does not answer as the fitted pipeline does (largest difference "
                f"{found['max_difference']:.3g} over {found['rows']} test rows); it was not registered",
                data={"parity": found},
            )
        bundle = write_bundle(manifest.model_copy(update={"parity": found}), files, self._key)
        return bundle, hashlib.sha256(bundle).hexdigest()
