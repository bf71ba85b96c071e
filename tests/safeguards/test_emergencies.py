"""An emergency makes rules count that are marked for one, in the approved rulebook, and nothing else."""

import asyncio
import re
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import create_engine, update

from node.identity.emergencies import HOUR_US, sign_emergency, sign_review
from node.identity.keys import public_key
from node.store import emergencies as store
from node.store.database import Database
from node.store.safeguard_tables import emergencies
from node.wire.codes_pb2 import PURPOSE_PROTECT_LIFE, UNIT_TYPE_POLICE_INTELLIGENCE
from node.wire.desk_pb2 import OFFICER_ROLE_FOCAL_POINT, EnrolOfficerRequest
from node.wire.duty_pb2 import SetTurnRequest
from node.wire.duty_pb2_grpc import DutyStub
from node.wire.entry_pb2 import Coordinates, Entry
from node.wire.exchange_pb2 import Answer
from node.wire.ledger_pb2 import LEAF_KIND_DENIED, LEAF_KIND_EMERGENCY
from node.wire.safeguard_pb2 import (
    DeclareEmergencyRequest,
    Emergency,
    EmergencyReview,
    EmergencyState,
    EndEmergencyRequest,
    ListEmergenciesRequest,
    ReviewEmergencyRequest,
    SignedEmergency,
)
from tests.desk.support import Desks, Status, desks_of, life_query, refused
from tests.federation.support import SEEN, VICTIMS, altered, case_record, private_of, telephone
from tests.peer_simulator import telephone_query
from tests.safeguards.support import asked, until
from tests.world import FOCAL, RULEBOOKS, World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXACT = Coordinates(latitude_e6=19_432_608, longitude_e6=-99_133_209)


def located(number: str, *, victim: bool = False) -> Entry:
    entry = telephone(number, victim=victim)
    entry.telecom.last_cell.CopyFrom(EXACT)
    return entry


@pytest.fixture(scope="module")
def world(world: World) -> World:
    world["MX"].write((case_record(), [located(SEEN), located(VICTIMS, victim=True)]))
    return world


async def seen(desks: Desks, number: str = SEEN) -> Answer:
    query = altered(life_query(number), purpose=PURPOSE_PROTECT_LIFE)
    answer = await asked(desks, query)
    answer.acknowledge_by_us = 0
    return answer


def declaration(world: World, *, by: int = 0, hours: float = 2, **changes: object) -> DeclareEmergencyRequest:
    at_us = now_us()
    told: dict[str, object] = {
        "country": "MX",
        "peer": "GT",
        "time_us": at_us,
        "until_us": at_us + int(hours * HOUR_US),
        "reason": "Invented: a child was taken.",
    }
    signed = sign_emergency(Emergency(**{**told, **changes}), world["MX"].focal_keys[by])  # type: ignore[arg-type]
    return DeclareEmergencyRequest(signed_emergency=signed.SerializeToString())


async def declare(desks: Desks, **changes: object) -> bytes:
    stub = await desks("MX", "focal-1")
    return (await stub.DeclareEmergency(declaration(desks.world, **changes))).emergency_sha256  # type: ignore[arg-type]


def reviewing(world: World, digest: bytes, *, upheld: bool = True, by: int = 1) -> ReviewEmergencyRequest:
    said = EmergencyReview(emergency_sha256=digest, time_us=now_us(), upheld=upheld, reason="Invented: read.")
    return ReviewEmergencyRequest(signed_review=sign_review(said, world["MX"].focal_keys[by]).SerializeToString())


async def review(desks: Desks, digest: bytes, *, upheld: bool = True) -> None:
    await (await desks("MX", "focal-2")).ReviewEmergency(reviewing(desks.world, digest, upheld=upheld))


async def listed(desks: Desks, officer: str = "focal") -> list[EmergencyState]:
    return list(
        (await (await desks("MX", officer)).ListEmergencies(ListEmergenciesRequest(unmask="review"))).emergencies
    )


async def end(desks: Desks) -> None:
    await (await desks("MX", "focal")).EndEmergency(EndEmergencyRequest(peer="GT", reason="Invented: over."))


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def second_focal_point(desks: Desks) -> None:
    """Another officer who is a focal point: who declares does not review."""
    await enrol_second(desks)


async def enrol_second(desks: Desks) -> None:
    enrolment = EnrolOfficerRequest(
        officer="focal-2",
        unit="UNIT-1",
        unit_type=UNIT_TYPE_POLICE_INTELLIGENCE,
        roles=[OFFICER_ROLE_FOCAL_POINT],
    )
    await (await desks("MX", "administrator")).EnrolOfficer(enrolment)


