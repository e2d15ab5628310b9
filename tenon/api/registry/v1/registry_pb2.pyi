import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_STABLE: _ClassVar[Role]
    ROLE_CANARY: _ClassVar[Role]
    ROLE_SHADOW: _ClassVar[Role]
    ROLE_ARM: _ClassVar[Role]

class TrialVerdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRIAL_VERDICT_UNSPECIFIED: _ClassVar[TrialVerdict]
    TRIAL_VERDICT_PROMOTE: _ClassVar[TrialVerdict]
    TRIAL_VERDICT_HOLD: _ClassVar[TrialVerdict]
    TRIAL_VERDICT_ROLL_BACK: _ClassVar[TrialVerdict]
    TRIAL_VERDICT_NOT_ENOUGH_EVIDENCE: _ClassVar[TrialVerdict]
ROLE_UNSPECIFIED: Role
ROLE_STABLE: Role
ROLE_CANARY: Role
ROLE_SHADOW: Role
ROLE_ARM: Role
TRIAL_VERDICT_UNSPECIFIED: TrialVerdict
TRIAL_VERDICT_PROMOTE: TrialVerdict
TRIAL_VERDICT_HOLD: TrialVerdict
TRIAL_VERDICT_ROLL_BACK: TrialVerdict
TRIAL_VERDICT_NOT_ENOUGH_EVIDENCE: TrialVerdict

class ListCredentialsRequest(_message.Message):
    __slots__ = ("known_revision",)
    KNOWN_REVISION_FIELD_NUMBER: _ClassVar[int]
    known_revision: int
    def __init__(self, known_revision: _Optional[int] = ...) -> None: ...

class ListCredentialsResponse(_message.Message):
    __slots__ = ("revision", "unchanged", "credentials")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    unchanged: bool
    credentials: _containers.RepeatedCompositeFieldContainer[Credential]
    def __init__(self, revision: _Optional[int] = ..., unchanged: _Optional[bool] = ..., credentials: _Optional[_Iterable[_Union[Credential, _Mapping]]] = ...) -> None: ...

