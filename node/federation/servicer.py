"""The peer service: who calls, whether they still may, what they sent; the use cases do the rest.

Handlers take and return serialised bytes: what is verified is what came. A unary call is served as a stream of one
message, which on the wire is the same, because gRPC drops a unary call whose message is too large before its handler
runs, and a refusal without a ledger line is not wanted.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import grpc

from node.errors import (
    CertificateInvalidError,
    EnlaceError,
    IdentityError,
    LedgerError,
    OverloadedError,
    TooLargeError,
)
from node.federation import channels, metrics
from node.federation.acknowledging import Acknowledging
from node.federation.answering import Answering
from node.federation.attaching import PIECE_S, Attaching
from node.federation.boundary import Context, guarded
from node.federation.cosigning import Cosigning
from node.federation.distribution import Distribution
from node.federation.health import CHECK, Health
from node.federation.lines import line_of, shared_of_event
from node.federation.mail_intake import Intake
from node.federation.patience import Patience
from node.federation.receipts import Receipts
from node.federation.reconciling import Reconciling
from node.federation.standing import Standing
from node.identity.certificates import Peer
from node.store.writer import Writer
from node.wire.ledger_pb2 import Direction, LeafKind, LeafPrivate

TLS13 = [b"TLSv1.3"]

UseCase = Callable[[bytes, Peer], Awaitable[bytes] | AsyncGenerator[bytes, None]]

# What a node does whose ledger has lost lines: it says what it has seen of others, and takes what keeps it up to date.
WHILE_FENCED = frozenset(
    {
        channels.GET_HEADS,
        channels.PUSH_SPLIT_VIEW,
        channels.GET_INCLUSION,
        channels.GET_DIRECTORY,
        channels.PUSH_REVOCATIONS,
        CHECK,
    }
)

STREAMED = frozenset({channels.GET_ATTACHMENT})


@dataclass(slots=True)
class ExchangeServicer:
    """Serves peers."""

    standing: Standing
    writer: Writer
    clock: Callable[[], int]
    calls_per_peer: int
    answering: Answering
    acknowledging: Acknowledging
    distribution: Distribution
    reconciling: Reconciling
    cosigning: Cosigning
    receipts: Receipts
    intake: Intake
    attaching: Attaching
    health: Health = field(default_factory=Health)
    _under_way: Counter[str] = field(default_factory=Counter)
    _patience: dict[str, Patience] = field(default_factory=dict)
    _logging: set[asyncio.Future[None]] = field(default_factory=set)

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return what a server registers."""
        cases: dict[str, UseCase] = {
            channels.QUERY: self.answering.answer,
            channels.ACKNOWLEDGE: self.acknowledging.receive,
            channels.RECONCILE: self.reconciling.answer,
            channels.DELIVER_MAIL: self.intake.receive,
            channels.SUBMIT_CHECKPOINT: self.cosigning.submitted,
            channels.GET_HEADS: self.cosigning.heads,
            channels.GET_CONSISTENCY: self.cosigning.consistency,
            channels.PUSH_SPLIT_VIEW: self.cosigning.split_view,
            channels.GET_INCLUSION: self.receipts.inclusion,
            channels.GET_ATTACHMENT: self.attaching.answer,
            channels.GET_DIRECTORY: self.distribution.directory,
            channels.PUSH_REVOCATIONS: self.distribution.revocations,
        }
        served = {path: self._served(case, is_withheld=path not in WHILE_FENCED) for path, case in cases.items()}
        # A health check tells nothing of anybody, so none has a line in the ledger, refused or not.
        served[CHECK] = self._served(self.health.check, is_logged=False, is_withheld=False)
        return tuple(_handler(path, guarded(serve, path)) for path, serve in served.items())

    def _served(
        self, case: UseCase, *, is_logged: bool = True, is_withheld: bool
    ) -> Callable[[object, Context], Awaitable[bytes]]:
        async def serve(_: object, context: Context) -> bytes:
            try:
                peer = self.standing.trust.identified(certificate_chain(context), self.clock())
            except IdentityError:
                metrics.UNIDENTIFIED.inc()
                raise
            data = b""
            patience = self._patience.setdefault(peer.country, Patience())
            self._under_way[peer.country] += 1
            try:
                self._admit(peer, patience)
                message = await context.read()
                if not isinstance(message, bytes):
                    raise TooLargeError("the message is larger than the contract allows, or the call broke off")
                data = message
                self.intake.hear(peer.country)
                if is_withheld:
                    self.standing.verify_not_fenced()
                answer = case(data, peer)
                if isinstance(answer, AsyncGenerator):
                    return await _streamed(answer, context)
                return await answer
            except LedgerError:
                raise  # it could not be logged, so neither could its refusal
            except EnlaceError as error:
                metrics.REJECTED.labels(peer.country, type(error).__name__).inc()
                if not is_logged:
                    raise
                if not patience.spend(time.monotonic()):
                    raise  # a peer must not be able to fill the disk; the next line says how many had none
                # gRPC cancels this task when the call has broken off already; the line is written all the same.
                logging = asyncio.ensure_future(self._log_rejected(peer, data, error, patience.reported()))
                self._logging.add(logging)
                logging.add_done_callback(self._logging.discard)
                await asyncio.shield(logging)
                raise
            finally:
                self._under_way[peer.country] -= 1

        return serve

    def _admit(self, peer: Peer, patience: Patience) -> None:
        self.standing.trust.verify_standing(peer, self.clock())
        if patience.is_over(time.monotonic()):
            raise OverloadedError(f"{peer.country} sends too much that is refused")
        if self._under_way[peer.country] > self.calls_per_peer:
            raise OverloadedError(f"{peer.country} has more than {self.calls_per_peer} calls under way")

    async def _log_rejected(self, peer: Peer, data: bytes, error: EnlaceError, unlogged: int) -> None:
        now_us = self.clock()
        exchange_id = secrets.token_bytes(16)
        shared = shared_of_event(
            LeafKind.LEAF_KIND_REJECTED,
            self.standing.signer,
            now_us,
            exchange_id=exchange_id,
            peer=peer.country,
            direction=Direction.DIRECTION_RECEIVED,
            body=data,
        )
        reason = type(error).__name__
        private = LeafPrivate(reason=f"{reason} AND {unlogged} WITHOUT A LINE" if unlogged else reason)
        await self.writer.append(line_of(shared, private, exchange_id=exchange_id, now_us=now_us))


