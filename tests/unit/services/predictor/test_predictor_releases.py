"""Releases are put into effect beside serving; what fails leaves the old one in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.predictor.domain.entries import Refused
from services.predictor.domain.model import ModelKey, Release, Role, Track
from services.predictor.domain.ports import Known
from services.predictor.domain.releases import Follower
from services.predictor.domain.routing import Table
from services.predictor.engine.loader import BundleLoader
from services.predictor.storage.bundle_cache import BundleCache
from services.predictor.storage.releases_file import ReleasesFile
from tenon.core.errors import TenonError, Unavailable
from tenon.core.tenancy import TenantId
from tests.support.predictor_bundles import linear_bundle, sha256, signing_key, stump_forest, visit_bundle
from tests.support.predictor_parts import ACME, GLOBEX, BrokenEvaluator, FakeLoader, FakeObserver, MemoryStore, served

KEY = ModelKey(ACME, "stay")


def release(stable: int, revision: int = 1, *, canary: int = 0, shadow: int = 0, tenant: TenantId = ACME) -> Release:
    """A release of `stay`."""
    tracks = [Track(Role.STABLE, stable, f"{stable:064x}")]
    if canary:
        tracks.append(Track(Role.CANARY, canary, f"{canary:064x}", 100))
    if shadow:
        tracks.append(Track(Role.SHADOW, shadow, f"{shadow:064x}"))
    return Release(tenant, "stay", revision, tuple(tracks))


@dataclass
class Setting:
    """A follower on fakes; `settle` does what its thread would."""

    loader: FakeLoader = field(default_factory=FakeLoader)
    store: MemoryStore = field(default_factory=MemoryStore)
    table: Table = field(default_factory=Table)
    grace: float = 60.0

    def __post_init__(self) -> None:
        self.follower = Follower(self.loader, self.store, self.table, FakeObserver(), grace_seconds=self.grace)

    def sync(self, *releases: Release) -> None:
        """A whole stream's beginning."""
        self.follower.begin_sync()
        for item in releases:
            self.follower.receive(item)
        self.follower.synced()
        self.settle()

    def settle(self) -> None:
        """Put everything that is new into effect."""
        while (key := self.follower._next()) is not None:
            self.follower.settle(key)

    def versions(self, key: ModelKey = KEY) -> list[tuple[str, int]]:
        """(role, version) in effect."""
        entry = self.table.get(key)
        return [(track.role.value, track.version) for track in entry.tracks()] if entry else []


def test_not_ready_before_the_first_sync_and_before_everything_is_loaded() -> None:
    """And ready after it, also when nothing is released at all."""
    here = Setting()
    assert "releases" in here.follower.problems()
    here.follower.begin_sync()
    here.follower.receive(release(1))
    here.follower.synced()
    assert here.follower.problems() == {"acme/stay": "loading"}
    here.settle()
    assert here.follower.problems() == {}
    empty = Setting()
    empty.sync()
    assert empty.follower.problems() == {}


def test_a_release_with_all_roles_takes_effect_and_is_reported() -> None:
    """By the digests that were loaded."""
    here = Setting()
    here.sync(release(1, canary=2, shadow=3))
    assert here.versions() == [("stable", 1), ("canary", 2), ("shadow", 3)]
    (state,) = here.follower.state()
    assert (state.revision, state.problem, state.tracks[1].weight_permille) == (1, "", 100)
    assert here.store.desired == [release(1, canary=2, shadow=3)]


@pytest.mark.parametrize(
    "error", [Refused("BUNDLE_CORRUPT", "broken"), Unavailable("SERVICE_UNAVAILABLE", "down"), ValueError("odd")]
)
def test_a_version_that_fails_leaves_the_old_one(error: TenonError) -> None:
    """The report says why, the replica stays ready, and the next good release takes effect."""
    here = Setting(FakeLoader({2: error}))
    here.sync(release(1))
    here.follower.receive(release(2, 2))
    here.settle()
    assert here.versions() == [("stable", 1)]
    (state,) = here.follower.state()
    assert state.revision == 1
    assert state.problem
    assert here.follower.problems() == {}
    here.follower.receive(release(3, 3))
    here.settle()
    assert (here.versions(), here.follower.state()[0].problem) == ([("stable", 3)], "")


