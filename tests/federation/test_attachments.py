"""Pictures between two real nodes: attached, disclosed, fetched, broken off, altered, taken back."""

import hashlib
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio
from sqlalchemy import URL, Connection, delete, func, select, update

from node.cli.parts import Parts
from node.cli.serving import running
from node.records.attachment import cleaned
from node.store import withdrawals
from node.store.attachment_tables import attachment_chunks, attachments
from node.store.attachments import CHUNK
from node.wire import attachment_pb2 as wire
from node.wire import desk_pb2, received_pb2
from node.wire.codes_pb2 import CRIME_TRAFFICKING, PURPOSE_INVESTIGATE
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.entry_pb2 import Case, Person, PersonName
from node.wire.exchange_pb2 import ReleasedEntry
from node.wire.ledger_pb2 import LeafKind
from tests.conftest import postgres_database
from tests.federation.support import Book, altered, case_record, private_of, telephone
from tests.peer_simulator import channel_to, telephone_query
from tests.unit.records.test_attachment import JPEG, SECRET, SOI, read_of, segment
from tests.world import RULEBOOKS, World

if TYPE_CHECKING:
    from node.wire.correspondence_pb2_grpc import CorrespondenceAsyncStub
    from node.wire.desk_pb2_grpc import DeskAsyncStub

GET = "/enlace.v1.Exchange/GetAttachment"
NUMBER = "+12025550161"
RULES = (
    (RULEBOOKS / "mx.yaml")
    .read_bytes()
    .replace(b"    NATIONALITY: release\n", b"    NATIONALITY: release\n    PHOTO: release\n", 1)
)
SIZE = 3 * CHUNK + 12_345
CASE = Case(reference="CASE-1", title="Invented", crimes=[CRIME_TRAFFICKING])


def picture(size: int = SIZE) -> bytes:
    """A JPEG of so many bytes or some more, with metadata."""
    head, tail = JPEG[:-2], JPEG[-2:]
    pixels = secrets.token_bytes(size).replace(b"\xff", b"\xff\x00")
    return SOI + segment(0xE1, b"Exif\0\0" + SECRET) + head[2:] + pixels + tail


def clean(data: bytes) -> bytes:
    return b"".join(cleaned(read_of(data))[1])


@dataclass
class Pair:
    world: World
    gt: Parts
    mx: Parts
    entry_id: bytes
    stubs: dict[str, "CorrespondenceAsyncStub"]
    desks: dict[str, "DeskAsyncStub"]

    async def attach(self, data: bytes, *, stop_at: int = 0, entry_id: bytes = b"") -> wire.PutAttachmentResponse:
        stub = self.stubs["MX"]
        digest = hashlib.sha256(data).digest()
        begin = wire.BeginAttachmentRequest(entry_id=entry_id or self.entry_id, file_sha256=digest, size=len(data))
        begun = await stub.BeginAttachment(begin)
        return await stub.PutAttachment(messages(begun, data[: stop_at or None]))

    async def disclosed(self) -> tuple[bytes, bytes, ReleasedEntry]:
        """Ask, keep what came with a case, and return its id here, its exchange and the entry."""
        case = (await self.desks["GT"].PutCase(desk_pb2.PutCaseRequest(case=CASE))).case
        request = desk_pb2.SearchRequest(query=telephone_query(NUMBER), peers=["MX"])
        (found,) = [each async for each in self.desks["GT"].Search(request)]
        (hit,) = found.answer.hits
        keep = received_pb2.KeepReceivedRequest(
            exchange_id=found.exchange_id, handle=hit.entry.handle, case_id=case.case_id
        )
        kept = await self.stubs["GT"].KeepReceived(keep)
        return kept.received.received.received_id, found.exchange_id, hit.entry

    def fetch(self, received_id: bytes, sha256: bytes) -> Any:  # noqa: ANN401 - a call, as grpc types it only without async
        request = wire.FetchAttachmentRequest(
            received_id=received_id, sha256=sha256, purpose=PURPOSE_INVESTIGATE, case_reference="CASE-1"
        )
        return self.stubs["GT"].FetchAttachment(request)

    async def contents(self, code: str, sha256: bytes, **owner: bytes) -> bytes:
        request = wire.GetContentsRequest(sha256=sha256, purpose=PURPOSE_INVESTIGATE, case_reference="CASE-1", **owner)
        call = self.stubs[code].GetContents(request)
        return b"".join([each.data async for each in call])

    def lines(self, code: str) -> list[tuple[str, bytes, bytes, bytes]]:
        kind = LeafKind.LEAF_KIND_ATTACHMENT
        found = [line for line in Book(self.world[code], self.world).lines() if line.shared.kind == kind]
        return [
            (private_of(line).reason, private_of(line).subject, line.shared.exchange_id, line.shared.body_sha256)
            for line in found
        ]


