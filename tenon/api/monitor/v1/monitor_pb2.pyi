import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecordLabelsRequest(_message.Message):
    __slots__ = ("tenant", "model", "labels")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    labels: _containers.RepeatedCompositeFieldContainer[LabelRecord]
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., labels: _Optional[_Iterable[_Union[LabelRecord, _Mapping]]] = ...) -> None: ...

class LabelRecord(_message.Message):
    __slots__ = ("prediction_id", "value", "known_at")
    PREDICTION_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    KNOWN_AT_FIELD_NUMBER: _ClassVar[int]
    prediction_id: str
    value: float
    known_at: _timestamp_pb2.Timestamp
    def __init__(self, prediction_id: _Optional[str] = ..., value: _Optional[float] = ..., known_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RecordLabelsResponse(_message.Message):
    __slots__ = ("accepted", "matched")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    matched: int
    def __init__(self, accepted: _Optional[int] = ..., matched: _Optional[int] = ...) -> None: ...

class GetReportRequest(_message.Message):
    __slots__ = ("tenant", "model", "window_start", "window_end", "version", "role", "by", "known_at")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    KNOWN_AT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    window_start: _timestamp_pb2.Timestamp
    window_end: _timestamp_pb2.Timestamp
    version: int
    role: str
    by: str
    known_at: _timestamp_pb2.Timestamp
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., window_start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., window_end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., version: _Optional[int] = ..., role: _Optional[str] = ..., by: _Optional[str] = ..., known_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetReportResponse(_message.Message):
    __slots__ = ("report",)
    REPORT_FIELD_NUMBER: _ClassVar[int]
    report: Report
    def __init__(self, report: _Optional[_Union[Report, _Mapping]] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("tenant", "model", "window_start", "window_end", "predictions", "labels", "drift_verdict", "columns", "quality_verdict", "quality", "versions", "summary", "drift_version", "levels")
    class LevelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    DRIFT_VERDICT_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_VERDICT_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    DRIFT_VERSION_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    window_start: _timestamp_pb2.Timestamp
    window_end: _timestamp_pb2.Timestamp
    predictions: int
    labels: int
    drift_verdict: str
    columns: _containers.RepeatedCompositeFieldContainer[ColumnDrift]
    quality_verdict: str
    quality: _containers.RepeatedCompositeFieldContainer[QualityFigure]
    versions: _containers.RepeatedCompositeFieldContainer[VersionTraffic]
    summary: str
    drift_version: int
    levels: _containers.ScalarMap[str, int]
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., window_start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., window_end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., predictions: _Optional[int] = ..., labels: _Optional[int] = ..., drift_verdict: _Optional[str] = ..., columns: _Optional[_Iterable[_Union[ColumnDrift, _Mapping]]] = ..., quality_verdict: _Optional[str] = ..., quality: _Optional[_Iterable[_Union[QualityFigure, _Mapping]]] = ..., versions: _Optional[_Iterable[_Union[VersionTraffic, _Mapping]]] = ..., summary: _Optional[str] = ..., drift_version: _Optional[int] = ..., levels: _Optional[_Mapping[str, int]] = ...) -> None: ...

class ColumnDrift(_message.Message):
    __slots__ = ("column", "verdict", "test", "statistic", "p_value", "psi", "rows", "missing_ratio", "baseline_missing_ratio", "unseen_ratio", "summary", "effect", "baseline_rows", "smallest_effect", "jensen_shannon", "wasserstein", "median_ratio", "change", "raw_p_value", "severity", "compared")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    STATISTIC_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    PSI_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MISSING_RATIO_FIELD_NUMBER: _ClassVar[int]
    BASELINE_MISSING_RATIO_FIELD_NUMBER: _ClassVar[int]
    UNSEEN_RATIO_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    BASELINE_ROWS_FIELD_NUMBER: _ClassVar[int]
    SMALLEST_EFFECT_FIELD_NUMBER: _ClassVar[int]
    JENSEN_SHANNON_FIELD_NUMBER: _ClassVar[int]
    WASSERSTEIN_FIELD_NUMBER: _ClassVar[int]
    MEDIAN_RATIO_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    RAW_P_VALUE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    column: str
    verdict: str
    test: str
    statistic: float
    p_value: float
    psi: float
    rows: int
    missing_ratio: float
    baseline_missing_ratio: float
    unseen_ratio: float
    summary: str
    effect: float
    baseline_rows: int
    smallest_effect: float
    jensen_shannon: float
    wasserstein: float
    median_ratio: float
    change: str
    raw_p_value: float
    severity: float
    compared: _containers.RepeatedCompositeFieldContainer[ComparedWithPast]
    def __init__(self, column: _Optional[str] = ..., verdict: _Optional[str] = ..., test: _Optional[str] = ..., statistic: _Optional[float] = ..., p_value: _Optional[float] = ..., psi: _Optional[float] = ..., rows: _Optional[int] = ..., missing_ratio: _Optional[float] = ..., baseline_missing_ratio: _Optional[float] = ..., unseen_ratio: _Optional[float] = ..., summary: _Optional[str] = ..., effect: _Optional[float] = ..., baseline_rows: _Optional[int] = ..., smallest_effect: _Optional[float] = ..., jensen_shannon: _Optional[float] = ..., wasserstein: _Optional[float] = ..., median_ratio: _Optional[float] = ..., change: _Optional[str] = ..., raw_p_value: _Optional[float] = ..., severity: _Optional[float] = ..., compared: _Optional[_Iterable[_Union[ComparedWithPast, _Mapping]]] = ...) -> None: ...

class ComparedWithPast(_message.Message):
    __slots__ = ("against", "differs", "effect", "p_value", "rows", "explains", "text")
    AGAINST_FIELD_NUMBER: _ClassVar[int]
    DIFFERS_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    EXPLAINS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    against: str
    differs: bool
    effect: float
    p_value: float
    rows: int
    explains: bool
    text: str
    def __init__(self, against: _Optional[str] = ..., differs: _Optional[bool] = ..., effect: _Optional[float] = ..., p_value: _Optional[float] = ..., rows: _Optional[int] = ..., explains: _Optional[bool] = ..., text: _Optional[str] = ...) -> None: ...

class QualityFigure(_message.Message):
    __slots__ = ("metric", "version", "rows", "value", "low", "high", "expected", "verdict")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    metric: str
    version: int
    rows: int
    value: float
    low: float
    high: float
    expected: float
    verdict: str
    def __init__(self, metric: _Optional[str] = ..., version: _Optional[int] = ..., rows: _Optional[int] = ..., value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., expected: _Optional[float] = ..., verdict: _Optional[str] = ...) -> None: ...

class VersionTraffic(_message.Message):
    __slots__ = ("version", "role", "predictions", "labels", "label_delay_median_seconds", "label_delay_p90_seconds", "quality_verdict", "summary")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LABEL_DELAY_MEDIAN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LABEL_DELAY_P90_SECONDS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_VERDICT_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    version: int
    role: str
    predictions: int
    labels: int
    label_delay_median_seconds: float
    label_delay_p90_seconds: float
    quality_verdict: str
    summary: str
    def __init__(self, version: _Optional[int] = ..., role: _Optional[str] = ..., predictions: _Optional[int] = ..., labels: _Optional[int] = ..., label_delay_median_seconds: _Optional[float] = ..., label_delay_p90_seconds: _Optional[float] = ..., quality_verdict: _Optional[str] = ..., summary: _Optional[str] = ...) -> None: ...

class GetSkewRequest(_message.Message):
    __slots__ = ("tenant", "model", "window_start", "window_end", "version")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    window_start: _timestamp_pb2.Timestamp
    window_end: _timestamp_pb2.Timestamp
    version: int
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., window_start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., window_end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class GetSkewResponse(_message.Message):
    __slots__ = ("report",)
    REPORT_FIELD_NUMBER: _ClassVar[int]
    report: SkewReport
    def __init__(self, report: _Optional[_Union[SkewReport, _Mapping]] = ...) -> None: ...

class SkewReport(_message.Message):
    __slots__ = ("tenant", "model", "window_start", "window_end", "skew_verdict", "rows", "features", "highest_share", "summary")
    class RowsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_FIELD_NUMBER: _ClassVar[int]
    SKEW_VERDICT_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_SHARE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    window_start: _timestamp_pb2.Timestamp
    window_end: _timestamp_pb2.Timestamp
    skew_verdict: str
    rows: _containers.ScalarMap[str, int]
    features: _containers.RepeatedCompositeFieldContainer[SkewedFeature]
    highest_share: float
    summary: str
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., window_start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., window_end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., skew_verdict: _Optional[str] = ..., rows: _Optional[_Mapping[str, int]] = ..., features: _Optional[_Iterable[_Union[SkewedFeature, _Mapping]]] = ..., highest_share: _Optional[float] = ..., summary: _Optional[str] = ...) -> None: ...