def test_a_failing_canary_never_replaces_a_whole_release() -> None:
    """With an earlier revision it stays whole; on a fresh replica the stable version serves alone and it is said."""
    here = Setting(FakeLoader({2: Refused("BUNDLE_CORRUPT", "broken")}))
    here.sync(release(1))
    here.follower.receive(release(3, 2, canary=2))
    here.settle()
    assert here.versions() == [("stable", 1)]
    fresh = Setting(FakeLoader({2: Refused("BUNDLE_CORRUPT", "broken")}))
    fresh.sync(release(3, 2, canary=2))
    assert fresh.versions() == [("stable", 3)]
    assert "BUNDLE_CORRUPT" in fresh.follower.state()[0].problem


def test_one_broken_model_is_quarantined_alone() -> None:
    """A replica that serves others is ready; one that could serve nothing is not."""
    error = {2: Refused("BUNDLE_CORRUPT", "broken")}
    alone = Setting(FakeLoader(dict(error)))
    alone.sync(release(2))
    assert "BUNDLE_CORRUPT" in alone.follower.problems()["acme/stay"]
    shared = Setting(FakeLoader(dict(error)))
    shared.sync(release(2), release(1, tenant=GLOBEX))
    assert shared.follower.problems() == {}
    waiting = Setting(FakeLoader({2: Unavailable("SERVICE_UNAVAILABLE", "down")}))
    waiting.sync(release(2), release(1, tenant=GLOBEX))
    assert set(waiting.follower.problems()) == {"acme/stay"}


def test_what_is_withdrawn_or_gone_from_the_set_is_taken_out() -> None:
    """An empty release, and one that a new stream no longer has."""
    here = Setting()
    here.sync(release(1), release(1, tenant=GLOBEX))
    here.follower.receive(Release(ACME, "stay", 2, ()))
    here.settle()
    assert here.versions() == []
    here.sync(Release(ACME, "stay", 2, ()))
    assert here.versions(ModelKey(GLOBEX, "stay")) == []
    assert here.store.desired == []


def test_a_registry_that_forgot_everything_takes_nothing_away() -> None:
    """A whole set without any release is what a lost database looks like, and is not believed."""
    here = Setting()
    here.sync(release(1))
    here.follower.begin_sync()
    assert not here.follower.synced()
    here.settle()
    assert here.versions() == [("stable", 1)]
    assert here.store.desired == [release(1)]


def test_replaced_versions_are_forgotten_after_their_grace() -> None:
    """They stay in memory for a quick rollback, and not longer."""
    here = Setting(grace=-1.0)
    here.sync(release(1))
    here.follower.receive(release(2, 2))
    here.settle()
    assert here.follower._builder.kept == set()
    here.follower.receive(release(1, 3))
    here.settle()
    assert here.loader.loads == [1, 2, 1]


def test_a_stream_that_ends_before_it_is_synced_takes_nothing_away() -> None:
    """Half a set is no set."""
    here = Setting()
    here.sync(release(1), release(1, tenant=GLOBEX))
    here.follower.begin_sync()
    here.follower.receive(release(1))
    here.settle()
    assert here.versions(ModelKey(GLOBEX, "stay")) == [("stable", 1)]


def test_the_last_known_releases_serve_without_a_registry() -> None:
    """After a restart."""
    here = Setting(store=MemoryStore(Known([release(4)])))
    here.follower.restore()
    here.settle()
    assert here.versions() == [("stable", 4)]
    assert here.follower.problems() == {}


def test_versions_already_in_memory_are_not_loaded_again() -> None:
    """A new weight, a promotion and a rollback load nothing."""
    here = Setting()
    here.sync(release(1, canary=2))
    here.follower.receive(release(2, 2))
    here.settle()
    here.follower.receive(release(1, 3))
    here.settle()
    assert here.loader.loads == [1, 2]
    assert here.versions() == [("stable", 1)]


def test_the_thread_applies_and_ends() -> None:
    """Started, fed, stopped."""
    from tests.support.predictor_process import wait_until

    here = Setting()
    here.follower.start()
    here.follower.begin_sync()
    here.follower.receive(release(7))
    here.follower.synced()
    wait_until(lambda: here.versions() == [("stable", 7)], "version 7", 5)
    here.follower.stop()


