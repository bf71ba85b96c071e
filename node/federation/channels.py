"""One channel per peer, rebuilt when the peer's record, its revocations or this node's certificate change."""

from dataclasses import dataclass

import grpc

from node.federation.tls import OwnIdentity, pem_bundle
from node.federation.trust import Trust

QUERY = "/enlace.v1.Exchange/Query"
ACKNOWLEDGE = "/enlace.v1.Exchange/Acknowledge"
RECONCILE = "/enlace.v1.Exchange/Reconcile"
DELIVER_MAIL = "/enlace.v1.Exchange/DeliverMail"
GET_ATTACHMENT = "/enlace.v1.Exchange/GetAttachment"
GET_DIRECTORY = "/enlace.v1.Exchange/GetDirectory"
PUSH_REVOCATIONS = "/enlace.v1.Exchange/PushRevocations"
SUBMIT_CHECKPOINT = "/enlace.v1.Exchange/SubmitCheckpoint"
GET_HEADS = "/enlace.v1.Exchange/GetHeads"
GET_CONSISTENCY = "/enlace.v1.Exchange/GetConsistency"
PUSH_SPLIT_VIEW = "/enlace.v1.Exchange/PushSplitView"
GET_INCLUSION = "/enlace.v1.Exchange/GetInclusion"

# Larger than any body of the contract; a peer can't make this node hold more.
MAX_MESSAGE_BYTES = 262_144

OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Without a pool of its own, a rebuilt channel would go on over the connection that it is to replace.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a channel was built from; when any of it differs, the channel is built anew."""

    endpoint: str
    server_name: str
    roots: bytes
    chain: bytes
    revoked: frozenset[int]


class Channels:
    """Open channels by country."""

    def __init__(self, own: OwnIdentity) -> None:
        """Take the identity that this node shows to its peers."""
        self.own = own
        self._open: dict[str, tuple[_Terms, grpc.aio.Channel]] = {}
        self._retired: list[grpc.aio.Channel] = []

    def channel(self, trust: Trust, country: str) -> grpc.aio.Channel:
        """Return the channel to a country's node.

        Raises:
            UnknownMemberError: the country is not in the directory.
        """
        record = trust.directory.member(country)
        place = record.nodes[0]
        terms = _Terms(
            endpoint=place.endpoint,
            server_name=place.server_name,
            roots=b"".join(record.ca_certificates),
            chain=self.own.chain,
            revoked=trust.revoked.get(country, frozenset()),
        )
        held = self._open.get(country)
        if held is not None and held[0] == terms:
            return held[1]
        if held is not None:
            self._retired.append(held[1])
        credentials = grpc.ssl_channel_credentials(pem_bundle(record.ca_certificates), self.own.key, self.own.chain)
        # The name in the certificate is the directory's, wherever the endpoint's address may lead.
        options = (*OPTIONS, ("grpc.ssl_target_name_override", terms.server_name))
        channel = grpc.aio.secure_channel(terms.endpoint, credentials, options=options)
        self._open[country] = (terms, channel)
        return channel

    async def call(self, trust: Trust, country: str, method: str, request: bytes, timeout_s: float) -> bytes:
        """Call a peer with serialised bytes and return those it answers with.

        Raises:
            UnknownMemberError, grpc.aio.AioRpcError.
        """
        stub: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel(trust, country).unary_unary(method)
        return await stub(request, timeout=timeout_s)

    def renew(self, country: str) -> None:
        """Build a peer's channel anew when it is next called: one that failed waits before it tries again."""
        held = self._open.pop(country, None)
        if held is not None:
            self._retired.append(held[1])

    async def close_retired(self) -> None:
        """Close channels that were replaced, once their calls have had time to end."""
        retired, self._retired = self._retired, []
        for channel in retired:
            await channel.close(grace=5)

    async def close(self) -> None:
        """Close all channels."""
        await self.close_retired()
        for _, channel in self._open.values():
            await channel.close()
        self._open.clear()
