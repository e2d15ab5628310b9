"""A bundle opens only when every byte is the one that was signed."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenon.bundle import generate_key_pair, load_evaluator, load_signing_key, load_verify_key, open_bundle, write_bundle
from tenon.bundle.archive import _pack, _unpack
from tenon.core.errors import Invalid, TenonError, TooLarge
from tenon.core.manifest import Manifest
from tests.support.predictor_bundles import linear_bundle, manifest_of, signing_key, visit_bundle

VERIFY = signing_key().public_key()


def test_a_bundle_opens_and_answers() -> None:
    """What was written is what is read, and the evaluator takes it."""
    data = visit_bundle()
    bundle = open_bundle(data, VERIFY, sha256=hashlib.sha256(data).hexdigest())
    evaluator = load_evaluator(bundle)
    columns = {
        "age": np.array([np.nan, 0.1]),
        "count": np.array([1.0, 0.0]),
        "urgent": np.array([1.0, np.nan]),
        "ward": np.array(["west", None], object),
    }
    answers = evaluator.predict(columns)
    assert answers.shape == (2,)
    assert np.all((answers > 0) & (answers < 1))
    assert bundle.manifest.tenant == "acme"


def test_the_same_parts_give_the_same_bytes() -> None:
    """No clock, no user, no order of chance."""
    assert visit_bundle() == visit_bundle()
    with tarfile.open(fileobj=io.BytesIO(visit_bundle())) as archive:
        infos = archive.getmembers()
    assert [info.name for info in infos] == sorted(info.name for info in infos)
    assert all((info.mtime, info.uid, info.gid) == (0, 0, 0) for info in infos)


def test_the_first_format_is_still_read() -> None:
    """Bundles in caches and stores that name their run and its time in the manifest open as they are, and say so."""
    first = open_bundle(visit_bundle(), VERIFY)
    data = manifest_of("acme", "stay", []) | {"format": 1, "signature": first.manifest.signature.model_dump()}
    files = {name: first.files[name] for name in first.manifest.files}
    old = open_bundle(write_bundle(data, files, signing_key()), VERIFY).manifest
    assert (old.format, old.created_at, old.lineage.run_id) == (1, "2026-11-01T00:00:00Z", "run-1")
    assert json.loads(manifest_bytes(old, files))["created_at"] == old.created_at
    assert "created_at" not in json.loads(manifest_bytes(old.model_copy(update={"created_at": None}), files))


def manifest_bytes(manifest: Manifest, files: dict[str, bytes]) -> bytes:
    """The manifest's bytes in a bundle."""
    return open_bundle(write_bundle(manifest, files, signing_key()), VERIFY).files["manifest.json"]


def test_any_flipped_byte_is_refused() -> None:
    """Headers, contents, paddings and the end: each place of the file, by steps, is flipped once."""
    data = linear_bundle()
    for place in [*range(1100), *range(1100, len(data), 13)]:
        damaged = bytearray(data)
        damaged[place] ^= 0x41
        with pytest.raises(TenonError):
            open_bundle(bytes(damaged), VERIFY)


def test_any_cut_or_appendix_is_refused() -> None:
    """A download that ended early, and bytes after the end."""
    data = linear_bundle()
    for end in [*range(0, len(data), 256), len(data) - 1]:
        with pytest.raises(TenonError):
            open_bundle(data[:end], VERIFY)
    for extra in (b"\0", b"\0" * tarfile.RECORDSIZE, b"x" * 512):
        with pytest.raises(TenonError):
            open_bundle(data + extra, VERIFY)


def test_another_key_is_refused() -> None:
    """A bundle that somebody else signed is whole, but not ours."""
    with pytest.raises(Invalid) as caught:
        open_bundle(visit_bundle(key=Ed25519PrivateKey.generate()), VERIFY)
    assert caught.value.reason == "BUNDLE_SIGNATURE_INVALID"


def test_the_outer_digest_comes_first() -> None:
    """A bundle that is not the one asked for is not even looked into."""
    with pytest.raises(Invalid) as caught:
        open_bundle(visit_bundle(), VERIFY, sha256="0" * 64)
    assert caught.value.reason == "BUNDLE_DIGEST_MISMATCH"


def _members() -> dict[str, bytes]:
    return _unpack(linear_bundle())


def test_a_swapped_file_is_refused() -> None:
    """The signature covers the manifest, the manifest covers every file."""
    members = _members() | {"linear.json": b'{"coefficients":[9,9],"intercept":0,"link":"identity"}'}
    with pytest.raises(Invalid, match=r"linear\.json") as caught:
        open_bundle(_pack(members), VERIFY)
    assert caught.value.reason == "BUNDLE_CORRUPT"


