"""Attachments at the desk: taken in, cleaned, listed, shown, and fetched from who disclosed the entry.

What an officer sends is kept sealed as it comes, so that it goes on where it broke off, and is deleted when its clean
copy is whole. The entry lists the copy from the same transaction on.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection

from node.desk.officers import private_of_officer
from node.desk.received import Receiving
from node.desk.recording import Recording
from node.errors import NotFoundError, RecordError, UsageError
from node.federation.attaching import Attaching
from node.policy.outbound import MAX_CASE_REFERENCE_BYTES
from node.records.attached import Listed, add_listed, listed_in
from node.records.attachment import LARGEST, SHA256_BYTES, cleaned
from node.records.validate import verify_attachments
from node.store.attachments import CHUNK, Attachments, Place, Stored
from node.store.officers import Officer
from node.store.writer import Priority
from node.wire import attachment_pb2 as wire
from node.wire.attachment_pb2 import AttachmentItem
from node.wire.codes_pb2 import Purpose
from node.wire.entry_pb2 import Entry
from node.wire.ledger_pb2 import LeafKind, LeafPrivate
from node.wire.received_pb2 import GetReceivedRequest

_KINDS: Final = frozenset({"person", "document"})


@dataclass(slots=True)
class AttachmentDesk:
    """Serves officers with attachments."""

    recording: Recording
    receiving: Receiving
    attaching: Attaching
    clock: Callable[[], int]

    @property
    def _kept(self) -> Attachments:
        return self.attaching.kept

    # --- taking in ---------------------------------------------------------------------------------------------------

    async def begin(self, request: wire.BeginAttachmentRequest) -> wire.BeginAttachmentResponse:
        """Return from where on a file is to be sent: one that broke off is known again by its digest.

        Raises:
            NotFoundError: there is no such entry.
            RecordError: it is of a kind that has no attachments, or the file is too large.
        """
        if len(request.file_sha256) != SHA256_BYTES or not 0 < request.size <= LARGEST:
            raise RecordError(f"attachment: a file of up to {LARGEST} bytes is known by its SHA-256")
        entry = await self.recording.database.read(self.recording.entries.get, request.entry_id)
        if entry.WhichOneof("entity") not in _KINDS:
            raise RecordError("entry: pictures are attached to a person or a document")
        attachment_id = await asyncio.to_thread(self._kept.new_key)

        def change(connection: Connection) -> Stored:
            found = self._kept.find(connection, entry.entry_id, Place.UPLOAD, request.file_sha256)
            if found is not None and found.item.size == request.size:
                return found
            item = AttachmentItem(sha256=request.file_sha256, size=request.size)
            new = Stored(attachment_id, entry.entry_id, Place.UPLOAD, 0, item)
            self._kept.put(connection, new, self.clock())
            return new

        upload = await asyncio.wrap_future(self.recording.writer.submit(change))
        return wire.BeginAttachmentResponse(upload_id=upload.attachment_id, offset=upload.stored)

    async def put(
        self, requests: AsyncIterator[wire.PutAttachmentRequest], officer: Officer
    ) -> wire.PutAttachmentResponse:
        """Take in what is left of a file; once it is whole, clean it and list it in its entry.

        Raises:
            NotFoundError: there is no such upload.
            UsageError: it does not go on where it broke off, or is not the file that was announced.
            RecordError: it can't be cleaned: nothing of it is kept.
        """
        upload, held = None, bytearray()
        async for request in requests:
            if upload is None:
                upload = await self.recording.database.read(self._kept.get, request.upload_id)
                if upload.place != Place.UPLOAD or request.offset != upload.stored:
                    raise UsageError("offset: the file goes on where BeginAttachment says")
            held += request.data
            if upload.stored + len(held) > upload.item.size:
                raise UsageError("data: is more than was announced")
            while len(held) >= CHUNK or (held and upload.stored + len(held) == upload.item.size):
                upload = await self._add(upload, bytes(held[:CHUNK]))
                del held[:CHUNK]
        if upload is None or not upload.is_whole:
            raise UsageError("the file broke off: begin again, and it goes on from there")
        return await self._attach(upload, officer)

    async def _add(self, upload: Stored, chunk: bytes) -> Stored:
        last = upload.stored + len(chunk) == upload.item.size
        sealed = self._kept.seal(upload.attachment_id, upload.chunks, chunk, last=last)
        add = partial(self._kept.add, attachment_id=upload.attachment_id, number=upload.chunks, sealed=sealed)
        await asyncio.wrap_future(self.recording.writer.submit(add, (), Priority.BACKGROUND))
        return upload._replace(chunks=upload.chunks + 1)

    async def _attach(self, upload: Stored, officer: Officer) -> wire.PutAttachmentResponse:
        clean_id = await asyncio.to_thread(self._kept.new_key)
        clean = Stored(clean_id, upload.owner, Place.CLEANING, 0, AttachmentItem())
        try:
            item = await asyncio.to_thread(self._clean, upload, clean)
            return await self._list(upload, clean, item, officer)
        except (RecordError, UsageError):
            await self._forget([upload.attachment_id, clean_id])
            raise
        finally:
            await self.attaching.look()

    def _clean(self, upload: Stored, clean: Stored) -> AttachmentItem:
        """Write the clean copy, chunk by chunk; on a thread of its own."""
        writer, digest, size, number = self.recording.writer, hashlib.sha256(), 0, 0
        writer.submit(partial(self._kept.put, new=clean, now_us=self.clock())).result()

        def write(chunk: bytes, *, last: bool) -> None:
            sealed = self._kept.seal(clean.attachment_id, number, chunk, last=last)
            add = partial(self._kept.add, attachment_id=clean.attachment_id, number=number, sealed=sealed)
            writer.submit(add, (), Priority.BACKGROUND).result()

        contents = self._contents(upload)
        kind, made = cleaned(lambda _: next(contents, b""))
        held = bytearray()
        for piece in made:
            digest.update(piece)
            size, held = size + len(piece), held + piece
            while len(held) > CHUNK:  # the last one is sealed as such
                write(bytes(held[:CHUNK]), last=False)
                del held[:CHUNK]
                number += 1
        write(bytes(held), last=True)
        return AttachmentItem(sha256=digest.digest(), size=size, media_type=kind)

    async def _list(
        self, upload: Stored, clean: Stored, item: AttachmentItem, officer: Officer
    ) -> wire.PutAttachmentResponse:
        recording, now_us = self.recording, self.clock()
        old = await recording.database.read(recording.entries.get, upload.owner)
        case = await recording.database.read(recording.cases.get, old.case_id)
        lines = [
            recording.line(LeafKind.LEAF_KIND_RECORD, officer, old.entry_id, "ENTRY", case.reference),
            recording.line(LeafKind.LEAF_KIND_ATTACHMENT, officer, item.sha256, "ATTACHED", case.reference),
        ]
        await recording.freezing.catch_up()

        def change(connection: Connection) -> wire.PutAttachmentResponse:
            held = recording.entries.get(connection, upload.owner)
            new = Entry()
            new.CopyFrom(held)
            add_listed(new, item)
            verify_attachments(new)
            there = self._kept.find(connection, upload.owner, Place.OWN, item.sha256)
            gone = [upload.attachment_id, *([clean.attachment_id] if there else [])]
            if there is None:
                self._kept.finish(connection, clean, item)
            self._kept.forget(connection, gone, now_us)
            put = recording.changes.put(connection, new, officer=officer.name, reason="", now_us=now_us)
            item.state, item.stored = wire.ATTACHMENT_STATE_WHOLE, item.size
            return wire.PutAttachmentResponse(item=item, revision=put.entry.revision)

        return await asyncio.wrap_future(recording.writer.submit(change, lines))

    async def _forget(self, attachment_ids: list[bytes]) -> None:
        forget = partial(self._kept.forget, attachment_ids=attachment_ids, now_us=self.clock())
        await asyncio.wrap_future(self.recording.writer.submit(forget))

    # --- showing -----------------------------------------------------------------------------------------------------

    async def list_attachments(self, request: wire.ListAttachmentsRequest, officer: Officer) -> list[AttachmentItem]:
        """Return what an own or a received entry lists, and how much of each is here.

        Raises:
            NotFoundError, UsageError: there is no such entry in use, or its terms don't allow this use.
        """
        listed, place = await self._listed(request.entry_id, request.received_id, request.purpose, "", officer)
        owner = request.entry_id or request.received_id
        here = await self.recording.database.read(self._kept.of_owner, owner, place)
        return [_item(each, here) for each in listed]

    async def contents(self, request: wire.GetContentsRequest, officer: Officer) -> AsyncIterator[bytes]:
        """Yield the contents of what an entry lists, once the look is logged.

        Raises:
            NotFoundError, UsageError: as `list_attachments`; or it is not here, or not whole.
        """
        listed, place = await self._listed(
            request.entry_id, request.received_id, request.purpose, request.case_reference, officer
        )
        owner = request.entry_id or request.received_id
        stored = await self.recording.database.read(self._kept.find, owner, place, request.sha256)
        if all(each.sha256 != request.sha256 for each in listed) or stored is None or not stored.is_whole:
            raise NotFoundError("the entry lists no such attachment, or it is not here: fetch it")
        line = self.recording.line(LeafKind.LEAF_KIND_READ, officer, request.sha256, "ATTACHMENT")
        await self.recording.writer.append(line)
        for number in range(stored.chunks):
            yield await self.recording.database.read(self._kept.chunk, stored, number)

    async def fetch(
        self, request: wire.FetchAttachmentRequest, officer: Officer
    ) -> AsyncIterator[wire.FetchAttachmentResponse]:
        """Fetch what a received entry lists, and yield how far it is.

        Raises:
            NotFoundError, UsageError: as `list_attachments`.
            EnlaceError: see `Attaching.fetch`.
        """
        await self._listed(b"", request.received_id, request.purpose, request.case_reference, officer)
        private = _private(officer, request)
        async with aclosing(self.attaching.fetch(request.received_id, request.sha256, private)) as fetching:
            async for stored in fetching:
                yield wire.FetchAttachmentResponse(stored=stored.stored, size=stored.item.size)

    async def _listed(
        self, entry_id: bytes, received_id: bytes, purpose: int, case_reference: str, officer: Officer
    ) -> tuple[list[Listed], Place]:
        """Read the entry as any reader of it does, with the line that this takes."""
        if bool(entry_id) == bool(received_id):
            raise UsageError("entry: say which own or which received entry")
        if entry_id:
            return listed_in(await self.recording.get_entry(entry_id, officer)), Place.OWN
        get = GetReceivedRequest(received_id=received_id, case_reference=case_reference)
        get.purpose = Purpose.ValueType(purpose)
        shown = await self.receiving.get(get, officer)
        return listed_in(shown.received.entry), Place.RECEIVED

    def _contents(self, stored: Stored) -> Iterator[bytes]:
        """Yield an upload, which is as it was announced or refused; on a thread of its own."""
        digest = hashlib.sha256()
        for number in range(stored.chunks):
            with self.recording.database.reading() as connection:
                chunk = self._kept.chunk(connection, stored, number)
            digest.update(chunk)
            if number + 1 == stored.chunks and digest.digest() != stored.item.sha256:
                raise UsageError("file_sha256: is not the digest of what came: begin again")
            yield chunk


def _item(listed: Listed, here: list[Stored]) -> AttachmentItem:
    item = AttachmentItem(sha256=listed.sha256, size=listed.size, media_type=listed.media_type)
    item.state = wire.ATTACHMENT_STATE_ABSENT
    for stored in here:
        if stored.item.sha256 == listed.sha256:
            item.stored = max(item.stored, stored.stored)
            item.state = wire.ATTACHMENT_STATE_WHOLE if item.stored == item.size else wire.ATTACHMENT_STATE_PARTIAL
    return item


def _private(officer: Officer, request: wire.FetchAttachmentRequest) -> LeafPrivate:
    private = private_of_officer(officer, subject=request.sha256, reason="")
    private.purpose = request.purpose
    private.case_reference = request.case_reference[:MAX_CASE_REFERENCE_BYTES]
    return private
