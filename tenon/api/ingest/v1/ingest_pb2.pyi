import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetDatasetRequest(_message.Message):
    __slots__ = ("tenant", "dataset")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    dataset: str
    def __init__(self, tenant: _Optional[str] = ..., dataset: _Optional[str] = ...) -> None: ...

class GetDatasetResponse(_message.Message):
    __slots__ = ("dataset",)
    DATASET_FIELD_NUMBER: _ClassVar[int]
    dataset: Dataset
    def __init__(self, dataset: _Optional[_Union[Dataset, _Mapping]] = ...) -> None: ...

class ListDatasetsRequest(_message.Message):
    __slots__ = ("tenant",)
    TENANT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    def __init__(self, tenant: _Optional[str] = ...) -> None: ...

class ListDatasetsResponse(_message.Message):
    __slots__ = ("datasets",)
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    datasets: _containers.RepeatedCompositeFieldContainer[Dataset]
    def __init__(self, datasets: _Optional[_Iterable[_Union[Dataset, _Mapping]]] = ...) -> None: ...

class Dataset(_message.Message):
    __slots__ = ("tenant", "name", "revision", "spec_json")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SPEC_JSON_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    name: str
    revision: int
    spec_json: bytes
    def __init__(self, tenant: _Optional[str] = ..., name: _Optional[str] = ..., revision: _Optional[int] = ..., spec_json: _Optional[bytes] = ...) -> None: ...

class GetTableRequest(_message.Message):
    __slots__ = ("tenant", "dataset")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    dataset: str
    def __init__(self, tenant: _Optional[str] = ..., dataset: _Optional[str] = ...) -> None: ...

class GetTableResponse(_message.Message):
    __slots__ = ("uri", "version", "rows", "dataset")
    URI_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    uri: str
    version: int
    rows: int
    dataset: Dataset
    def __init__(self, uri: _Optional[str] = ..., version: _Optional[int] = ..., rows: _Optional[int] = ..., dataset: _Optional[_Union[Dataset, _Mapping]] = ...) -> None: ...

class ListBatchesRequest(_message.Message):
    __slots__ = ("tenant", "dataset", "limit")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    dataset: str
    limit: int
    def __init__(self, tenant: _Optional[str] = ..., dataset: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListBatchesResponse(_message.Message):
    __slots__ = ("batches",)
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    batches: _containers.RepeatedCompositeFieldContainer[Batch]
    def __init__(self, batches: _Optional[_Iterable[_Union[Batch, _Mapping]]] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("id", "tenant", "dataset", "file_name", "file_sha256", "size_bytes", "state", "rows_read", "rows_committed", "rows_quarantined", "table_version", "quarantine_reasons", "problem", "received_at", "committed_at", "rows_superseded", "problem_reason", "revision")
    class QuarantineReasonsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    FILE_SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ROWS_READ_FIELD_NUMBER: _ClassVar[int]
    ROWS_COMMITTED_FIELD_NUMBER: _ClassVar[int]
    ROWS_QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    TABLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    QUARANTINE_REASONS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    ROWS_SUPERSEDED_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_REASON_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    id: str
    tenant: str
    dataset: str
    file_name: str
    file_sha256: str
    size_bytes: int
    state: str
    rows_read: int
    rows_committed: int
    rows_quarantined: int
    table_version: int
    quarantine_reasons: _containers.ScalarMap[str, int]
    problem: str
    received_at: _timestamp_pb2.Timestamp
    committed_at: _timestamp_pb2.Timestamp
    rows_superseded: int
    problem_reason: str
    revision: int
    def __init__(self, id: _Optional[str] = ..., tenant: _Optional[str] = ..., dataset: _Optional[str] = ..., file_name: _Optional[str] = ..., file_sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., state: _Optional[str] = ..., rows_read: _Optional[int] = ..., rows_committed: _Optional[int] = ..., rows_quarantined: _Optional[int] = ..., table_version: _Optional[int] = ..., quarantine_reasons: _Optional[_Mapping[str, int]] = ..., problem: _Optional[str] = ..., received_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., committed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., rows_superseded: _Optional[int] = ..., problem_reason: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...
