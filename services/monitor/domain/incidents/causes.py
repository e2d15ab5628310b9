"""What may be behind an incident: a release at that time, or something that several tenants share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.monitor.domain.incidents.words import IncidentKind
from tenon.core.tenancy import TenantId
from tenon.core.timestamps import rfc3339

if TYPE_CHECKING:
    from services.monitor.domain.incidents.words import Incident
    from services.monitor.domain.releases import Release, Releases

_HOUR = 3_600_000_000
_ASKED = 20
"""Of so many tenants the releases are looked at; the others of a common incident are taken to be like them."""


def suspects(incident: Incident, releases: Releases) -> tuple[str, ...]:
    """Sentences, the likeliest first; of a common incident without the name of any tenant."""
    found: list[str] = []
    models = sorted({(one.tenant, one.model) for one in incident.members.values() if not one.over})[:_ASKED]
    until = max((one.seen_until for one in incident.members.values()), default=incident.since)
    near = [
        release
        for tenant, model in models
        if (release := _release_near(releases, tenant, model, incident.since, until)) is not None
    ]
    if incident.scope == "common":
        found.append(
            f"common to {len(incident.tenants)} of {incident.tenants_looked_at} tenants: look at what they share "
            "(a source, the platform, the season) before looking at each"
        )
        if len(near) * 2 > len(models):
            found.append("most of them were given another version at that time: compare with the version before")
    elif near:
        found.append(_release_sentence(near[0], incident.since))
    hints = sorted({one.hint for one in incident.members.values() if one.hint})
    found += hints[:2]
    changes = {one.change for one in incident.members.values() if one.kind is IncidentKind.INPUTS}
    if changes and changes <= {"missing"}:
        found.append("values are missing: the source does not send them, or features cannot find them")
    history = sorted({one.feature.partition(".")[0] for one in incident.members.values() if "." in one.feature})
    if history:
        shown = ", ".join(history[:3]) + (" …" if len(history) > 3 else "")
        found.append(f"the features come from history ({shown}): see what was loaded into its data set since then")
    return tuple(found)


def _release_near(releases: Releases, tenant: str, model: str, since: int, until: int) -> Release | None:
    """The newest release between an hour before the first window that shows it and the end of what shows it."""
    for release in releases.history(TenantId(tenant), model).releases:
        if since - _HOUR <= release.made_at < max(until, since + 1):
            return release
    return None


def _release_sentence(release: Release, since: int) -> str:
    stable = next((track.version for track in release.tracks if track.role == "stable"), None)
    what = f"version {stable} stable" if stable is not None else "nothing served"
    when = "in the window that shows it first" if release.made_at >= since else "shortly before"
    made = rfc3339(release.made_at)[:16].replace("T", " ")
    return f"release {release.revision} ({release.action}: {what}) was made at {made} UTC, {when}"