class SkewedFeature(_message.Message):
    __slots__ = ("feature", "version", "rows", "served", "trained", "answered_at", "served_text", "trained_text")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SERVED_FIELD_NUMBER: _ClassVar[int]
    TRAINED_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_AT_FIELD_NUMBER: _ClassVar[int]
    SERVED_TEXT_FIELD_NUMBER: _ClassVar[int]
    TRAINED_TEXT_FIELD_NUMBER: _ClassVar[int]
    feature: str
    version: int
    rows: int
    served: float
    trained: float
    answered_at: _timestamp_pb2.Timestamp
    served_text: str
    trained_text: str
    def __init__(self, feature: _Optional[str] = ..., version: _Optional[int] = ..., rows: _Optional[int] = ..., served: _Optional[float] = ..., trained: _Optional[float] = ..., answered_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., served_text: _Optional[str] = ..., trained_text: _Optional[str] = ...) -> None: ...

class ListCorrectionsRequest(_message.Message):
    __slots__ = ("tenant", "model", "known_before", "after")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    KNOWN_BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    known_before: _timestamp_pb2.Timestamp
    after: str
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., known_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., after: _Optional[str] = ...) -> None: ...

class ListCorrectionsResponse(_message.Message):
    __slots__ = ("corrections",)
    CORRECTIONS_FIELD_NUMBER: _ClassVar[int]
    corrections: _containers.RepeatedCompositeFieldContainer[LabelCorrection]
    def __init__(self, corrections: _Optional[_Iterable[_Union[LabelCorrection, _Mapping]]] = ...) -> None: ...

