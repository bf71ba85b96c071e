"""What was asked of whom and what stands out, as auditors see it; and samples that nobody can choose."""

import secrets
from collections.abc import AsyncIterator
from hashlib import sha256

import pytest
import pytest_asyncio

from node.ledger.usage import MANY_LEAST, draw
from node.wire.audit_pb2 import (
    UNUSUAL_KIND_ONE_BY_MANY,
    UNUSUAL_KIND_WITHOUT_CASE,
    CommitSampleRequest,
    GetSampleRequest,
    LedgerStatsRequest,
    LedgerStatsResponse,
    PeerUse,
    RevealSampleRequest,
)
from node.wire.codes_pb2 import HANDLING_CODE_H3, PURPOSE_INVESTIGATE, UnitType
from node.wire.desk_pb2 import EnrolOfficerRequest, OfficerRole
from tests.desk.support import Desks, Status, asserted, desks_of, lines_since, refused, search
from tests.federation.support import NOBODYS, SEEN, altered, case_record, private_of, telephone
from tests.peer_simulator import telephone_query
from tests.world import DAY_US, World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELD = "+12025550146"
OTHERS = ("officer-2", "officer-3")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """MX has a telephone that is released and one that is held; US is a member whose node does not run."""
    world = World.make(tmp_path_factory.mktemp("statistics"), ("GT", "MX", "US"))
    held = asserted(altered(telephone(HELD), handling=HANDLING_CODE_H3))
    world["MX"].write((case_record(), [asserted(telephone(SEEN)), held]))
    return world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desks(world: World) -> AsyncIterator[Desks]:
    async with desks_of(world, "MX", "GT") as opened:
        yield opened


async def stats(desks: Desks, code: str = "GT", officer: str = "auditor", **fields: object) -> LedgerStatsResponse:
    whole = LedgerStatsResponse()
    async for response in (await desks(code, officer)).LedgerStats(LedgerStatsRequest(**fields)):  # type: ignore[arg-type]
        whole.MergeFrom(response)
    return whole


async def enrolled(desks: Desks, name: str) -> None:
    await (await desks("GT", "administrator")).EnrolOfficer(
        EnrolOfficerRequest(
            officer=name,
            unit="UNIT-1",
            unit_type=UnitType.UNIT_TYPE_POLICE_INTELLIGENCE,
            roles=[OfficerRole.OFFICER_ROLE_UNIT],
        )
    )


def of(whole: LedgerStatsResponse, peer: str) -> PeerUse:
    (found,) = [each for each in whole.peers if each.peer == peer]
    return found


# --- counts ----------------------------------------------------------------------------------------------------------


async def test_both_sides_count_what_was_asked_and_how_it_ended(desks: Desks) -> None:
    gt, since = await desks("GT"), now_us()
    await search(gt, telephone_query(SEEN), "MX", "US")
    await search(gt, telephone_query(HELD), "MX")
    await search(gt, telephone_query(NOBODYS), "MX")
    whole = await stats(desks, since_us=since)
    mx, us = of(whole, "MX"), of(whole, "US")
    assert (mx.asked, mx.answered, mx.refused, mx.held, mx.late, mx.unanswered) == (3, 3, 0, 1, 0, 0)
    assert (us.asked, us.answered, us.unanswered) == (1, 0, 1)
    (row,) = whole.officers
    assert (row.unit, row.purpose, row.searches, row.asked, row.denied) == ("UNIT-1", PURPOSE_INVESTIGATE, 3, 4, 0)
    assert (whole.lines, whole.unreadable, whole.untold) == (8, 0, 0)
    there = of(await stats(desks, "MX", since_us=since), "GT")
    assert (there.answered_here, there.denied_here, there.held_here, there.rejected_here) == (3, 0, 1, 0)


async def test_what_own_rules_or_the_role_forbid_is_denied(desks: Desks) -> None:
    since = now_us()
    await refused(stats(desks, officer="analyst"), Status.PERMISSION_DENIED)
    await search(await desks("GT"), telephone_query(SEEN, instrument="NOTHING"), "MX")
    whole = await stats(desks, since_us=since)
    assert of(whole, "MX").denied + of(whole, "MX").refused == 1
    assert sum(row.denied for row in whole.officers) == 1 + of(whole, "MX").denied


async def test_a_period_is_half_open_and_must_be_one(desks: Desks) -> None:
    await search(await desks("GT"), telephone_query(SEEN), "MX")
    end = now_us()
    assert not (await stats(desks, since_us=end, until_us=end + DAY_US)).peers
    whole = await stats(desks, until_us=end)
    assert (whole.until_us - whole.since_us, whole.until_us) == (30 * DAY_US, end)
    await refused(stats(desks, since_us=end, until_us=end), Status.INVALID_ARGUMENT)
    await refused(stats(desks, utc_offset_minutes=24 * 60), Status.INVALID_ARGUMENT)


