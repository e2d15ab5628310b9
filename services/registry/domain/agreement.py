"""Whether all who say which version answers say the same: the registry's releases, what pods were pinned to (by Helm), and the
digests of what replicas have loaded."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.registry.domain.model import Release, Replica, Role, ServedModel, Track
from tenon.core.tenancy import TenantId

DigestOf = Callable[[TenantId, str, int], str | None]
"""The digest that a version was registered with; None: there is no such version."""


class Kind(enum.StrEnum):
    """Who differs from whom."""

    RELEASE = "release"
    """Pods are pinned to something else than the release names."""
    PINNED = "pinned"
    """A replica does not serve what it is pinned to."""
    FOLLOWING = "following"
    """A replica that follows releases does not serve the current one."""
    DIGEST = "digest"
    """A replica has other bytes under a version's number than were registered, or a version that was not."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One difference, in words that name both sides; `replica` is empty where it is nobody's alone."""

    tenant: TenantId
    model: str
    kind: Kind
    replica: str
    text: str


def serves(replica: Replica, release: Release) -> bool:
    """Whether a replica has put a release into effect, by the digests of the bytes it loaded."""
    return any(
        served.tenant == release.tenant and served.model == release.model and _is(served, release)
        for served in replica.models
    )


def disagreements(
    desired: Sequence[Release], replicas: Sequence[Replica], digest_of: DigestOf
) -> tuple[Disagreement, ...]:
    """Every difference between releases and replicas that live. A model that is pinned and has no release agrees with
    itself: then Helm's history alone says what is wanted."""
    looked = [_Looked(replica) for replica in replicas]
    found = [line for each in looked for line in _of_pins(each, digest_of)]
    for release in desired:
        found += _of_release(release, looked)
    return tuple(found)


class _Looked:
    """A replica with what it says by tenant and model: there may be thousands of both."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.pins = replica.pins()
        self.served = {(item.tenant, item.model): item for item in replica.models}


def _of_pins(looked: _Looked, digest_of: DigestOf) -> list[Disagreement]:
    found, name = [], looked.replica.name
    for (tenant, model), versions in looked.pins.items():
        served = looked.served.get((tenant, model))
        loaded = {track.version: track.bundle_sha256 for track in served.tracks} if served else {}
        if set(loaded) != versions or (served is not None and served.problem):
            text = f"{name} is pinned to {_numbers(versions)} and serves {_numbers(set(loaded))}{_why(served)}"
            found.append(Disagreement(tenant, model, Kind.PINNED, name, text))
        for version, digest in sorted(loaded.items()):
            registered = digest_of(tenant, model, version)
            if registered is None:
                text = f"{name} serves version {version}, which was never registered"
            elif registered != digest:
                text = (
                    f"{name} serves other bytes as version {version} ({digest[:12]}) "
                    f"than were registered ({registered[:12]})"
                )
            else:
                continue
            found.append(Disagreement(tenant, model, Kind.DIGEST, name, text))
    return found


def _of_release(release: Release, looked: Sequence[_Looked]) -> list[Disagreement]:
    tenant, model = place = release.tenant, release.model
    found, following, pinned = list[Disagreement](), False, set[int]()
    for each in looked:
        pinned |= each.pins.get(place, set())
        if not each.replica.concerns(tenant, model):
            continue
        following = True
        served = each.served.get(place)
        if served is None or not _is(served, release):
            text = f"{each.replica.name} does not serve revision {release.revision}{_why(served)}"
            found.append(Disagreement(tenant, model, Kind.FOLLOWING, each.replica.name, text))
    if pinned:
        named = {track.version for track in release.tracks}
        answering = {track.version for track in release.tracks if track.role != Role.SHADOW}
        revision = f"revision {release.revision}"
        if strange := pinned - named:
            text = f"pods are pinned to {_numbers(strange)}; {revision} names {_numbers(named)}"
            found.append(Disagreement(tenant, model, Kind.RELEASE, "", text))
        if not following and (missing := answering - pinned):
            text = f"{revision} names {_numbers(missing)}; pods are pinned to {_numbers(pinned)}"
            found.append(Disagreement(tenant, model, Kind.RELEASE, "", text))
    return found


def _is(served: ServedModel, release: Release) -> bool:
    same = _by_role(served.tracks) == _by_role(release.tracks)
    return served.revision == release.revision and same and not served.problem


def _by_role(tracks: Sequence[Track]) -> dict[Role, tuple[int, str, int]]:
    return {track.role: (track.version, track.bundle_sha256, track.weight_permille) for track in tracks}


def _numbers(versions: set[int]) -> str:
    named = ", ".join(map(str, sorted(versions)))
    return f"version{'s' if len(versions) > 1 else ''} {named}" if versions else "nothing"


def _why(served: ServedModel | None) -> str:
    return f": {served.problem}" if served is not None and served.problem else ""