class Credential(_message.Message):
    __slots__ = ("key_id", "key_sha256", "tenant", "scopes", "expires_at")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_SHA256_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    key_sha256: str
    tenant: str
    scopes: _containers.RepeatedScalarFieldContainer[str]
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, key_id: _Optional[str] = ..., key_sha256: _Optional[str] = ..., tenant: _Optional[str] = ..., scopes: _Optional[_Iterable[str]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListQuotasRequest(_message.Message):
    __slots__ = ("known_revision",)
    KNOWN_REVISION_FIELD_NUMBER: _ClassVar[int]
    known_revision: int
    def __init__(self, known_revision: _Optional[int] = ...) -> None: ...

class ListQuotasResponse(_message.Message):
    __slots__ = ("revision", "unchanged", "quotas")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    unchanged: bool
    quotas: _containers.RepeatedCompositeFieldContainer[TenantQuotas]
    def __init__(self, revision: _Optional[int] = ..., unchanged: _Optional[bool] = ..., quotas: _Optional[_Iterable[_Union[TenantQuotas, _Mapping]]] = ...) -> None: ...

class TenantQuotas(_message.Message):
    __slots__ = ("tenant", "requests_per_second", "burst", "rows_per_second", "concurrency")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    requests_per_second: float
    burst: float
    rows_per_second: float
    concurrency: int
    def __init__(self, tenant: _Optional[str] = ..., requests_per_second: _Optional[float] = ..., burst: _Optional[float] = ..., rows_per_second: _Optional[float] = ..., concurrency: _Optional[int] = ...) -> None: ...

class GetTenantRequest(_message.Message):
    __slots__ = ("tenant",)
    TENANT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    def __init__(self, tenant: _Optional[str] = ...) -> None: ...

class GetTenantResponse(_message.Message):
    __slots__ = ("tenant",)
    TENANT_FIELD_NUMBER: _ClassVar[int]
    tenant: Tenant
    def __init__(self, tenant: _Optional[_Union[Tenant, _Mapping]] = ...) -> None: ...

class ListTenantsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTenantsResponse(_message.Message):
    __slots__ = ("tenants",)
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    tenants: _containers.RepeatedCompositeFieldContainer[Tenant]
    def __init__(self, tenants: _Optional[_Iterable[_Union[Tenant, _Mapping]]] = ...) -> None: ...

class Tenant(_message.Message):
    __slots__ = ("name", "display_name", "revision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    revision: int
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class RegisterVersionRequest(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: RegisterVersionHeader
    chunk: bytes
    def __init__(self, header: _Optional[_Union[RegisterVersionHeader, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class RegisterVersionHeader(_message.Message):
    __slots__ = ("tenant", "model", "run_id", "bundle_sha256", "size_bytes")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    run_id: str
    bundle_sha256: str
    size_bytes: int
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., run_id: _Optional[str] = ..., bundle_sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class RegisterVersionResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: Version
    def __init__(self, version: _Optional[_Union[Version, _Mapping]] = ...) -> None: ...

class GetVersionRequest(_message.Message):
    __slots__ = ("tenant", "model", "version")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    version: int
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class GetVersionResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: Version
    def __init__(self, version: _Optional[_Union[Version, _Mapping]] = ...) -> None: ...

class ListVersionsRequest(_message.Message):
    __slots__ = ("tenant", "model", "limit")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    limit: int
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListVersionsResponse(_message.Message):
    __slots__ = ("versions",)
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[Version]
    def __init__(self, versions: _Optional[_Iterable[_Union[Version, _Mapping]]] = ...) -> None: ...

class Version(_message.Message):
    __slots__ = ("tenant", "model", "version", "bundle_sha256", "size_bytes", "run_id", "created_at", "manifest_json", "gates_passed")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_JSON_FIELD_NUMBER: _ClassVar[int]
    GATES_PASSED_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    version: int
    bundle_sha256: str
    size_bytes: int
    run_id: str
    created_at: _timestamp_pb2.Timestamp
    manifest_json: bytes
    gates_passed: bool
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[int] = ..., bundle_sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., run_id: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., manifest_json: _Optional[bytes] = ..., gates_passed: _Optional[bool] = ...) -> None: ...

class DownloadBundleRequest(_message.Message):
    __slots__ = ("tenant", "model", "version")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    version: int
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class DownloadBundleResponse(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    def __init__(self, chunk: _Optional[bytes] = ...) -> None: ...

class Track(_message.Message):
    __slots__ = ("role", "version", "bundle_sha256", "weight_permille", "arm")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_SHA256_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_PERMILLE_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    role: Role
    version: int
    bundle_sha256: str
    weight_permille: int
    arm: str
    def __init__(self, role: _Optional[_Union[Role, str]] = ..., version: _Optional[int] = ..., bundle_sha256: _Optional[str] = ..., weight_permille: _Optional[int] = ..., arm: _Optional[str] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("tenant", "model", "revision", "tracks", "created_at", "created_by", "action", "from_revision", "reason", "automatic")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TRACKS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    FROM_REVISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    AUTOMATIC_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    revision: int
    tracks: _containers.RepeatedCompositeFieldContainer[Track]
    created_at: _timestamp_pb2.Timestamp
    created_by: str
    action: str
    from_revision: int
    reason: str
    automatic: Automatic
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., revision: _Optional[int] = ..., tracks: _Optional[_Iterable[_Union[Track, _Mapping]]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_by: _Optional[str] = ..., action: _Optional[str] = ..., from_revision: _Optional[int] = ..., reason: _Optional[str] = ..., automatic: _Optional[_Union[Automatic, _Mapping]] = ...) -> None: ...

class Automatic(_message.Message):
    __slots__ = ("steps_permille", "step_seconds", "step_answers", "needs", "probation_seconds", "probation_until", "version_before")
    STEPS_PERMILLE_FIELD_NUMBER: _ClassVar[int]
    STEP_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STEP_ANSWERS_FIELD_NUMBER: _ClassVar[int]
    NEEDS_FIELD_NUMBER: _ClassVar[int]
    PROBATION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PROBATION_UNTIL_FIELD_NUMBER: _ClassVar[int]
    VERSION_BEFORE_FIELD_NUMBER: _ClassVar[int]
    steps_permille: _containers.RepeatedScalarFieldContainer[int]
    step_seconds: int
    step_answers: int
    needs: _containers.RepeatedScalarFieldContainer[str]
    probation_seconds: int
    probation_until: _timestamp_pb2.Timestamp
    version_before: int
    def __init__(self, steps_permille: _Optional[_Iterable[int]] = ..., step_seconds: _Optional[int] = ..., step_answers: _Optional[int] = ..., needs: _Optional[_Iterable[str]] = ..., probation_seconds: _Optional[int] = ..., probation_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., version_before: _Optional[int] = ...) -> None: ...

class ListTrialsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTrialsResponse(_message.Message):
    __slots__ = ("trials",)
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    trials: _containers.RepeatedCompositeFieldContainer[Trial]
    def __init__(self, trials: _Optional[_Iterable[_Union[Trial, _Mapping]]] = ...) -> None: ...

class Trial(_message.Message):
    __slots__ = ("tenant", "model", "revision", "stable_version", "candidate_version", "role", "stages", "automatic")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STABLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    AUTOMATIC_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    revision: int
    stable_version: int
    candidate_version: int
    role: Role
    stages: _containers.RepeatedCompositeFieldContainer[TrialStage]
    automatic: Automatic
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., revision: _Optional[int] = ..., stable_version: _Optional[int] = ..., candidate_version: _Optional[int] = ..., role: _Optional[_Union[Role, str]] = ..., stages: _Optional[_Iterable[_Union[TrialStage, _Mapping]]] = ..., automatic: _Optional[_Union[Automatic, _Mapping]] = ...) -> None: ...

class TrialStage(_message.Message):
    __slots__ = ("start", "end", "weight_permille")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_PERMILLE_FIELD_NUMBER: _ClassVar[int]
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    weight_permille: int
    def __init__(self, start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., weight_permille: _Optional[int] = ...) -> None: ...

class ReportVerdictRequest(_message.Message):
    __slots__ = ("tenant", "model", "revision", "candidate_version", "verdict", "summary", "judged_at", "stage_answers")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    JUDGED_AT_FIELD_NUMBER: _ClassVar[int]
    STAGE_ANSWERS_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    revision: int
    candidate_version: int
    verdict: TrialVerdict
    summary: str
    judged_at: _timestamp_pb2.Timestamp
    stage_answers: int
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., revision: _Optional[int] = ..., candidate_version: _Optional[int] = ..., verdict: _Optional[_Union[TrialVerdict, str]] = ..., summary: _Optional[str] = ..., judged_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., stage_answers: _Optional[int] = ...) -> None: ...

class ReportVerdictResponse(_message.Message):
    __slots__ = ("release", "acted", "waiting")
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    ACTED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    release: Release
    acted: bool
    waiting: str
    def __init__(self, release: _Optional[_Union[Release, _Mapping]] = ..., acted: _Optional[bool] = ..., waiting: _Optional[str] = ...) -> None: ...

class GetReleaseRequest(_message.Message):
    __slots__ = ("tenant", "model")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class GetReleaseResponse(_message.Message):
    __slots__ = ("release",)
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    release: Release
    def __init__(self, release: _Optional[_Union[Release, _Mapping]] = ...) -> None: ...

class SetReleaseRequest(_message.Message):
    __slots__ = ("tenant", "model", "stable_version", "canary_version", "canary_weight_permille", "shadow_version", "force", "reason", "expected_revision", "arms", "automatic")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STABLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    CANARY_VERSION_FIELD_NUMBER: _ClassVar[int]
    CANARY_WEIGHT_PERMILLE_FIELD_NUMBER: _ClassVar[int]
    SHADOW_VERSION_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    AUTOMATIC_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    stable_version: int
    canary_version: int
    canary_weight_permille: int
    shadow_version: int
    force: bool
    reason: str
    expected_revision: int
    arms: _containers.RepeatedCompositeFieldContainer[Arm]
    automatic: Automatic
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., stable_version: _Optional[int] = ..., canary_version: _Optional[int] = ..., canary_weight_permille: _Optional[int] = ..., shadow_version: _Optional[int] = ..., force: _Optional[bool] = ..., reason: _Optional[str] = ..., expected_revision: _Optional[int] = ..., arms: _Optional[_Iterable[_Union[Arm, _Mapping]]] = ..., automatic: _Optional[_Union[Automatic, _Mapping]] = ...) -> None: ...

class Arm(_message.Message):
    __slots__ = ("name", "version", "weight_permille")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_PERMILLE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    weight_permille: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., weight_permille: _Optional[int] = ...) -> None: ...

class SetReleaseResponse(_message.Message):
    __slots__ = ("release", "changed")
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    release: Release
    changed: bool
    def __init__(self, release: _Optional[_Union[Release, _Mapping]] = ..., changed: _Optional[bool] = ...) -> None: ...

class PromoteReleaseRequest(_message.Message):
    __slots__ = ("tenant", "model", "reason", "expected_revision", "arm")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    reason: str
    expected_revision: int
    arm: str
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., reason: _Optional[str] = ..., expected_revision: _Optional[int] = ..., arm: _Optional[str] = ...) -> None: ...

class PromoteReleaseResponse(_message.Message):
    __slots__ = ("release",)
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    release: Release
    def __init__(self, release: _Optional[_Union[Release, _Mapping]] = ...) -> None: ...

class RollbackReleaseRequest(_message.Message):
    __slots__ = ("tenant", "model", "to_revision", "reason", "expected_revision")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TO_REVISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    to_revision: int
    reason: str
    expected_revision: int
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., to_revision: _Optional[int] = ..., reason: _Optional[str] = ..., expected_revision: _Optional[int] = ...) -> None: ...

class RollbackReleaseResponse(_message.Message):
    __slots__ = ("release",)
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    release: Release
    def __init__(self, release: _Optional[_Union[Release, _Mapping]] = ...) -> None: ...

class ListReleaseHistoryRequest(_message.Message):
    __slots__ = ("tenant", "model", "limit")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    limit: int
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListReleaseHistoryResponse(_message.Message):
    __slots__ = ("releases",)
    RELEASES_FIELD_NUMBER: _ClassVar[int]
    releases: _containers.RepeatedCompositeFieldContainer[Release]
    def __init__(self, releases: _Optional[_Iterable[_Union[Release, _Mapping]]] = ...) -> None: ...

class WatchReleasesRequest(_message.Message):
    __slots__ = ("tenants",)
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    tenants: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, tenants: _Optional[_Iterable[str]] = ...) -> None: ...

