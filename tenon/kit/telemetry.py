"""Logs (JSON lines with ECS field names) and traces (OpenTelemetry; exported only with an OTLP endpoint)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import tenon
from tenon.kit import context

# structlog imports rich, where it is installed, for a console that no service has: 0.1 s and 4 MB of each process.
_without_rich = "rich" not in sys.modules
if _without_rich:
    sys.modules["rich"] = None  # type: ignore[assignment]
try:
    import structlog
finally:
    if _without_rich:
        del sys.modules["rich"]


def configure_telemetry(service: str, log_level: str = "INFO", otlp_endpoint: str = "") -> None:
    """Set up logs and traces of this process; called once, from `main`."""
    _configure_logs(service, log_level)
    provider = TracerProvider(
        resource=Resource.create(
            {"service.name": service, "service.namespace": "tenon", "service.version": tenon.__version__}
        )
    )
    if otlp_endpoint:
        # The exporter takes 0.2 s to import, and most processes export nothing.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint, timeout=5)))
    trace.set_tracer_provider(provider)


def _configure_logs(service: str, log_level: str) -> None:
    def ecs(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        span = trace.get_current_span().get_span_context()
        out: dict[str, Any] = {
            "@timestamp": event.pop("timestamp"),
            "log.level": event.pop("level"),
            "message": event.pop("event"),
            "ecs.version": "8.11",
            "service.name": service,
        }
        if logger := event.pop("logger", None):
            out["log.logger"] = logger
        if request := context.request_id.get():
            out["http.request.id"] = request
        if tenant := context.tenant_name.get():
            out["tenon.tenant"] = tenant
        if span.is_valid:
            out["trace.id"] = f"{span.trace_id:032x}"
            out["span.id"] = f"{span.span_id:016x}"
        if exception := event.pop("exception", None):
            out["error.stack_trace"] = exception
        out.update({(key if "." in key else f"tenon.{key}"): value for key, value in event.items()})
        return out

    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                ecs,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(log_level.upper())
    # These libraries speak at info of every request or every statement; ours is the line that counts.
    for noisy in ("uvicorn.access", "httpx", "alembic", "urllib3", "botocore", "boto3", "kombu", "amqp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for own in ("uvicorn", "uvicorn.error", "celery"):
        logging.getLogger(own).handlers[:] = []
        logging.getLogger(own).propagate = True


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; events are short lower-case sentences, identifiers go into fields, values of rows never do."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def tracer(name: str) -> trace.Tracer:
    """The tracer of a module."""
    return trace.get_tracer(name)


def outgoing_headers() -> dict[str, str]:
    """`traceparent` (and friends) and the request id of what is being answered, to carry along."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    if request := context.request_id.get():
        carrier["x-request-id"] = request
    return carrier


def incoming_context(headers: Mapping[str, str]) -> Any:
    """The OpenTelemetry context that came with a request or a queued message."""
    return propagate.extract(dict(headers))
