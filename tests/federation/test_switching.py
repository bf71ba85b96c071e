"""One rulebook gives way to another at the stated instant, under load and in every process; none in force: nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import msgspec
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import URL, Connection, create_engine

from node.cli.parts import Parts
from node.cli.serving import running
from node.config import Listen
from node.errors import SignatureError
from node.identity.keys import public_key
from node.wire.desk_pb2 import PEER_OUTCOME_ANSWERED, PEER_OUTCOME_NOT_ASKED, GetStatusRequest, SearchRequest
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.ledger_pb2 import LeafKind
from node.wire.rulebook_pb2 import RevokeRulebookRequest, ScheduleRulebookRequest
from tests.conftest import postgres_database
from tests.federation.conftest import furnished
from tests.federation.support import ANSWERED, ASKED, DENIED, Book, private_of, told
from tests.federation.test_upkeep import until
from tests.peer_simulator import channel_to, opened_answer, request, sealed_query, send, telephone_query
from tests.rulebooks import approval_of, propose, read, sign
from tests.world import FLOOR, RULEBOOKS, Place, World, free_ports, now_us

CALLERS = 6
SILENCE = b"""- id: %b-0
  title: {en: "Nothing leaves"}
  law: "%b"
  effect: deny
  when: {paired: ["YES"]}
