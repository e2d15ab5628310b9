"""The review queue as a page: one answer at a time, one key a decision. Without its script every decision is a button."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Response
from markupsafe import Markup
from starlette.responses import RedirectResponse

from services.monitor import metrics
from services.monitor.api_http.pages.addresses import model_url, review_url, tenant_url
from services.monitor.api_http.pages.doors import Visit, page_visit, posted_form
from services.monitor.api_http.pages.html import join, tag
from services.monitor.api_http.pages.words import facts, minute, named, when
from services.monitor.domain.labels.match import is_history
from services.monitor.domain.quality.measure import plain
from services.monitor.domain.review_words import Reason, ReviewItem, ReviewRound, State
from tenon.core.errors import Conflict, Invalid, Place, Precondition
from tenon.core.tenancy import Scope

if TYPE_CHECKING:
    from services.monitor.api_http.use_cases import UseCases
    from services.monitor.domain.label_words import KeyValue
    from services.monitor.domain.review.rank import Judge

REASONS = {
    Reason.LABEL: "disagrees with its label",
    Reason.COSTLY: "costly if wrong",
    Reason.UNCERTAIN: "uncertain",
    Reason.HISTORY: "unlike this entity's history",
}
_Form = Annotated[dict[str, str], Depends(posted_form)]


def add_review_pages(pages: APIRouter, use: UseCases) -> None:
    """Put the queue on the router."""

    @pages.get("/tenants/{tenant}/models/{model}/review")
    def queue(
        visit: Annotated[Visit, Depends(page_visit(Scope.READ))], model: str,
        said: Annotated[str, Query(max_length=300)] = "",
    ) -> Response:  # fmt: skip
        judge = use.review.judge(visit.tenant, model)
        found = use.review.queue(visit.tenant, model)
        tenant = visit.tenant.value
        here = review_url(tenant, model)
        item = next(iter(found.open), None)
        body = _nothing_left(found) if item is None else _item(item, judge, use.now())
        status = tag("p", said, id="said", role="status", aria_live="polite")
        return visit.page(
            f"Review {model}",
            status,
            body,
            _controls(visit, here, item, judge.binary, found),
            trail=[(tenant, tenant_url(tenant)), (model, model_url(tenant, model)), ("Review", here)],
            script="review.js",
        )

    @pages.post("/tenants/{tenant}/models/{model}/review")
    def decide(visit: Annotated[Visit, Depends(page_visit(Scope.WRITE))], model: str, form: _Form) -> Response:
        here = review_url(visit.tenant.value, model)
        try:
            said = _decide(use, visit, model, form)
        except (Conflict, Precondition) as err:
            # Somebody else was faster, or there is nothing to undo: the queue goes on, and says so.
            said = f"{err.message[:1].upper()}{err.message[1:]}."
        return RedirectResponse(f"{here}?{_query(said)}", status_code=303)


def _decide(use: UseCases, visit: Visit, model: str, form: dict[str, str]) -> str:
    action, one = form.get("action", ""), form.get("prediction_id", "")
    if action == "new":
        found = use.review.start(visit.tenant, model)
        return f"A new round with {len(found.items)} answers."
    if action == "undo":
        item = use.review.undo(visit.tenant, model, visit.person)
        metrics.REVIEWED.labels(visit.tenant.value, model, "undone").inc()
        return f"Undone: number {item.rank} is open again."
    if action == "skip":
        item = use.review.skip(visit.tenant, model, one, visit.person)
    elif action == "label":
        text = form.get("value", "").strip().replace(",", ".")
        try:
            value = float(text)
        except ValueError:
            raise Invalid("LABEL_INVALID", f"{text[:40]!r} is not a number", place=Place(field="value")) from None
        item = use.review.label(visit.tenant, model, one, value, visit.person)
    else:
        raise Invalid("FORM_INVALID", f"there is no action {action[:40]!r}", place=Place(field="action"))
    metrics.REVIEWED.labels(visit.tenant.value, model, item.state.value).inc()
    what = (
        "skipped"
        if item.state is State.SKIPPED
        else f"labelled {use.review.judge(visit.tenant, model).word(item.value or 0.0)}"
    )
    return f"Number {item.rank} {what}."


def _query(said: str) -> str:
    return urlencode({"said": said[:300]})


def _item(item: ReviewItem, judge: Judge, now: int) -> Markup:
    said = [name for name in item.columns if not is_history(name)]
    history = [name for name in item.columns if is_history(name)]
    known = "no label yet" if item.label is None else judge.word(item.label)
    answer = f"{plain(item.score)}" + (" probability of yes" if judge.binary else "")
    return tag(
        "section",
        facts(
            f"Number {item.rank} · {REASONS[item.reason]} · asked ", when(item.at, now), f" · version {item.version}"
        ),
        tag("h1", item.why, id="why", tabindex="-1"),
        tag(
            "dl",
            _pair("answer", answer),
            _pair("label", known),
            _pair("event", minute(item.event_time)),
            class_="strip",
        ),
        tag(
            "div",
            _values("What was asked", {name: item.columns[name] for name in said}),
            _values("What history said", {name: item.columns[name] for name in history}) if history else None,
            class_="review-values",
        ),
        id="item",
        aria_labelledby="why",
        data_prediction=item.prediction_id,
    )


def _pair(name: str, value: str) -> Markup:
    return tag("div", tag("dt", name), tag("dd", value))


def _values(title: str, values: dict[str, KeyValue | None]) -> Markup:
    rows = [
        tag("tr", tag("th", tag("code", named(name)), scope="row"), tag("td", _shown(value), class_="n"))
        for name, value in values.items()
    ]
    return tag("table", tag("caption", title), tag("tbody", rows))


def _shown(value: KeyValue | None) -> str:
    if value is None:
        return "missing"
    return plain(value) if isinstance(value, float) else str(value)


def _nothing_left(found: ReviewRound) -> Markup:
    if not found.items:
        text = "Nothing to review"
        more = "No answer of this window is uncertain, costly or in conflict with what is known."
    else:
        text = "This round is done"
        more = f"{found.count(State.LABELLED)} labelled, {found.count(State.SKIPPED)} skipped."
    return tag("section", tag("h1", text, id="why", tabindex="-1"), tag("p", more), id="item", aria_labelledby="why")


def _controls(visit: Visit, here: str, item: ReviewItem | None, binary: bool, found: ReviewRound) -> Markup:
    hidden = [tag("input", type="hidden", name="csrf", value=visit.csrf)]
    if item is not None:
        hidden.append(tag("input", type="hidden", name="prediction_id", value=item.prediction_id))
    forms: list[Markup] = []
    if item is not None and binary:
        forms += [
            _form(
                here,
                hidden,
                "label",
                tag("input", type="hidden", name="value", value="1"),
                _button("Yes", "y", main=True),
            ),
            _form(
                here,
                hidden,
                "label",
                tag("input", type="hidden", name="value", value="0"),
                _button("No", "n", main=True),
            ),
        ]
    elif item is not None:
        field = tag(
            "input", id="value", name="value", inputmode="decimal", autocomplete="off", required=True, size="12"
        )
        label = tag("label", "True value ", tag("kbd", "v"), " ", field)
        forms.append(_form(here, hidden, "label", label, " ", _button("Label", "Enter", main=True)))
    if item is not None:
        forms.append(_form(here, hidden, "skip", _button("Skip", "s")))
    forms.append(_form(here, hidden[:1], "undo", _button("Undo my last", "u")))
    if item is None:
        forms.append(_form(here, hidden[:1], "new", _button("New round", "r", main=True)))
    done = len(found.items) - len(found.open)
    progress = tag(
        "progress",
        f"{done} of {len(found.items)}",
        value=str(done),
        max=str(max(1, len(found.items))),
        aria_label="decided",
    )
    line = f" {done} of {len(found.items)} decided · round {found.number} of {minute(found.built_at)}, from {found.looked_at:,} answers"
    keys = (
        "Keys: "
        + ("y yes, n no, " if binary else "v value, Enter label, ")
        + "s skip, u undo. The queue waits as you leave it."
    )
    return join(
        tag("div", *forms, class_="review-keys", role="group", aria_label="Decide"), facts(progress, line), facts(keys)
    )


def _form(here: str, hidden: list[Markup], action: str, *inside: Markup | str) -> Markup:
    kind = tag("input", type="hidden", name="action", value=action)
    return tag("form", *hidden, kind, *inside, method="post", action=here)


def _button(text: str, key: str, *, main: bool = False) -> Markup:
    short = None if key == "Enter" else key
    return tag(
        "button", text, " ", tag("kbd", key, aria_hidden="true"), type="submit", data_key=short, aria_keyshortcuts=key,
        class_="main" if main else None,
    )  # fmt: skip
