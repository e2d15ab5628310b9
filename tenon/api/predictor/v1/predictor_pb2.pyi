from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PredictRequest(_message.Message):
    __slots__ = ("model", "instances", "request_id", "tenant", "explain")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    model: str
    instances: _containers.RepeatedCompositeFieldContainer[Instance]
    request_id: str
    tenant: str
    explain: bool
    def __init__(self, model: _Optional[str] = ..., instances: _Optional[_Iterable[_Union[Instance, _Mapping]]] = ..., request_id: _Optional[str] = ..., tenant: _Optional[str] = ..., explain: _Optional[bool] = ...) -> None: ...

class Instance(_message.Message):
    __slots__ = ("entity", "features")
    ENTITY_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    entity: _struct_pb2.Struct
    features: _struct_pb2.Struct
    def __init__(self, entity: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., features: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("model", "tenant", "predictions")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    tenant: str
    predictions: _containers.RepeatedCompositeFieldContainer[Prediction]
    def __init__(self, model: _Optional[str] = ..., tenant: _Optional[str] = ..., predictions: _Optional[_Iterable[_Union[Prediction, _Mapping]]] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("prediction_id", "value", "model_version", "role", "feature_age_seconds", "fallback", "interval", "label", "explanation", "fallback_level", "fallback_reason")
    PREDICTION_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    FEATURE_AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_LEVEL_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_REASON_FIELD_NUMBER: _ClassVar[int]
    prediction_id: str
    value: float
    model_version: int
    role: str
    feature_age_seconds: float
    fallback: _containers.RepeatedScalarFieldContainer[str]
    interval: Interval
    label: bool
    explanation: Explanation
    fallback_level: str
    fallback_reason: str
    def __init__(self, prediction_id: _Optional[str] = ..., value: _Optional[float] = ..., model_version: _Optional[int] = ..., role: _Optional[str] = ..., feature_age_seconds: _Optional[float] = ..., fallback: _Optional[_Iterable[str]] = ..., interval: _Optional[_Union[Interval, _Mapping]] = ..., label: _Optional[bool] = ..., explanation: _Optional[_Union[Explanation, _Mapping]] = ..., fallback_level: _Optional[str] = ..., fallback_reason: _Optional[str] = ...) -> None: ...

class Interval(_message.Message):
    __slots__ = ("low", "high", "coverage")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    low: float
    high: float
    coverage: float
    def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ..., coverage: _Optional[float] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("space", "base", "margin", "contributions")
    SPACE_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    space: str
    base: float
    margin: float
    contributions: _containers.RepeatedCompositeFieldContainer[Contribution]
    def __init__(self, space: _Optional[str] = ..., base: _Optional[float] = ..., margin: _Optional[float] = ..., contributions: _Optional[_Iterable[_Union[Contribution, _Mapping]]] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("column", "value", "contribution")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    column: str
    value: _struct_pb2.Value
    contribution: float
    def __init__(self, column: _Optional[str] = ..., value: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., contribution: _Optional[float] = ...) -> None: ...
