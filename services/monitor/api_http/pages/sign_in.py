"""Signing in and out, and the files that pages load."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import RedirectResponse

from services.monitor.api_http.pages.addresses import HOME, SIGN_IN
from services.monitor.api_http.pages.doors import (
    page_response,
    posted_form,
    read_form,
    safe_next,
    sessions_of,
    set_cookie,
)
from services.monitor.api_http.pages.html import tag
from services.monitor.api_http.pages.layout import frame, static_files
from services.monitor.api_http.sessions import MAX_PERSON
from tenon.core.errors import NotFound, TenonError
from tenon.kit.http import STATUS

_MEDIA = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def add_sign_in(pages: APIRouter) -> None:
    """Put the routes on the router."""

    @pages.get("/sign-in")
    def sign_in_page(request: Request) -> Response:
        return page_response(_form(safe_next(request.query_params.get("next", HOME))))

    # Not async: an unknown key makes the authenticator ask the registry.
    @pages.post("/sign-in")
    def sign_in(request: Request, form: Annotated[dict[str, str], Depends(read_form)]) -> Response:
        onward = safe_next(form.get("next", HOME))
        try:
            session = sessions_of(request).open(form.get("key", ""), form.get("person", ""))
        except TenonError as err:
            return page_response(_form(onward, err.message, form.get("person", "")), STATUS[err.kind])
        response = RedirectResponse(onward, status_code=303)
        set_cookie(request, response, session.cookie)
        return response

    @pages.post("/sign-out")
    def sign_out(request: Request, _form: Annotated[dict[str, str], Depends(posted_form)]) -> Response:
        response = RedirectResponse(SIGN_IN, status_code=303)
        set_cookie(request, response, "")
        return response

    @pages.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in static_files():
            raise NotFound("PATH_NOT_FOUND", f"there is no file {name[:60]!r}")
        kept = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}
        return Response(static_files()[name], headers=kept, media_type=_MEDIA[name.rpartition(".")[2]])


def _form(onward: str, problem: str = "", person: str = "") -> str:
    fields = [
        tag("input", type="hidden", name="next", value=onward),
        tag("label", "API key", for_="key"),
        tag(
            "input", type="password", id="key", name="key", required=True, autofocus=True, autocomplete="current-password",
            spellcheck="false", aria_describedby="problem" if problem else "about-key",
        ),
        tag("p", "The operator's key shows the whole fleet, a tenant's key its own models.", id="about-key", class_="facts"),
        tag("label", "Your name", tag("span", " (stands beside the labels you correct)", class_="facts"), for_="person"),
        tag("input", id="person", name="person", value=person, autocomplete="name", maxlength=MAX_PERSON),
        tag("button", "Sign in", type="submit", class_="main"),
    ]  # fmt: skip
    said = (
        tag("p", f"{problem[:1].upper()}{problem[1:]}.", id="problem", class_="bad", role="alert") if problem else None
    )
    return frame(
        "Sign in",
        tag(
            "section",
            tag("h1", "Sign in"),
            said,
            tag("form", fields, method="post", action=SIGN_IN),
            tag("p", "In embedded mode ", tag("code", "tenon monitor open"), " prints the key to use.", class_="facts"),
            class_="sign-in",
        ),
    )
