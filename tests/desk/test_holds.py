"""A state of origin asks about its own national abroad: held in silence, and the focal point sees it."""

from collections.abc import Mapping

import pytest

from node.policy.decide import HELD_SILENTLY
from node.wire.codes_pb2 import (
    EXPOSURE_DEFENDER,
    EXPOSURE_EXILE,
    EXPOSURE_JOURNALIST,
    EXPOSURE_OPPOSITION,
    EXPOSURE_UNKNOWN,
    LOOKUP_KIND_NAME,
    Crime,
)
from node.wire.desk_pb2 import PEER_OUTCOME_ANSWERED, ListHoldsRequest, SearchResponse
from node.wire.entry_pb2 import DateInterval
from node.wire.exchange_pb2 import Answer, PersonBasis, Query, Selector
from tests.desk.support import Desks, Status, refused, search
from tests.federation.support import Book, altered, case_record, person, private_of, told
from tests.peer_simulator import telephone_query
from tests.safeguards.support import until
from tests.world import DAY_US, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

PEOPLE: Mapping[str, dict[str, object]] = {
    "Invented Journalist": {"exposure": EXPOSURE_JOURNALIST, "origins": ["GT"]},
    "Invented Exile": {"exposure": EXPOSURE_EXILE, "origins": ["GT"]},
    "Invented Defender": {"exposure": EXPOSURE_DEFENDER, "origins": ["GT"]},
    "Invented Opponent": {"exposure": EXPOSURE_OPPOSITION, "origins": ["GT"]},
    "Invented Unknown": {"exposure": EXPOSURE_UNKNOWN, "origins": ["GT"]},
    # Origin unknown: she may be of GT.
    "Invented Reporter": {"exposure": EXPOSURE_JOURNALIST, "origins": ["MX"], "origins_complete": False},
}
BASIS = PersonBasis(
    offence=Crime.CRIME_TRAFFICKING,
    when=DateInterval(first_day=20_000, last_day=20_001),
    place_country="MX",
    place="Tapachula",
    factual_basis="Invented statement of a witness.",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World.make(tmp_path_factory.mktemp("holds"), ("GT", "MX", "US"))
    people = [person(name, **facts) for name, facts in PEOPLE.items()]
    world["MX"].write((case_record(), [*people, person("Invented Suspect", origins=["GT"])]))
    return world


def naming(name: str, basis: PersonBasis | None = BASIS) -> Query:
    return altered(telephone_query(), selectors=[Selector(kind=LOOKUP_KIND_NAME, value=name)], person_basis=basis)


async def asked(desks: Desks, code: str, name: str) -> SearchResponse:
    (response,) = await search(await desks(code), naming(name), "MX")
    assert response.outcome == PEER_OUTCOME_ANSWERED
    return response


def visible(response: SearchResponse) -> SearchResponse:
    """A response but for what differs between any two."""
    return altered(response, exchange_id=b"", elapsed_us=0, ledger_index=0)


@pytest.mark.parametrize("name", PEOPLE)
async def test_the_state_of_origin_sees_a_no_hit_and_the_focal_point_a_hold(desks: Desks, name: str) -> None:
    book, focal = desks.book("MX"), await desks("MX", "focal")
    nobody = await asked(desks, "GT", "Invented Nobody")
    before, held_before = book.size, len((await focal.ListHolds(ListHoldsRequest())).holds)
    response = await asked(desks, "GT", name)
    assert visible(response) == visible(nobody)
    assert response.answer == Answer()

    # It is written behind the answer, which must not wait for it.
    told_of = await until(lambda: focal.ListHolds(ListHoldsRequest()), lambda found: len(found.holds) > held_before)
    holds = told_of.holds
    assert len(holds) == held_before + 1
    (hold,) = [each for each in holds if each.exchange_id == response.exchange_id]
    assert (hold.peer, hold.silent) == ("GT", True)
    assert hold.due_us == hold.at_us + 7 * DAY_US
    line = next(each for each in book.lines(before) if each.shared.exchange_id == response.exchange_id)
    assert told(line) == ("ANSWERED", "GT", "")
    assert (private_of(line).held, private_of(line).released) == (1, 0)
    assert hold.entry_id == _decided(book, line.index)[HELD_SILENTLY]


def _decided(book: Book, index: int) -> dict[int, bytes]:
    from node.ledger.leaf import unpad
    from node.wire.ledger_pb2 import Decisions

    (line,) = [each for each in book.lines(index) if each.index == index]
    assert line.opening is not None
    return {each.outcome: each.entry_id for each in Decisions.FromString(unpad(line.opening.decisions)).entries}


async def test_the_bytes_of_hold_and_no_hit_have_one_size(desks: Desks) -> None:
    sizes = set()
    for name in ("Invented Nobody", "Invented Journalist"):
        response = await asked(desks, "GT", name)
        sizes.add(_answer_size(desks, response.exchange_id))
    assert len(sizes) == 1


def _answer_size(desks: Desks, exchange_id: bytes) -> int:
    """Size of the answer's body, as GT keeps it beside its line."""
    from node.store.listing import read_bodies
    from tests.federation.support import opened_ledger

    book = desks.book("GT")
    index = [line.index for line in book.lines() if line.shared.exchange_id == exchange_id][-1]
    with opened_ledger(book.place) as (database, vault), database.reading() as connection:
        return len(read_bodies(connection, vault, index)["answer"])


async def test_another_state_is_answered_and_of_others_the_state_of_origin_is_too(desks: Desks) -> None:
    focal = await desks("MX", "focal")
    before = (await focal.ListHolds(ListHoldsRequest())).holds
    (hit,) = (await asked(desks, "US", "Invented Journalist")).answer.hits
    assert hit.WhichOneof("kind") in {"entry", "hit"}
    (hit,) = (await asked(desks, "GT", "Invented Suspect")).answer.hits
    assert hit.entry.person.names[0].full == "Invented Suspect"
    assert (await focal.ListHolds(ListHoldsRequest())).holds == before


@pytest.mark.parametrize(
    "basis",
    [
        None,
        altered(BASIS, offence=Crime.CRIME_UNKNOWN),
        altered(BASIS, when=None),
        altered(BASIS, place_country="", place=""),
        altered(BASIS, factual_basis=" "),
    ],
    ids=["nothing", "offence", "date", "place", "facts"],
)
async def test_who_names_a_person_without_basis_is_refused_at_home(desks: Desks, basis: PersonBasis | None) -> None:
    home, abroad = desks.book("GT"), desks.book("MX")
    before = home.size, abroad.size
    await refused(search(await desks("GT"), naming("Invented Suspect", basis), "MX"), Status.INVALID_ARGUMENT)
    (line,) = home.lines(before[0])
    assert told(line) == ("DENIED", "", "MalformedError")
    assert private_of(line).officer == "analyst"
    assert abroad.size == before[1]
