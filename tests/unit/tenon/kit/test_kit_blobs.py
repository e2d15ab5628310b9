"""The same suite on the folder store and on S3 (a local S3 server)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenon.core.errors import NotFound
from tenon.kit.blobs import BlobStore, open_blobs


@pytest.fixture(scope="module")
def s3_url():
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        patch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="lake")
    yield "s3://lake/some/prefix"
    patch.undo()
    server.stop()


@pytest.fixture(params=["file", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "file":
        return open_blobs(f"file://{tmp_path}/blobs")
    return open_blobs(request.getfixturevalue("s3_url"))


def test_what_is_put_is_got(blobs: BlobStore, tmp_path: Path) -> None:
    """Bytes and files come back as they were, by every way of reading."""
    blobs.put_bytes("a/b.bin", b"one")
    assert blobs.get_bytes("a/b.bin") == b"one"
    source = tmp_path / "source"
    source.write_bytes(b"two" * 1000)
    blobs.put_file("a/b.bin", source)
    target = tmp_path / "target"
    blobs.download("a/b.bin", target)
    assert target.read_bytes() == source.read_bytes()
    with blobs.open_read("a/b.bin") as stream:
        assert stream.read(3) == b"two"


def test_list_and_delete(blobs: BlobStore) -> None:
    """Keys are listed by prefix in order; deleting is idempotent; the rest stays."""
    for key in ("x/2", "x/1", "x/y/3", "z/4"):
        blobs.put_bytes(key, b"")
    assert list(blobs.list("x/")) == ["x/1", "x/2", "x/y/3"]
    blobs.delete("x/1")
    blobs.delete("x/1")
    assert list(blobs.list("x/")) == ["x/2", "x/y/3"]
    assert not blobs.exists("x/1")
    assert blobs.exists("z/4")


@pytest.mark.parametrize("action", ["get_bytes", "open_read"])
def test_a_missing_key_is_not_found(blobs: BlobStore, action: str) -> None:
    """Reading what is not there raises NotFound naming the key."""
    with pytest.raises(NotFound, match="nothing/here"):
        getattr(blobs, action)("nothing/here")


def test_a_uri_gives_its_key_back(blobs: BlobStore) -> None:
    """`key` is the inverse of `uri`, so that services can hand URIs to each other."""
    assert blobs.key(blobs.uri("tenant/set.parquet")) == "tenant/set.parquet"


@pytest.mark.parametrize("key", ["", "../x", "a/../../x", "/etc/passwd"])
def test_a_key_cannot_leave_the_store(tmp_path: Path, key: str) -> None:
    """Keys that climb out of the root are refused before anything is touched."""
    with pytest.raises(ValueError, match="not a blob key"):
        open_blobs(f"file://{tmp_path}").put_bytes(key, b"x")


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=20, deadline=None
)
@given(st.binary(max_size=5000))
def test_any_bytes_survive(tmp_path: Path, data: bytes) -> None:
    """Every byte string is stored exactly, the empty one too."""
    store = open_blobs(f"file://{tmp_path}")
    store.put_bytes("k", data)
    assert store.get_bytes("k") == data


@pytest.mark.parametrize("url", ["", "ftp://x", "s3://", "relative/path"])
def test_a_wrong_url_is_refused(url: str) -> None:
    """Only file:// and s3:// are stores."""
    with pytest.raises(ValueError, match="not a blob URL"):
        open_blobs(url)
