"""Focal points and auditors learn why something left, or did not; that they looked is a line."""

import secrets

import grpc
import pytest

from node.policy.decide import ENTRY, HELD_SILENTLY, INVISIBLE, PENDING
from node.policy.explain_text import sentences
from node.wire.codes_pb2 import (
    ASYLUM_STATE_CLAIMED,
    CRIME_TRAFFICKING,
    DATA_CATEGORY_EXISTENCE,
    DATA_CATEGORY_IDENTITY,
    DATA_CATEGORY_TELECOM,
    EXPOSURE_JOURNALIST,
    HANDLING_CODE_H3,
    OUTCOME_PSEUDONYMISE,
    OUTCOME_RELEASE,
    PURPOSE_INVESTIGATE,
    PURPOSE_TREND,
    DataCategory,
)
from node.wire.desk_pb2 import GetEntryRequest, PutEntryRequest
from node.wire.explaining_pb2 import (
    ExplainedEntry,
    ExplainRequest,
    ExplainResponse,
    Fact,
    WhatIf,
)
from tests.desk.support import Desks, Status, asserted, lines_since, refused, search
from tests.federation.support import SEEN, VICTIMS, altered, case_record, private_of, protection, telephone
from tests.peer_simulator import channel_to, opened_answer, request, sealed_query, send, telephone_query
from tests.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

REDACTED = "+12025550145"
HELD = "+12025550146"
EXPOSED = "+12025550147"
FROZEN = "+12025550148"
NOBODYS = "+12025550199"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """MX has telephones that are released, redacted, held, silently held and invisible."""
    world = World.make(tmp_path_factory.mktemp("explaining"), ("GT", "MX"))
    exposed = telephone(EXPOSED)
    frozen = telephone(FROZEN)
    frozen.protection.CopyFrom(protection(origins=["GT"]))
    exposed.protection.CopyFrom(protection(exposure=EXPOSURE_JOURNALIST, origins=["GT"]))
    world["MX"].write(
        (
            case_record(),
            [
                asserted(telephone(SEEN)),
                telephone(REDACTED, roles=False),
                asserted(altered(telephone(HELD), handling=HANDLING_CODE_H3)),
                asserted(telephone(VICTIMS, victim=True)),
                asserted(exposed),
                asserted(frozen),
            ],
        )
    )
    return world


async def asked(desks: Desks, number: str) -> bytes:
    """Ask MX about a telephone as GT, and return the exchange's id."""
    (response,) = await search(await desks("GT"), telephone_query(number), "MX")
    return response.exchange_id


async def explained(desks: Desks, request: ExplainRequest, officer: str = "focal") -> ExplainResponse:
    whole = ExplainResponse()
    async for response in (await desks("MX", officer)).Explain(request):
        whole.MergeFrom(response)
    return whole


async def one(desks: Desks, number: str) -> ExplainedEntry:
    response = await explained(desks, ExplainRequest(exchange_id=await asked(desks, number)))
    assert (response.peer, response.remark) == ("GT", "")
    (entry,) = response.entries
    assert entry.remark == ""
    assert entry.logged == entry.explanation.outcome
    return entry


def of(entry: ExplainedEntry, category: DataCategory.ValueType) -> tuple[int, set[str], list[str]]:
    """Level, granting rules and limiting rules of a category."""
    (found,) = [each for each in entry.explanation.categories if each.category == category]
    return found.outcome, {each.rule.rule for each in found.granting}, [each.rule.rule for each in found.limits]


async def test_a_released_entry_names_the_granting_rules_and_the_obligations(desks: Desks) -> None:
    entry = await one(desks, SEEN)
    assert entry.explanation.outcome == ENTRY
    level, granting, _ = of(entry, DATA_CATEGORY_TELECOM)
    assert level == OUTCOME_RELEASE
    assert {rule.partition("-")[0] for rule in granting} == {"F", "MX"}
    assert entry.explanation.retention_days
    assert entry.explanation.retention_rules
    assert [each.law for each in entry.explanation.retention_rules if not each.law] == []
    assert {each.dimension: list(each.values) for each in entry.explanation.facts}["role"] == ["SUSPECT"]


async def test_a_redacted_entry_says_what_is_redacted_and_why(desks: Desks) -> None:
    entry = await one(desks, REDACTED)
    level, granting, _ = of(entry, DATA_CATEGORY_IDENTITY)
    assert (entry.explanation.outcome, level) == (ENTRY, OUTCOME_PSEUDONYMISE)
    assert granting
    assert any(text.startswith("IDENTITY: pseudonymise.") for text in sentences(entry.explanation))


