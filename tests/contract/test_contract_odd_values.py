"""Bytes that are no message, times outside the calendar, durations without end: refused, and nobody else notices."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.contract.test_contract_every_door import SERVICES, rpcs
from tests.support.platform import Platform

TENANT = "odd-values"
BAD = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED)
ROUNDS = 12
TEXTS = ("", TENANT, "..", "a\x00b", "x" * 5000, "-1", "9" * 20, "0001-01-01T00:00:00+14:00", "FP64", "BYTES", "NaN")
BYTES = (b"", b"\x00" * 8, b"{}", b"\xff\xff\xff\xff", b"\x04\x00\x00\x00web!")
REALS = (0.0, -1.0, float("nan"), float("inf"), 5e-324, 1e38)
WHOLE = (0, 1, -1, 2, 501, 2**31 - 1, -(2**31), 2**32 - 1, 2**62, -(2**63), 2**64 - 1)
BITS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}


@pytest.fixture(scope="module")
def key(platform: Platform) -> str:
    platform.create_tenant(TENANT)
    return platform.create_key(TENANT)


def odd_value(field: Any, dice: random.Random) -> Any:
    """A value of a field's type that nobody means."""
    if field.type == FieldDescriptor.TYPE_STRING:
        return dice.choice(TEXTS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return dice.choice(BYTES)
    if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return dice.choice(REALS)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return dice.random() < 0.5
    low, high = BITS.get(field.type, (0, 2))
    return dice.choice([number for number in WHOLE if low <= number <= high])


def fill(message: Any, dice: random.Random, depth: int = 0) -> Any:
    """Set most fields of a message to odd values; `tenant` is right, so that the values are looked at."""
    for field in message.DESCRIPTOR.fields:
        if depth > 4 or dice.random() < 0.2:
            continue
        value = getattr(message, field.name)
        of_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if field.name == "tenant" and field.type == FieldDescriptor.TYPE_STRING:
            setattr(message, field.name, TENANT)
        elif of_map:
            entry = field.message_type.fields_by_name["value"]
            name = dice.choice(TEXTS)
            if entry.message_type is not None:
                fill(value[name], dice, depth + 1)
            else:
                value[name] = odd_value(entry, dice)
        elif field.message_type is not None:
            repeated = not isinstance(value, Message)
            fill(value.add() if repeated else value, dice, depth + 1)
        elif hasattr(value, "extend"):
            value.extend(odd_value(field, dice) for _ in range(dice.randrange(3)))
        else:
            setattr(message, field.name, odd_value(field, dice))
    return message


def send(channel: Any, method: MethodDescriptor, data: bytes, key: str) -> grpc.StatusCode:
    """The code of a call with these bytes."""
    path, metadata = f"/{method.containing_service.full_name}/{method.name}", (("authorization", f"Bearer {key}"),)
    try:
        if method.client_streaming:
            channel.stream_unary(path)(iter([data, data]), timeout=60, metadata=metadata)
        elif method.server_streaming:
            stream = channel.unary_stream(path)(data, timeout=60, metadata=metadata)
            next(iter(stream), None)
            stream.cancel()
        else:
            channel.unary_unary(path)(data, timeout=60, metadata=metadata)
    except grpc.RpcError as err:
        return err.code()
    return grpc.StatusCode.OK


def bodies(method: MethodDescriptor, dice: random.Random) -> Iterator[bytes]:
    yield b"\xff\xff\xff"
    for _ in range(ROUNDS):
        yield dice.randbytes(dice.randrange(1, 60))
        yield fill(GetMessageClass(method.input_type)(), dice).SerializeToString()


@pytest.mark.parametrize("service", SERVICES)
def test_no_rpc_falls_over_odd_values(platform: Platform, key: str, service: str) -> None:
    """Random bytes and messages full of extreme values are refused or answered, never INTERNAL or UNKNOWN."""
    dice = random.Random(service)
    wrong = []
    with grpc.insecure_channel(platform.targets[service], [("grpc.enable_http_proxy", 0)]) as channel:
        for method in rpcs(service):
            for data in bodies(method, dice):
                code = send(channel, method, data, key)
                if code in BAD:
                    wrong.append((method.full_name, code.name, data[:200]))
    assert not wrong


@pytest.mark.parametrize("lifetime", ["8000y", "999999999y"])
def test_a_key_without_end_of_days_is_refused_and_harms_nobody(platform: Platform, key: str, lifetime: str) -> None:
    """One tenant's key that expires after the calendar's end must not keep the others' keys from the services."""
    body = {"name": "for ever", "scopes": ["read"], "expires_in": lifetime}
    answer = platform.ask("registry", "POST", f"/v1/tenants/{TENANT}/keys", key=key, body=body)
    assert answer.status_code == 400
    assert answer.json()["place"]["field"] == "expires_in"
    platform.create_tenant("odd-neighbour")
    fresh = platform.create_key("odd-neighbour")
    assert platform.ask("trainer", "GET", "/v1/tenants/odd-neighbour/runs", key=fresh).status_code == 200


def test_the_services_token_is_no_operators_key(platform: Platform, key: str) -> None:
    """What services say to each other neither makes tenants nor keys."""
    token = platform.service_token
    body = {"name": "left behind", "scopes": ["read"]}
    assert platform.ask("registry", "PUT", "/v1/tenants/odd-new", key=token, body={}).status_code == 403
    assert platform.ask("registry", "POST", f"/v1/tenants/{TENANT}/keys", key=token, body=body).status_code == 403


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_its_offset_carries_out_of_the_calendar_is_refused(
    platform: Platform, key: str, moment: str
) -> None:
    """It cannot be said to another service, and so must not get past the door."""
    rows = {"views": ["v"], "rows": [{"keys": {"k": "1"}, "at": moment}]}
    labels = {"labels": [{"prediction_id": "p", "value": 1, "known_at": moment}]}
    for service, path, body in (
        ("features", "online-features", rows),
        ("monitor", "models/m/labels", labels),
    ):
        answer = platform.ask(service, "POST", f"/v1/tenants/{TENANT}/{path}", key=key, body=body)
        assert (answer.status_code, answer.json()["reason"]) == (400, "TIME_INVALID"), answer.text
