"""Everyone who got any part of an entry, and that somebody looked."""

import secrets
from uuid import UUID

import pytest
from sqlalchemy import create_engine, delete, select, update

from node.desk.masking import MOST_UNMASK
from node.policy.decide import ENTRY, PENDING
from node.store.lines import ledger_openings
from node.wire.audit_pb2 import TraceEntryRequest, TraceEntryResponse
from node.wire.codes_pb2 import (
    DATA_CATEGORY_IDENTITY,
    DATA_CATEGORY_TELECOM,
    HANDLING_CODE_H3,
    PURPOSE_INVESTIGATE,
)
from node.wire.ledger_pb2 import LEAF_KIND_ANSWERED
from tests.desk.support import Desks, Status, asserted, lines_since, refused, search
from tests.federation.support import SEEN, VICTIMS, altered, case_record, decisions_of, private_of, telephone
from tests.peer_simulator import telephone_query
from tests.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

REDACTED = "+12025550145"
HELD = "+12025550146"
NUMBERS = (SEEN, VICTIMS, REDACTED, HELD)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """MX has telephones that are released, invisible, redacted and held."""
    world = World.make(tmp_path_factory.mktemp("tracing"), ("GT", "MX"))
    held = asserted(altered(telephone(HELD), handling=HANDLING_CODE_H3))
    entries = [
        asserted(telephone(SEEN)),
        asserted(telephone(VICTIMS, victim=True)),
        telephone(REDACTED, roles=False),
        held,
    ]
    world["MX"].write((case_record(), entries))
    return world


async def asked(desks: Desks, number: str) -> bytes:
    (response,) = await search(await desks("GT"), telephone_query(number), "MX")
    return response.exchange_id


def entry_of(desks: Desks, exchange_id: bytes) -> bytes:
    """The id of the entry that an answer of MX was decided on."""

    (line,) = desks.book("MX").lines(exchange_id=exchange_id, kinds=(LEAF_KIND_ANSWERED,))
    (decided,) = decisions_of(line).entries
    return decided.entry_id


async def traced(desks: Desks, entry_id: bytes, officer: str = "auditor", unmask: str = "") -> TraceEntryResponse:
    whole = TraceEntryResponse()
    async for response in (await desks("MX", officer)).TraceEntry(TraceEntryRequest(entry_id=entry_id, unmask=unmask)):
        whole.MergeFrom(response)
    return whole


async def test_each_answer_that_gave_something_is_listed_with_what_it_gave_and_on_which_terms(desks: Desks) -> None:
    gt = await desks("GT")
    (first,) = await search(gt, telephone_query(SEEN), "MX")
    (second,) = await search(gt, telephone_query(SEEN), "MX")
    entry_id = entry_of(desks, first.exchange_id)
    whole = await traced(desks, entry_id)
    ours = [line for line in whole.lines if line.exchange_id in {first.exchange_id, second.exchange_id}]
    assert len(ours) == 2
    for line, answered in zip(ours, (first, second), strict=True):
        assert (line.peer, line.outcome, line.revision, line.purpose) == ("GT", ENTRY, 1, PURPOSE_INVESTIGATE)
        assert DATA_CATEGORY_TELECOM in line.released
        (hit,) = answered.answer.hits
        assert line.handle == hit.entry.handle
        # What the rulebooks of the line's digests say is what the peer was told.
        assert set(line.obligations) == set(hit.entry.terms.obligations)
        assert line.retention_days == hit.entry.terms.retention_days > 0
        assert {grant.rule for grant in hit.entry.grants} <= set(line.rules)
        assert len(line.rulebooks) == 2
        assert line.remark == ""
    assert [line.index for line in whole.lines] == sorted(line.index for line in whole.lines)


async def test_what_was_redacted_is_told_by_category_and_what_is_held_owes_nothing_yet(desks: Desks) -> None:
    redacted = await traced(desks, entry_of(desks, await asked(desks, REDACTED)))
    assert DATA_CATEGORY_IDENTITY in redacted.lines[-1].pseudonymised
    held = await traced(desks, entry_of(desks, await asked(desks, HELD)))
    assert held.lines[-1].outcome == PENDING
    assert (list(held.lines[-1].obligations), held.lines[-1].retention_days) == ([], 0)


async def test_what_nobody_saw_has_no_line(desks: Desks) -> None:
    whole = await traced(desks, entry_of(desks, await asked(desks, VICTIMS)))
    assert not whole.lines
    assert whole.answers > 0


@pytest.mark.parametrize("officer", ["auditor", "focal"])
async def test_the_look_is_a_line_and_names_are_masked(desks: Desks, officer: str) -> None:
    entry_id, book = entry_of(desks, await asked(desks, SEEN)), desks.book("MX")
    await asked(desks, SEEN)
    before = book.size
    whole = await traced(desks, entry_id, officer)
    (line,) = book.lines(before)
    assert lines_since(book, before) == [("READ", "", "TRACE")]
    assert (private_of(line).officer, private_of(line).subject) == (officer, entry_id)
    masks = {each.officer for each in whole.lines}
    assert len(masks) == 1  # one officer asked, and is masked alike in one reading
    assert all(mask.startswith("masked-") for mask in masks)
    again = await traced(desks, entry_id, officer)
    assert {each.officer for each in again.lines}.isdisjoint(masks)


async def test_names_are_shown_to_who_says_why_and_the_line_keeps_it(desks: Desks) -> None:
    entry_id, book = entry_of(desks, await asked(desks, SEEN)), desks.book("MX")
    before = book.size
    whole = await traced(desks, entry_id, unmask="complaint 7")
    assert {each.officer for each in whole.lines} == {"analyst"}
    assert lines_since(book, before) == [("READ", "", "TRACE UNMASK complaint 7")]


@pytest.mark.parametrize("unmask", [" ", "two\nlines", "x" * (MOST_UNMASK + 1)])
async def test_no_reason_shows_no_name(desks: Desks, unmask: str) -> None:
    await refused(traced(desks, secrets.token_bytes(16), unmask=unmask), Status.INVALID_ARGUMENT)


async def test_another_entry_and_what_is_no_id(desks: Desks) -> None:
    assert not (await traced(desks, UUID(int=1).bytes)).lines
    await refused(traced(desks, b"short"), Status.INVALID_ARGUMENT)


async def test_an_answer_that_was_erased_or_altered_is_counted_and_hides_no_other(desks: Desks) -> None:
    erased, altered_one, whole_one = [await asked(desks, SEEN) for _ in range(3)]
    entry_id, book = entry_of(desks, whole_one), desks.book("MX")
    gone, bad = (book.lines(exchange_id=each, kinds=(LEAF_KIND_ANSWERED,))[0].index for each in (erased, altered_one))
    before = await traced(desks, entry_id)
    engine = create_engine(desks.world["MX"].config.store.database)
    with engine.begin() as connection:
        connection.execute(delete(ledger_openings).where(ledger_openings.c.idx == gone))
        others = select(ledger_openings.c.sealed).where(ledger_openings.c.idx == gone - 1).scalar_subquery()
        connection.execute(update(ledger_openings).where(ledger_openings.c.idx == bad).values(sealed=others))
    engine.dispose()
    after = await traced(desks, entry_id)
    assert list(after.unreadable) == sorted((gone, bad))
    assert after.unreadable_total == 2
    assert after.answers == before.answers
    assert [each.index for each in after.lines] == [
        each.index for each in before.lines if each.index not in {gone, bad}
    ]


async def test_units_are_refused(desks: Desks) -> None:
    await refused(traced(desks, secrets.token_bytes(16), "analyst"), Status.PERMISSION_DENIED)