async def test_a_rule_for_emergencies_counts_while_one_is_declared(desks: Desks) -> None:
    before = await seen(desks)
    (hit,) = before.hits
    assert hit.entry.telecom.last_cell != EXACT  # generalised
    victims = await seen(desks, VICTIMS)
    assert victims == Answer()

    digest = await declare(desks)
    (hit,) = (await seen(desks)).hits
    assert hit.entry.telecom.last_cell == EXACT
    assert "MX-13" in {each.rule for each in hit.entry.grants}
    assert await seen(desks, VICTIMS) == victims  # limits and red lines bind as before
    ordinary = await asked(desks, telephone_query(SEEN))
    assert ordinary.hits[0].entry.telecom.last_cell != EXACT  # the rule is for what it is for

    await end(desks)
    assert await seen(desks) == before
    await review(desks, digest)


async def test_without_such_a_rule_nothing_changes(tmp_path: Path) -> None:
    text = (RULEBOOKS / "mx.yaml").read_text()
    without = re.sub(r"- id: MX-13\n(?:  .*\n)+", "", text)
    assert "emergency: true" in text
    assert "emergency: true" not in without
    made = World.make(tmp_path, ("GT", "MX"), rulebooks={"MX": {"release": without.encode()}})
    made["MX"].write((case_record(), [located(SEEN), located(VICTIMS, victim=True)]))
    async with desks_of(made) as desks:
        before = {number: await seen(desks, number) for number in (SEEN, VICTIMS)}
        assert before[SEEN].hits
        await declare(desks)
        assert {number: await seen(desks, number) for number in (SEEN, VICTIMS)} == before


async def test_each_step_is_a_line_that_names_towards_whom_in_private_alone(desks: Desks) -> None:
    book = desks.book("MX")
    before = book.size
    digest = await declare(desks)
    await end(desks)
    await review(desks, digest)
    lines = book.lines(before, kinds=(LEAF_KIND_EMERGENCY,))
    assert [(private_of(line).officer, private_of(line).reason) for line in lines] == [
        ("focal-1", "DECLARED GT: Invented: a child was taken."),
        ("focal", "ENDED GT: Invented: over."),
        ("focal-2", "UPHELD GT: Invented: read."),
    ]
    assert {line.shared.peer for line in lines} == {""}
    assert private_of(lines[0]).subject == digest[:16]
    book.verify()


@pytest.mark.parametrize("how", ["ended", "not upheld"])
async def test_sql_does_not_take_an_end_back(tmp_path: Path, how: str) -> None:
    made = World.make(tmp_path, ("GT", "MX"))
    async with desks_of(made) as desks:
        await enrol_second(desks)
        digest = await declare(desks)
        await (end(desks) if how == "ended" else review(desks, digest, upheld=False))
        with closing(create_engine(made["MX"].config.store.database).raw_connection()) as connection:
            connection.cursor().execute("UPDATE emergencies SET ended_us = NULL, review = NULL, reviewed_by = NULL")
            connection.commit()
        with Database.open_read_only(made["MX"].config.store.database) as database, database.reading() as reading:
            keys = [public_key(key) for key in made["MX"].focal_keys]
            assert store.in_force(reading, "MX", keys, now_us()) == {}


async def test_what_is_not_upheld_ends_at_once(desks: Desks) -> None:
    before = await seen(desks)
    digest = await declare(desks)
    assert await seen(desks) != before
    await review(desks, digest, upheld=False)
    assert await seen(desks) == before
    (state, *_) = await listed(desks, "auditor")
    assert (state.emergency_sha256, state.reviewed_by, state.upheld) == (digest, "focal-2", False)
    assert state.ended_us


@pytest.mark.parametrize(("officer", "key"), [("focal-1", 1), ("focal-2", 0)], ids=["the same officer", "the same key"])
async def test_who_declared_it_does_not_review_it(desks: Desks, officer: str, key: int) -> None:
    book, digest = desks.book("MX"), await declare(desks)
    before, stub = book.size, await desks("MX", officer)
    await refused(
        stub.ReviewEmergency(reviewing(desks.world, digest, by=key)),
        Status.INVALID_ARGUMENT,
        "another focal point than the one who declared it reviews it, with a key of their own",
    )
    (line,) = book.lines(before, kinds=(LEAF_KIND_DENIED,))
    assert (private_of(line).officer, private_of(line).reason) == (officer, "SECOND_FOCAL_POINT")
    await review(desks, digest)
    await end(desks)


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"country": "US"}, Status.INVALID_ARGUMENT),
        ({"peer": "HN"}, Status.INVALID_ARGUMENT),
        ({"time_us": 1, "until_us": 2}, Status.INVALID_ARGUMENT),
    ],
    ids=["another country's", "towards nobody", "of another time"],
)
async def test_a_declaration_that_can_not_be_is_refused(desks: Desks, wrong: dict[str, object], status: Status) -> None:
    await refused(
        (await desks("MX", "focal-1")).DeclareEmergency(
            declaration(desks.world, **wrong)  # type: ignore[arg-type]
        ),
        status,
    )
    assert not await in_force(desks)