@pytest.mark.parametrize("name", ["linear.json", "pipeline.json", "signature", "manifest.json"])
def test_a_missing_member_is_refused(name: str) -> None:
    """And named."""
    members = _members()
    del members[name]
    with pytest.raises(Invalid, match=name):
        open_bundle(_pack(members), VERIFY)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "native/../../x", "forest.npz", "extra.txt", "native/model.pkl"]
)
def test_an_extra_member_is_refused(name: str) -> None:
    """Unknown names never become paths, and known ones must be in the manifest."""
    with pytest.raises(Invalid) as caught:
        open_bundle(_pack(_members() | {name: b"x"}), VERIFY)
    assert caught.value.reason == "BUNDLE_MEMBER_UNKNOWN"


def test_links_and_odd_tars_are_refused() -> None:
    """Only what `write_bundle` would have written is a bundle: no links, no folders, no other tar dialect, no gzip."""
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            info = tarfile.TarInfo("manifest.json")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        with pytest.raises(Invalid):
            open_bundle(buffer.getvalue(), VERIFY)
    for mode in ("w:gz", "w"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.PAX_FORMAT) as archive:
            for name, content in _members().items():
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(content), 12345.678
                archive.addfile(info, io.BytesIO(content))
        with pytest.raises(Invalid):
            open_bundle(buffer.getvalue(), VERIFY)


def test_a_size_beyond_the_file_is_refused_without_reading_it() -> None:
    """A header that claims gigabytes is not believed."""
    info = tarfile.TarInfo("manifest.json")
    info.size = 8 << 30 - 1
    with pytest.raises(Invalid):
        open_bundle(info.tobuf(tarfile.USTAR_FORMAT) + b"x" * 1024, VERIFY)


def test_a_bundle_over_the_cap_is_refused() -> None:
    """Before anything is parsed."""
    with pytest.raises(TooLarge):
        open_bundle(b"\0" * 2000, VERIFY, max_bytes=1999)


def test_a_manifest_of_another_format_is_refused() -> None:
    """A correctly signed bundle with keys that this version does not know says which."""
    manifest = manifest_of("acme", "price", []) | {"engine": "tenon-linear"}
    with pytest.raises(Invalid, match="surprise"):
        write_bundle(manifest | {"surprise": 1}, {"pipeline.json": b"{}", "linear.json": b"{}"}, signing_key())
    text = json.dumps(manifest | {"format": 2}).encode()
    members = {"manifest.json": text, "signature": signing_key().sign(text), "pipeline.json": b"{}"}
    with pytest.raises(Invalid):
        open_bundle(_pack(members), VERIFY)


def test_an_engine_without_its_file_cannot_be_written() -> None:
    """The trainer's mistake shows at the trainer."""
    with pytest.raises(Invalid, match=r"forest\.npz"):
        write_bundle(manifest_of("acme", "stay", []), {"pipeline.json": b"{}", "linear.json": b"{}"}, signing_key())


def test_parts_that_do_not_fit_together_are_refused() -> None:
    """A pipeline that reads a column the signature lacks, or makes another width than the model takes."""
    members = _members()
    files = {name: members[name] for name in ("linear.json",)}
    for pipeline in (
        b'{"transforms":[{"kind":"numeric","column":"zz"},{"kind":"numeric","column":"x1"}]}',
        b'{"transforms":[{"kind":"numeric","column":"x0"}]}',
    ):
        inputs = [("x0", "float", "request", False), ("x1", "float", "request", False)]
        manifest = manifest_of("acme", "price", inputs, engine="tenon-linear", output="prediction")
        data = write_bundle(manifest, {**files, "pipeline.json": pipeline}, signing_key())
        with pytest.raises(Invalid) as caught:
            load_evaluator(open_bundle(data, VERIFY))
        assert caught.value.reason == "PIPELINE_INVALID"


def test_key_files_are_read_and_wrong_ones_named(tmp_path: Path) -> None:
    """A missing file, a file that is no key, and the public key where the private one belongs."""
    private, public = generate_key_pair()
    (tmp_path / "private.pem").write_bytes(private)
    (tmp_path / "public.pem").write_bytes(public)
    signature = load_signing_key(tmp_path / "private.pem").sign(b"x")
    load_verify_key(tmp_path / "public.pem").verify(signature, b"x")
    (tmp_path / "none.pem").write_text("hello")
    for load, name in (
        (load_signing_key, "none.pem"),
        (load_verify_key, "none.pem"),
        (load_signing_key, "public.pem"),
        (load_verify_key, "private.pem"),
        (load_verify_key, "absent.pem"),
    ):
        with pytest.raises(Invalid, match=name):
            load(tmp_path / name)