def messages(begun: wire.BeginAttachmentResponse, data: bytes) -> Iterator[wire.PutAttachmentRequest]:
    yield wire.PutAttachmentRequest(upload_id=begun.upload_id, offset=begun.offset)
    for at in range(begun.offset, len(data), 700_000):
        yield wire.PutAttachmentRequest(data=data[at : at + 700_000])


@pytest_asyncio.fixture
async def pair(tmp_path_factory: pytest.TempPathFactory, postgres_server: URL) -> AsyncIterator[Pair]:
    """GT has SQLite, MX has PostgreSQL."""
    with postgres_database(postgres_server) as url:
        async with _running(tmp_path_factory.mktemp("pictures"), url) as made:
            yield made


@asynccontextmanager
async def _running(folder: Path, url: str) -> AsyncIterator[Pair]:
    rules = {"MX": {"release": RULES}}
    world = World.make(folder, ("GT", "MX"), rulebooks=rules, databases={"MX": url})
    entry = telephone()
    entry.person.CopyFrom(Person(names=[PersonName(full="Invented Holder")], telephones=[NUMBER]))
    world["MX"].write((case_record(), [entry]))
    async with AsyncExitStack() as stack:
        gt = await stack.enter_async_context(running(world["GT"].config))
        mx = await stack.enter_async_context(running(world["MX"].config))
        channels = {code: await stack.enter_async_context(world[code].desk_channel()) for code in ("GT", "MX")}
        stubs = {code: CorrespondenceStub(channel) for code, channel in channels.items()}
        desks = {code: DeskStub(channel) for code, channel in channels.items()}
        (listed,) = (await desks["MX"].ListCases(desk_pb2.ListCasesRequest(limit=10))).cases
        case = await desks["MX"].GetCase(desk_pb2.GetCaseRequest(case_id=listed.case_id))
        yield Pair(world, gt, mx, case.entries[0].entry_id, stubs, desks)


async def test_a_picture_goes_from_file_to_peer_without_its_metadata(pair: Pair) -> None:
    file = picture()
    put = await pair.attach(file)
    wanted = clean(file)
    assert SECRET not in wanted
    assert put.item.sha256 == hashlib.sha256(wanted).digest()
    assert await pair.contents("MX", put.item.sha256, entry_id=pair.entry_id) == wanted
    received_id, exchange_id, entry = await pair.disclosed()
    (photo,) = entry.person.photos
    assert (photo.sha256, photo.size) == (put.item.sha256, len(wanted))
    fetched = [each.stored async for each in pair.fetch(received_id, photo.sha256)]
    assert fetched == [0, CHUNK, 2 * CHUNK, 3 * CHUNK, len(wanted)]
    assert await pair.contents("GT", photo.sha256, received_id=received_id) == wanted
    here, there = pair.lines("GT"), pair.lines("MX")
    assert [each[0] for each in here] == ["ASKED FROM 0", "WHOLE"]
    assert [each[0] for each in there] == ["ATTACHED", "SENT FROM 0"]
    assert {each[1] for each in here + there} == {photo.sha256}
    assert here[0][2:] == there[1][2:]
    assert here[0][2] == exchange_id
    with pair.mx.database.reading() as connection:  # the file as it came is gone, and so are its chunks
        assert connection.execute(select(func.count()).select_from(attachments)).scalar_one() == 1
        assert connection.execute(select(func.count()).select_from(attachment_chunks)).scalar_one() == 4


async def test_what_broke_off_goes_on_where_it_was(pair: Pair) -> None:
    file = picture()
    with pytest.raises(grpc.aio.AioRpcError, match="broke off"):
        await pair.attach(file, stop_at=2 * CHUNK + 5)
    put = await pair.attach(file)
    received_id, _, _ = await pair.disclosed()
    call = pair.fetch(received_id, put.item.sha256)
    async for each in call:
        if each.stored >= CHUNK:
            call.cancel()
            break
    listing = wire.ListAttachmentsRequest(received_id=received_id, purpose=PURPOSE_INVESTIGATE)
    (item,) = (await pair.stubs["GT"].ListAttachments(listing)).items
    assert item.state == wire.ATTACHMENT_STATE_PARTIAL
    with pytest.raises(grpc.aio.AioRpcError):
        await pair.contents("GT", put.item.sha256, received_id=received_id)
    stored = [each.stored async for each in pair.fetch(received_id, put.item.sha256)]
    assert stored[0] >= CHUNK
    assert await pair.contents("GT", put.item.sha256, received_id=received_id) == clean(file)
    asked = [each[0] for each in pair.lines("GT") if each[0].startswith("ASKED")]
    assert asked[0] == "ASKED FROM 0"
    assert int(asked[-1].split()[-1]) >= CHUNK


