"""`tenon release`: which versions answer, and with what share; each command returns when it is really served."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from tenon.cli.commands.release_auto import (
    auto_options,
    automatic_wish,
    canary_verdict,
    describe_automatic,
    show_verdict,
)
from tenon.cli.context import (
    DEADLINE_VARIABLE,
    NumberRange,
    SuggestingGroup,
    data_option,
    json_option,
    open_client,
    tenant_option,
)
from tenon.cli.failures import BadUsage, NotReady
from tenon.cli.output import Output, count
from tenon.cli.paths import path_of
from tenon.cli.tenants import choose_tenant, near_name
from tenon.core.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenon.cli.client import Client

_POLL_SECONDS = 0.1
_WAIT_SECONDS = 10.0


class _ArmType(click.ParamType):  # type: ignore[type-arg]
    """`b=4:10`: arm b, version 4, 10 percent."""

    name = "arm"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The arm as the registry takes it."""
        found = re.fullmatch(r"([^=:]+)=(\d{1,9}):(\d{1,3}(?:\.\d+)?)", value) if isinstance(value, str) else None
        if found is None:
            self.fail(f"{value!r} is not NAME=VERSION:PERCENT, such as b=4:10", param, ctx)
        return {"name": found[1], "version": int(found[2]), "weight": float(found[3])}


@click.group(cls=SuggestingGroup)
def release() -> None:
    """Set, promote, roll back and show what is served."""


def _wait_options(function: Callable[..., None]) -> Callable[..., None]:
    function = click.option("--timeout", type=NumberRange(min=0.1), default=_WAIT_SECONDS, envvar=DEADLINE_VARIABLE, show_default=True, metavar="SECONDS",
                            help="How long to wait until it is served.")(function)  # fmt: skip
    return click.option(
        "--wait/--no-wait", default=True, show_default=True, help="Return when every replica serves it."
    )(function)


def _reason_option(function: Callable[..., None]) -> Callable[..., None]:
    return click.option("--reason", default="", metavar="TEXT", help="Why; kept in the history.")(function)


@release.command("set")
@click.argument("model")
@click.option(
    "--stable",
    type=click.IntRange(min=1),
    metavar="VERSION",
    help="Answers all other traffic; left out: the one there is.",
)
@click.option("--canary", type=click.IntRange(min=1), metavar="VERSION", help="Answers its --weight of the traffic.")
@click.option("--weight", type=NumberRange(0.1, 99.9), metavar="PERCENT", help="The canary's share of the traffic.")
@click.option("--shadow", type=click.IntRange(min=1), metavar="VERSION", help="Is asked too, never answers.")
@click.option(
    "--arm",
    "arms",
    multiple=True,
    type=_ArmType(),
    metavar="NAME=VERSION:PERCENT",
    help="An arm of an A/B test, with its share; as often as there are arms.",
)
@click.option("--force", is_flag=True, help="Also a version that failed a gate.")
@auto_options
@_reason_option
@_wait_options
@tenant_option
@data_option()
@json_option
@click.pass_obj
def set_(
    output: Output, /, model: str, stable: int | None, canary: int | None, weight: float | None, shadow: int | None,
    arms: tuple[dict[str, Any], ...], force: bool, reason: str, wait: bool, timeout: float, tenant: str | None, data: str | None,
    **auto: Any,
) -> None:  # fmt: skip
    """Say which versions serve: a stable one, perhaps a canary or arms with a share each, perhaps a shadow.

    \b
    tenon release set late_arrival --stable 1
    tenon release set late_arrival --canary 2 --weight 20
    tenon release set late_arrival --canary 2 --weight 5 --auto --steps 25,50 --every 1h
    tenon release set late_arrival --stable 3 --arm b=4:10 --arm c=5:10
    """
    if (canary is None) != (weight is None):
        missing = "--weight 20" if weight is None else "--canary VERSION"
        raise BadUsage("a canary needs a weight and a weight needs a canary", hint=f"add {missing}")
    if stable is None and canary is None and shadow is None and not arms:
        raise BadUsage(
            "which version?", hint=f"tenon release set {model} --stable 1  (`tenon versions {model}` lists them)"
        )
    automatic = automatic_wish(auto, has_canary=canary is not None)
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    if stable is None:
        stable = _current_stable(client, owner, model)
    wish = {"stable": stable, "canary": canary, "weight": weight, "shadow": shadow, "force": force, "reason": reason,
            "arms": list(arms), "automatic": automatic}  # fmt: skip
    set_and_show(output, client, owner, model, wish, wait=timeout if wait else None)


