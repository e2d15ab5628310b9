"""From a release's track to a version that answers: fetch, verify, load, self-test."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from services.predictor.domain.columns import missing
from services.predictor.domain.entries import Refused
from services.predictor.domain.model import Column, FloatArray, Kind, Served, Track
from services.predictor.domain.rungs import WithoutHistory
from services.predictor.engine.ladders import ladder_of
from tenon.bundle import Bundle, lean, load_evaluator, open_bundle
from tenon.core.errors import Invalid, TenonError
from tenon.core.errors import Kind as ErrorKind
from tenon.core.manifest import Manifest, PredictionInterval
from tenon.core.tenancy import TenantId

if TYPE_CHECKING:
    from tenon.bundle.keys import Verifier


# What a loaded version takes beside its evaluator, in bytes: measured as resident memory, with `make bench-density`.
_FIXED, _OF_COLUMN = 8 << 10, 150


class Cache(Protocol):
    """Keeps bundles by digest."""

    def get(self, sha256: str) -> bytes | None:
        """The intact bytes, or None."""
        ...

    def put(self, sha256: str, data: bytes) -> None:
        """Keep them."""
        ...

    def has(self, sha256: str) -> bool:
        """Whether they are kept, without reading them."""
        ...


class BundleLoader:
    """See `Loader`."""

    def __init__(self, download: Callable[[TenantId, str, int], bytes], cache: Cache, verify_key: Verifier) -> None:
        self._download = download
        self._cache = cache
        self._verify_key = verify_key
        self._turn = threading.Lock()

    def is_at_hand(self, track: Track) -> bool:
        """See `Loader`: only what was loaded and tested is kept on disk."""
        return self._cache.has(track.bundle_sha256)

    def load(self, tenant: TenantId, model: str, track: Track) -> Served:
        """Fetch, verify, load and self-test. Raises `Refused` for bytes that will never do."""
        data = self._cache.get(track.bundle_sha256)
        fresh = data is None
        if data is None:
            data = self._download(tenant, model, track.version)
        # One at a time: this is processor time that requests are waiting for, too.
        with self._turn:
            served = self._served(tenant, model, track, data)
        if fresh:
            self._cache.put(track.bundle_sha256, data)
        return served

    def _served(self, tenant: TenantId, model: str, track: Track, data: bytes) -> Served:
        try:
            bundle = open_bundle(data, self._verify_key, sha256=track.bundle_sha256)
            served = _served(tenant, model, track.version, bundle)
            self_test(served)
        except Refused:
            raise
        except TenonError as err:
            if err.kind in (ErrorKind.INVALID, ErrorKind.TOO_LARGE):
                raise Refused(err.reason, f"version {track.version}: {err.message}") from err
            raise
        return served


def _served(tenant: TenantId, model: str, version: int, bundle: Bundle) -> Served:
    manifest = bundle.manifest
    if manifest.tenant != tenant.value or manifest.model != model:
        # The signature says who made the bundle, not whom it may answer: that is checked here.
        raise Refused("BUNDLE_WRONG_OWNER", f"version {version}: the bundle is of another tenant or model")
    evaluator = lean(load_evaluator(bundle))
    try:
        columns = tuple(_column(item.name, item.type, item.source, item.nullable) for item in manifest.signature.inputs)
    except KeyError as err:
        raise Refused("SIGNATURE_INVALID", f"version {version}: unknown column type {err}") from None
    ladder = ladder_of(bundle)
    return Served(
        tenant=tenant,
        model=model,
        version=version,
        sha256=bundle.sha256,
        engine=manifest.engine,
        kernel=evaluator.kernel,
        parity=parity_of(manifest.parity),
        reads=evaluator.reads,
        row_reads=evaluator.row_reads,
        output=manifest.signature.output,
        columns=columns,
        views={view: tuple(names) for view, names in manifest.signature.views.items()},
        definitions=dict(manifest.lineage.feature_views),
        evaluator=evaluator,
        nbytes=evaluator.nbytes + (ladder.nbytes if ladder is not None else 0) + _FIXED + _OF_COLUMN * len(columns),
        ladder=ladder,
        interval=manifest.evidence.interval,
        interval_without_history=_interval_without_history(manifest),
        threshold=manifest.threshold,
    )


def parity_of(found: Mapping[str, Any]) -> str:
    """The evidence that decided the engine, in words."""
    rows, largest = found.get("rows"), found.get("max_difference")
    if rows is None or largest is None:
        return ""
    return f"at most {largest:.3g} from the fitted pipeline on {rows} held-out rows"


@functools.lru_cache(10_000)
def _column(name: str, kind: str, source: str, nullable: bool) -> Column:
    """Columns do not change, and the models of one tenant share most of them."""
    return Column(name, kind, source, nullable)


def _interval_without_history(manifest: Manifest) -> PredictionInterval | None:
    second = manifest.fallback.without_history if manifest.fallback is not None else None
    return second.interval if second is not None else None


def self_test(served: Served) -> None:
    """Have the version answer two synthetic rows, one with everything missing that may be. Raises `Refused`."""
    rows: dict[str, Any] = {}
    for column in served.inputs:
        values = missing(column, 2)
        values[: 1 if column.nullable else 2] = "" if column.kind is Kind.TEXT else 0.0
        rows[column.name] = values
    try:
        wrong = _wrong(served, served.evaluator.predict(rows))
        for rung in served.ladder.rungs if served.ladder is not None else ():
            wrong = wrong or (isinstance(rung, WithoutHistory) and _wrong(served, rung.evaluator.predict(rows)))
    except (ValueError, KeyError, IndexError, TypeError, ArithmeticError, Invalid) as err:
        raise Refused(
            "SELF_TEST_FAILED", f"version {served.version} failed on a synthetic row: {type(err).__name__}"
        ) from err
    if wrong:
        raise Refused(
            "SELF_TEST_FAILED", f"version {served.version} did not answer a synthetic row with a {served.output}"
        )


def _wrong(served: Served, scores: FloatArray) -> bool:
    wrong = scores.shape != (2,) or not np.all(np.isfinite(scores))
    if served.output == "probability":
        wrong = wrong or bool(np.any((scores < 0) | (scores > 1)))
    return wrong
