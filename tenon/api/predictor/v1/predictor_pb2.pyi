from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PredictRequest(_message.Message):
    __slots__ = ("model", "instances", "request_id", "tenant")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    model: str
    instances: _containers.RepeatedCompositeFieldContainer[Instance]
    request_id: str
    tenant: str
    def __init__(self, model: _Optional[str] = ..., instances: _Optional[_Iterable[_Union[Instance, _Mapping]]] = ..., request_id: _Optional[str] = ..., tenant: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("prediction_id", "value", "model_version", "role", "feature_age_seconds", "fallback", "fallback_level", "fallback_reason")
    PREDICTION_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    FEATURE_AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_LEVEL_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_REASON_FIELD_NUMBER: _ClassVar[int]
    prediction_id: str
    value: float
    model_version: int
    role: str
    feature_age_seconds: float
    fallback: _containers.RepeatedScalarFieldContainer[str]
    fallback_level: str
    fallback_reason: str
    def __init__(self, prediction_id: _Optional[str] = ..., value: _Optional[float] = ..., model_version: _Optional[int] = ..., role: _Optional[str] = ..., feature_age_seconds: _Optional[float] = ..., fallback: _Optional[_Iterable[str]] = ..., fallback_level: _Optional[str] = ..., fallback_reason: _Optional[str] = ...) -> None: ...