@release.command()
@click.argument("model")
@click.option("--arm", default="", metavar="NAME", help="The arm to promote; left out: the canary, or the only arm.")
@_reason_option
@_wait_options
@tenant_option
@data_option()
@json_option
@click.pass_obj
def promote(
    output: Output, model: str, arm: str, reason: str, wait: bool, timeout: float, tenant: str | None, data: str | None
) -> None:
    """Make the canary, or an arm, stable."""
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    body = {"reason": reason, **({"arm": arm} if arm else {})}
    made = client.post("registry", path_of("tenants", owner, "models", model, "release:promote"), body)
    _show_made(output, client, owner, model, made, timeout if wait else None)


@release.command()
@click.argument("model")
@click.option(
    "--to",
    "revision",
    type=click.IntRange(min=1),
    metavar="REVISION",
    help="Whose content; left out: the one before the current one.",
)
@_reason_option
@_wait_options
@tenant_option
@data_option()
@json_option
@click.pass_obj
def rollback(
    output: Output,
    model: str,
    revision: int | None,
    reason: str,
    wait: bool,
    timeout: float,
    tenant: str | None,
    data: str | None,
) -> None:
    """Serve an earlier revision's content again."""
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    body = {"to_revision": revision or 0, "reason": reason}
    made = client.post("registry", path_of("tenants", owner, "models", model, "release:rollback"), body)
    _show_made(output, client, owner, model, made, timeout if wait else None)


@release.command()
@click.argument("model")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="How many, newest first.")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def history(output: Output, model: str, limit: int, tenant: str | None, data: str | None) -> None:
    """List a model's releases, newest first."""
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    with near_name(client, owner, "model", model):
        found = client.get(
            "registry", path_of("tenants", owner, "models", model, "release", "history"), params={"limit": limit}
        )["releases"]
    if output.json:
        output.result("release_history", {"tenant": owner, "model": model, "releases": found})
        return
    output.table(
        ["revision", "action", "serves", "when", "by", "reason"],
        [
            [str(r["revision"]), r["action"] + (f" to {r['from_revision']}" if r.get("from_revision") else ""), describe_tracks(r["tracks"]),
             r["created_at"][:19].replace("T", " "), r.get("created_by", ""), r.get("reason", "")]
            for r in found
        ],
    )  # fmt: skip
    output.line(count(len(found), "revision"))


@release.command()
@click.argument("model")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def show(output: Output, model: str, tenant: str | None, data: str | None) -> None:
    """Show what is desired and, beside it, what every replica really serves."""
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    with near_name(client, owner, "model", model):
        desired = client.get("registry", path_of("tenants", owner, "models", model, "release"))
    serving = client.get("registry", path_of("tenants", owner, "models", model, "serving"))
    verdict = canary_verdict(client, owner, model, desired)
    if output.json:
        output.result("release", {"release": desired, "serving": serving, "canary": verdict})
        return
    output.line(f"{owner}/{model} revision {desired['revision']}: {describe_tracks(desired['tracks'])}")
    rows = [
        [replica["replica"], str(served["revision"]), describe_tracks(served["tracks"]), served.get("problem") or "ok"]
        for replica in serving["replicas"] for served in replica["models"] if served["model"] == model
    ]  # fmt: skip
    output.table(["replica", "revision", "serves", "state"], rows)
    problems = serving_problems(serving, desired)
    output.line("all replicas agree" if not problems else f"not settled: {'; '.join(problems)}")
    if verdict is not None:
        show_verdict(output, verdict)
    if text := describe_automatic(desired.get("automatic")):
        output.line(text)


def set_and_show(
    output: Output, client: Client, tenant: str, model: str, wish: dict[str, Any], *, wait: float | None
) -> None:
    """Ask for a release and return when it is served."""
    body = {
        "stable": wish["stable"],
        "canary": wish.get("canary"),
        "canary_weight": wish.get("weight"),
        "shadow": wish.get("shadow"),
        **({"arms": wish["arms"]} if wish.get("arms") else {}),
        **({"automatic": wish["automatic"]} if wish.get("automatic") else {}),
        "force": wish.get("force", False),
        "reason": wish.get("reason", ""),
    }
    with near_name(client, tenant, "model", model):
        made = client.put("registry", path_of("tenants", tenant, "models", model, "release"), body)
    _show_made(output, client, tenant, model, made, wait)


