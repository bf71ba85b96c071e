"""A rulebook is rehearsed: what it would change is counted, told to whom, and named where it is asked for."""

import hashlib

import grpc
import pytest

from node.policy.decide import ENTRY, INVISIBLE, PENDING
from node.wire.codes_pb2 import (
    ASYLUM_STATE_CLAIMED,
    DATA_CATEGORY_IDENTITY,
    OUTCOME_RELEASE,
    OUTCOME_WITHHOLD,
    PURPOSE_EVIDENCE_MLA,
    PURPOSE_INVESTIGATE,
)
from node.wire.desk_pb2 import PutEntryRequest
from node.wire.entry_pb2 import Entry, Protection
from node.wire.explaining_pb2 import RehearseRulebookRequest, RehearseRulebookResponse
from tests.desk.support import Desks, Status, asserted, lines_since, refused, search
from tests.federation.support import SEEN, VICTIMS, case_record, person, private_of, protection, telephone
from tests.peer_simulator import telephone_query
from tests.world import RULEBOOKS, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORIGIN = "+12025550148"
TREATY = "when: {instrument: [TREATY], purpose: [EVIDENCE_MLA], role: [SUSPECT]}, data: {IDENTITY: release}"
GRANT = f"- {{id: MX-99, title: Planted, law: UNTOC art. 27(1), effect: allow, {TREATY}}}\n"
DENIAL = "- {id: MX-98, title: Planted, law: UNTOC art. 27(1), effect: deny, when: {role: [SUSPECT]}}\n"
HOLD = "- {id: MX-97, title: Planted, law: UNTOC art. 27(1), effect: hold, when: {role: [SUSPECT]}}\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """MX has a suspect's telephone, a victim's, and a person of whom only a role is recorded."""
    world = World.make(tmp_path_factory.mktemp("replaying"), ("GT", "MX"))
    nothing: Entry = person("Invented Unknown")
    nothing.protection.CopyFrom(Protection())
    entries = [asserted(telephone(SEEN)), asserted(telephone(VICTIMS, victim=True)), nothing]
    world["MX"].write((case_record(), entries))
    return world


def proposed(rules: str = "", name: str = "mx", version: int = 99) -> bytes:
    """The shipped rulebook with rules more and a new version."""
    text = (RULEBOOKS / f"{name}.yaml").read_text()
    return (
        text.replace("\nversion: ", f"\nversion: {version} #", 1)
        .replace("\nrules:\n", f"\nrules:\n{rules}", 1)
        .encode()
    )


async def steps(
    desks: Desks, content: bytes, *, officer: str = "focal", entries: bool = False
) -> list[RehearseRulebookResponse]:
    request = RehearseRulebookRequest(content=content, entries=entries)
    return [each async for each in (await desks("MX", officer)).RehearseRulebook(request)]


async def rehearsed(desks: Desks, content: bytes) -> RehearseRulebookResponse:
    whole = RehearseRulebookResponse()
    for each in await steps(desks, content, entries=True):
        if not each.stage:
            whole.MergeFrom(each)
    return whole


async def asked(desks: Desks, number: str = SEEN) -> bytes:
    (response,) = await search(await desks("GT"), telephone_query(number), "MX")
    return response.exchange_id


async def test_the_same_rules_change_nothing(desks: Desks) -> None:
    await asked(desks)
    whole = await rehearsed(desks, proposed())
    assert whole.report.count("GT: nothing changes\n") == 2
    assert "records read: 3\n" in whole.report
    assert (whole.changed_total, len(whole.changed)) == (0, 0)
    assert whole.sha256 == hashlib.sha256(whole.report.encode()).digest()


async def test_the_planted_grant_is_found_and_the_entry_named(desks: Desks) -> None:
    whole = await rehearsed(desks, proposed(GRANT))
    assert "GT: records newly leaving: 1\n" in whole.report
    assert "GT: IDENTITY, withheld before, release then: 1, for EVIDENCE_MLA\n" in whole.report
    (changed,) = [each for each in whole.changed if not each.exchange_id]
    assert (changed.peer, changed.purpose, changed.before, changed.after) == (
        "GT",
        PURPOSE_EVIDENCE_MLA,
        INVISIBLE,
        ENTRY,
    )
    assert [(each.before, each.after) for each in changed.categories if each.category == DATA_CATEGORY_IDENTITY] == [
        (OUTCOME_WITHHOLD, OUTCOME_RELEASE)
    ]
    case_entries = {each.entry_id for each in await entries_of(desks)}
    assert changed.entry_id in case_entries


async def entries_of(desks: Desks) -> list[Entry]:
    from node.wire.desk_pb2 import GetCaseRequest, ListCasesRequest

    stub = await desks("MX")
    (case,) = (await stub.ListCases(ListCasesRequest())).cases
    return list((await stub.GetCase(GetCaseRequest(case_id=case.case_id))).entries)


@pytest.mark.parametrize(
    ("rules", "words", "after"),
    [(DENIAL, "no longer leaving", INVISIBLE), (HOLD, "newly held", PENDING)],
    ids=["denied", "held"],
)
async def test_past_answers_are_decided_again(desks: Desks, rules: str, words: str, after: int) -> None:
    exchange_id = await asked(desks)
    whole = await rehearsed(desks, proposed(rules))
    past = whole.report.partition("Past answers")[2]
    assert f"GT: decisions {words}: " in past
    (changed,) = [each for each in whole.changed if each.exchange_id == exchange_id]
    assert (changed.peer, changed.purpose, changed.before, changed.after) == ("GT", PURPOSE_INVESTIGATE, ENTRY, after)


async def test_what_unknown_alone_keeps_back_is_counted(desks: Desks) -> None:
    report = (await rehearsed(desks, proposed())).report
    for when in ("in force", "proposed"):
        assert f"UNKNOWN alone keeps from every paired peer, under the rulebook {when}: 1 (33.3 %)\n" in report
    assert report.count("  witness is UNKNOWN: 1\n") == 2


async def test_a_report_names_no_record_and_is_the_same_again(desks: Desks) -> None:
    first, again = [(await rehearsed(desks, proposed(GRANT))).report for _ in range(2)]
    assert first == again
    names = [SEEN, VICTIMS, "Invented", "CASE-1", *(each.entry_id.hex() for each in await entries_of(desks))]
    assert not [name for name in names if name in first]


async def test_progress_comes_before_the_report_and_entries_only_where_asked_for(desks: Desks) -> None:
    told = await steps(desks, proposed(GRANT))
    assert {each.stage for each in told[:-1]} == {"records", "past"}
    assert all(each.done <= each.total for each in told[:-1])
    assert (told[-1].stage, bool(told[-1].report), told[-1].changed_total) == ("", True, 1)
    assert not [each for each in told if each.changed]


async def test_the_floor_and_the_outbound_rulebook_are_rehearsed_too(desks: Desks) -> None:
    whole = await rehearsed(desks, proposed(DENIAL.replace("MX-98", "F-98"), name="floor"))
    assert "layer floor\n" in whole.report
    assert "beside: MX-RELEASE " in whole.report
    assert "GT: records no longer leaving: 1\n" in whole.report
    request = RehearseRulebookRequest(content=proposed(name="gt-outbound"))
    responses = [each async for each in (await desks("GT", "focal")).RehearseRulebook(request)]
    assert "MX: queries: " in responses[-1].report
    assert "would not be sent" not in responses[-1].report
    denial = "- {id: GO-98, title: Planted, law: UNTOC art. 27(1), effect: deny, when: {purpose: [INVESTIGATE]}}\n"
    request = RehearseRulebookRequest(content=proposed(denial, name="gt-outbound"))
    responses = [each async for each in (await desks("GT", "focal")).RehearseRulebook(request)]
    assert "MX: would not be sent: " in responses[-1].report
    assert "GO-98" in responses[-1].report


async def test_the_look_is_a_line_and_another_role_is_refused_with_one(desks: Desks) -> None:
    book = desks.book("MX")
    before = book.size
    await rehearsed(desks, proposed())
    (line,) = book.lines(before)
    assert lines_since(book, before) == [("READ", "", "REHEARSAL RELEASE MX-RELEASE 99")]
    assert private_of(line).subject == hashlib.sha256(proposed()).digest()
    before = book.size
    await refused(steps(desks, proposed(), officer="auditor"), Status.PERMISSION_DENIED)
    assert lines_since(book, before) == [("DENIED", "", "ROLE")]
    book.verify()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"rules: [", "1:9"),
        (proposed("- {id: X}\n"), "must have"),
        (proposed(name="us"), "the rulebook is of US, and this node of MX"),
    ],
    ids=["no YAML", "no rule", "of another country"],
)
async def test_what_is_no_rulebook_of_this_country_is_refused_with_its_mistakes(
    desks: Desks, content: bytes, words: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await steps(desks, content)
    assert caught.value.code() == Status.INVALID_ARGUMENT
    assert words in (caught.value.details() or "")


async def test_a_rulebook_whose_time_is_over_lets_nothing_leave(desks: Desks) -> None:
    content = proposed().replace(b'valid_until: "2031', b'valid_until: "2026')
    assert content != proposed()
    whole = await rehearsed(desks, content.replace(b'valid_from: "2026', b'valid_from: "2025'))
    assert "It is not valid any more: with it, nothing would leave.\n" in whole.report
    assert "GT: records no longer leaving: 1\n" in whole.report


async def test_what_a_peer_goes_on_seeing_is_what_is_asked_about(desks: Desks) -> None:
    """The last of the module: GT, which may be the state of origin, has seen an entry before it was protected."""
    unit = await desks("MX")
    new = telephone(ORIGIN)
    new.protection.CopyFrom(protection(origins=["GT"]))
    new.case_id = (await entries_of(desks))[0].case_id
    entry = (await unit.PutEntry(PutEntryRequest(entry=asserted(new)))).entry
    await asked(desks, ORIGIN)
    entry.protection.asylum = ASYLUM_STATE_CLAIMED
    await unit.PutEntry(PutEntryRequest(entry=entry))
    whole = await rehearsed(desks, proposed(GRANT))
    assert entry.entry_id in {each.entry_id for each in whole.changed if not each.exchange_id}
