"""The two doors, HTTP and gRPC, and what they say of the replica."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import generate_latest

from services.predictor import metrics
from services.predictor.api_grpc.at_once import InferAtOnce
from services.predictor.api_grpc.entity import PredictionServicer
from services.predictor.api_grpc.health import HealthSigns
from services.predictor.api_grpc.inference import InferenceServicer
from services.predictor.api_http.admission import Admission
from services.predictor.api_http.app import build_app
from services.predictor.api_http.door import PredictDoor
from services.predictor.domain.naming import HostNames
from services.predictor.domain.quotas import Quotas
from services.predictor.domain.turns import Turns
from services.predictor.main.answering import Answering
from services.predictor.settings import PredictorSettings
from tenon.api.inference.v2 import inference_pb2_grpc
from tenon.api.predictor.v1 import predictor_pb2_grpc
from tenon.kit.auth import Authenticator, RecentCallers, RememberingAuthenticator
from tenon.kit.grpc import Door, Servicer, create_server
from tenon.kit.siblings import Siblings

INFERENCE = "inference.GRPCInferenceService"
PREDICTION = "tenon.api.predictor.v1.PredictionService"


@dataclass(frozen=True, slots=True)
class Doors:
    """Both doors, not open yet, and the signs of gRPC's health service."""

    http: PredictDoor
    grpc: Door
    signs: HealthSigns


def build_doors(
    settings: PredictorSettings,
    answering: Answering,
    authenticator: Authenticator,
    quotas: Quotas,
    ready: Callable[[], dict[str, str]],
    siblings: Siblings | None,
) -> Doors:
    """Put the doors before what answers."""
    predictor, observer, repository = answering.predictor, answering.observer, answering.repository
    hosts = HostNames(settings.predictor_host_suffix) if settings.predictor_host_suffix else None
    turns = Turns()
    metrics.WAITING.set_function(lambda: turns.waiting)
    http = build_app(
        predictor=predictor,
        authenticator=authenticator,
        observer=observer,
        ready=ready,
        max_body_bytes=settings.max_body_mib << 20,
        max_inflated_bytes=settings.predictor_max_inflated_mib << 20,
        max_json_bytes=settings.predictor_max_json_mib << 20,
        inline_rows=settings.predictor_inline_rows,
        repository=repository,
        hosts=hosts,
        expose=generate_latest if siblings is None else siblings.metrics,
        admission=Admission(quotas, turns),
    )
    recent = RecentCallers()
    infer_at_once = InferAtOnce(predictor, recent, quotas, inline_rows=settings.predictor_inline_rows)
    grpc = create_server(
        settings,
        RememberingAuthenticator(authenticator, recent),
        [
            Servicer(
                inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server,
                InferenceServicer(predictor, observer, ready, repository, hosts, quotas),
                INFERENCE,
            ),
            Servicer(
                predictor_pb2_grpc.add_PredictionServiceServicer_to_server,
                PredictionServicer(predictor, observer, hosts, quotas),
                PREDICTION,
            ),
        ],
        open_methods=(f"/{INFERENCE}/ServerLive", f"/{INFERENCE}/ServerReady"),
        log_calls=False,
        # What answers at once sees no host, and so cannot tell whose models are meant.
        at_once={} if hosts is not None else {f"/{INFERENCE}/ModelInfer": infer_at_once},
        keep_hosts=hosts is not None,
        shared_port=settings.worker >= 0,
    )
    return Doors(http, grpc, HealthSigns(grpc.health, (INFERENCE, PREDICTION), ready))
