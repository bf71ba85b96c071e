"""Contents of attachments between countries: let out while the rules still let the entry leave, fetched and verified.

The request says which disclosed entry lists the digest. Whatever is wrong with it, the peer is told the same, so that
nobody learns by a digest whether such a picture is here.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

import grpc
import structlog
from google.protobuf.message import DecodeError
from sqlalchemy import Connection, select

from node.errors import (
    DecryptionError,
    KeyErasedError,
    MalformedError,
    NotFoundError,
    OverloadedError,
    PolicyError,
    UnansweredError,
)
from node.federation import channels
from node.federation.channels import Channels
from node.federation.freezing import Freezing
from node.federation.lines import line_of, shared_of_event
from node.federation.redeciding import Redeciding, levels_of, told_last, was_approved
from node.federation.standing import Standing
from node.identity.certificates import Peer
from node.policy.decide import ENTRY
from node.policy.narrowing import narrowed
from node.policy.redact import redact
from node.records.attached import find_listed
from node.records.attachment import LARGEST, SHA256_BYTES
from node.store.attachments import CHUNK, Attachments, Place, Stored, count_of, pieces
from node.store.database import Database
from node.store.entry_rows import EntryState
from node.store.ids import ID_BYTES
from node.store.lines import Line
from node.store.received import ReceivedEntries
from node.store.share_tables import recalls
from node.store.tables import entries as entries_table
from node.store.traces import Given
from node.store.writer import Priority, Writer
from node.wire.attachment_pb2 import AttachmentItem, GetAttachmentRequest, GetAttachmentResponse
from node.wire.exchange_pb2 import ReleasedEntry
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT, Direction, LeafKind, LeafPrivate
from node.wire.received_pb2 import ReceivedEntry
from node.workflow.recalls import State

if TYPE_CHECKING:
    from collections.abc import Iterator

log = structlog.get_logger()

PIECE: Final = 131_072
"""Bytes of one message between nodes."""
STREAMS_PER_PEER: Final = 2
STREAMS: Final = 6
PIECE_S: Final = 30.0
"""How long a peer may take for one piece, either way, before the call is ended."""
_NOT_SENT: Final = (State.PROPOSED, State.STANDS)


class _Allowed(NamedTuple):
    stored: Stored
    private: LeafPrivate


class _Asked(NamedTuple):
    """A request, of which lines tell."""

    request: GetAttachmentRequest
    data: bytes
    peer: str
    direction: Direction.ValueType  # in which contents go
    private: LeafPrivate  # who asks and why


@dataclass(slots=True)
class Attaching:
    """Lets contents out to peers, and fetches theirs."""

    standing: Standing
    channels: Channels
    database: Database
    writer: Writer
    kept: Attachments
    redeciding: Redeciding
    freezing: Freezing
    received: ReceivedEntries
    clock: Callable[[], int]
    _streams: Counter[str] = field(default_factory=Counter)
    _fetching: set[tuple[bytes, bytes]] = field(default_factory=set)

    # --- letting out -------------------------------------------------------------------------------------------------

    async def answer(self, data: bytes, peer: Peer) -> AsyncGenerator[bytes, None]:
        """Yield serialised GetAttachmentResponses to a serialised GetAttachmentRequest of an identified peer.

        Raises:
            MalformedError: the request is not of the contract.
            NotFoundError: nothing of this digest may leave; whatever the reason, it is the same.
            NotPairedError, OverloadedError, LedgerError, StoreError.
        """
        request = _parsed(data)
        self.standing.trust.verify_paired(peer.country)
        with self._stream(peer.country):
            await self.freezing.catch_up()  # what told the peer of the entry is found in what follows the ledger
            allowed = await self.database.read(self._allowed, request, peer.country)
            # No log, no disclosure: the line is durable before the first byte leaves.
            asked = _Asked(request, data, peer.country, DIRECTION_SENT, allowed.private)
            await self.writer.append(self._line(asked, f"SENT FROM {request.offset}"))
            at = request.offset
            while at < allowed.stored.item.size:
                allowed = await self.database.read(self._allowed, request, peer.country)
                chunk = await self.database.read(self._chunk, allowed.stored, at // CHUNK)
                for piece in pieces(chunk[at % CHUNK :], PIECE):
                    at += len(piece)
                    yield GetAttachmentResponse(data=piece).SerializeToString()

    @contextmanager
    def _stream(self, peer: str) -> "Iterator[None]":
        if self._streams[peer] >= STREAMS_PER_PEER or self._streams.total() >= STREAMS:
            raise OverloadedError("too many attachments are under way")
        self._streams[peer] += 1
        try:
            yield
        finally:
            self._streams[peer] -= 1

    def _allowed(self, connection: Connection, request: GetAttachmentRequest, peer: str) -> _Allowed:
        """Decide anew whether contents may leave to a peer.

        Raises:
            NotFoundError: they may not, or there are none.
        """
        now_us = self.clock()
        try:
            allowed = self._decided(connection, request, peer, now_us)
        except (PolicyError, NotFoundError, KeyErasedError, DecryptionError):
            allowed = None
        if allowed is None or request.offset > allowed.stored.item.size:
            raise NotFoundError("no entry that was disclosed to the peer lists this, or it may not leave any more")
        return allowed

    def _told(self, connection: Connection, request: GetAttachmentRequest, peer: str) -> Given | None:
        """Return the last line by which the peer learnt of the entry in the exchange, unless it was taken back."""
        releasing = self.redeciding.releasing
        entry_id = releasing.vault.resolve_handle(peer, request.handle)
        held = entries_table.c
        active = select(held.entry_id).where(held.entry_id == entry_id, held.state == EntryState.ACTIVE)
        if connection.execute(active).first() is None:
            return None
        given = told_last(connection, releasing, entry_id, peer=peer, exchange_id=request.exchange_id)
        if not given or given[-1].decided.outcome != ENTRY:
            return None
        told = given[-1]
        return None if _is_recalled(connection, peer, request.handle, told.logged_us) else told

    def _decided(
        self, connection: Connection, request: GetAttachmentRequest, peer: str, now_us: int
    ) -> _Allowed | None:
        told, releasing = self._told(connection, request, peer), self.redeciding.releasing
        if told is None:
            return None
        entry_id = told.decided.entry_id
        # What the peer was told then, and what it would be told now: both list it.
        then = releasing.entries.revision(connection, entry_id, told.decided.revision)
        again = self.redeciding.again(connection, told, now_us)
        if find_listed(then, request.sha256) is None or again.entry is None:
            return None
        decision = again.approved if was_approved(told) else again.decision
        decision = narrowed(decision, again.facts.kind, levels_of(told.decided))
        if decision.outcome != ENTRY:
            return None
        released = ReleasedEntry()
        pseudonym = partial(releasing.vault.pseudonym, peer)
        purpose = told.private.purpose
        redact(again.entry, decision, into=released, purpose=purpose, handle=request.handle, pseudonym=pseudonym)
        stored = self.kept.find(connection, entry_id, Place.OWN, request.sha256)
        if find_listed(released, request.sha256) is None or stored is None or not stored.is_whole:
            return None
        return _Allowed(stored, told.private)

    def _chunk(self, connection: Connection, stored: Stored, number: int) -> bytes:
        return self.kept.chunk(connection, stored, number)

    # --- fetching ----------------------------------------------------------------------------------------------------

    async def fetch(self, received_id: bytes, sha256: bytes, private: LeafPrivate) -> AsyncGenerator[Stored, None]:
        """Fetch what a received entry lists from who sent it, going on where it broke off; yield how far it is.

        Raises:
            NotFoundError: the entry is of no use any more, or does not list it.
            UnansweredError: the peer broke off: what came is kept.
            MalformedError: what came is not what the entry lists: it is deleted.
            OverloadedError: it is being fetched.
        """
        key = (received_id, sha256)
        if key in self._fetching:
            raise OverloadedError("this attachment is being fetched")
        self._fetching.add(key)
        try:
            copy, stored = await self._begun(received_id, sha256)
            yield stored
            if not stored.is_whole:
                async with aclosing(self._fetched(copy, stored, private)) as fetched:
                    async for more in fetched:
                        yield more
        finally:
            self._fetching.discard(key)

    async def _begun(self, received_id: bytes, sha256: bytes) -> tuple[ReceivedEntry, Stored]:
        attachment_id = await asyncio.to_thread(self.kept.new_key)

        def begin(connection: Connection) -> tuple[ReceivedEntry, Stored]:
            copy = self._copy(connection, received_id, sha256)
            found = self.kept.find(connection, received_id, Place.RECEIVED, sha256)
            if found is None:
                listed = find_listed(copy.entry, sha256)
                assert listed is not None
                if listed.size > LARGEST:
                    raise MalformedError("the attachment is larger than the contract allows")
                item = AttachmentItem(sha256=sha256, size=listed.size, media_type=listed.media_type)
                found = Stored(attachment_id, received_id, Place.RECEIVED, 0, item)
                self.kept.put(connection, found, self.clock())
            return copy, found

        return await asyncio.wrap_future(self.writer.submit(begin))

    def _copy(self, connection: Connection, received_id: bytes, sha256: bytes) -> ReceivedEntry:
        copy = self.received.in_use(connection, received_id, self.clock())
        if find_listed(copy.entry, sha256) is None:
            raise NotFoundError("the entry lists no attachment of this digest")
        return copy

    async def _fetched(self, copy: ReceivedEntry, stored: Stored, private: LeafPrivate) -> AsyncGenerator[Stored, None]:
        request = GetAttachmentRequest(
            exchange_id=copy.exchange_id, handle=copy.entry.handle, sha256=stored.item.sha256, offset=stored.stored
        )
        asked = _Asked(request, request.SerializeToString(), copy.peer, DIRECTION_RECEIVED, private)
        await self.writer.append(self._line(asked, f"ASKED FROM {request.offset}"))
        count, held = count_of(stored.item.size), bytearray()
        async for piece in self._pieces(asked):
            held += piece
            if stored.stored + len(held) > stored.item.size:
                await self._give_up(asked, stored)
            while len(held) >= CHUNK or (held and stored.stored + len(held) == stored.item.size):
                chunk, last = bytes(held[:CHUNK]), stored.chunks + 1 == count
                del held[:CHUNK]
                sealed = self.kept.seal(stored.attachment_id, stored.chunks, chunk, last=last)
                await self._add(copy, stored, sealed)
                stored = stored._replace(chunks=stored.chunks + 1)
                if not last:
                    yield stored
        if not stored.is_whole:
            raise UnansweredError("the peer broke off: fetch it again, and it goes on from here")
        if await asyncio.to_thread(self._digest, stored) != stored.item.sha256:
            await self._give_up(asked, stored)
        await self.writer.append(self._line(asked, "WHOLE"))
        yield stored

    async def _pieces(self, asked: _Asked) -> AsyncGenerator[bytes, None]:
        trust = self.standing.trust
        trust.verify_paired(asked.peer)
        self.standing.verify_not_fenced()
        stub: grpc.aio.UnaryStreamMultiCallable[bytes, bytes]
        stub = self.channels.channel(trust, asked.peer).unary_stream(channels.GET_ATTACHMENT)
        call = stub(asked.data)
        try:
            while True:
                message = await asyncio.wait_for(call.read(), PIECE_S)
                if not isinstance(message, bytes):
                    return
                yield GetAttachmentResponse.FromString(message).data
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED):
                raise NotFoundError("the originator does not let this leave any more") from None
            raise UnansweredError("the peer broke off: fetch it again, and it goes on from here") from None
        except (TimeoutError, DecodeError):
            raise UnansweredError("the peer is too slow, or sends what is not of the contract") from None
        finally:
            call.cancel()

    async def _add(self, copy: ReceivedEntry, stored: Stored, sealed: bytes) -> None:
        def add(connection: Connection) -> None:
            self._copy(connection, copy.received_id, stored.item.sha256)  # it may have been taken back meanwhile
            self.kept.add(connection, stored.attachment_id, stored.chunks, sealed)

        await asyncio.wrap_future(self.writer.submit(add))

    def _digest(self, stored: Stored) -> bytes:
        digest = hashlib.sha256()
        with self.database.reading() as connection:
            for number in range(stored.chunks):
                digest.update(self.kept.chunk(connection, stored, number))
        return digest.digest()

    async def _give_up(self, asked: _Asked, stored: Stored) -> NoReturn:
        log.error("attachment_differs", peer=asked.peer)
        forget = partial(self.kept.forget, attachment_ids=[stored.attachment_id], now_us=self.clock())
        await asyncio.wrap_future(self.writer.submit(forget, [self._line(asked, "WRONG DIGEST")]))
        raise MalformedError("what the peer sent is not what its entry lists: nothing of it was kept")

    # --- looking after -----------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Delete what belongs to nothing any more; to be called again and again."""
        ids = await self.database.read(self.kept.of_nothing, self.clock())
        if ids:
            forget = partial(self.kept.forget, attachment_ids=ids, now_us=self.clock())
            await asyncio.wrap_future(self.writer.submit(forget, (), Priority.BACKGROUND))
        while await asyncio.wrap_future(self.writer.submit(self.kept.sweep, (), Priority.BACKGROUND)):
            pass

    # --- lines -------------------------------------------------------------------------------------------------------

    def _line(self, asked: _Asked, reason: str) -> Line:
        """Make a line in the exchange that disclosed the entry.

        The request's digest is in the part that both sides share: it holds the handle, so nobody else can guess it.
        The picture's own digest is in the part that stays here and can be erased.
        """
        now_us, request, private = self.clock(), asked.request, asked.private
        shared = shared_of_event(
            LeafKind.LEAF_KIND_ATTACHMENT,
            self.standing.signer,
            now_us,
            exchange_id=request.exchange_id,
            peer=asked.peer,
            direction=asked.direction,
            body=asked.data,
        )
        told = LeafPrivate(
            officer=private.officer,
            unit=private.unit,
            unit_type=private.unit_type,
            purpose=private.purpose,
            instrument=private.instrument,
            case_reference=private.case_reference,
            subject=request.sha256,
            reason=reason,
        )
        return line_of(shared, told, exchange_id=request.exchange_id, now_us=now_us)


def _is_recalled(connection: Connection, peer: str, handle: bytes, told_us: int) -> bool:
    held = recalls.c
    this = (held.peer == peer, held.handle == handle, held.state.not_in(_NOT_SENT), held.at_us >= told_us)
    return connection.execute(select(held.handle).where(*this).limit(1)).first() is not None


def _parsed(data: bytes) -> GetAttachmentRequest:
    try:
        request = GetAttachmentRequest.FromString(data)
    except DecodeError:
        raise MalformedError("the request is not a message of the contract") from None
    sizes = (len(request.exchange_id), len(request.handle), len(request.sha256))
    if sizes != (ID_BYTES, ID_BYTES, SHA256_BYTES):
        raise MalformedError("the request names no attachment")
    return request
