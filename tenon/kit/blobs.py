"""Blobs on a local folder or any S3-compatible store; keys are relative paths with forward slashes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from tenon.core.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client  # type: ignore[import-not-found, unused-ignore]

_CHUNK = 1 << 20


class BlobStore(Protocol):
    """Whole objects, written once and read many times. A write is visible whole or not at all."""

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store bytes under a key, replacing what was there."""
        ...

    def put_file(self, key: str, path: Path) -> None:
        """Store a file's content under a key; the file stays."""
        ...

    def get_bytes(self, key: str) -> bytes:
        """The bytes of a key. Raises `NotFound`."""
        ...

    def open_read(self, key: str) -> BinaryIO:
        """A readable binary stream of a key. Raises `NotFound`."""
        ...

    def download(self, key: str, path: Path) -> None:
        """Copy a key's content into a local file. Raises `NotFound`."""
        ...

    def exists(self, key: str) -> bool:
        """Whether there is something under the key."""
        ...

    def delete(self, key: str) -> None:
        """Remove a key; nothing happens when there is none."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Every key that starts with `prefix`, sorted."""
        ...

    def uri(self, key: str) -> str:
        """The URI under which Delta Lake, Polars and DuckDB read the key (or the folder)."""
        ...

    def key(self, uri: str) -> str:
        """The key of a URI that `uri` gave."""
        ...

    def storage_options(self) -> dict[str, str]:
        """What Delta Lake and Polars need to open such a URI."""
        ...


