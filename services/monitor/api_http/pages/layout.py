"""What all pages have around them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from markupsafe import Markup

from services.monitor.api_http.pages.html import tag

if TYPE_CHECKING:
    from services.monitor.api_http.sessions import Session
    from tenon.core.errors import TenonError

Trail = Sequence[tuple[str, str]]
"""Names and addresses of the pages above this one."""


@cache
def static_files() -> dict[str, bytes]:
    """The files that pages load, all from here."""
    folder = resources.files(__package__).joinpath("static")
    return {
        entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.endswith((".css", ".js", ".svg"))
    }


def static_url(name: str) -> str:
    """The address of a static file; it changes when the file does, so that browsers may keep it."""
    return f"/pages/static/{name}?v={hashlib.sha256(static_files()[name]).hexdigest()[:12]}"


def frame(
    title: str, *body: Markup, trail: Trail = (), session: Session | None = None, script: str | None = None
) -> str:
    """A whole page."""
    crumbs: list[Markup] = [tag("a", "Fleet", href="/pages")] if session is not None else [tag("span", "Monitor")]
    crumbs += [tag("a", name, href=address) for name, address in trail[:-1]]
    crumbs += [tag("a", name, href=address, aria_current="page") for name, address in trail[-1:]]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("title", f"{title} · Tenon"),
        tag("meta", name="viewport", content="width=device-width,initial-scale=1"),
        tag("link", rel="icon", href=static_url("icon.svg"), type="image/svg+xml"),
        tag("link", rel="stylesheet", href=static_url("pages.css")),
        tag("script", src=static_url(script), defer=True) if script else None,
    )
    top = tag(
        "header",
        tag("span", "Tenon", class_="brand"),
        tag("nav", tag("ol", [tag("li", crumb) for crumb in crumbs]), aria_label="You are here"),
        _who(session),
    )
    inner = tag(
        "body", tag("a", "Skip to the content", href="#main", class_="skip"), top, tag("main", *body, id="main")
    )
    return Markup("<!doctype html>") + tag("html", head, inner, lang="en")


def standalone(title: str, *body: Markup) -> str:
    """A page that is a file: its style inside, no header, no links to other pages."""
    style = Markup(static_files()["pages.css"].decode())  # noqa: S704 - our own file
    head = tag(
        "head", tag("meta", charset="utf-8"), tag("title", f"{title} · Tenon"),
        tag("meta", name="viewport", content="width=device-width,initial-scale=1"), tag("style", style),
    )  # fmt: skip
    return Markup("<!doctype html>") + tag("html", head, tag("body", tag("main", *body)), lang="en")


def _who(session: Session | None) -> Markup | None:
    if session is None:
        return None
    whose = "the whole platform" if session.principal.tenant is None else f"tenant {session.principal.tenant}"
    return tag(
        "form",
        tag("span", session.person, title=f"key {session.principal.name}, sees {whose}"),
        tag("input", type="hidden", name="csrf", value=session.csrf),
        tag("button", "Sign out", type="submit"),
        method="post",
        action="/pages/sign-out",
        class_="who",
    )


def problem_page(error: TenonError, request_id: str) -> str:
    """A refusal in words."""
    return frame(
        "Not here",
        tag("h1", f"{error.message[:1].upper()}{error.message[1:]}."),
        tag("p", error.hint) if error.hint else Markup(),
        tag("p", tag("a", "To the fleet", href="/pages")),
        tag("p", f"{error.reason} · request {request_id}", class_="facts"),
    )