"""


def old(place: Place, layer: str = "release") -> bytes:
    suffix = "" if layer == "release" else f"-{layer}"
    return (RULEBOOKS / f"{place.code.lower()}{suffix}.yaml").read_bytes()


def silent(place: Place, layer: str = "release") -> bytes:
    """The next version, by which nothing leaves."""
    text = old(place, layer)
    assert b"\nred_lines:" not in text
    law = read(text).rules[0].law.partition(";")[0]
    return text.replace(b"\nversion: 1\n", b"\nversion: 2\n") + SILENCE % (place.code.encode(), law.encode())


def approve(place: Place, book: bytes) -> None:
    """What two focal points have done, while the node is down."""
    focal = {f"focal-{number}": public_key(key) for number, key in enumerate(place.focal_keys, start=1)}

    def change(connection: Connection) -> None:
        propose(connection, book, approval_of(book, now_us(), FLOOR))
        sign(connection, book, focal, place.focal_keys, now_us())

    place.change(change)


async def schedule(place: Place, book: bytes) -> int:
    async with place.desk_channel("focal") as channel:
        response = await DeskStub(channel).ScheduleRulebook(ScheduleRulebookRequest(sha256=read(book).sha256))
    return response.activates_us


async def revoke(place: Place, book: bytes) -> None:
    request = RevokeRulebookRequest(sha256=read(book).sha256, reason="an invented mistake")
    async with place.desk_channel("focal") as channel:
        await DeskStub(channel).RevokeRulebook(request)


@asynccontextmanager
async def processes(world: World, count: int) -> AsyncIterator[list[tuple[Parts, grpc.aio.Channel]]]:
    """MX's node as so many processes over one database, each with a connection of GT's."""
    place, config = world["MX"], world["MX"].config
    async with AsyncExitStack() as stack:
        opened = []
        for number in range(count):
            listen = Listen(*(f"127.0.0.1:{port}" for port in free_ports(3))) if number else config.listen
            parts = await stack.enter_async_context(running(msgspec.structs.replace(config, listen=listen)))
            peer, place.peer = place.peer, listen.peer
            channel = await stack.enter_async_context(channel_to(place, world["GT"].node))
            place.peer = peer
            opened.append((parts, channel))
        yield opened


async def asked(world: World, channel: grpc.aio.Channel) -> tuple[int, int]:
    """When MX decided on a question of GT, and how many entries it told of."""
    sealed = sealed_query(world["GT"], "MX", telephone_query())
    opened = opened_answer(world, "MX", "GT", sealed, await send(channel, request(sealed)))
    return opened.statement.time_us, len(opened.body.answer.hits)


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_every_answer_is_decided_under_the_rulebook_of_its_time(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if backend == "sqlite":
        await switched(furnished(World.make(tmp_path, ("GT", "MX"))), 1)
        return
    server: URL = request.getfixturevalue("postgres_server")
    with postgres_database(server) as url:
        await switched(furnished(World.make(tmp_path, ("GT", "MX"), databases={"MX": url})), 2)


async def switched(world: World, count: int) -> None:
    place, book = world["MX"], Book(world["MX"], world)
    before, after = old(place), silent(place)
    approve(place, after)
    answers: list[tuple[int, int]] = []
    async with processes(world, count) as nodes:
        instant = await schedule(place, after)

        async def caller(channel: grpc.aio.Channel) -> None:
            while now_us() < instant + 1_500_000:
                answers.append(await asked(world, channel))
                await asyncio.sleep(0 if abs(now_us() - instant) < 700_000 else 0.05)

        async with asyncio.TaskGroup() as callers:
            for number in range(CALLERS):
                callers.create_task(caller(nodes[number % count][1]))
        await until(
            lambda: ("RULEBOOK", "", "SUPERSEDED RELEASE 1 MX-RELEASE") in [told(each) for each in book.lines()]
        )

    assert {told_of for at_us, told_of in answers if at_us < instant} == {1}
    assert {told_of for at_us, told_of in answers if at_us >= instant} == {0}
    lines = book.lines(kinds={ANSWERED})
    assert len(lines) == len(answers) > 100
    digests = {True: read(before).sha256, False: read(after).sha256}
    for line in lines:
        assert private_of(line).release_sha256 == digests[line.shared.time_us < instant]
        assert private_of(line).floor_sha256 == read(FLOOR).sha256
    assert {line.shared.time_us < instant for line in lines} == {True, False}
    steps = [told(line)[2] for line in book.lines(kinds={LeafKind.LEAF_KIND_RULEBOOK})]
    # Whichever process noticed first: once.
    assert steps.count("IN_FORCE RELEASE 2 MX-RELEASE") == steps.count("SUPERSEDED RELEASE 1 MX-RELEASE") == 1
    book.verify()


async def test_what_may_be_asked_changes_at_its_instant_too(tmp_path: Path) -> None:
    world = furnished(World.make(tmp_path, ("GT", "MX")))
    gt, book = world["GT"], Book(world["GT"], world)
    after = silent(gt, "outbound")
    approve(gt, after)
    async with running(world["MX"].config), running(gt.config):
        instant = await schedule(gt, after)
        outcomes: dict[bool, set[int]] = {True: set(), False: set()}
        async with gt.desk_channel() as channel:
            while now_us() < instant + 500_000:
                began_us = now_us()
                search = SearchRequest(query=telephone_query(), peers=["MX"], deadline_ms=3_000)
                (answer,) = [each async for each in DeskStub(channel).Search(search)]
                if began_us >= instant or now_us() < instant:  # else it was decided on either side
                    outcomes[began_us < instant].add(answer.outcome)
    assert outcomes == {True: {PEER_OUTCOME_ANSWERED}, False: {PEER_OUTCOME_NOT_ASKED}}
    assert [told(line)[2] for line in book.lines(kinds={DENIED})][-1] == "DeniedError"
    for line in book.lines(kinds={ASKED}):
        assert line.shared.time_us < instant
        assert private_of(line).outbound_sha256 == read(old(gt, "outbound")).sha256
    book.verify()


async def in_force(place: Place) -> dict[str, tuple[bool, str]]:
    async with place.desk_channel("administrator") as channel:
        books = (await DeskStub(channel).GetStatus(GetStatusRequest())).rulebooks
    return {book.layer: (book.in_force, book.detail) for book in books}


def gauge(name: str, layer: str) -> float:
    value = REGISTRY.get_sample_value(name, {"layer": layer})
    assert value is not None
    return value


async def test_a_revoked_rulebook_denies_everything_at_once(tmp_path: Path) -> None:
    world = furnished(World.make(tmp_path, ("GT", "MX")))
    place, book = world["MX"], Book(world["MX"], world)
    async with processes(world, 1) as [(_, channel)]:
        assert (await asked(world, channel))[1] == 1
        await until(lambda: gauge("enlace_rulebook_in_force", "release") == 1)
        assert gauge("enlace_rulebook_expires_seconds", "release") == read(old(place)).valid_until_us / 1e6
        before = book.size
        await revoke(place, old(place))
        assert (await asked(world, channel))[1] == 0
        revoked, answered = book.lines(before)
        assert told(revoked) == ("RULEBOOK", "", "REVOKED RELEASE 1 MX-RELEASE")
        assert private_of(answered).release_sha256 == b""
        assert (await in_force(place))["release"] == (False, "it was revoked")
        await until(lambda: gauge("enlace_rulebook_in_force", "release") == 0)
        assert gauge("enlace_rulebook_expires_seconds", "release") == 0
        assert gauge("enlace_rulebook_in_force", "floor") == 1
    async with processes(world, 1) as [(_, channel)]:  # and after a restart
        assert (await asked(world, channel))[1] == 0
    book.verify()


async def test_a_rulebook_is_not_in_force_after_its_validity(tmp_path: Path) -> None:
    short = valid_for(seconds=6)
    world = furnished(World.make(tmp_path / "world", ("GT", "MX"), rulebooks={"MX": {"release": short}}))
    place = world["MX"]
    async with processes(world, 1) as [(_, channel)]:
        answers = []
        while now_us() < read(short).valid_until_us + 200_000:
            answers.append(await asked(world, channel))
        ends_us = read(short).valid_until_us
        assert {told_of for at_us, told_of in answers if at_us < ends_us} == {1}
        assert {told_of for at_us, told_of in answers if at_us >= ends_us} == {0}
        assert (await in_force(place))["release"] == (False, "MX-RELEASE 1 is not valid at this time")
        await until(lambda: gauge("enlace_rulebook_in_force", "release") == 0)


def valid_for(seconds: int) -> bytes:
    """Mexico's rulebook, whose validity ends in so many seconds."""
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    book = (RULEBOOKS / "mx.yaml").read_bytes()
    old = b'valid_until: "2031-01-01T00:00:00Z"'
    assert book.count(old) == 1
    return book.replace(old, f'valid_until: "{until:%Y-%m-%dT%H:%M:%SZ}"'.encode())