class LabelCorrection(_message.Message):
    __slots__ = ("prediction_id", "value", "known_at", "expert", "event_time", "key_json")
    PREDICTION_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    KNOWN_AT_FIELD_NUMBER: _ClassVar[int]
    EXPERT_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    KEY_JSON_FIELD_NUMBER: _ClassVar[int]
    prediction_id: str
    value: float
    known_at: _timestamp_pb2.Timestamp
    expert: str
    event_time: _timestamp_pb2.Timestamp
    key_json: bytes
    def __init__(self, prediction_id: _Optional[str] = ..., value: _Optional[float] = ..., known_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expert: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., key_json: _Optional[bytes] = ...) -> None: ...

class GetQualityRequest(_message.Message):
    __slots__ = ("tenant", "model", "window_start", "window_end", "version", "role", "by", "known_at")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    KNOWN_AT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    window_start: _timestamp_pb2.Timestamp
    window_end: _timestamp_pb2.Timestamp
    version: int
    role: str
    by: str
    known_at: _timestamp_pb2.Timestamp
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., window_start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., window_end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., version: _Optional[int] = ..., role: _Optional[str] = ..., by: _Optional[str] = ..., known_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetQualityResponse(_message.Message):
    __slots__ = ("report",)
    REPORT_FIELD_NUMBER: _ClassVar[int]
    report: QualityReport
    def __init__(self, report: _Optional[_Union[QualityReport, _Mapping]] = ...) -> None: ...