# --- what stands out -------------------------------------------------------------------------------------------------


async def test_one_thing_searched_by_many_comes_up_whatever_it_was_typed_as(desks: Desks) -> None:
    since = now_us()
    await search(await desks("GT"), telephone_query("+1 202 555 0143", case_reference="C-1"), "MX")
    for name in OTHERS:
        await enrolled(desks, name)
        await search(await desks("GT", name), telephone_query(SEEN, case_reference="C-1"), "MX")
    assert len(OTHERS) + 1 == MANY_LEAST
    whole = await stats(desks, since_us=since, unmask="complaint 7")
    (found,) = [each for each in whole.unusual if each.kind == UNUSUAL_KIND_ONE_BY_MANY]
    assert (list(found.officers), found.searches, found.score) == (["analyst", *OTHERS], 3, 100)
    assert len(found.lines) == 3
    assert list(whole.units_without_past) == ["UNIT-1"]
    assert SEEN.encode() not in whole.SerializeToString()


async def test_searches_without_a_case_come_up(desks: Desks) -> None:
    since = now_us()
    for number in (SEEN, HELD, NOBODYS):
        await search(await desks("GT"), altered(telephone_query(number), case_reference=""), "MX")
    whole = await stats(desks, since_us=since)
    (found,) = [each for each in whole.unusual if each.kind == UNUSUAL_KIND_WITHOUT_CASE]
    (row,) = whole.officers
    assert (found.searches, found.score, row.without_case) == (3, 100, 3)
    assert list(found.officers) == [row.officer]  # masked alike in one reading
    assert row.officer.startswith("masked-")


async def test_the_look_is_a_line(desks: Desks) -> None:
    book = desks.book("GT")
    before = book.size
    await stats(desks)
    await stats(desks, unmask="complaint 7")
    assert lines_since(book, before) == [("READ", "", "STATS"), ("READ", "", "STATS UNMASK complaint 7")]
    assert private_of(book.lines(before)[0]).officer == "auditor"


# --- samples ---------------------------------------------------------------------------------------------------------


async def test_a_seed_is_bound_then_revealed_and_anybody_draws_the_same(desks: Desks) -> None:
    auditor, book, seed = await desks("GT", "auditor"), desks.book("GT"), secrets.token_bytes(32)
    before = book.size
    bound = await auditor.CommitSample(CommitSampleRequest(lines=5, seed_sha256=sha256(seed).digest()))
    assert bound.index == before
    sample = (await auditor.RevealSample(RevealSampleRequest(index=bound.index, seed=seed))).sample
    assert lines_since(book, before) == [
        ("READ", "", "SAMPLE COMMIT 5"),
        ("READ", "", f"SAMPLE REVEAL {before}"),
    ]
    assert [private_of(line).subject for line in book.lines(before)] == [sha256(seed).digest(), seed]
    assert (sample.seed, sample.lines, sample.index, sample.revealed) == (seed, 5, before, before + 1)
    assert sample.leaf_hash == book.lines(before)[0].leaf_hash
    assert len(draw(sample.seed, sample.leaf_hash, sample.index, sample.lines)) == 5
    assert (await auditor.GetSample(GetSampleRequest(revealed=before + 1))).sample == sample


async def test_another_seed_or_another_auditors_is_refused(desks: Desks) -> None:
    auditor, seed = await desks("GT", "auditor"), secrets.token_bytes(32)
    bound = await auditor.CommitSample(CommitSampleRequest(lines=5, seed_sha256=sha256(seed).digest()))
    for other in (secrets.token_bytes(32), b""):
        await refused(auditor.RevealSample(RevealSampleRequest(index=bound.index, seed=other)), Status.INVALID_ARGUMENT)
    for index in (0, bound.index + 1_000):
        await refused(auditor.RevealSample(RevealSampleRequest(index=index, seed=seed)), Status.NOT_FOUND)
        await refused(auditor.GetSample(GetSampleRequest(revealed=index)), Status.NOT_FOUND)
    await refused(auditor.GetSample(GetSampleRequest(revealed=bound.index)), Status.NOT_FOUND)
    for lines, digest in ((0, bytes(32)), (1_001, bytes(32)), (5, b"short")):
        request = CommitSampleRequest(lines=lines, seed_sha256=digest)
        await refused(auditor.CommitSample(request), Status.INVALID_ARGUMENT)