async def test_a_held_entry_names_the_rule_that_holds(desks: Desks) -> None:
    entry = await one(desks, HELD)
    assert entry.explanation.outcome == PENDING
    assert entry.explanation.holds
    assert all(each.law and each.title for each in entry.explanation.holds)


async def test_what_is_silently_held_and_what_is_invisible_are_explained_too(desks: Desks) -> None:
    silent = await one(desks, EXPOSED)
    assert silent.explanation.outcome == HELD_SILENTLY
    assert [each.rule for each in silent.explanation.holds][-1] == ""
    entry = await one(desks, VICTIMS)
    assert entry.explanation.outcome == INVISIBLE
    _, granting, limiting = of(entry, DATA_CATEGORY_EXISTENCE)
    assert not granting
    assert limiting or any(each.ungranted for each in entry.explanation.categories)
    assert sentences(entry.explanation)[0] == "To the peer it looks like a no-hit."


async def test_a_no_hit_is_explained_as_one(desks: Desks) -> None:
    response = await explained(desks, ExplainRequest(exchange_id=await asked(desks, NOBODYS)))
    assert (response.remark, len(response.entries)) == ("Nothing here matched what was asked.", 0)


async def test_one_entry_can_be_picked_and_another_is_not_found(desks: Desks) -> None:
    exchange_id = await asked(desks, SEEN)
    entry_id = (await explained(desks, ExplainRequest(exchange_id=exchange_id))).entries[0].entry_id
    response = await explained(desks, ExplainRequest(exchange_id=exchange_id, entry_id=entry_id))
    assert [each.entry_id for each in response.entries] == [entry_id]
    other = ExplainRequest(exchange_id=exchange_id, entry_id=secrets.token_bytes(16))
    await refused(explained(desks, other), Status.NOT_FOUND)


async def test_titles_are_in_the_language_asked_for(desks: Desks) -> None:
    exchange_id = await asked(desks, HELD)
    titles = {
        language: (await explained(desks, ExplainRequest(exchange_id=exchange_id, language=language)))
        .entries[0]
        .explanation.holds[0]
        .title
        for language in ("en", "es")
    }
    assert len(set(titles.values())) == 2
    await refused(explained(desks, ExplainRequest(exchange_id=exchange_id, language="xx")), Status.INVALID_ARGUMENT)


# --- the ledger ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("officer", ["focal", "auditor"])
async def test_the_look_is_a_line_before_anything_is_shown(desks: Desks, officer: str) -> None:
    exchange_id, book = await asked(desks, SEEN), desks.book("MX")
    before = book.size
    await explained(desks, ExplainRequest(exchange_id=exchange_id), officer)
    (line,) = book.lines(before)
    assert lines_since(book, before) == [("READ", "", "EXPLAIN")]
    assert (private_of(line).officer, private_of(line).subject) == (officer, exchange_id)
    before = book.size
    await refused(explained(desks, ExplainRequest(exchange_id=secrets.token_bytes(16)), officer), Status.NOT_FOUND)
    assert lines_since(book, before) == [("READ", "", "EXPLAIN")]


@pytest.mark.parametrize("officer", ["analyst", "supervisor", "administrator"])
async def test_another_role_is_refused_with_a_line(desks: Desks, officer: str) -> None:
    exchange_id, book = await asked(desks, SEEN), desks.book("MX")
    before = book.size
    await refused(explained(desks, ExplainRequest(exchange_id=exchange_id), officer), Status.PERMISSION_DENIED)
    (line,) = book.lines(before)
    assert lines_since(book, before) == [("DENIED", "", "ROLE")]
    assert private_of(line).officer == officer


@pytest.mark.parametrize(
    "request_", [ExplainRequest(), ExplainRequest(exchange_id=b"x"), ExplainRequest(what_if=WhatIf(recipient="BR"))]
)
async def test_an_incomplete_request_is_refused(desks: Desks, request_: ExplainRequest) -> None:
    await refused(explained(desks, request_), Status.INVALID_ARGUMENT)