TAMPERED = {
    "another text": "UPDATE rulebooks SET content = CAST('rules: []' AS BLOB) WHERE layer = 'release'",
    "a signature less": "DELETE FROM rulebook_signatures WHERE layer = 'release' AND focal_point = 'focal-1'",
    "no history": "DELETE FROM rulebook_steps WHERE layer = 'release'",
    "no people": "UPDATE focal_points SET enrolment = CAST('' AS BLOB)",
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_sql_puts_nothing_in_force_and_takes_it_out_within_moments(tmp_path: Path, what: str) -> None:
    world = furnished(World.make(tmp_path, ("GT", "MX")))
    place = world["MX"]
    async with processes(world, 1) as [(parts, channel)]:
        assert (await asked(world, channel))[1] == 1
        with closing(create_engine(place.config.store.database).raw_connection()) as connection:
            connection.cursor().execute(TAMPERED[what])
            connection.commit()
        await until(lambda: parts.standing.rulebook("release", now_us()) is None)
        assert (await asked(world, channel))[1] == 0
        states = await in_force(place)
        assert states["release"][0] is False
        assert states["release"][1]
        await until(lambda: gauge("enlace_rulebook_in_force", "release") == 0)
        assert parts.upkeep is not None
        assert not parts.upkeep.done()
    if what == "no people":  # by whom peers are paired, too
        with pytest.raises(SignatureError, match="enrolment 1 was not written by this node"):
            await AsyncExitStack().enter_async_context(running(place.config))
    else:  # nor after a restart
        async with running(place.config) as parts:
            assert parts.standing.rulebook("release", now_us()) is None
