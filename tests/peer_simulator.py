"""One hostile peer: it holds a member's real keys and certificate, and does with them what a member must not.

As a client it sends what a test made of an envelope; as a server it answers as a test says. It uses the product's own
sealing for what is to be right, so that what is wrong is only what the test made wrong.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc

from node.federation.channels import MAX_MESSAGE_BYTES, QUERY
from node.federation.envelope import Opened, Sealed, Signer, new_salt, open_envelope, seal
from node.identity.keys import key_id, public_key
from node.wire.codes_pb2 import Crime, LookupKind, Purpose, UnitType, Urgency
from node.wire.envelope_pb2 import StatementType
from node.wire.exchange_pb2 import Answer, Asker, Body, Query, QueryRequest, QueryResponse, Selector
from tests.pki import Holder
from tests.world import Place, World, now_us

Behaviour = Callable[[bytes], Awaitable[bytes]]


def signer_of(place: Place) -> Signer:
    return Signer(place.code, place.name, key_id(public_key(place.signing_key)), place.signing_key)


def telephone_query(value: str = "+12025550143", **changes: object) -> Query:
    query = Query(
        selectors=[Selector(kind=LookupKind.LOOKUP_KIND_TELEPHONE, value=value)],
        purpose=Purpose.PURPOSE_INVESTIGATE,
        crimes=[Crime.CRIME_TRAFFICKING],
        urgency=Urgency.URGENCY_ROUTINE,
        asker=Asker(officer="analyst", unit="UNIT-1", unit_type=UnitType.UNIT_TYPE_POLICE_INTELLIGENCE),
        case_reference="CASE-1",
        instrument="UNTOC",
    )
    query.MergeFrom(Query(**changes))  # type: ignore[arg-type]
    return query


def sealed_query(sender: Place, recipient: str, query: Query, *, at_us: int = 0, exchange_id: bytes = b"") -> Sealed:
    return seal(
        signer_of(sender),
        statement_type=StatementType.STATEMENT_TYPE_QUERY,
        exchange_id=exchange_id or secrets.token_bytes(16),
        recipient=recipient,
        body=Body(salt=new_salt(), query=query),
        now_us=at_us or now_us(),
        directory_version=1,
    )


def request(sealed: Sealed) -> bytes:
    return QueryRequest(envelope=sealed.envelope).SerializeToString()


@asynccontextmanager
async def channel_to(
    place: Place, holder: Holder | None, roots: bytes | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    """Connect to a node with this certificate, or with none."""
    credentials = grpc.ssl_channel_credentials(
        roots or place.ca.roots_pem, holder.key_pem if holder else None, holder.chain_pem if holder else None
    )
    options = [
        ("grpc.ssl_target_name_override", place.server_name),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_send_message_length", 128 * 1_048_576),
        ("grpc.enable_retries", 0),
    ]
    async with grpc.aio.secure_channel(place.peer, credentials, options=options) as channel:
        yield channel


async def send(channel: grpc.aio.Channel, data: bytes, method: str = QUERY) -> bytes:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    return await call(data, timeout=10.0)


def opened_answer(world: World, sender: str, recipient: str, sealed: Sealed, data: bytes) -> Opened:
    """Verify an answer as a peer would, with keys taken from the places and not from the node under test."""
    return open_envelope(
        QueryResponse.FromString(data).envelope,
        expected=StatementType.STATEMENT_TYPE_ANSWER,
        sender=sender,
        recipient=recipient,
        public_key=lambda country, _node, _key, _at: public_key(world[country].signing_key),
        now_us=now_us(),
        window_us=60_000_000,
        answers=sealed,
    )


def opened_query(world: World, sender: str, recipient: str, data: bytes) -> Opened:
    return open_envelope(
        QueryRequest.FromString(data).envelope,
        expected=StatementType.STATEMENT_TYPE_QUERY,
        sender=sender,
        recipient=recipient,
        public_key=lambda country, _node, _key, _at: public_key(world[country].signing_key),
        now_us=now_us(),
        window_us=60_000_000,
    )


def sealed_answer(place: Place, opened: Opened, answer: Answer | None = None, **changes: object) -> Sealed:
    values: dict[str, object] = {
        "statement_type": StatementType.STATEMENT_TYPE_ANSWER,
        "exchange_id": opened.statement.exchange_id,
        "recipient": opened.statement.sender,
        "body": Body(salt=new_salt(), answer=answer or Answer()),
        "now_us": now_us(),
        "directory_version": 1,
        "answered": opened,
    }
    signer = changes.pop("signer", signer_of(place))
    return seal(signer, **(values | changes))  # type: ignore[arg-type]


@asynccontextmanager
async def hostile_server(world: World, code: str, behave: Behaviour) -> AsyncIterator[None]:
    """Listen where the country's node would, and answer queries as the test says."""
    place = world[code]

    async def serve(request_iterator: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        del request_iterator
        data = await context.read()
        assert isinstance(data, bytes)
        return await behave(data)

    server = grpc.aio.server(options=[("grpc.max_send_message_length", 128 * MAX_MESSAGE_BYTES)])
    methods = {"Query": grpc.stream_unary_rpc_method_handler(serve)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("enlace.v1.Exchange", methods),))
    roots = b"".join(each.ca.roots_pem for each in world.places.values())
    credentials = grpc.ssl_server_credentials(
        [(place.node.key_pem, place.node.chain_pem)], root_certificates=roots, require_client_auth=True
    )
    server.add_secure_port(place.peer, credentials)
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)
        await asyncio.sleep(0)