async def test_a_query_that_was_refused_as_a_whole_is_explained_as_such(desks: Desks) -> None:
    gt, query = desks.world["GT"], telephone_query(SEEN, instrument="NOTHING")
    async with channel_to(desks.world["MX"], gt.node) as channel:
        sealed = sealed_query(gt, "MX", query)
        opened = opened_answer(desks.world, "MX", "GT", sealed, await send(channel, request(sealed)))
    response = await explained(desks, ExplainRequest(exchange_id=opened.statement.exchange_id))
    assert response.remark == (
        "The query was refused as a whole: the instrument that it named was not in force between the two countries."
    )
    assert not response.entries


# --- what if ---------------------------------------------------------------------------------------------------------


async def what_if(desks: Desks, **keys: object) -> ExplainResponse:
    asked = WhatIf(recipient="GT", purpose=PURPOSE_INVESTIGATE, crimes=[CRIME_TRAFFICKING])
    return await explained(desks, ExplainRequest(what_if=altered(asked, **keys)))


async def test_a_query_that_nobody_puts_about_an_own_entry(desks: Desks) -> None:
    entry_id = (await one(desks, SEEN)).entry_id
    book = desks.book("MX")
    before = book.size
    (entry,) = (await what_if(desks, entry_id=entry_id)).entries
    assert (entry.entry_id, entry.explanation.outcome) == (entry_id, ENTRY)
    (line,) = book.lines(before)
    assert lines_since(book, before) == [("READ", "", "WHAT_IF GT")]
    assert private_of(line).subject == entry_id
    (trend,) = (await what_if(desks, entry_id=entry_id, purpose=PURPOSE_TREND)).entries
    assert trend.explanation.outcome == INVISIBLE
    assert any("purpose" in text for text in sentences(trend.explanation))


async def test_facts_given_instead_of_those_known(desks: Desks) -> None:
    entry_id = (await one(desks, SEEN)).entry_id
    victim = [Fact(dimension="role", values=["VICTIM"]), Fact(dimension="victim", values=["YES"])]
    (entry,) = (await what_if(desks, entry_id=entry_id, facts=victim)).entries
    assert entry.explanation.outcome == INVISIBLE
    (alone,) = (await what_if(desks, facts=[Fact(dimension="kind", values=["TELECOM"]), *victim])).entries
    known = {each.dimension: list(each.values) for each in alone.explanation.facts}
    assert (alone.entry_id, known["kind"], known["role"], known["minor"]) == (b"", ["TELECOM"], ["VICTIM"], ["UNKNOWN"])
    aged = [Fact(dimension="record_age", values=["400"])]
    (old,) = (await what_if(desks, entry_id=entry_id, facts=aged)).entries
    assert {each.dimension: list(each.values) for each in old.explanation.facts}["record_age"] == ["365"]


async def test_what_a_peer_goes_on_seeing_is_what_is_explained(desks: Desks) -> None:
    """GT, which may be the state of origin, has seen the entry before it was protected."""
    entry_id = (await one(desks, FROZEN)).entry_id
    unit = await desks("MX")
    entry = (await unit.GetEntry(GetEntryRequest(entry_id=entry_id))).entry
    entry.protection.asylum = ASYLUM_STATE_CLAIMED
    await unit.PutEntry(PutEntryRequest(entry=entry))
    (frozen,) = (await what_if(desks, entry_id=entry_id)).entries
    assert (frozen.revision, frozen.explanation.outcome) == (1, ENTRY)
    assert frozen.remark == "GT goes on seeing revision 1, which is what is explained here."


async def test_an_instrument_that_is_not_in_force_is_remarked(desks: Desks) -> None:
    entry_id = (await one(desks, SEEN)).entry_id
    response = await what_if(desks, entry_id=entry_id, instrument="NOTHING")
    assert response.remark == "Such a query would be refused as a whole: in force with GT are UNTOC."


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        (Fact(dimension="rule", values=["SUSPECT"]), "did you mean role?"),
        (Fact(dimension="recipient", values=["US"]), "there is none of this name"),
        (Fact(dimension="role", values=["VILLAIN"]), "role is some of"),
        (Fact(dimension="minor", values=[]), "minor is one of"),
        (Fact(dimension="record_age", values=["old"]), "a number of days"),
    ],
)
async def test_a_fact_outside_the_vocabulary_is_refused_with_what_there_is(
    desks: Desks, fact: Fact, words: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await what_if(desks, facts=[fact])
    assert caught.value.code() == Status.INVALID_ARGUMENT
    assert words in (caught.value.details() or "")


async def test_an_entry_that_is_not_there_is_not_found(desks: Desks) -> None:
    await refused(what_if(desks, entry_id=secrets.token_bytes(16)), Status.NOT_FOUND)
