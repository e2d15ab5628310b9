"""Two versions that Helm or Flagger let run beside each other are a trial, too: read from what replicas say they were told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from services.registry.domain.automatic import Stage, Trial
from services.registry.domain.model import Release, Replica, Role, ServingChange
from tenon.core.tenancy import TenantId

Place = tuple[TenantId, str]


def pinned_to_two(living: Iterable[Replica]) -> dict[Place, dict[int, list[Replica]]]:
    """The models of which living replicas were told two versions, with the replicas of each."""
    found: dict[Place, dict[int, list[Replica]]] = {}
    for replica in living:
        for place, versions in replica.pins().items():
            for version in versions:
                found.setdefault(place, {}).setdefault(version, []).append(replica)
    return {place: versions for place, versions in found.items() if len(versions) == 2}


def trial_of_pins(
    place: Place, versions: Mapping[int, Sequence[Replica]], history: Sequence[ServingChange]
) -> Trial | None:
    """The trial of two pinned versions; None until both are served. `history`: the model's, newest first.

    The candidate is the one that says it is the canary; under Flagger none does, and it is the one that came later. It has
    been tried since its oldest living replica began to serve it. Which share it has, the registry does not know: 0.
    """
    roles, first, since = dict[int, set[Role]](), dict[int, int](), dict[int, int]()
    for version, replicas in versions.items():
        names = {replica.name for replica in replicas}
        mine = [change for change in history if any(track.version == version for track in change.served.tracks)]
        of_the_living = [change.at for change in mine if change.replica in names]
        if not of_the_living:
            return None
        first[version], since[version] = min(change.at for change in mine), min(of_the_living)
        roles[version] = {
            track.role
            for replica in replicas
            for served in replica.models
            if (served.tenant, served.model) == place
            for track in served.tracks
            if track.version == version
        }
    canaries = [version for version in versions if Role.CANARY in roles[version]]
    candidate = canaries[0] if len(canaries) == 1 else max(versions, key=lambda version: (first[version], version))
    stable = next(version for version in versions if version != candidate)
    tenant, model = place
    release = Release(tenant, model, 0, (), "pinned", since[candidate], "")
    return Trial(release, stable, candidate, Role.CANARY, (Stage(since[candidate], None, 0),))