class QualityReport(_message.Message):
    __slots__ = ("tenant", "model", "window_start", "window_end", "rows", "examined", "estimates", "calibration", "concept", "slices", "worth", "notes")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    EXAMINED_FIELD_NUMBER: _ClassVar[int]
    ESTIMATES_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    CONCEPT_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    WORTH_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    window_start: _timestamp_pb2.Timestamp
    window_end: _timestamp_pb2.Timestamp
    rows: int
    examined: int
    estimates: _containers.RepeatedCompositeFieldContainer[QualityEstimate]
    calibration: _containers.RepeatedCompositeFieldContainer[Calibration]
    concept: _containers.RepeatedCompositeFieldContainer[ConceptDrift]
    slices: _containers.RepeatedCompositeFieldContainer[SliceQuality]
    worth: _containers.RepeatedCompositeFieldContainer[Worth]
    notes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., window_start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., window_end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., rows: _Optional[int] = ..., examined: _Optional[int] = ..., estimates: _Optional[_Iterable[_Union[QualityEstimate, _Mapping]]] = ..., calibration: _Optional[_Iterable[_Union[Calibration, _Mapping]]] = ..., concept: _Optional[_Iterable[_Union[ConceptDrift, _Mapping]]] = ..., slices: _Optional[_Iterable[_Union[SliceQuality, _Mapping]]] = ..., worth: _Optional[_Iterable[_Union[Worth, _Mapping]]] = ..., notes: _Optional[_Iterable[str]] = ...) -> None: ...

class QualityEstimate(_message.Message):
    __slots__ = ("metric", "version", "rows", "value", "low", "high", "expected", "basis", "basis_rows", "verdict", "realised", "realised_low", "realised_high", "realised_rows")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    BASIS_FIELD_NUMBER: _ClassVar[int]
    BASIS_ROWS_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REALISED_FIELD_NUMBER: _ClassVar[int]
    REALISED_LOW_FIELD_NUMBER: _ClassVar[int]
    REALISED_HIGH_FIELD_NUMBER: _ClassVar[int]
    REALISED_ROWS_FIELD_NUMBER: _ClassVar[int]
    metric: str
    version: int
    rows: int
    value: float
    low: float
    high: float
    expected: float
    basis: str
    basis_rows: int
    verdict: str
    realised: float
    realised_low: float
    realised_high: float
    realised_rows: int
    def __init__(self, metric: _Optional[str] = ..., version: _Optional[int] = ..., rows: _Optional[int] = ..., value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., expected: _Optional[float] = ..., basis: _Optional[str] = ..., basis_rows: _Optional[int] = ..., verdict: _Optional[str] = ..., realised: _Optional[float] = ..., realised_low: _Optional[float] = ..., realised_high: _Optional[float] = ..., realised_rows: _Optional[int] = ...) -> None: ...

class Calibration(_message.Message):
    __slots__ = ("version", "rows", "verdict", "bins", "error", "noise", "in_the_large", "in_the_large_low", "in_the_large_high", "slope", "intercept", "coverage", "nominal", "summary")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    BINS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    NOISE_FIELD_NUMBER: _ClassVar[int]
    IN_THE_LARGE_FIELD_NUMBER: _ClassVar[int]
    IN_THE_LARGE_LOW_FIELD_NUMBER: _ClassVar[int]
    IN_THE_LARGE_HIGH_FIELD_NUMBER: _ClassVar[int]
    SLOPE_FIELD_NUMBER: _ClassVar[int]
    INTERCEPT_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    NOMINAL_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    version: int
    rows: int
    verdict: str
    bins: _containers.RepeatedCompositeFieldContainer[CalibrationBin]
    error: float
    noise: float
    in_the_large: float
    in_the_large_low: float
    in_the_large_high: float
    slope: float
    intercept: float
    coverage: float
    nominal: float
    summary: str
    def __init__(self, version: _Optional[int] = ..., rows: _Optional[int] = ..., verdict: _Optional[str] = ..., bins: _Optional[_Iterable[_Union[CalibrationBin, _Mapping]]] = ..., error: _Optional[float] = ..., noise: _Optional[float] = ..., in_the_large: _Optional[float] = ..., in_the_large_low: _Optional[float] = ..., in_the_large_high: _Optional[float] = ..., slope: _Optional[float] = ..., intercept: _Optional[float] = ..., coverage: _Optional[float] = ..., nominal: _Optional[float] = ..., summary: _Optional[str] = ...) -> None: ...

