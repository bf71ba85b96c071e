"""The three ports of a node: peers, desk, metrics. All take mutual TLS and nothing else."""

from collections.abc import Mapping
from contextlib import ExitStack

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from node.cli.parts import Parts
from node.config import Config
from node.desk.servicer import IN_FULL
from node.errors import ConfigError
from node.federation.boundary import Boundary
from node.federation.channels import MAX_MESSAGE_BYTES
from node.wire.desk_pb2_grpc import add_DeskServicer_to_server

PEER_SERVICE = "enlace.v1.Exchange"
DESK_SERVICE = "enlace.v1.Desk"
DESK_MESSAGE_BYTES = 4 * 1_048_576


def peer_server(parts: Parts) -> tuple[health.aio.HealthServicer, grpc.aio.Server]:
    """Make the server for peers, with health and without reflection."""
    limits = parts.config.limits
    server = grpc.aio.server(
        interceptors=[Boundary()],
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_concurrent_streams", 256),
            # Open connections outlive trust that was taken back; each call is checked, and none lives long.
            ("grpc.max_connection_age_ms", int(limits.connection_age_s * 1_000)),
            ("grpc.max_connection_age_grace_ms", int(limits.drain_s * 1_000)),
            ("grpc.so_reuseport", 0 if parts.database.is_sqlite else 1),
        ],
    )
    server.add_generic_rpc_handlers((parts.exchange.handlers(),))
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    _bind(server, parts.config.listen.peer, parts.peer_tls.credentials())
    return servicer, server


def desk_server(parts: Parts) -> tuple[health.aio.HealthServicer, grpc.aio.Server]:
    """Make the server for the desk, with health and reflection."""
    server = grpc.aio.server(
        interceptors=[Boundary(IN_FULL)],
        options=[
            ("grpc.max_receive_message_length", DESK_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0 if parts.database.is_sqlite else 1),
        ],
    )
    add_DeskServicer_to_server(parts.desk, server)
    names = (DESK_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection(names, server)
    _bind(server, parts.config.listen.desk, parts.desk_tls.credentials())
    return servicer, server


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials) -> None:
    try:
        server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ConfigError(f"{address} can't be listened on: is another node running there?") from error


def serve_metrics(config: Config, stack: ExitStack) -> None:
    """Serve metrics until the stack unwinds; certificate and roots are those of the start."""
    host, _, port = config.listen.metrics.rpartition(":")
    try:
        server, thread = start_http_server(
            int(port),
            host,
            certfile=str(config.tls.certificate),
            keyfile=str(config.tls.key),
            client_cafile=str(config.tls.country_roots),
            client_auth_required=True,
        )
    except OSError as error:
        raise ConfigError(f"{config.listen.metrics} can't be listened on: {error.strerror}") from error
    stack.callback(thread.join)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)


async def set_health(healths: Mapping[str, health.aio.HealthServicer], *, serving: bool) -> None:
    """Tell whether each service, named by its health servicer, serves."""
    status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
    for service, servicer in healths.items():
        await servicer.set(service, status)
        await servicer.set(health.OVERALL_HEALTH, status)
