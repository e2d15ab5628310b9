"""The part of the list that is about paths, headers, keys, encodings and the bytes of HTTP itself."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator
from typing import Any

from tests.support.abuse import GOOD, ROW, SEED, Case, answer, request
from tests.support.abuse import zipped as zip_of

HOST = "host: predictor\r\n"


def cases() -> Iterator[Case]:
    """All of them. `{model}` and `{key}` are put in by who sends them."""
    yield from _paths()
    yield from _keys()
    yield from _encodings()
    yield from _headers()
    yield from _http()
    yield from _entities()


def _paths() -> Iterator[Case]:
    good = request(ROW)
    model = "/v2/models/{model}"
    for path in (
        "/v2/models/nobody/infer", "/v2/models/{model}x/infer", "/v2/models/%00/infer", "/v2/models/../infer", "/v2/models/%2e%2e/infer",
        "/v2/models/%2e%2e%2fetc/infer", "/v2/models//infer", f"{model}/infer/", f"{model}/Infer", f"/{model}/infer", f"{model}/infer/x", "/v2/models/{model}%20/infer",
        f"{model}/versions//infer", "/v2/models/" + "a" * 8000 + "/infer", "/v2/models/é/infer".encode().decode("latin-1"), "/v3/models/{model}/infer", "/", "/infer",
        "/v2/models/{model}:predict", "/v2/repository/models/nobody/frobnicate", "/v1/models/{model}:explain", "/v1/models/nobody:predict", "/v2/models/'%20or%201=1/infer",
    ):  # fmt: skip
        yield Case(f"path {path[:50]}", good, path=path)
    for version in (
        "0",
        "2",
        "-1",
        "1.0",
        "01",
        "latest",
        "1e0",
        "+1",
        "%31%30",
        "null",
        "9" * 400,
        "1%00",
        "%F0%9F%92%A9",
        "..",
        "1;2",
        "true",
    ):
        yield Case(f"version {version[:20]}", good, path=f"{model}/versions/{version}/infer")
    yield Case("version 1", good, GOOD, path=f"{model}/versions/1/infer")
    yield Case("an escaped letter in the path", good, GOOD, path=f"{model}/%69nfer")
    yield Case("a query", good, GOOD, path=f"{model}/infer?a=1&a=2")
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "POS", "post"):
        yield Case(f"method {method}", good, method=method)


def _keys() -> Iterator[Case]:
    good = request(ROW)
    for name, value in {
        "none": None, "wrong": "Bearer nonsense", "basic": "Basic {key}", "bare": "{key}", "no key": "Bearer", "space": "Bearer  ", "two words": "Bearer a b",
        "cut": "Bearer {key}x", "long": "Bearer " + "k" * 20_000, "latin-1": "Bearer \xe9\xff", "null": "Bearer null", "quoted": 'Bearer "{key}"',
        "jwt": "Bearer eyJhbGciOiJub25lIn0.eyJ0ZW5hbnQiOiJhY21lIn0.", "jwt, wrong": "Bearer a.b.c", "jwt, empty": "Bearer ..",
    }.items():  # fmt: skip
        yield Case(f"key: {name}", good, headers={} if value is None else {"authorization": value})
    yield Case("key: small letters", good, GOOD, headers={"authorization": "bearer {key}"})
    yield Case("key: in its own header", good, GOOD, headers={"authorization": "", "x-api-key": "{key}"})
    yield Case("key: of another tenant's header", good, headers={"x-tenon-tenant": "globex"})
    yield Case("key: tenant without sense", good, headers={"x-tenon-tenant": "../acme"})


def _encodings() -> Iterator[Case]:
    dice = random.Random(SEED)
    good = request(ROW)
    zipped, deflated = zip_of(good), zlib.compress(good)
    for name in (
        "br",
        "zstd",
        "compress",
        "lz4",
        "gzip, gzip",
        "identity, gzip",
        "gzip,",
        "gzip;q=1",
        "none",
        "utf-8",
        "*",
        "x" * 500,
    ):
        yield Case(f"encoding {name[:20]}", good, headers={"content-encoding": name})
    for cut in sorted(dice.sample(range(1, len(zipped) - 1), 10)):
        yield Case(f"gzip cut after {cut}", zipped[:cut], headers={"content-encoding": "gzip"})
    for place in (0, 2, 12, len(zipped) - 6, len(zipped) - 2):
        broken = zipped[:place] + bytes([zipped[place] ^ 0xFF]) + zipped[place + 1 :]
        yield Case(f"gzip broken at {place}", broken, headers={"content-encoding": "gzip"})
    for name, body in {
        "nothing": b"", "plain": good, "garbage behind": zipped + b"xx", "of nothing": zip_of(b""), "twice": zip_of(zipped),
        "another document behind": zipped + zipped,
    }.items():  # fmt: skip
        yield Case(f"gzip: {name}", body, headers={"content-encoding": "gzip"})
    yield Case("deflate cut", deflated[:-3], headers={"content-encoding": "deflate"})
    yield Case("deflate: garbage behind", deflated + b"x", headers={"content-encoding": "deflate"})
    yield Case("gzip, not said", zipped)
    yield Case("gzip", zipped, GOOD, headers={"content-encoding": "gzip"})
    yield Case("gzip in capitals", zipped, GOOD, headers={"content-encoding": "GZIP"})
    members = zip_of(good[:20]) + zip_of(good[20:])
    yield Case("gzip in two members", members, GOOD, headers={"content-encoding": "gzip"})
    yield Case("deflate", deflated, GOOD, headers={"content-encoding": "deflate"})
    yield Case("identity", good, GOOD, headers={"content-encoding": "identity"})


def _headers() -> Iterator[Case]:
    good = request(ROW)
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-8",
        "application/octet-stream",
        "",
    ):
        yield Case(f"content-type {kind}", good, GOOD, headers={"content-type": kind})
    for name, value in {
        "x-request-id": "\xff\xfe\x80", "x-request-id ": "a b", "traceparent": "00-zz-zz-zz", "baggage": "a" * 4000, "accept": "image/png", "accept-encoding": "br;q=x",
        "range": "bytes=0-1", "if-match": "*", "cookie": "a" * 6000, "expect": "100-continue", "te": "trailers", "connection": "close", "origin": "null",
    }.items():  # fmt: skip
        yield Case(f"header {name}", good, GOOD, headers={name.strip(): value})
    yield Case("header of 40 kB", good, headers={"x-big": "a" * 40_000})
    yield Case("120 headers", good, headers={f"x-{place}": "a" for place in range(120)})


def _http() -> Iterator[Case]:
    good = request(ROW)
    line, key = "POST /v2/models/{model}/infer HTTP/1.1\r\n", "authorization: Bearer {key}\r\n"
    size = f"content-length: {len(good)}\r\n"

    def wire(name: str, head: str, body: bytes = good, expect: Any = "refuse") -> Case:
        return Case(f"http: {name}", b"", expect, raw=f"{head}\r\n".encode("latin-1") + body)

    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(good), good)
    chunked = "transfer-encoding: chunked\r\n"
    yield wire("chunked", line + HOST + key + chunked, chunks, GOOD)
    yield wire("absolute address", line.replace("/v2", "http://x/v2") + HOST + key + size, good, GOOD)
    yield wire("upgrade offered", line + HOST + key + size + "connection: upgrade\r\nupgrade: h2c\r\n", good, GOOD)
    yield wire("small letters", line + "AUTHORIZATION: Bearer {key}\r\n" + HOST + size.upper(), good, GOOD)
    yield wire("length too short", line + HOST + key + "content-length: 20\r\n")
    yield wire("length of nothing", line + HOST + key + "content-length: 0\r\n", b"")
    yield wire("length too long", line + HOST + key + "content-length: 5000\r\n")
    yield wire("no length", line + HOST + key)
    for value in ("-1", "abc", "1e3", "0x50", "18446744073709551617", "+87", "8 7", "8,7"):
        yield wire(f"length {value}", line + HOST + key + f"content-length: {value}\r\n")
    yield wire("length of 50 GB", line + HOST + key + "content-length: 53687091200\r\n", b"{")
    yield wire("two lengths", line + HOST + key + size + "content-length: 5\r\n")
    yield wire("length and chunks", line + HOST + key + size + chunked, chunks)
    yield wire("chunks and length", line + HOST + key + chunked + size, chunks)
    for name, body in {
        "of size x": b"x\r\nabc\r\n0\r\n\r\n", "negative": b"-1\r\n\r\n0\r\n\r\n", "endless": b"ffffffffffffffff1\r\n", "too short": b"2\r\nabcd\r\n0\r\n\r\n", "missing": b"",
        "cut": b"50\r\nabc",
    }.items():  # fmt: skip
        yield wire(f"chunks {name}", line + HOST + key + chunked, body)
    yield wire("unknown transfer-encoding", line + HOST + key + size + "transfer-encoding: gzip\r\n")
    for version in ("HTTP/1.2", "HTTP/3", "HTTP/9.9", "HTTX/1.1", "HTTP/1", "http/1.1", ""):
        yield wire(f"version {version}", line.replace("HTTP/1.1", version) + HOST + key + size)
    yield wire("preface of HTTP/2", "PRI * HTTP/2.0\r\n", b"SM\r\n\r\n")
    yield wire("a TLS greeting", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"")
    yield wire("no colon", line + HOST + key + size + "nonsense\r\n")
    yield wire("a space before the colon", line + HOST + key + size + "x-a : b\r\n")
    yield wire("nul in a header", line + HOST + key + size + "x-a: b\0c\r\n")
    yield wire("an empty name", line + HOST + key + size + ": b\r\n")
    yield wire("folded", line + HOST + key + size + "x-a: b\r\n  c\r\n \r\n")
    yield wire("bare return", line + HOST + key + size + "x-a: b\rx-c: d\r\n")
    yield wire("an asterisk", "POST * HTTP/1.1\r\n" + HOST + key + size)
    yield wire("a space in the path", line.replace("/infer", "/inf er") + HOST + key + size)
    yield wire(
        "websocket",
        line.replace("POST", "GET")
        + HOST
        + key
        + "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\nsec-websocket-version: 13\r\n",
        b"",
    )


def _entities() -> Iterator[Case]:
    path = "/v1/models/{model}:predict"
    good = {"entity": {}, "features": {"x0": 1.0, "x1": 2.0}}
    features = {
        "missing": {"x0": 1.0}, "unknown": {"x0": 1.0, "x1": 2.0, "x2": 3.0}, "text": {"x0": "one", "x1": 2.0}, "NaN as text": {"x0": "NaN", "x1": 2.0},
        "boolean": {"x0": True, "x1": 2.0}, "object": {"x0": {}, "x1": 2.0}, "list": {"x0": [1.0], "x1": 2.0}, "null": {"x0": None, "x1": 2.0}, "1e39": {"x0": 1e39, "x1": 2.0},
        "2**53+1": {"x0": 2**53 + 1, "x1": 2.0}, "empty": {}, "near": {"x_0": 1.0, "x1": 2.0}, "10 MB name": {"x" * (10 << 20): 1.0},
        "10 MB text": {"x0": "x" * (10 << 20), "x1": 2.0},
    }  # fmt: skip
    for name, value in features.items():
        yield Case(f"entity: {name}", json.dumps({"instances": [good, {"features": value}]}).encode(), path=path)
    bodies: dict[str, Any] = {
        "nothing": {}, "a list": [], "no body": None, "no instances": {"instances": []}, "instances null": {"instances": None}, "instances an object": {"instances": {}},
        "instances of numbers": {"instances": [1, 2]}, "instances of lists": {"instances": [[1.0, 2.0]]}, "an instance of features": {"instances": [{"x0": 1.0, "x1": 2.0}]},
        "features a list": {"instances": [{"features": [1.0, 2.0]}]}, "entity a text": {"instances": [{"entity": "p1", "features": good["features"]}]},
        "unknown key": {"instances": [good], "modle": 1}, "request_id a number": {"instances": [good], "request_id": 7}, "request_id endless": {"instances": [good], "request_id": "x" * 999},
        "differing twice": {"instances": [{"entity": {"x0": 2.0}, "features": good["features"]}]}, "20,000 rows": {"instances": [good] * 20_000},
        "empty objects": {"instances": [{}] * 100_000}, "inputs": {"inputs": [ROW]},
    }  # fmt: skip
    for name, value in bodies.items():
        yield Case(f"entity: {name}", json.dumps(value).encode(), path=path)
    for name, body in {
        "instances": b'{"instances":[{"features":{"x0":1,"x1":2}}],"instances":[]}', "features": b'{"instances":[{"features":{"x0":1,"x1":2},"features":{"x0":1,"x1":2}}]}',
        "a feature": b'{"instances":[{"features":{"x0":1,"x1":2,"x1":3}}]}', "a feature, the same": b'{"instances":[{"features":{"x0":1,"x1":2,"x1":2}}]}',
    }.items():  # fmt: skip
        yield Case(f"duplicate key: entity, {name}", body, path=path)
    for name, body in {
        "cut": b'{"instances":[{"features":{"x0":1', "NaN": b'{"instances":[{"features":{"x0":NaN,"x1":2}}]}', "not UTF-8": b'{"instances":[{"features":{"\xff":1}}]}',
        "deep": b'{"instances":' + b"[" * 9000 + b"]" * 9000 + b"}", "1e999": b'{"instances":[{"features":{"x0":1e999,"x1":2}}]}',
    }.items():  # fmt: skip
        yield Case(f"entity: {name}", body, path=path)
    yield Case("entity: good", json.dumps({"instances": [good]}).encode(), GOOD, path=path)
    beyond = {"features": {"x0": 2**70, "x1": 2.0}}
    yield Case(
        "entity: 2**70 is a float64", json.dumps({"instances": [beyond]}).encode(), [answer(2.0**70, 2)], path=path
    )
    whole = {"features": {"x0": 1, "x1": 2}}
    yield Case(
        "entity: whole numbers", json.dumps({"instances": [whole, good]}).encode(), [answer(1, 2)] * 2, path=path
    )
