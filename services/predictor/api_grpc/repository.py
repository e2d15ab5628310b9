"""The repository and statistics calls of the Open Inference Protocol over gRPC, numbered as Triton's."""

from __future__ import annotations

import grpc

from services.predictor.api_grpc.tenants import tenant_of_call
from services.predictor.domain.naming import HostNames
from services.predictor.domain.repository import Repository, Statistics
from tenon.api.inference.v2 import inference_pb2 as pb
from tenon.api.inference.v2 import inference_pb2_grpc
from tenon.core.tenancy import Scope


class RepositoryCalls(inference_pb2_grpc.GRPCInferenceServiceServicer):
    """Translates and calls the one use case."""

    _repository: Repository
    _hosts: HostNames | None

    def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, call: grpc.ServicerContext
    ) -> pb.RepositoryIndexResponse:
        """Every released version and its state."""
        tenant = tenant_of_call(call, hosts=self._hosts)
        index = pb.RepositoryIndexResponse.ModelIndex
        lines = self._repository.index(tenant, ready_only=request.ready)
        return pb.RepositoryIndexResponse(models=[index(**line._asdict()) for line in lines])

    def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, call: grpc.ServicerContext
    ) -> pb.RepositoryModelLoadResponse:
        """Have what is released of a model in memory now; needs the scope `write`."""
        tenant = tenant_of_call(call, hosts=self._hosts, scope=Scope.WRITE)
        self._repository.load(tenant, request.model_name, request.parameters)
        return pb.RepositoryModelLoadResponse()

    def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, call: grpc.ServicerContext
    ) -> pb.RepositoryModelUnloadResponse:
        """Take a model out of memory until it is asked for; needs the scope `write`."""
        tenant = tenant_of_call(call, hosts=self._hosts, scope=Scope.WRITE)
        self._repository.unload(tenant, request.model_name)
        return pb.RepositoryModelUnloadResponse()

    def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, call: grpc.ServicerContext
    ) -> pb.ModelStatisticsResponse:
        """What versions have answered since this process began."""
        tenant = tenant_of_call(call, hosts=self._hosts)
        found = self._repository.statistics(tenant, request.name, request.version)
        return pb.ModelStatisticsResponse(model_stats=[_message(item) for item in found])


def _message(item: Statistics) -> pb.ModelStatistics:
    usage = item.usage
    whole = pb.StatisticDuration(count=usage.requests, ns=round(usage.seconds * 1e9))
    memory = [pb.MemoryUsage(type="CPU", byte_size=item.nbytes)] if item.nbytes else []
    return pb.ModelStatistics(
        name=item.model,
        version=str(item.version),
        last_inference=usage.last_at_ms,
        inference_count=usage.rows,
        execution_count=usage.requests,
        inference_stats=pb.InferStatistics(success=whole, compute_infer=whole),
        memory_usage=memory,
    )