def open_blobs(url: str) -> BlobStore:
    """The store of `file:///folder` or `s3://bucket/prefix`. S3 takes its endpoint, region and keys from the usual
    AWS_* variables. Raises `ValueError` for any other URL."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return FolderBlobs(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        return S3Blobs(parts.netloc, parts.path.strip("/"))
    raise ValueError(f"{url!r} is not a blob URL: use file:///folder or s3://bucket/prefix")


def _safe(key: str) -> str:
    path = PurePosixPath(key)
    if not key or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{key!r} is not a blob key")
    return str(path)


class FolderBlobs:
    """Blobs as files; a write goes to a temporary file, is flushed to disk and then renamed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put_bytes(self, key: str, data: bytes) -> None:
        """See `BlobStore`."""
        self._write(key, lambda out: out.write(data))

    def put_file(self, key: str, path: Path) -> None:
        """See `BlobStore`."""
        with path.open("rb") as source:
            self._write(key, lambda out: shutil.copyfileobj(source, out, _CHUNK))

    def _write(self, key: str, fill: Any) -> None:
        target = self._root / _safe(key)
        new_folders = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".tmp-")
        try:
            with os.fdopen(handle, "wb") as out:
                fill(out)
                out.flush()
                os.fsync(out.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        # A name is safe over a power cut only when the folder that holds it is, up to the first that was there before.
        for folder in (target.parent, *(new.parent for new in new_folders)):
            _flush_folder(folder)

    def get_bytes(self, key: str) -> bytes:
        """See `BlobStore`."""
        with self.open_read(key) as source:
            return source.read()

    def open_read(self, key: str) -> BinaryIO:
        """See `BlobStore`."""
        try:
            return (self._root / _safe(key)).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise _missing(key) from None

    def download(self, key: str, path: Path) -> None:
        """See `BlobStore`."""
        with self.open_read(key) as source, path.open("wb") as out:
            shutil.copyfileobj(source, out, _CHUNK)

    def exists(self, key: str) -> bool:
        """See `BlobStore`."""
        return (self._root / _safe(key)).is_file()

    def delete(self, key: str) -> None:
        """See `BlobStore`."""
        (self._root / _safe(key)).unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[str]:
        """See `BlobStore`."""
        folder = self._root / (prefix if prefix.endswith("/") else str(PurePosixPath(prefix).parent))
        if not folder.is_dir():
            return
        for path in sorted(folder.rglob("*")):
            key = path.relative_to(self._root).as_posix()
            if path.is_file() and key.startswith(prefix) and not path.name.startswith(".tmp-"):
                yield key

    def uri(self, key: str) -> str:
        """See `BlobStore`."""
        return (self._root / _safe(key)).absolute().as_uri()

    def key(self, uri: str) -> str:
        """See `BlobStore`."""
        return Path(unquote(urlsplit(uri).path)).relative_to(self._root.absolute()).as_posix()

    def storage_options(self) -> dict[str, str]:
        """See `BlobStore`."""
        return {}


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class S3Blobs:
    """Blobs in an S3 bucket, under a prefix."""

    def __init__(self, bucket: str, prefix: str) -> None:
        # boto3 takes 0.3 s to import; with a local folder nobody needs it.
        import boto3
        from botocore.config import Config

        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        config = Config(connect_timeout=3, read_timeout=30, retries={"mode": "standard", "max_attempts": 4})
        self._client: S3Client = boto3.client("s3", config=config)

    def put_bytes(self, key: str, data: bytes) -> None:
        """See `BlobStore`."""
        self._call("put_object", Key=self._prefix + _safe(key), Body=data)

    def put_file(self, key: str, path: Path) -> None:
        """See `BlobStore`; large files go up in parts."""
        self._client.upload_file(str(path), self._bucket, self._prefix + _safe(key))

    def get_bytes(self, key: str) -> bytes:
        """See `BlobStore`."""
        with self.open_read(key) as source:
            return source.read()

    def open_read(self, key: str) -> BinaryIO:
        """See `BlobStore`."""
        body: BinaryIO = self._call("get_object", Key=self._prefix + _safe(key))["Body"]
        return body

    def download(self, key: str, path: Path) -> None:
        """See `BlobStore`."""
        with self.open_read(key) as source, path.open("wb") as out:
            shutil.copyfileobj(source, out, _CHUNK)

    def exists(self, key: str) -> bool:
        """See `BlobStore`."""
        try:
            self._call("head_object", Key=self._prefix + _safe(key))
        except NotFound:
            return False
        return True

    def delete(self, key: str) -> None:
        """See `BlobStore`."""
        self._call("delete_object", Key=self._prefix + _safe(key))

    def list(self, prefix: str) -> Iterator[str]:
        """See `BlobStore`."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        for page in pages:
            for item in page.get("Contents", []):
                yield item["Key"].removeprefix(self._prefix)

    def uri(self, key: str) -> str:
        """See `BlobStore`."""
        return f"s3://{self._bucket}/{self._prefix}{_safe(key)}"

    def key(self, uri: str) -> str:
        """See `BlobStore`."""
        return urlsplit(uri).path.lstrip("/").removeprefix(self._prefix)

    def storage_options(self) -> dict[str, str]:
        """See `BlobStore`; taken from the same variables that boto3 reads."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL")
        options = {name: os.environ[name] for name in names if os.environ.get(name)}
        if options.get("AWS_ENDPOINT_URL", "").startswith("http://"):
            options["AWS_ALLOW_HTTP"] = "true"
        # S3 has conditional puts now, so that two writers of a Delta table cannot both win.
        options["aws_conditional_put"] = "etag"
        return options

    def _call(self, operation: str, **arguments: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError  # See __init__.

        try:
            return getattr(self._client, operation)(Bucket=self._bucket, **arguments)
        except ClientError as err:
            if err.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                raise _missing(arguments["Key"]) from None
            raise Unavailable("BLOBS_UNAVAILABLE", f"{operation} of {arguments['Key']} was refused by S3") from err
        except BotoCoreError as err:
            raise Unavailable("BLOBS_UNAVAILABLE", f"S3 could not be asked to {operation} {arguments['Key']}") from err


def _missing(key: str) -> NotFound:
    return NotFound("BLOB_NOT_FOUND", f"there is no blob {key!r}")
