"""The bundle file: one canonical, signed tar, read only in memory and never extracted to paths from the archive.

There is exactly one byte sequence for given members: sorted names, plain ustar headers, mtime 0, owner 0. Reading
compares every header with the one that writing would have made, so that nothing can hide between the members.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from tenon.bundle.keys import Verifier
from tenon.core.errors import Invalid, TooLarge
from tenon.core.manifest import Manifest

MANIFEST = "manifest.json"
SIGNATURE = "signature"
PIPELINE = "pipeline.json"
FOREST = "forest.npz"
LINEAR = "linear.json"
COVER = "cover.npy"
ONNX = "model.onnx"
NATIVE_MODEL = "native/model.ubj"
NATIVE_PIPELINE = "native/pipeline.skops"
WITHOUT_HISTORY = "without_history/"
"""Before the names of the second model's files: the one that answers when history cannot be had."""

MAX_BUNDLE_BYTES = 1 << 30
MAX_MEMBER_BYTES = 512 << 20
MAX_MANIFEST_BYTES = 16 << 20
SIGNATURE_BYTES = 64

_ENGINE_MEMBER = {"tenon-forest": FOREST, "tenon-linear": LINEAR, "onnxruntime": ONNX}
_KNOWN = frozenset({MANIFEST, SIGNATURE, PIPELINE, FOREST, LINEAR, COVER, ONNX, NATIVE_MODEL, NATIVE_PIPELINE})
_KNOWN |= {WITHOUT_HISTORY + name for name in _KNOWN - {MANIFEST, SIGNATURE}}
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle: its digest and signature were right and every file is the one that was signed."""

    manifest: Manifest
    files: Mapping[str, bytes] = field(repr=False)
    sha256: str


def write_bundle(
    manifest: Manifest | Mapping[str, Any], files: Mapping[str, bytes], signing_key: Ed25519PrivateKey
) -> bytes:
    """The bytes of a signed bundle. Same manifest, files and key give the same bytes.

    `files` are all members except `manifest.json` and `signature`; the manifest's own `files` is filled in here
    (whatever it held before), so it may be left out of a mapping.
    """
    data = manifest.model_dump(mode="json") if isinstance(manifest, Manifest) else dict(manifest)
    data["files"] = {name: _digest(files[name]) for name in sorted(files)}
    checked = _parse_manifest(data)
    text = canonical_json(checked.model_dump(mode="json"))
    members = {**files, MANIFEST: text, SIGNATURE: signing_key.sign(text)}
    _check_members(members)
    _check_engine(checked, members)
    return _pack(members)


def open_bundle(
    data: bytes, verify_key: Verifier, *, sha256: str | None = None, max_bytes: int = MAX_BUNDLE_BYTES
) -> Bundle:
    """Verify a bundle and give its parts: outer digest (when known), signature, every file's digest, and only then
    the manifest is parsed.

    Raises `TooLarge` (BUNDLE_TOO_LARGE) or `Invalid` with reason BUNDLE_DIGEST_MISMATCH, BUNDLE_CORRUPT,
    BUNDLE_MEMBER_UNKNOWN, BUNDLE_MEMBER_MISSING, BUNDLE_SIGNATURE_INVALID or BUNDLE_MANIFEST_INVALID.
    """
    if len(data) > max_bytes:
        raise TooLarge("BUNDLE_TOO_LARGE", f"the bundle has {len(data)} bytes; at most {max_bytes} are read")
    digest = _digest(data)
    if sha256 is not None and digest != sha256:
        raise Invalid("BUNDLE_DIGEST_MISMATCH", f"the bundle's sha256 is {digest}, expected {sha256}")
    members = _unpack(data)
    _check_members(members)
    try:
        verify_key.verify(members[SIGNATURE], members[MANIFEST])
    except InvalidSignature:
        raise Invalid(
            "BUNDLE_SIGNATURE_INVALID", "the bundle's signature was not made by the key this platform trusts"
        ) from None
    listed = _listed_files(members[MANIFEST])
    present = {name for name in members if name not in (MANIFEST, SIGNATURE)}
    for name in sorted(present ^ set(listed)):
        if name in present:
            raise Invalid("BUNDLE_MEMBER_UNKNOWN", f"the bundle holds {name!r}, which its manifest does not list")
        raise Invalid("BUNDLE_MEMBER_MISSING", f"the bundle lacks {name!r}, which its manifest lists")
    for name in sorted(present):
        if _digest(members[name]) != listed[name]:
            raise Invalid("BUNDLE_CORRUPT", f"{name!r} in the bundle is not the file that was signed")
    manifest = _parse_manifest(json.loads(members[MANIFEST]))
    _check_engine(manifest, members)
    return Bundle(manifest, MappingProxyType(members), digest)


def canonical_json(data: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal data, equal bytes."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _parse_manifest(data: Any) -> Manifest:
    try:
        return Manifest.model_validate(data)
    except ValidationError as err:
        problem = err.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise Invalid(
            "BUNDLE_MANIFEST_INVALID", f"the bundle's manifest is not valid: {where}: {problem['msg']}"
        ) from None


def _listed_files(text: bytes) -> dict[str, str]:
    try:
        listed = json.loads(text)["files"]
        return {str(name): str(digest) for name, digest in listed.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Invalid("BUNDLE_MANIFEST_INVALID", "the bundle's manifest lists no files") from None


def _check_members(members: Mapping[str, bytes]) -> None:
    for name in sorted(members):
        if name not in _KNOWN:
            raise Invalid("BUNDLE_MEMBER_UNKNOWN", f"a bundle has no member {name[:100]!r}")
        cap = {MANIFEST: MAX_MANIFEST_BYTES}.get(name, MAX_MEMBER_BYTES)
        if len(members[name]) > cap:
            raise TooLarge("BUNDLE_TOO_LARGE", f"{name!r} has {len(members[name])} bytes; at most {cap} are read")
    for name in (MANIFEST, SIGNATURE, PIPELINE):
        if name not in members:
            raise Invalid("BUNDLE_MEMBER_MISSING", f"the bundle lacks {name!r}")
    if len(members[SIGNATURE]) != SIGNATURE_BYTES:
        raise Invalid("BUNDLE_SIGNATURE_INVALID", f"a signature has {SIGNATURE_BYTES} bytes")


def _check_engine(manifest: Manifest, members: Mapping[str, bytes]) -> None:
    engines = {"": manifest.engine}
    if manifest.fallback is not None and manifest.fallback.without_history is not None:
        engines[WITHOUT_HISTORY] = manifest.fallback.without_history.engine
    for prefix, engine in engines.items():
        for needed in (prefix + PIPELINE, prefix + _ENGINE_MEMBER[engine]):
            if needed not in members:
                raise Invalid("BUNDLE_MEMBER_MISSING", f"engine {engine!r} needs {needed!r}, which the bundle lacks")


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def _padding(size: int, unit: int) -> bytes:
    return b"\0" * (-size % unit)


def _pack(members: Mapping[str, bytes]) -> bytes:
    parts = []
    for name in sorted(members):
        content = members[name]
        parts += [_header(name, len(content)), content, _padding(len(content), _BLOCK)]
    body = b"".join(parts) + b"\0" * (2 * _BLOCK)
    return body + _padding(len(body), tarfile.RECORDSIZE)


def _unpack(data: bytes) -> dict[str, bytes]:
    """The members of a canonical tar. Anything that `_pack` would not have written is corrupt."""
    members: dict[str, bytes] = {}
    position, last = 0, ""
    while data[position : position + 1] not in (b"", b"\0"):
        header = data[position : position + _BLOCK]
        try:
            name = header[:100].rstrip(b"\0").decode("ascii")
            size = int(header[124:136].rstrip(b"\0 "), 8)
        except ValueError:
            raise _corrupt(position) from None
        end = position + _BLOCK + size
        if size < 0 or end > len(data) or name <= last or header != _header(name, size):
            raise _corrupt(position)
        members[name] = data[position + _BLOCK : end]
        padding = _padding(size, _BLOCK)
        if data[end : end + len(padding)] != padding:
            raise _corrupt(end)
        position, last = end + len(padding), name
    end = position + 2 * _BLOCK
    end += -end % tarfile.RECORDSIZE
    if not members or len(data) != end or any(data[position:]):
        raise _corrupt(position)
    return members


def _corrupt(position: int) -> Invalid:
    return Invalid("BUNDLE_CORRUPT", f"this is not a bundle, or it is damaged near byte {position}")
