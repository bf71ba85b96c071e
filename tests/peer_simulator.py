"""One hostile peer: it holds a member's real keys and certificate, and does with them what a member must not.

As a client it sends what a test made of an envelope; as a server it answers as a test says. It uses the product's own
sealing for what is to be right, so that what is wrong is only what the test made wrong.
"""

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from node.federation.channels import MAX_MESSAGE_BYTES, QUERY
from node.federation.envelope import Opened, Sealed, Signer, new_salt, open_envelope, seal
from node.identity.keys import key_id, public_key
from node.wire.codes_pb2 import Crime, LookupKind, Purpose, UnitType, Urgency
from node.wire.envelope_pb2 import StatementType
from node.wire.exchange_pb2 import (
    Answer,
    Asker,
    Body,
    GetDirectoryResponse,
    Query,
    QueryRequest,
    QueryResponse,
    Selector,
)
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


class Refusal(Exception):  # noqa: N818 -- not an error: what a test makes the peer do
    """Raised by a behaviour: the call ends with this status and these words."""

    def __init__(self, code: grpc.StatusCode, words: str = "") -> None:
        super().__init__(code, words)
        self.code = code
        self.words = words


@dataclass
class Calls:
    """What came to a hostile server: serialised requests, and the certificate (PEM) of each caller."""

    requests: list[bytes] = field(default_factory=list)
    certificates: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def hostile_server(
    world: World,
    code: str,
    behave: Behaviour,
    *,
    directory: bytes = b"",
    directory_answer: bytes = b"",
    holder: Holder | None = None,
) -> AsyncIterator[Calls]:
    """Listen where the country's node would, answer its calls as a test says, serve this directory or these bytes."""
    place, calls = world[code], Calls()
    holder = holder or place.node

    async def serve(request_iterator: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        del request_iterator
        data = await context.read()
        assert isinstance(data, bytes)
        calls.requests.append(data)
        calls.certificates.append(next(iter(context.auth_context()["x509_pem_cert"])))
        try:
            return await behave(data)
        except Refusal as refusal:
            await context.abort(refusal.code, refusal.words)

    async def serve_directory(request: bytes, context: object) -> bytes:
        del request, context
        return directory_answer or GetDirectoryResponse(signed_directory=directory).SerializeToString()

    server = grpc.aio.server(options=[("grpc.max_send_message_length", 128 * MAX_MESSAGE_BYTES)])
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Query": grpc.stream_unary_rpc_method_handler(serve),
        "Reconcile": grpc.stream_unary_rpc_method_handler(serve),
        "GetDirectory": grpc.unary_unary_rpc_method_handler(serve_directory),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("enlace.v1.Exchange", methods),))
    roots = b"".join(each.ca.roots_pem for each in world.places.values())
    credentials = grpc.ssl_server_credentials(
        [(holder.key_pem, holder.chain_pem)], root_certificates=roots, require_client_auth=True
    )
    server.add_secure_port(place.peer, credentials)
    await server.start()
    try:
        yield calls
    finally:
        await server.stop(None)
        await asyncio.sleep(0)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame (RFC 9113 §4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@asynccontextmanager
async def dying_server(world: World, code: str, folder: Path) -> AsyncIterator[Calls]:
    """Listen where the country's node would, begin to answer each call, and then cut the connection."""
    place, calls = world[code], Calls()
    chain, key = folder / "dying.pem", folder / "dying.key"
    chain.write_bytes(place.node.chain_pem)
    key.write_bytes(place.node.key_pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain, key)
    tls.set_alpn_protocols(["h2"])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came = b""
        # The client's preface is 24 bytes; a DATA frame of its first stream, number 1, means that the question came.
        while b"\x00\x00\x00\x01\x00" not in came[24:] and (more := await reader.read(65_536)):
            came += more
            if len(came) > 1_024:
                break
        calls.requests.append(came)
        # HPACK (RFC 7541): ":status: 200" by its index, then "content-type: application/grpc" in words.
        headers = b"\x88\x0f\x10\x10application/grpc"
        writer.write(_frame(4, 0, 0, b"") + _frame(4, 1, 0, b"") + _frame(1, 4, 1, headers))
        # A message of 1,000 bytes is announced, and 100 of them come.
        writer.write(_frame(0, 0, 1, b"\x00\x00\x00\x03\xe8" + bytes(1_000))[:109])
        await writer.drain()
        writer.transport.abort()

    host, _, port = place.peer.rpartition(":")
    server = await asyncio.start_server(serve, host, int(port), ssl=tls)
    try:
        yield calls
    finally:
        server.close()
        await server.wait_closed()