def _current_stable(client: Client, tenant: str, model: str) -> int:
    try:
        with near_name(client, tenant, "model", model):
            tracks = client.get("registry", path_of("tenants", tenant, "models", model, "release"))["tracks"]
    except NotFound as error:
        raise BadUsage(
            f"nothing is served for {tenant}/{model} yet, so --stable is needed",
            hint=f"tenon release set {model} --stable 1",
        ) from error
    return next(int(track["version"]) for track in tracks if track["role"] == "stable")


def _show_made(
    output: Output, client: Client, tenant: str, model: str, made: dict[str, Any], wait: float | None
) -> None:
    started = time.monotonic()
    again = " (unchanged)" if made.get("change") == "unchanged" else ""
    text = f"{tenant}/{model} revision {made['revision']}{again}: {describe_tracks(made['tracks'])}"
    serving = None
    if wait is not None:
        serving = wait_until_served(output, client, tenant, model, made, wait)
    if output.json:
        output.result("release", {"release": made, "serving": serving})
    elif serving is None:
        output.line(f"{text} — asked for; `tenon release show {model} --tenant {tenant}` says when it is served")
    else:
        output.line(
            f"{text} — served by {count(len(serving['replicas']), 'replica')} after {time.monotonic() - started:.1f} s"
        )


def wait_until_served(
    output: Output, client: Client, tenant: str, model: str, release_: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Read back what the replicas serve until it is this release; raises `NotReady` with what is in the way."""
    until, spoke_at = time.monotonic() + seconds, time.monotonic() + 1.5
    path = path_of("tenants", tenant, "models", model, "serving")
    while True:
        serving: dict[str, Any] = client.get("registry", path)
        problems = serving_problems(serving, release_)
        if not problems:
            return serving
        if time.monotonic() > until:
            raise NotReady(
                "RELEASE_NOT_SERVED",
                f"revision {release_['revision']} of {tenant}/{model} is set but not served after {seconds:.0f} s: {'; '.join(problems)}",
                hint=f"tenon release show {model} --tenant {tenant}   or   tenon release rollback {model} --tenant {tenant}",
            )
        if spoke_at and time.monotonic() > spoke_at:
            output.say(f"waiting until revision {release_['revision']} is served …")
            spoke_at = 0.0
        time.sleep(_POLL_SECONDS)


def serving_problems(serving: dict[str, Any], release_: dict[str, Any]) -> list[str]:
    """Why a release is not (wholly) served; empty when every replica serves it, by the digests of what it loaded, and pods that
    were told their versions (by Helm) have those that it names."""
    wanted = _content(release_["tracks"])
    problems = []
    seen = False
    for replica in serving["replicas"]:
        name = replica["replica"]
        served = next((entry for entry in replica["models"] if entry["model"] == release_["model"]), None)
        if any(pin["model"] == release_["model"] for pin in replica.get("pinned", ())):
            # Releases are not its concern; what differs is said below.
            seen = True
            continue
        if served is None:
            # A replica that is pinned to other models says that it is settled.
            if not replica["settled"]:
                seen = True
                problems.append(f"{name} does not serve it yet")
            continue
        seen = True
        if served.get("problem"):
            problems.append(f"{name}: {served['problem']}")
        elif served["revision"] != release_["revision"] or _content(served["tracks"]) != wanted:
            problems.append(f"{name} still serves revision {served['revision']}")
    problems += pin_problems(serving, release_["model"])
    if not seen and not problems:
        problems.append("no predictor has reported in the last 30 s")
    return problems


def pin_problems(serving: dict[str, Any], model: str) -> list[str]:
    """Where Helm, the registry and what replicas have loaded do not say the same of a model."""
    differing = [line for line in serving.get("disagreements", ()) if line["model"] == model]
    return [line["text"] for line in differing if line["kind"] != "following"]


def pinned_versions(serving: dict[str, Any], model: str) -> dict[str, int]:
    """How many replicas were told to serve each version of a model."""
    versions = [
        pin["version"] for replica in serving["replicas"] for pin in replica.get("pinned", ()) if pin["model"] == model
    ]
    return {str(version): versions.count(version) for version in sorted(set(versions))}


def _content(tracks: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted((t["role"], t["version"], t["bundle_sha256"], t.get("weight") or 0) for t in tracks)


def describe_tracks(tracks: list[dict[str, Any]]) -> str:
    """`stable 1, canary 2 (20 %), shadow 3`."""
    if not tracks:
        return "nothing"
    return ", ".join(
        f"{track['role']} {track['version']}" + (f" ({track['weight']:g} %)" if track.get("weight") else "")
        for track in tracks
    )
