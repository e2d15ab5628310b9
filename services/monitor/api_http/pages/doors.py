"""How a page is asked for: the session instead of a header, errors as pages, and what a form must bring to be believed."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import RedirectResponse

from services.monitor.api_http.pages.addresses import HOME, SIGN_IN
from services.monitor.api_http.pages.layout import Trail, frame, problem_page
from services.monitor.api_http.sessions import LONGEST_SECONDS, Session, Sessions
from tenon.core.errors import Forbidden, Invalid, Place, TenonError, Unauthenticated
from tenon.core.tenancy import Principal, Scope, TenantId
from tenon.kit import context
from tenon.kit.http import STATUS, JsonResponse, refusal_body
from tenon.kit.telemetry import get_logger

if TYPE_CHECKING:
    from markupsafe import Markup

log = get_logger(__name__)

COOKIE = "tenon_session"
_CSRF_HEADER = "x-csrf-token"


@dataclass(frozen=True, slots=True)
class Visit:
    """A signed-in person on a page; `tenant` is set where the address names one that this person may see."""

    request: Request
    session: Session
    _tenant: TenantId | None = None

    @property
    def tenant(self) -> TenantId:
        """The tenant of the address."""
        if self._tenant is None:
            raise LookupError("the address of this page names no tenant")
        return self._tenant

    @property
    def principal(self) -> Principal:
        """Whose key it was."""
        return self.session.principal

    @property
    def person(self) -> str:
        """The name typed at sign-in, else the key's id."""
        return self.session.person

    @property
    def csrf(self) -> str:
        """What a form sends back in the field `csrf`."""
        return self.session.csrf

    def page(
        self, title: str, *body: Markup, trail: Trail = (), script: str | None = None, status: int = 200
    ) -> Response:
        """The answer: `body` in the frame. `script` is a file in `static/`; `trail` leads from the fleet to here."""
        response = page_response(frame(title, *body, trail=trail, session=self.session, script=script), status)
        if self.session.cookie:
            set_cookie(self.request, response, self.session.cookie)
        return response


def page_visit(scope: Scope) -> Callable[[Request], Visit]:
    """A dependency that gives the visit when the signed-in person may do `scope` for the address' tenant, if it names one.

    Another tenant's page answers exactly as one that does not exist.
    """

    def visit(request: Request) -> Visit:
        session = sessions_of(request).read(request.cookies.get(COOKIE))
        context.principal.set(session.principal)
        if "tenant" not in request.path_params:
            if session.principal.is_platform and scope not in session.principal.scopes:
                session.principal.require_admin()
            return Visit(request, session)
        tenant = TenantId(request.path_params["tenant"])
        session.principal.require(tenant, scope)
        request.scope["tenon.tenant"] = tenant.value
        return Visit(request, session, tenant)

    return visit


async def posted_form(request: Request) -> dict[str, str]:
    """The form of a signed-in person, whose origin and token were checked. Raises `Unauthenticated` and `Forbidden`."""
    session = sessions_of(request).read(request.cookies.get(COOKIE))
    form = await read_form(request)
    sent = request.headers.get(_CSRF_HEADER) or form.get("csrf", "")
    if not hmac.compare_digest(sent.encode(), session.csrf.encode()):
        raise Forbidden("FORM_NOT_OURS", "this form was not made for this session; load the page again")
    return form


async def read_form(request: Request) -> dict[str, str]:
    """The form's fields, if a page of ours sent it. Raises `Forbidden`."""
    _same_origin(request)
    body = (await request.body()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=1_000))
    except ValueError as err:
        raise Invalid("FORM_INVALID", f"the form cannot be read: {err}") from None


def _same_origin(request: Request) -> None:
    """Browsers say which site a form was on, and no script can change that. Programs say nothing and bring no cookie by
    themselves, so they need not."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        ours = site in {"same-origin", "none"}
    else:
        ours = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not ours:
        raise Forbidden("FORM_NOT_OURS", "this form came from another site")


def sessions_of(request: Request) -> Sessions:
    """The app's sessions."""
    sessions: Sessions = request.app.state.sessions
    return sessions


def set_cookie(request: Request, response: Response, value: str) -> None:
    """Give the browser its session; empty takes it away."""
    safe = request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "").startswith("https")
    age = LONGEST_SECONDS if value else 0
    response.set_cookie(COOKIE, value, max_age=age, path=HOME, httponly=True, samesite="strict", secure=safe)


def page_response(html: str, status: int = 200) -> Response:
    """HTML with the headers of all pages: nothing from elsewhere, in no frame, kept by nobody."""
    return Response(html, status, {
        "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        "referrer-policy": "same-origin", "x-content-type-options": "nosniff", "cache-control": "no-store",
    }, "text/html")  # fmt: skip


def safe_next(path: str) -> str:
    """Where to go after the sign-in: only to a page of ours."""
    ours = (path == HOME or path.startswith((f"{HOME}/", f"{HOME}?"))) and not any(c in path for c in "\\\r\n\t")
    return path if ours and not path.startswith(SIGN_IN) else HOME


class PageRoute(APIRoute):
    """A route whose refusals are pages; who has no session is led to the sign-in."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute`."""
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestValidationError as err:
                first = err.errors()[0]
                name = ".".join(str(part) for part in first["loc"][1:])
                return _refused(request, Invalid("REQUEST_INVALID", f"{name}: {first['msg']}", place=Place(field=name)))
            except TenonError as err:
                return _refused(request, err)

        return answer


def _refused(request: Request, error: TenonError) -> Response:
    log.info("refused", reason=error.reason, kind=error.kind.value)
    status = STATUS[error.kind]
    if _CSRF_HEADER in request.headers:
        return JsonResponse(refusal_body(error), status_code=status)
    if isinstance(error, Unauthenticated):
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        there = f"?next={quote(here)}" if request.method == "GET" and here != HOME else ""
        return RedirectResponse(SIGN_IN + there, status_code=303)
    return page_response(problem_page(error, context.request_id.get()), status)
