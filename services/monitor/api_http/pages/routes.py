"""All pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from services.monitor.api_http.pages.addresses import HOME
from services.monitor.api_http.pages.depth import add_depth_page
from services.monitor.api_http.pages.doors import PageRoute
from services.monitor.api_http.pages.fleet import add_fleet_page
from services.monitor.api_http.pages.incident import add_incident_pages
from services.monitor.api_http.pages.model import add_model_page
from services.monitor.api_http.pages.month import add_month_page
from services.monitor.api_http.pages.review import add_review_pages
from services.monitor.api_http.pages.sign_in import add_sign_in
from tenon.core.errors import NotFound

if TYPE_CHECKING:
    from fastapi import FastAPI

    from services.monitor.api_http.use_cases import UseCases


def add_pages(app: FastAPI, use: UseCases) -> None:
    """Put the pages on the app."""
    app.state.sessions = use.sessions
    pages = APIRouter(prefix=HOME, route_class=PageRoute, include_in_schema=False)
    add_sign_in(pages)
    add_fleet_page(pages, use)
    add_incident_pages(pages, use)
    add_model_page(pages, use)
    add_depth_page(pages, use)
    add_month_page(pages, use)
    add_review_pages(pages, use)

    @pages.get("/{rest:path}")
    def nothing_here(rest: str) -> Response:
        raise NotFound("PATH_NOT_FOUND", f"there is no page {rest[:80]!r}")

    app.include_router(pages)

    @app.get("/", include_in_schema=False)
    def home() -> Response:
        return RedirectResponse(HOME, status_code=303)