async def test_nobody_but_a_focal_points_key_declares(desks: Desks) -> None:
    stub = await desks("MX", "focal")
    told = SignedEmergency.FromString(declaration(desks.world).signed_emergency)
    theirs = sign_emergency(Emergency.FromString(told.emergency), desks.world["GT"].focal_keys[0])
    signed = theirs.SerializeToString()
    await refused(stub.DeclareEmergency(DeclareEmergencyRequest(signed_emergency=signed)), Status.UNAUTHENTICATED)
    await refused(stub.DeclareEmergency(DeclareEmergencyRequest(signed_emergency=b"\xff")), Status.INVALID_ARGUMENT)
    assert not await in_force(desks)


async def test_there_is_one_at_a_time(desks: Desks) -> None:
    digest, stub = await declare(desks), await desks("MX", "focal-2")
    await refused(
        stub.DeclareEmergency(declaration(desks.world, by=1)),
        Status.INVALID_ARGUMENT,
        "an emergency towards GT is in force: end it first",
    )
    await end(desks)
    await refused(
        stub.DeclareEmergency(declaration(desks.world, by=1)),
        Status.INVALID_ARGUMENT,
        "the last emergency towards GT was not reviewed by another focal point",
    )
    await review(desks, digest)


async def test_what_was_never_declared_neither_ends_nor_is_reviewed(desks: Desks) -> None:
    stub = await desks("MX", "focal")
    await refused(stub.EndEmergency(EndEmergencyRequest(peer="GT", reason="None.")), Status.NOT_FOUND)
    await refused(stub.EndEmergency(EndEmergencyRequest(peer="GT")), Status.INVALID_ARGUMENT)
    await refused(stub.ReviewEmergency(reviewing(desks.world, bytes(32))), Status.NOT_FOUND)


async def test_who_signed_it_brings_it(desks: Desks) -> None:
    words = "a signature of focal-2 is brought by focal-2 alone: sign in with their certificate"
    for officer in ("focal", "focal-1"):
        declaring = (await desks("MX", officer)).DeclareEmergency(declaration(desks.world, by=1))
        await refused(declaring, Status.FAILED_PRECONDITION, words)
    digest = await declare(desks)
    reviewed = (await desks("MX", "focal")).ReviewEmergency(reviewing(desks.world, digest))
    await refused(reviewed, Status.FAILED_PRECONDITION, words)
    await review(desks, digest)
    await end(desks)


async def test_who_is_on_duty_declares_alone_and_nobody_else(desks: Desks) -> None:
    now = now_us()
    async with desks.world["MX"].desk_channel("supervisor") as channel:
        roster = DutyStub(channel)
        await roster.SetTurn(SetTurnRequest(from_us=now, until_us=now + HOUR_US, officers=["focal", "focal-1"]))
        book = desks.book("MX")
        before = book.size
        await refused(
            (await desks("MX", "focal-2")).DeclareEmergency(declaration(desks.world, by=1)), Status.PERMISSION_DENIED
        )
        (line,) = book.lines(before, kinds=(LEAF_KIND_DENIED,))
        assert (private_of(line).officer, private_of(line).reason) == ("focal-2", "NOT_ON_DUTY")
        digest = await declare(desks)  # a deputy
        await review(desks, digest)  # on duty or not: another one looks
        await end(desks)
        await roster.SetTurn(SetTurnRequest(from_us=now, until_us=now + HOUR_US, officers=list(FOCAL)))


async def in_force(desks: Desks) -> list[EmergencyState]:
    return [each for each in await listed(desks) if not each.ended_us and each.until_us > now_us()]


async def test_a_node_that_starts_again_has_it_in_force_and_tells_when_nobody_reviewed_it(tmp_path: Path) -> None:
    world = World.make(tmp_path, ("GT", "MX"))
    world["MX"].write((case_record(), [located(SEEN)]))
    async with desks_of(world) as desks:
        await declare(desks)
        declared = await seen(desks)
    late = now_us() - 25 * HOUR_US
    with Database.open(world["MX"].config.store.database) as database, database.engine.begin() as connection:
        connection.execute(update(emergencies).values(declared_us=late))
    async with desks_of(world) as desks:
        assert await seen(desks) == declared
        book = desks.book("MX")

        async def unreviewed() -> list[str]:
            return [private_of(line).reason for line in book.lines(kinds=(LEAF_KIND_EMERGENCY,))]

        reasons = await until(unreviewed, lambda found: "UNREVIEWED GT" in found)
        await asyncio.sleep(2.5)
        assert (await unreviewed()).count("UNREVIEWED GT") == reasons.count("UNREVIEWED GT") == 1
