"""Celery on Redis: one factory, so that every queue has the same promises."""

from __future__ import annotations

from typing import Any

from celery import Celery, signals
from opentelemetry import context as otel_context

from tenon.kit import context
from tenon.kit.telemetry import incoming_context, outgoing_headers


def make_celery(service: str, redis_url: str, *, visibility_timeout_seconds: int = 3600) -> Celery:
    """A Celery app whose tasks are named `<service>.verb_noun` and wait in the queue `tenon.<service>`.

    A task is acknowledged only when it ended: one whose worker died comes again (at once when the worker's process is
    lost, after `visibility_timeout_seconds` when its machine is), so tasks must be idempotent. Results are not kept:
    the service's own table is the truth.
    """
    app = Celery(service, broker=redis_url, backend=None)
    app.conf.update(
        task_default_queue=f"tenon.{service}",
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": visibility_timeout_seconds,
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "global_keyprefix": "tenon:celery:",
        },
        broker_connection_timeout=3,
        task_publish_retry=True,
        task_publish_retry_policy={"max_retries": 2, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5},
    )
    return app


def carry_context() -> None:
    """Make request id and trace follow a task from the one who sends it to the worker. Called once, from `main`."""
    signals.before_task_publish.connect(_inject, weak=False)
    signals.task_prerun.connect(_extract, weak=False)


def _inject(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None:
        headers["tenon"] = outgoing_headers()


def _extract(task: Any = None, **_: Any) -> None:
    carried = getattr(task.request, "tenon", None) or (task.request.headers or {}).get("tenon") or {}
    context.request_id.set(context.accept_request_id(carried.get("x-request-id")))
    context.tenant_name.set("")
    otel_context.attach(incoming_context(carried))