class CalibrationBin(_message.Message):
    __slots__ = ("rows", "answer", "truth", "low", "high")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    TRUTH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    rows: int
    answer: float
    truth: float
    low: float
    high: float
    def __init__(self, rows: _Optional[int] = ..., answer: _Optional[float] = ..., truth: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class ConceptDrift(_message.Message):
    __slots__ = ("version", "rows", "error", "verdict", "changes", "summary")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    version: int
    rows: int
    error: str
    verdict: str
    changes: _containers.RepeatedCompositeFieldContainer[ErrorChange]
    summary: str
    def __init__(self, version: _Optional[int] = ..., rows: _Optional[int] = ..., error: _Optional[str] = ..., verdict: _Optional[str] = ..., changes: _Optional[_Iterable[_Union[ErrorChange, _Mapping]]] = ..., summary: _Optional[str] = ...) -> None: ...

class ErrorChange(_message.Message):
    __slots__ = ("known_at", "before", "after", "before_rows", "after_rows")
    KNOWN_AT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    BEFORE_ROWS_FIELD_NUMBER: _ClassVar[int]
    AFTER_ROWS_FIELD_NUMBER: _ClassVar[int]
    known_at: _timestamp_pb2.Timestamp
    before: float
    after: float
    before_rows: int
    after_rows: int
    def __init__(self, known_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., before: _Optional[float] = ..., after: _Optional[float] = ..., before_rows: _Optional[int] = ..., after_rows: _Optional[int] = ...) -> None: ...

class SliceQuality(_message.Message):
    __slots__ = ("column", "level", "version", "rows", "labels", "share", "baseline_share", "metric", "value", "low", "high", "loss", "rest", "p_value", "verdict", "drifted")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    BASELINE_SHARE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    REST_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    DRIFTED_FIELD_NUMBER: _ClassVar[int]
    column: str
    level: str
    version: int
    rows: int
    labels: int
    share: float
    baseline_share: float
    metric: str
    value: float
    low: float
    high: float
    loss: float
    rest: float
    p_value: float
    verdict: str
    drifted: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, column: _Optional[str] = ..., level: _Optional[str] = ..., version: _Optional[int] = ..., rows: _Optional[int] = ..., labels: _Optional[int] = ..., share: _Optional[float] = ..., baseline_share: _Optional[float] = ..., metric: _Optional[str] = ..., value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., loss: _Optional[float] = ..., rest: _Optional[float] = ..., p_value: _Optional[float] = ..., verdict: _Optional[str] = ..., drifted: _Optional[_Iterable[str]] = ...) -> None: ...

class Worth(_message.Message):
    __slots__ = ("version", "unit", "rows", "total", "low", "high", "per_answer", "threshold", "true_positives", "false_positives", "false_negatives", "true_negatives", "without", "without_answer", "summary")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    PER_ANSWER_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    TRUE_POSITIVES_FIELD_NUMBER: _ClassVar[int]
    FALSE_POSITIVES_FIELD_NUMBER: _ClassVar[int]
    FALSE_NEGATIVES_FIELD_NUMBER: _ClassVar[int]
    TRUE_NEGATIVES_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_ANSWER_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    version: int
    unit: str
    rows: int
    total: float
    low: float
    high: float
    per_answer: float
    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    without: float
    without_answer: str
    summary: str
    def __init__(self, version: _Optional[int] = ..., unit: _Optional[str] = ..., rows: _Optional[int] = ..., total: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., per_answer: _Optional[float] = ..., threshold: _Optional[float] = ..., true_positives: _Optional[int] = ..., false_positives: _Optional[int] = ..., false_negatives: _Optional[int] = ..., true_negatives: _Optional[int] = ..., without: _Optional[float] = ..., without_answer: _Optional[str] = ..., summary: _Optional[str] = ...) -> None: ...

