"""Probes and tools: `grpc.health.v1` as grpc_health_probe and the kubelet ask it, reflection as grpcurl uses it."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.conformance.clients.reporting import capability, main, refused, same

SERVICES = ("inference.GRPCInferenceService", "tenon.api.predictor.v1.PredictionService")


def channel(facts: dict[str, Any]) -> grpc.Channel:
    """To the door, without a key."""
    return grpc.insecure_channel(f"127.0.0.1:{facts['grpc']}")


@capability("health: live, ready, model ready")
def _(facts: dict[str, Any]) -> None:
    with channel(facts) as open_channel:
        stub = health_pb2_grpc.HealthStub(open_channel)
        for service in ("", *SERVICES):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
            same((service, answer.status), (service, health_pb2.HealthCheckResponse.SERVING))
        refused(
            grpc.RpcError, lambda: stub.Check(health_pb2.HealthCheckRequest(service="nothing"), timeout=60), "NOT_FOUND"
        )


@capability("health: watched")
def _(facts: dict[str, Any]) -> None:
    with channel(facts) as open_channel:
        stub = health_pb2_grpc.HealthStub(open_channel)
        for service, status in ((SERVICES[0], "SERVING"), ("nothing", "SERVICE_UNKNOWN")):
            watch = stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=60)
            same(health_pb2.HealthCheckResponse.ServingStatus.Name(next(watch).status), status)
            watch.cancel()


@capability("reflection: list, describe, call")
def _(facts: dict[str, Any]) -> None:
    with channel(facts) as open_channel:
        database = ProtoReflectionDescriptorDatabase(open_channel)
        names = set(database.get_services())
        same(names >= {*SERVICES, "grpc.health.v1.Health"}, True)
        pool = DescriptorPool(database)
        for name in SERVICES:
            for method in pool.FindServiceByName(name).methods:
                same(bool(method.input_type.full_name and method.output_type.full_name), True)
        # A call made of nothing but what the server says of itself.
        method = pool.FindServiceByName(SERVICES[0]).methods_by_name["ModelMetadata"]
        asked = GetMessageClass(method.input_type)(name=facts["model"])
        call: Any = open_channel.unary_unary(
            f"/{SERVICES[0]}/ModelMetadata",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        answer: Any = call(asked, metadata=[("authorization", f"Bearer {facts['key']}")], timeout=60)
        same([item.name for item in answer.inputs], list(facts["columns"]))


main()
