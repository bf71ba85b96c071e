"""The ports of peers and desk. Both take mutual TLS and nothing else."""

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from node.cli.parts import Parts
from node.desk.servicer import IN_FULL
from node.errors import ConfigError
from node.federation.boundary import Boundary
from node.federation.channels import MAX_MESSAGE_BYTES
from node.wire.correspondence_pb2_grpc import add_CorrespondenceServicer_to_server
from node.wire.desk_pb2_grpc import add_DeskServicer_to_server
from node.wire.duty_pb2_grpc import add_DutyServicer_to_server
from node.wire.institution_pb2_grpc import add_InstitutionServicer_to_server
from node.wire.subject_pb2_grpc import add_SubjectsServicer_to_server

DESK_SERVICE = "enlace.v1.Desk"
INSTITUTION_SERVICE = "enlace.v1.Institution"
CORRESPONDENCE_SERVICE = "enlace.v1.Correspondence"
SUBJECTS_SERVICE = "enlace.v1.Subjects"
DUTY_SERVICE = "enlace.v1.Duty"
DESK_MESSAGE_BYTES = 4 * 1_048_576
METADATA_BYTES = 16_384
STREAMS = 128  # calls under way in one connection; what a peer may have under way is `limits.calls_per_peer`
UNREAD_BYTES = 16_384

# What one connection may cost, whoever it is. Names and defaults: grpc/impl/channel_arg_names.h.
BOUNDS = (
    ("grpc.max_concurrent_streams", STREAMS),
    ("grpc.max_metadata_size", METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", METADATA_BYTES),  # between the two, gRPC would refuse at random
    ("grpc.max_connection_idle_ms", 300_000),
    # Nodes ping each 60 s while they wait for an answer (`channels.OPTIONS`); who pings much oftener is let go.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 30_000),
    ("grpc.http2.max_ping_strikes", 2),
    ("grpc.keepalive_permit_without_calls", 0),
    # A client that vanished without a word is noticed.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)


def peer_server(parts: Parts) -> grpc.aio.Server:
    """Make the server for peers; of health it tells members alone, and it has no reflection."""
    limits = parts.config.limits
    server = grpc.aio.server(
        options=[
            *BOUNDS,
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            # gRPC takes in so much of a call before anybody reads it, so before the caller is known. Left to itself it
            # grows that to whole messages: 1,600 calls of strangers took 330 MB, and take 25 MB so. A query has 2 KiB.
            ("grpc.http2.lookahead_bytes", UNREAD_BYTES),
            ("grpc.http2.bdp_probe", 0),
            # Open connections outlive trust that was taken back; each call is checked, and none lives long.
            ("grpc.max_connection_age_ms", int(limits.connection_age_s * 1_000)),
            ("grpc.max_connection_age_grace_ms", int(limits.drain_s * 1_000)),
            ("grpc.so_reuseport", 0 if parts.database.is_sqlite else 1),
        ],
    )
    server.add_generic_rpc_handlers(parts.exchange.handlers())
    _bind(server, parts.config.listen.peer, parts.peer_tls.credentials())
    return server


def desk_server(parts: Parts) -> grpc.aio.Server:
    """Make the server for the desk, with health and reflection."""
    server = grpc.aio.server(
        interceptors=[Boundary(IN_FULL)],
        options=[
            *BOUNDS,
            ("grpc.max_receive_message_length", DESK_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0 if parts.database.is_sqlite else 1),
        ],
    )
    add_DeskServicer_to_server(parts.desk, server)
    add_InstitutionServicer_to_server(parts.institution, server)
    add_CorrespondenceServicer_to_server(parts.correspondence_desk, server)
    add_SubjectsServicer_to_server(parts.subjects, server)
    add_DutyServicer_to_server(parts.duty.desk, server)
    own = (DESK_SERVICE, INSTITUTION_SERVICE, CORRESPONDENCE_SERVICE, SUBJECTS_SERVICE, DUTY_SERVICE)
    names = (*own, health.SERVICE_NAME, reflection.SERVICE_NAME)
    health_pb2_grpc.add_HealthServicer_to_server(parts.desk_health, server)
    reflection.enable_server_reflection(names, server)
    _bind(server, parts.config.listen.desk, parts.desk_tls.credentials())
    return server


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials) -> None:
    try:
        server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ConfigError(f"{address} can't be listened on: is another node running there?") from error


async def set_health(parts: Parts, *, serving: bool) -> None:
    """Tell peers and desk whether this node serves."""
    parts.exchange.health.serving = serving
    status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
    for service in (DESK_SERVICE, health.OVERALL_HEALTH):
        await parts.desk_health.set(service, status)
