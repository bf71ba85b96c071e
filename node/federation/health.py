"""Whether this node serves its peers, told to any member's node that asks (grpc.health.v1, `Check` alone).

The standard servicer reads a message before anybody knows who sent it, and keeps a watcher for each name it is asked
about; this one is called by the peer service once the caller is known.
"""

from dataclasses import dataclass

from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from node.errors import MalformedError, NotFoundError
from node.identity.certificates import Peer

CHECK = "/grpc.health.v1.Health/Check"
SERVICES = frozenset({"", "enlace.v1.Exchange"})  # the empty name: the node as a whole


@dataclass(slots=True)
class Health:
    """What the node's peers are told of its health."""

    serving: bool = False

    async def check(self, data: bytes, peer: Peer) -> bytes:
        """Answer a HealthCheckRequest with a HealthCheckResponse.

        Raises:
            MalformedError: it is none.
            NotFoundError: it asks about another service.
        """
        del peer
        try:
            request = HealthCheckRequest.FromString(data)
        except DecodeError as error:
            raise MalformedError("not a request of grpc.health.v1") from error
        if request.service not in SERVICES:
            raise NotFoundError("peers are not served by that name")
        status = HealthCheckResponse.SERVING if self.serving else HealthCheckResponse.NOT_SERVING
        return HealthCheckResponse(status=status).SerializeToString()