class WatchReleasesResponse(_message.Message):
    __slots__ = ("release", "synced")
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    SYNCED_FIELD_NUMBER: _ClassVar[int]
    release: Release
    synced: bool
    def __init__(self, release: _Optional[_Union[Release, _Mapping]] = ..., synced: _Optional[bool] = ...) -> None: ...

class ServedModel(_message.Message):
    __slots__ = ("tenant", "model", "revision", "tracks", "problem")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TRACKS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    revision: int
    tracks: _containers.RepeatedCompositeFieldContainer[Track]
    problem: str
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ..., revision: _Optional[int] = ..., tracks: _Optional[_Iterable[_Union[Track, _Mapping]]] = ..., problem: _Optional[str] = ...) -> None: ...

class ReportServingRequest(_message.Message):
    __slots__ = ("replica", "models", "leaving", "serves_only")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    SERVES_ONLY_FIELD_NUMBER: _ClassVar[int]
    replica: str
    models: _containers.RepeatedCompositeFieldContainer[ServedModel]
    leaving: bool
    serves_only: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, replica: _Optional[str] = ..., models: _Optional[_Iterable[_Union[ServedModel, _Mapping]]] = ..., leaving: _Optional[bool] = ..., serves_only: _Optional[_Iterable[str]] = ...) -> None: ...

class ReportServingResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServingRequest(_message.Message):
    __slots__ = ("tenant", "model")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    model: str
    def __init__(self, tenant: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class GetServingResponse(_message.Message):
    __slots__ = ("desired", "replicas")
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    desired: _containers.RepeatedCompositeFieldContainer[Release]
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaServing]
    def __init__(self, desired: _Optional[_Iterable[_Union[Release, _Mapping]]] = ..., replicas: _Optional[_Iterable[_Union[ReplicaServing, _Mapping]]] = ...) -> None: ...

class ReplicaServing(_message.Message):
    __slots__ = ("replica", "reported_at", "models")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    REPORTED_AT_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    replica: str
    reported_at: _timestamp_pb2.Timestamp
    models: _containers.RepeatedCompositeFieldContainer[ServedModel]
    def __init__(self, replica: _Optional[str] = ..., reported_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., models: _Optional[_Iterable[_Union[ServedModel, _Mapping]]] = ...) -> None: ...