class ListIncidentsRequest(_message.Message):
    __slots__ = ("tenant", "state", "model", "limit")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    state: str
    model: str
    limit: int
    def __init__(self, tenant: _Optional[str] = ..., state: _Optional[str] = ..., model: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListIncidentsResponse(_message.Message):
    __slots__ = ("incidents",)
    INCIDENTS_FIELD_NUMBER: _ClassVar[int]
    incidents: _containers.RepeatedCompositeFieldContainer[Incident]
    def __init__(self, incidents: _Optional[_Iterable[_Union[Incident, _Mapping]]] = ...) -> None: ...

class GetIncidentRequest(_message.Message):
    __slots__ = ("tenant", "incident")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    incident: str
    def __init__(self, tenant: _Optional[str] = ..., incident: _Optional[str] = ...) -> None: ...

class GetIncidentResponse(_message.Message):
    __slots__ = ("incident",)
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    incident: Incident
    def __init__(self, incident: _Optional[_Union[Incident, _Mapping]] = ...) -> None: ...

class AcknowledgeIncidentRequest(_message.Message):
    __slots__ = ("tenant", "incident", "who", "text")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    incident: str
    who: str
    text: str
    def __init__(self, tenant: _Optional[str] = ..., incident: _Optional[str] = ..., who: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class AcknowledgeIncidentResponse(_message.Message):
    __slots__ = ("incident",)
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    incident: Incident
    def __init__(self, incident: _Optional[_Union[Incident, _Mapping]] = ...) -> None: ...

class SnoozeIncidentRequest(_message.Message):
    __slots__ = ("tenant", "incident", "who", "text", "length", "until")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    incident: str
    who: str
    text: str
    length: _duration_pb2.Duration
    until: _timestamp_pb2.Timestamp
    def __init__(self, tenant: _Optional[str] = ..., incident: _Optional[str] = ..., who: _Optional[str] = ..., text: _Optional[str] = ..., length: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SnoozeIncidentResponse(_message.Message):
    __slots__ = ("incident",)
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    incident: Incident
    def __init__(self, incident: _Optional[_Union[Incident, _Mapping]] = ...) -> None: ...

class WakeIncidentRequest(_message.Message):
    __slots__ = ("tenant", "incident", "who", "text")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    incident: str
    who: str
    text: str
    def __init__(self, tenant: _Optional[str] = ..., incident: _Optional[str] = ..., who: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class WakeIncidentResponse(_message.Message):
    __slots__ = ("incident",)
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    incident: Incident
    def __init__(self, incident: _Optional[_Union[Incident, _Mapping]] = ...) -> None: ...

class Incident(_message.Message):
    __slots__ = ("id", "title", "state", "severity", "kind", "common", "tenant", "models", "features", "since", "opened_at", "updated_at", "closed_at", "close_reason", "merged_into", "reopened", "causes", "advice", "evidence", "evidence_left_out", "note", "docs", "tenants", "tenants_looked_at", "history")
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    COMMON_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    OPENED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    CLOSED_AT_FIELD_NUMBER: _ClassVar[int]
    CLOSE_REASON_FIELD_NUMBER: _ClassVar[int]
    MERGED_INTO_FIELD_NUMBER: _ClassVar[int]
    REOPENED_FIELD_NUMBER: _ClassVar[int]
    CAUSES_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DOCS_FIELD_NUMBER: _ClassVar[int]
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    TENANTS_LOOKED_AT_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    id: str
    title: str
    state: str
    severity: str
    kind: str
    common: bool
    tenant: str
    models: _containers.RepeatedScalarFieldContainer[str]
    features: _containers.RepeatedScalarFieldContainer[str]
    since: _timestamp_pb2.Timestamp
    opened_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    closed_at: _timestamp_pb2.Timestamp
    close_reason: str
    merged_into: str
    reopened: int
    causes: _containers.RepeatedScalarFieldContainer[str]
    advice: _containers.RepeatedScalarFieldContainer[str]
    evidence: _containers.RepeatedCompositeFieldContainer[IncidentEvidence]
    evidence_left_out: int
    note: IncidentNote
    docs: str
    tenants: _containers.RepeatedScalarFieldContainer[str]
    tenants_looked_at: int
    history: _containers.RepeatedCompositeFieldContainer[IncidentMoment]
    def __init__(self, id: _Optional[str] = ..., title: _Optional[str] = ..., state: _Optional[str] = ..., severity: _Optional[str] = ..., kind: _Optional[str] = ..., common: _Optional[bool] = ..., tenant: _Optional[str] = ..., models: _Optional[_Iterable[str]] = ..., features: _Optional[_Iterable[str]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., opened_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., closed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., close_reason: _Optional[str] = ..., merged_into: _Optional[str] = ..., reopened: _Optional[int] = ..., causes: _Optional[_Iterable[str]] = ..., advice: _Optional[_Iterable[str]] = ..., evidence: _Optional[_Iterable[_Union[IncidentEvidence, _Mapping]]] = ..., evidence_left_out: _Optional[int] = ..., note: _Optional[_Union[IncidentNote, _Mapping]] = ..., docs: _Optional[str] = ..., tenants: _Optional[_Iterable[str]] = ..., tenants_looked_at: _Optional[int] = ..., history: _Optional[_Iterable[_Union[IncidentMoment, _Mapping]]] = ...) -> None: ...

class IncidentMoment(_message.Message):
    __slots__ = ("at", "event", "who", "text", "until", "tenant")
    AT_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    event: str
    who: str
    text: str
    until: _timestamp_pb2.Timestamp
    tenant: str
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., event: _Optional[str] = ..., who: _Optional[str] = ..., text: _Optional[str] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tenant: _Optional[str] = ...) -> None: ...

class IncidentEvidence(_message.Message):
    __slots__ = ("tenant", "model", "version", "feature", "change", "since", "seen_until", "rows", "p_value", "effect", "sentence", "hint", "over")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    SEEN_UNTIL_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    OVER_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    version: int
    feature: str
    change: str
    since: _timestamp_pb2.Timestamp
    seen_until: _timestamp_pb2.Timestamp
    rows: int
    p_value: float
    effect: float
    sentence: str
    hint: str
    over: bool
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[int] = ..., feature: _Optional[str] = ..., change: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., seen_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., rows: _Optional[int] = ..., p_value: _Optional[float] = ..., effect: _Optional[float] = ..., sentence: _Optional[str] = ..., hint: _Optional[str] = ..., over: _Optional[bool] = ...) -> None: ...

class IncidentNote(_message.Message):
    __slots__ = ("action", "who", "at", "until", "text")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    action: str
    who: str
    at: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    text: str
    def __init__(self, action: _Optional[str] = ..., who: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., text: _Optional[str] = ...) -> None: ...

class PutMonitorRequest(_message.Message):
    __slots__ = ("tenant", "spec_json", "dry_run")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    SPEC_JSON_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    spec_json: bytes
    dry_run: bool
    def __init__(self, tenant: _Optional[str] = ..., spec_json: _Optional[bytes] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class PutMonitorResponse(_message.Message):
    __slots__ = ("change", "monitor")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    change: str
    monitor: Monitor
    def __init__(self, change: _Optional[str] = ..., monitor: _Optional[_Union[Monitor, _Mapping]] = ...) -> None: ...

class GetMonitorRequest(_message.Message):
    __slots__ = ("tenant", "name")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    name: str
    def __init__(self, tenant: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class GetMonitorResponse(_message.Message):
    __slots__ = ("monitor",)
    MONITOR_FIELD_NUMBER: _ClassVar[int]
    monitor: Monitor
    def __init__(self, monitor: _Optional[_Union[Monitor, _Mapping]] = ...) -> None: ...

class ListMonitorsRequest(_message.Message):
    __slots__ = ("tenant",)
    TENANT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    def __init__(self, tenant: _Optional[str] = ...) -> None: ...

class ListMonitorsResponse(_message.Message):
    __slots__ = ("monitors",)
    MONITORS_FIELD_NUMBER: _ClassVar[int]
    monitors: _containers.RepeatedCompositeFieldContainer[Monitor]
    def __init__(self, monitors: _Optional[_Iterable[_Union[Monitor, _Mapping]]] = ...) -> None: ...

class Monitor(_message.Message):
    __slots__ = ("tenant", "name", "revision", "digest", "spec_json")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SPEC_JSON_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    name: str
    revision: int
    digest: str
    spec_json: bytes
    def __init__(self, tenant: _Optional[str] = ..., name: _Optional[str] = ..., revision: _Optional[int] = ..., digest: _Optional[str] = ..., spec_json: _Optional[bytes] = ...) -> None: ...