def loader_for(tmp_path: Path, download: Callable[[TenantId, str, int], bytes]) -> BundleLoader:
    """A real loader on a real cache."""
    return BundleLoader(download, BundleCache(tmp_path), signing_key().public_key())


def test_a_bundle_is_downloaded_once_and_verified_each_time(tmp_path: Path) -> None:
    """The second load comes from disk; a damaged file is fetched again."""
    data = visit_bundle()
    calls = []

    def download(tenant: TenantId, model: str, version: int) -> bytes:
        calls.append(version)
        return data

    track = Track(Role.STABLE, 1, sha256(data))
    loader = loader_for(tmp_path, download)
    assert loader.load(ACME, "stay", track).sha256 == track.bundle_sha256
    loader.load(ACME, "stay", track)
    assert calls == [1]
    (file,) = tmp_path.glob("*.bundle")
    file.write_bytes(data[:-1] + b"x")
    loader.load(ACME, "stay", track)
    assert calls == [1, 1]


@pytest.mark.parametrize("case", ["other tenant", "other model", "other bytes", "other key"])
def test_a_bundle_that_is_not_the_one_released_is_refused(tmp_path: Path, case: str) -> None:
    """Of another tenant or model, other bytes than the registry said, or signed by somebody else; never cached."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = {
        "other tenant": lambda: visit_bundle("globex"),
        "other model": lambda: visit_bundle(model="leave"),
        "other bytes": visit_bundle,
        "other key": lambda: visit_bundle(key=Ed25519PrivateKey.generate()),
    }[case]()
    digest = sha256(b"something else") if case == "other bytes" else sha256(data)
    with pytest.raises(Refused):
        loader_for(tmp_path, lambda *_: data).load(ACME, "stay", Track(Role.STABLE, 1, digest))
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_cannot_answer_a_synthetic_row_is_refused(tmp_path: Path) -> None:
    """A linear model without missing values can; exceptions, answers that are not finite, and probabilities beyond 1 are refused."""
    from dataclasses import replace

    import numpy as np

    from services.predictor.engine.loader import self_test

    class Odd:
        def __init__(self, answer: list[float]) -> None:
            self.answer = answer

        def predict(self, columns: object) -> np.ndarray:
            return np.array(self.answer)

    class Failing:
        def predict(self, columns: object) -> np.ndarray:
            raise ValueError("no")

    self_test(served(1))
    loader_for(tmp_path, lambda *_: linear_bundle()).load(ACME, "price", Track(Role.STABLE, 1, sha256(linear_bundle())))
    assert stump_forest(2).trees == 2
    for evaluator in (Failing(), Odd([np.nan, 1.0]), Odd([np.inf, 0.0]), Odd([1.0])):
        with pytest.raises(Refused):
            self_test(served(1, evaluator=evaluator))
    with pytest.raises(Refused):
        self_test(replace(served(1, evaluator=Odd([0.5, 1.5])), output="probability"))
    with pytest.raises(RuntimeError):
        self_test(served(1, evaluator=BrokenEvaluator()))


def test_releases_survive_on_disk(tmp_path: Path) -> None:
    """What is saved is loaded; nothing, nonsense and other tenants' oddities load as nothing."""
    file = ReleasesFile(tmp_path / "a" / "releases.json")
    assert file.load() is None
    known = Known([release(1, canary=2, shadow=3)], [release(4)], [KEY])
    file.save(known)
    assert file.load() == known
    (tmp_path / "a" / "releases.json").write_text('{"releases": []}')
    assert file.load() == Known([], [], [])  # as earlier versions wrote it
    for text in (
        "",
        "{",
        '{"releases": [{}]}',
        '{"releases": 3}',
        '{"releases": [{"tenant": "NO", "model": "x", "revision": 1, "tracks": []}]}',
    ):
        (tmp_path / "a" / "releases.json").write_text(text)
        assert file.load() is None


def test_the_cache_takes_only_digests_as_names(tmp_path: Path) -> None:
    """A name from the network never becomes a path elsewhere."""
    cache = BundleCache(tmp_path / "cache")
    assert cache.get("../../etc/passwd") is None
    cache.put("../x", b"data")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["invalid.bundle"]
    assert cache.get("../x") is None
