"""What a tenant declares: the five kinds of YAML document, and the checks that join them."""

from tenon.core.specs.base import KINDS, Spec, parse_spec, spec_digest
from tenon.core.specs.checks import check_feature_view, check_model, check_monitor, is_text, model_signature
from tenon.core.specs.condition import Condition
from tenon.core.specs.dataset import Column, ColumnType, CsvDialect, DatasetSpec
from tenon.core.specs.fallback import Fallback
from tenon.core.specs.feature_view import Aggregate, Feature, FeatureViewSpec, Function
from tenon.core.specs.model import Gate, Label, ModelFeatures, ModelSpec, Split, Task
from tenon.core.specs.monitor import MonitorSpec
from tenon.core.specs.tenant import TenantSpec

__all__ = [
    "KINDS", "Aggregate", "Column", "ColumnType", "Condition", "CsvDialect", "DatasetSpec", "Fallback", "Feature", "FeatureViewSpec",
    "Function", "Gate", "Label", "ModelFeatures", "ModelSpec", "MonitorSpec", "Spec", "Split", "Task", "TenantSpec",
    "check_feature_view", "check_model", "check_monitor", "is_text", "model_signature", "parse_spec", "spec_digest",
]  # fmt: skip