async def test_what_is_not_what_the_entry_lists_is_deleted(pair: Pair) -> None:
    put = await pair.attach(picture())
    received_id, _, _ = await pair.disclosed()
    kept = pair.mx.correspondence.attaching.kept
    with pair.mx.database.reading() as connection:
        attachment_id = connection.execute(select(attachments.c.attachment_id)).scalar_one()
    sealed = kept.seal(attachment_id, 1, bytes(CHUNK), last=False)
    this = (attachment_chunks.c.attachment_id == attachment_id, attachment_chunks.c.number == 1)
    pair.mx.writer.submit(lambda c: c.execute(update(attachment_chunks).where(*this).values(sealed=sealed))).result()
    with pytest.raises(grpc.aio.AioRpcError, match="not what its entry lists"):
        [each async for each in pair.fetch(received_id, put.item.sha256)]
    assert pair.lines("GT")[-1][0] == "WRONG DIGEST"
    with pair.gt.database.reading() as connection:
        assert connection.execute(select(attachments)).first() is None


async def test_chunks_that_are_swapped_or_cut_off_do_not_open(pair: Pair) -> None:
    put = await pair.attach(picture())
    number = attachment_chunks.c.number

    def swap(connection: Connection) -> None:
        for was, becomes in ((0, 9), (1, 0), (9, 1)):
            connection.execute(update(attachment_chunks).where(number == was).values(number=becomes))

    pair.mx.writer.submit(swap).result()
    with pytest.raises(grpc.aio.AioRpcError):
        await pair.contents("MX", put.item.sha256, entry_id=pair.entry_id)
    pair.mx.writer.submit(lambda c: c.execute(delete(attachment_chunks).where(number == 3))).result()
    with pytest.raises(grpc.aio.AioRpcError):
        await pair.contents("MX", put.item.sha256, entry_id=pair.entry_id)


async def test_a_recall_ends_a_fetch_and_deletes_what_came(pair: Pair) -> None:
    put = await pair.attach(picture())
    received_id, exchange_id, entry = await pair.disclosed()
    parts, call = pair.gt.correspondence, pair.fetch(received_id, put.item.sha256)
    now = parts.mailroom.clock()
    assert (await anext(aiter(call))).stored == 0

    def withdraw(connection: Connection) -> withdrawals.Deletion:
        return parts.purging.received.withdraw(
            connection,
            peer="MX",
            exchange_id=exchange_id,
            handle=entry.handle,
            recalled_us=now,
            now_us=now,
        )

    deletion = pair.gt.writer.submit(withdraw).result()
    with pytest.raises(grpc.aio.AioRpcError):
        [each async for each in call]
    await parts.purging.look()
    await parts.attaching.look()
    with pair.gt.database.reading() as connection:
        assert connection.execute(select(attachments)).first() is None
        assert connection.execute(select(attachment_chunks)).first() is None
        assert "ATTACHMENT" in withdrawals.get(connection, deletion.deletion_id, now).places


async def test_whoever_may_not_have_it_is_told_the_same_as_where_there_is_none(pair: Pair) -> None:
    put = await pair.attach(picture(1_000))
    _, exchange_id, entry = await pair.disclosed()
    later = await pair.attach(picture(1_000))  # the entry that was disclosed did not list it
    good = wire.GetAttachmentRequest(exchange_id=exchange_id, handle=entry.handle, sha256=put.item.sha256)
    async with channel_to(pair.world["MX"], pair.world["GT"].node) as channel:
        assert b"".join(await asked(channel, good)) == await pair.contents(
            "MX", put.item.sha256, entry_id=pair.entry_id
        )
        refused = [
            altered(good, sha256=secrets.token_bytes(32)),
            altered(good, sha256=later.item.sha256),
            altered(good, handle=secrets.token_bytes(16)),
            altered(good, exchange_id=secrets.token_bytes(16)),
            altered(good, offset=1 << 40),
        ]
        told = {await refusal(channel, each) for each in refused}
        entries = pair.mx.freezing.entries
        pair.mx.writer.submit(lambda connection: entries.recall(connection, pair.entry_id)).result()
        told.add(await refusal(channel, good))
        assert told == {(grpc.StatusCode.NOT_FOUND, "not found")}
        assert (await refusal(channel, wire.GetAttachmentRequest()))[0] == grpc.StatusCode.INVALID_ARGUMENT


async def asked(channel: grpc.aio.Channel, request: wire.GetAttachmentRequest) -> Iterable[bytes]:
    stub: Any = channel.unary_stream(GET)
    call = stub(request.SerializeToString())
    return [wire.GetAttachmentResponse.FromString(each).data async for each in call]


async def refusal(channel: grpc.aio.Channel, request: wire.GetAttachmentRequest) -> tuple[grpc.StatusCode, str | None]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asked(channel, request)
    return caught.value.code(), caught.value.details()


async def test_what_can_not_be_cleaned_is_refused_and_not_kept(pair: Pair) -> None:
    for wrong, why in ((b"%PDF-1.7 " + SECRET, "pages as JPEG"), (picture(5_000)[:-2], "cut off")):
        with pytest.raises(grpc.aio.AioRpcError, match=why):
            await pair.attach(wrong)
    with pair.mx.database.reading() as connection:
        assert connection.execute(select(attachments)).first() is None
        assert connection.execute(select(attachment_chunks)).first() is None
