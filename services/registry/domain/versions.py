"""Model versions: registered with their bundle, numbered, never changed and never deleted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from services.registry.domain.model import Release, Version
from services.registry.domain.ports import BundleOpener, Bundles, Clock, OpenedBundle, Transact, Transaction
from services.registry.domain.tenants import require_tenant
from services.registry.domain.trail import record
from tenon.core.errors import Invalid, NotFound, Place, did_you_mean
from tenon.core.names import check_resource_name
from tenon.core.tenancy import TenantId


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the sender says about the bundle it sends."""

    run_id: str
    bundle_sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A model, as its versions and releases show it."""

    name: str
    versions: int
    release: Release | None


class VersionShelf:
    """Registering, reading and downloading versions."""

    def __init__(self, transact: Transact, clock: Clock, bundles: Bundles, open_bundle: BundleOpener) -> None:
        self._transact = transact
        self._clock = clock
        self._bundles = bundles
        self._open_bundle = open_bundle

    def expect(self, tenant: TenantId, model: str, candidate: Candidate) -> None:
        """Refuse a candidate before its bytes are read, where the header alone says that it cannot be."""
        check_resource_name(model, "model")
        if not candidate.run_id or len(candidate.run_id) > 100:
            raise Invalid("RUN_ID_INVALID", "run_id must have 1 to 100 characters", place=Place(field="run_id"))
        self._transact(lambda tx: require_tenant(tx, tenant))

    def register(self, tenant: TenantId, model: str, candidate: Candidate, data: bytes, actor: str) -> Version:
        """Verify a bundle, keep it and give it the model's next number; the same run and digest again: the same one."""
        self.expect(tenant, model, candidate)
        digest = hashlib.sha256(data).hexdigest()
        if len(data) != candidate.size_bytes or digest != candidate.bundle_sha256:
            raise Invalid(
                "BUNDLE_CORRUPT",
                f"the bundle of run {candidate.run_id!r} arrived with {len(data)} bytes and sha256 {digest}, "
                f"announced were {candidate.size_bytes} bytes and {candidate.bundle_sha256[:64]}",
                hint="send it again",
            )
        bundle = self._open_bundle(data)
        _check_belongs(tenant, model, candidate, bundle)
        # The bytes go first: a version without its bundle would be worse than a bundle nobody refers to.
        self._bundles.save(tenant, model, digest, data)

        def work(tx: Transaction) -> Version:
            require_tenant(tx, tenant)
            known = tx.versions.of_run(tenant, model, candidate.run_id, digest)
            if known is not None:
                return known
            now = self._clock()
            version = Version(
                tenant=tenant,
                model=model,
                number=tx.versions.latest_number(tenant, model) + 1,
                bundle_sha256=digest,
                size_bytes=len(data),
                run_id=candidate.run_id,
                created_at=now,
                created_by=actor,
                manifest_json=bundle.manifest_json,
                failed_gates=tuple(
                    f"{gate.gate}: {gate.message}" if gate.message else gate.gate
                    for gate in bundle.manifest.gates
                    if not gate.passed
                ),
            )
            tx.versions.add(tenant, version)
            record(
                tx, tenant, actor, "version.registered", f"{model}/{version.number}", now,
                run_id=candidate.run_id, bundle_sha256=digest, gates_passed=version.gates_passed,
            )  # fmt: skip
            return version

        return self._transact(work)

    def get(self, tenant: TenantId, model: str, number: int) -> Version:
        """A version. Raises `NotFound`."""

        def work(tx: Transaction) -> Version:
            require_tenant(tx, tenant)
            return require_version(tx, tenant, model, number)

        return self._transact(work)

    def of_model(self, tenant: TenantId, model: str, limit: int = 100) -> list[Version]:
        """A model's latest versions, newest first. Raises `NotFound` for a model without any."""

        def work(tx: Transaction) -> list[Version]:
            require_tenant(tx, tenant)
            return tx.versions.of_model(tenant, model, limit) or _no_model(tx, tenant, model)

        return self._transact(work)

    def models(self, tenant: TenantId) -> list[ModelSummary]:
        """A tenant's models by name."""

        def work(tx: Transaction) -> list[ModelSummary]:
            require_tenant(tx, tenant)
            released = {release.model: release for release in tx.releases.current_of(tenant)}
            counts = tx.versions.counts(tenant)
            return [ModelSummary(name, counts[name], released.get(name)) for name in sorted(counts)]

        return self._transact(work)

    def download(
        self, tenant: TenantId, model: str, number: int
    ) -> tuple[Version, AbstractContextManager[Iterator[bytes]]]:
        """A version and its bundle's bytes, in chunks."""
        version = self.get(tenant, model, number)
        return version, self._bundles.read(tenant, model, version.bundle_sha256)


def require_version(tx: Transaction, tenant: TenantId, model: str, number: int) -> Version:
    """A version. Raises `NotFound`, saying which there are."""
    found = tx.versions.get(tenant, model, number)
    if found is not None:
        return found
    latest = tx.versions.latest_number(tenant, model)
    if not latest:
        _no_model(tx, tenant, model)
    raise NotFound(
        "VERSION_NOT_FOUND",
        f"model {model!r} of tenant {tenant.value!r} has no version {number}; "
        + (f"it has 1 to {latest}" if latest > 1 else "it has only version 1"),
        place=Place(field="version"),
        data={"latest": latest},
    )


def _no_model(tx: Transaction, tenant: TenantId, model: str) -> list[Version]:
    near = did_you_mean(model, tx.versions.counts(tenant))
    raise NotFound(
        "MODEL_NOT_FOUND",
        f"tenant {tenant.value!r} has no versions of a model {model[:63]!r}",
        place=Place(field="model"),
        hint=f"did you mean `{near}`?" if near else "`tenon train` makes a model's first version",
    )


def _check_belongs(tenant: TenantId, model: str, candidate: Candidate, bundle: OpenedBundle) -> None:
    manifest = bundle.manifest
    for field, inside, announced in (
        ("tenant", manifest.tenant, tenant.value),
        ("model", manifest.model, model),
        # Only manifests of format 1 name their run.
        ("run_id", manifest.lineage.run_id or candidate.run_id, candidate.run_id),
    ):
        if inside != announced:
            raise Invalid(
                "BUNDLE_MISMATCH",
                f"the bundle's manifest says {field} {inside!r}, the call says {announced!r}",
                place=Place(field=field),
            )
