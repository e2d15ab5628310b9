"""Routes of models, their versions and bundles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse

from services.registry.api_http.shapes import Reader, release_json, version_json
from services.registry.domain.versions import VersionShelf
from services.registry.metrics import BUNDLE_BYTES
from tenon.kit.http import JsonResponse

Limit = Annotated[int, Query(ge=1, le=500)]
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


def models_router(versions: VersionShelf) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1/tenants/{tenant}/models", tags=["models"])

    @router.get("")
    def list_models(tenant: Reader) -> JsonResponse:
        """A tenant's models, with how many versions they have and what is released."""
        return JsonResponse(
            {
                "models": [
                    {
                        "model": model.name,
                        "versions": model.versions,
                        "release": release_json(model.release) if model.release else None,
                    }
                    for model in versions.models(tenant)
                ]
            }
        )

    @router.get("/{model}/versions")
    def list_versions(tenant: Reader, model: str, limit: Limit = 100) -> JsonResponse:
        """A model's versions with their evidence, the engine that serves them and the forms they have, newest first."""
        found = versions.of_model(tenant, model, limit)
        return JsonResponse(
            {"versions": [version_json(version) | _of_manifest(version.manifest_json) for version in found]}
        )

    @router.get("/{model}/versions/{number}")
    def get_version(tenant: Reader, model: str, number: Number) -> JsonResponse:
        """A version with its whole manifest: signature, lineage, evidence, gates, training baseline."""
        version = versions.get(tenant, model, number)
        return JsonResponse(version_json(version) | {"manifest": json.loads(version.manifest_json)})

    @router.get("/{model}/versions/{number}/bundle")
    def download_bundle(tenant: Reader, model: str, number: Number) -> StreamingResponse:
        """The bundle as it was signed."""
        version, source = versions.download(tenant, model, number)
        chunks = _open(source)
        headers = {
            "content-length": str(version.size_bytes),
            "content-disposition": f'attachment; filename="{model}-{number}.tar"',
            "etag": f'"{version.bundle_sha256}"',
            "x-bundle-sha256": version.bundle_sha256,
        }
        return StreamingResponse(chunks, media_type="application/x-tar", headers=headers)

    return router


def _of_manifest(text: bytes) -> dict[str, Any]:
    """What a list of versions shows of the manifest."""
    manifest = json.loads(text)
    return {name: manifest.get(name) for name in ("evidence", "engine", "parity", "forms")}


def _open(source: AbstractContextManager[Iterator[bytes]]) -> Iterator[bytes]:
    """The chunks, the first one read already, so that a missing bundle is an answer and not a broken stream."""
    chunks = _counted(source)
    first = next(chunks, b"")

    def rest() -> Iterator[bytes]:
        yield first
        yield from chunks

    return rest()


def _counted(source: AbstractContextManager[Iterator[bytes]]) -> Iterator[bytes]:
    with source as chunks:
        for chunk in chunks:
            BUNDLE_BYTES.labels("sent").inc(len(chunk))
            yield chunk