async def _streamed(answer: AsyncGenerator[bytes, None], context: Context) -> bytes:
    """Send what is answered piece by piece, as fast as the peer takes it, unless that is too slow."""
    async with aclosing(answer):
        async for piece in answer:
            try:
                await asyncio.wait_for(context.write(piece), PIECE_S)
            except TimeoutError:
                raise OverloadedError("the peer takes a stream too slowly") from None
    return b""


def _handler(path: str, serve: Callable[[object, Context], Awaitable[bytes]]) -> grpc.GenericRpcHandler:
    _, service, name = path.split("/")
    made = grpc.stream_stream_rpc_method_handler if path in STREAMED else grpc.stream_unary_rpc_method_handler
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {name: made(serve)}
    return grpc.method_handlers_generic_handler(service, methods)


def certificate_chain(context: Context) -> bytes:
    """Return the caller's certificate chain as PEM, leaf first, as it came in the handshake.

    Raises:
        CertificateInvalidError: there is none, or the connection is not TLS 1.3.
    """
    facts = context.auth_context()
    if facts.get("ssl_tls_version") != TLS13:
        raise CertificateInvalidError("the connection is not TLS 1.3")
    leaf = facts.get("x509_pem_cert")
    if not leaf:
        raise CertificateInvalidError("the caller showed no certificate")
    # The second property holds what came besides the leaf, and is absent when nothing did.
    return b"".join((*leaf, *(facts.get("x509_pem_cert_chain") or ())))
