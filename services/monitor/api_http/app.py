"""All of monitor's routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.monitor.api_http.canary import add_canary_routes
from services.monitor.api_http.erasures import add_erasure_routes
from services.monitor.api_http.in_depth import add_in_depth_routes
from services.monitor.api_http.incidents import add_incident_routes
from services.monitor.api_http.labels import add_label_routes
from services.monitor.api_http.overview import add_overview_routes
from services.monitor.api_http.pages.month import add_month_route
from services.monitor.api_http.pages.routes import add_pages
from services.monitor.api_http.policies import add_policy_routes
from services.monitor.api_http.reports import add_report_routes
from services.monitor.api_http.retraining import add_retraining_routes
from services.monitor.api_http.review import add_review_routes

if TYPE_CHECKING:
    from fastapi import FastAPI

    from services.monitor.api_http.use_cases import UseCases


def add_routes(app: FastAPI, use: UseCases) -> None:
    """Put monitor's routes on the app."""
    add_report_routes(app, use)
    add_in_depth_routes(app, use)
    add_label_routes(app, use)
    add_policy_routes(app, use)
    add_canary_routes(app, use)
    add_overview_routes(app, use)
    add_month_route(app, use)
    add_review_routes(app, use)
    add_erasure_routes(app, use)
    add_incident_routes(app, use)
    add_retraining_routes(app, use)
    add_pages(app, use)
