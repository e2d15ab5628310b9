"""The bundle: a model version as one signed file, and the evaluator that serves it.

The trainer writes bundles, the registry keeps them, the predictor serves them; all three, and an auditor's notebook,
open them with this package, which needs only numpy, cryptography and `tenon.core`.
"""

from tenon.bundle.archive import Bundle, open_bundle, write_bundle
from tenon.bundle.contributions import Explainer, Explanation, load_explainer
from tenon.bundle.evaluator import Evaluator, load_evaluator, load_without_history
from tenon.bundle.forest import Forest
from tenon.bundle.keys import TrustedKeys, Verifier, generate_key_pair, load_signing_key, load_verify_key
from tenon.bundle.lean import LeanEvaluator, lean
from tenon.bundle.linear import Linear
from tenon.bundle.onnx_evaluator import OnnxEvaluator
from tenon.bundle.pipeline import Numeric, OneHot, Ordinal, Pipeline

__all__ = [
    "Bundle",
    "Evaluator",
    "Explainer",
    "Explanation",
    "Forest",
    "LeanEvaluator",
    "Linear",
    "Numeric",
    "OneHot",
    "OnnxEvaluator",
    "Ordinal",
    "Pipeline",
    "TrustedKeys",
    "Verifier",
    "generate_key_pair",
    "lean",
    "load_evaluator",
    "load_explainer",
    "load_signing_key",
    "load_verify_key",
    "load_without_history",
    "open_bundle",
    "write_bundle",
]
