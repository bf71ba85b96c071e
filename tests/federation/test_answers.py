"""Peers that hang, lie, die or refuse: each shows as such, is a line, and costs the other answers nothing."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from node.cli.parts import Parts
from node.cli.serving import running
from node.errors import MalformedError
from node.federation.envelope import Opened, Signer, new_salt
from node.identity.keys import generate_private_key
from node.wire.codes_pb2 import Purpose, UnitType
from node.wire.desk_pb2 import PeerOutcome, SearchResponse
from node.wire.envelope_pb2 import Statement, StatementType
from node.wire.exchange_pb2 import Answer, Body, Hit, HitOnly, Query, QueryRequest, QueryResponse
from tests.federation.conftest import furnished
from tests.federation.support import NOBODYS, SEEN, Book, altered, private_of, told
from tests.peer_simulator import (
    Behaviour,
    Refusal,
    dying_server,
    hostile_server,
    opened_query,
    sealed_answer,
    signer_of,
    telephone_query,
)
from tests.world import World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR_US = 3_600_000_000
ANSWERED = PeerOutcome.PEER_OUTCOME_ANSWERED
REFUSED = PeerOutcome.PEER_OUTCOME_REFUSED
UNREACHABLE = PeerOutcome.PEER_OUTCOME_UNREACHABLE
LATE = PeerOutcome.PEER_OUTCOME_LATE
INVALID = PeerOutcome.PEER_OUTCOME_INVALID
NOT_ASKED = PeerOutcome.PEER_OUTCOME_NOT_ASKED


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[World, Parts]]:
    """GT, which asks, and US, which answers; where MX would be, a test puts what it likes."""
    world = furnished(World.make(tmp_path_factory.mktemp("asking")))
    async with running(world["US"].config), running(world["GT"].config) as parts:
        yield world, parts


@pytest.fixture
def world(both: tuple[World, Parts]) -> World:
    return both[0]


@pytest_asyncio.fixture(loop_scope="module")
async def gt(both: tuple[World, Parts]) -> Parts:
    await both[1].channels.close()  # no waiting for a server that another test stopped
    return both[1]


async def asked(gt: Parts, *peers: str, deadline_s: float = 3.0, query: Query | None = None) -> list[SearchResponse]:
    return [each async for each in gt.asking.ask(query or telephone_query(), peers, deadline_s)]


async def ends(world: World, gt: Parts, outcome: PeerOutcome.ValueType, deadline_s: float = 3.0) -> SearchResponse:
    """Ask MX alone, and check how it ended: what is shown, what is logged, and that the ledger holds."""
    book = Book(world["GT"], world)
    before = book.size
    (response,) = await asked(gt, "MX", deadline_s=deadline_s)
    assert PeerOutcome.Name(response.outcome) == PeerOutcome.Name(outcome)
    assert response.answer == Answer()
    assert response.detail
    lines = book.lines(before)
    assert [told(line) for line in lines] == [
        ("ASKED", "MX", ""),
        ("UNANSWERED", "MX", PeerOutcome.Name(outcome)),
    ]
    assert {line.shared.exchange_id for line in lines} == {response.exchange_id}
    assert response.ledger_index == lines[-1].index
    assert private_of(lines[-1]).officer == "analyst"
    book.verify()
    return response


# --- answers that do not verify --------------------------------------------------------------------------------------


Making = Callable[[World, Opened, bytes], bytes]


def _bytes(envelope: object) -> bytes:
    return QueryResponse(envelope=envelope).SerializeToString()  # type: ignore[arg-type]


def answered(**changes: object) -> Making:
    def make(world: World, opened: Opened, data: bytes) -> bytes:
        del data
        return _bytes(sealed_answer(world["MX"], opened, None, **changes).envelope)

    return make


def damaged(part: str) -> Making:
    def make(world: World, opened: Opened, data: bytes) -> bytes:
        del data
        envelope = sealed_answer(world["MX"], opened, Answer(hits=[Hit(hit=HitOnly(handle=bytes(16)))])).envelope
        if part == "statement":
            statement = Statement.FromString(envelope.statement)
            statement.time_us += 1
            envelope.statement = statement.SerializeToString()
        else:
            old: bytes = getattr(envelope, part)
            setattr(envelope, part, old[:-1] + bytes([old[-1] ^ 1]))
        return _bytes(envelope)

    return make


def signed_by(signer: Callable[[World], Signer]) -> Making:
    return lambda world, opened, _: _bytes(sealed_answer(world["MX"], opened, signer=signer(world)).envelope)


def with_own_key(world: World) -> Signer:
    signer = signer_of(world["MX"])
    return Signer("MX", "mx-1", signer.key_id, generate_private_key())


def with_another_members_key(world: World) -> Signer:
    other = signer_of(world["US"])
    return Signer("MX", "mx-1", other.key_id, other.private_key)


def to_another_question(world: World, opened: Opened, data: bytes) -> bytes:
    """The exchange id is right, but the statement that is answered is one that GT never sent."""
    del data
    other = Statement()
    other.CopyFrom(opened.statement)
    other.time_us += 1
    fake = Opened(
        statement=opened.statement,
        statement_bytes=other.SerializeToString(),
        key_id=opened.key_id,
        signature=opened.signature,
        body=opened.body,
        body_bytes=opened.body_bytes,
    )
    return _bytes(sealed_answer(world["MX"], fake).envelope)


LIES: dict[str, Making] = {
    "an altered statement": damaged("statement"),
    "an altered body": damaged("body"),
    "an altered ledger line": damaged("leaf_shared"),
    "a false signature": damaged("signature"),
    "an unknown key id": damaged("key_id"),
    "another key": signed_by(with_own_key),
    "another member's key": signed_by(with_another_members_key),
    "another member's name": signed_by(lambda world: signer_of(world["US"])),
    "an answer to another question": to_another_question,
    "an answer to no question": answered(answered=None),
    "somebody else's exchange id": answered(exchange_id=secrets.token_bytes(16)),
    "an answer for another country": answered(recipient="US"),
    "a clock an hour behind": answered(now_us=now_us() - HOUR_US),
    "a clock an hour ahead": answered(now_us=now_us() + HOUR_US),
    "a question": answered(statement_type=StatementType.STATEMENT_TYPE_QUERY),
    "a receipt": answered(statement_type=StatementType.STATEMENT_TYPE_RECEIPT),
    "a body without an answer": answered(body=Body(salt=new_salt())),
    "a body with a question": answered(body=Body(salt=new_salt(), query=telephone_query())),
    "a body without salt": answered(body=Body(answer=Answer())),
    "its own question back": lambda _world, _opened, data: _bytes(QueryRequest.FromString(data).envelope),
    "nothing": lambda *_: b"",
    "an empty envelope": lambda *_: _bytes(None),
    "garbage": lambda *_: b"\xff" * 200,
}


def behaving(world: World, make: Making) -> Behaviour:
    async def behave(data: bytes) -> bytes:
        return make(world, opened_query(world, "GT", "MX", data), data)

    return behave


@pytest.mark.parametrize("lie", LIES)
async def test_an_answer_that_does_not_verify_is_thrown_away(world: World, gt: Parts, lie: str) -> None:
    async with hostile_server(world, "MX", behaving(world, LIES[lie])):
        await ends(world, gt, INVALID)


async def test_an_old_answer_is_none(world: World, gt: Parts) -> None:
    kept: list[bytes] = []

    async def behave(data: bytes) -> bytes:
        kept.append(_bytes(sealed_answer(world["MX"], opened_query(world, "GT", "MX", data)).envelope))
        return kept[0]

    async with hostile_server(world, "MX", behave):
        (first,) = await asked(gt, "MX")
        assert first.outcome == ANSWERED
        await ends(world, gt, INVALID)


async def test_swapped_answers_of_two_questions_are_both_thrown_away(world: World, gt: Parts) -> None:
    answers: dict[int, bytes] = {}
    both_there = asyncio.Event()

    async def behave(data: bytes) -> bytes:
        number = len(answers)
        answers[number] = _bytes(sealed_answer(world["MX"], opened_query(world, "GT", "MX", data)).envelope)
        if len(answers) == 2:
            both_there.set()
        await both_there.wait()
        return answers[1 - number]

    book = Book(world["GT"], world)
    before = book.size
    async with hostile_server(world, "MX", behave):
        one, other = await asyncio.gather(asked(gt, "MX"), asked(gt, "MX", query=telephone_query(NOBODYS)))
    assert [each.outcome for each in (*one, *other)] == [INVALID, INVALID]
    assert sorted(told(line)[0] for line in book.lines(before)) == ["ASKED", "ASKED", "UNANSWERED", "UNANSWERED"]
    book.verify()


# --- answers that do not come ----------------------------------------------------------------------------------------


async def hang(data: bytes) -> bytes:
    await asyncio.sleep(60)
    return data


async def test_a_peer_that_is_down_is_unreachable(world: World, gt: Parts) -> None:
    await ends(world, gt, UNREACHABLE)


async def test_a_peer_that_hangs_costs_its_deadline(world: World, gt: Parts) -> None:
    async with hostile_server(world, "MX", hang):
        started = time.perf_counter()
        late = await ends(world, gt, LATE, deadline_s=0.5)
        assert 0.5 <= time.perf_counter() - started < 2.0
        assert late.elapsed_us >= 450_000


async def test_the_other_answers_come_first_and_do_not_wait(world: World, gt: Parts) -> None:
    async with hostile_server(world, "MX", hang):
        started, times, peers = time.perf_counter(), [], []
        async for each in gt.asking.ask(telephone_query(), ["MX", "US"], 1.0):
            times.append(time.perf_counter() - started)
            peers.append((each.peer, each.outcome))
    assert peers == [("US", ANSWERED), ("MX", LATE)]
    assert times[0] < 0.7 < times[1] < 2.0
    Book(world["GT"], world).verify()


async def test_an_answer_after_the_deadline_is_none(world: World, gt: Parts) -> None:
    sent = asyncio.Event()

    async def behave(data: bytes) -> bytes:
        try:
            await asyncio.sleep(0.5)
        finally:
            sent.set()
        return _bytes(sealed_answer(world["MX"], opened_query(world, "GT", "MX", data)).envelope)

    book = Book(world["GT"], world)
    async with hostile_server(world, "MX", behave):
        await ends(world, gt, LATE, deadline_s=0.3)
        size = book.size
        await sent.wait()
        await asyncio.sleep(0.4)
        assert book.size == size
        # The next question is answered on the same connection.
        (again,) = await asked(gt, "MX", deadline_s=3.0)
        assert again.outcome == ANSWERED
    book.verify()


async def test_a_peer_that_dies_in_the_midst_of_its_answer_is_unreachable(
    world: World, gt: Parts, tmp_path: Path
) -> None:
    async with dying_server(world, "MX", tmp_path) as calls:
        await ends(world, gt, UNREACHABLE)
        assert calls.requests


async def test_an_oversized_answer_is_thrown_away(world: World, gt: Parts) -> None:
    async def behave(data: bytes) -> bytes:
        del data
        return bytes(4_000_000)

    async with hostile_server(world, "MX", behave):
        # gRPC tells a message that is too large and a peer that refuses by the same status.
        await ends(world, gt, REFUSED)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, REFUSED),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, REFUSED),
        (grpc.StatusCode.INTERNAL, REFUSED),
        (grpc.StatusCode.UNAVAILABLE, UNREACHABLE),
        (grpc.StatusCode.CANCELLED, UNREACHABLE),
    ],
    ids=lambda value: getattr(value, "name", value),
)
async def test_a_peer_that_refuses_shows_as_such_and_its_words_do_not(
    world: World, gt: Parts, code: grpc.StatusCode, outcome: PeerOutcome.ValueType
) -> None:
    async def behave(data: bytes) -> bytes:
        del data
        raise Refusal(code, "we know this woman")

    async with hostile_server(world, "MX", behave):
        refused = await ends(world, gt, outcome)
        assert "woman" not in refused.detail


async def test_a_refusal_in_a_signed_answer_is_an_answer(world: World, gt: Parts) -> None:
    async def behave(data: bytes) -> bytes:
        opened = opened_query(world, "GT", "MX", data)
        return _bytes(sealed_answer(world["MX"], opened, Answer(refused=True)).envelope)

    book = Book(world["GT"], world)
    before = book.size
    async with hostile_server(world, "MX", behave):
        (refused,) = await asked(gt, "MX")
    assert refused.outcome == REFUSED
    assert [told(line)[0] for line in book.lines(before)] == ["ASKED", "ANSWERED"]
    book.verify()


async def test_an_exchange_ends_in_the_ledger_though_nobody_waits_for_it(world: World, gt: Parts) -> None:
    book = Book(world["GT"], world)
    before = book.size
    async with hostile_server(world, "MX", hang):
        answers = gt.asking.ask(telephone_query(), ["MX", "US"], 0.5)
        assert (await anext(answers)).peer == "US"
        await answers.aclose()  # type: ignore[attr-defined]
        await gt.asking.drained()
    lines = [told(line) for line in book.lines(before)]
    assert sorted(lines[:2]) == [("ASKED", "MX", ""), ("ASKED", "US", "")]
    assert lines[2:] == [("ANSWERED", "US", ""), ("UNANSWERED", "MX", "PEER_OUTCOME_LATE")]
    book.verify()


# --- what is not asked -----------------------------------------------------------------------------------------------


async def nothing_leaves(world: World, ask: Callable[[], Awaitable[None]], reason: str, peer: str) -> None:
    book = Book(world["GT"], world)
    before = book.size
    async with hostile_server(world, "MX", hang) as calls:
        await ask()
        assert calls.requests == []
    (line,) = book.lines(before)
    assert told(line) == ("DENIED", peer, reason)
    assert private_of(line).officer == "analyst"
    book.verify()


UNFIT = {
    "unknown purpose": altered(telephone_query(), purpose=99),
    "no selector": altered(telephone_query(), selectors=[]),
    "empty selector": telephone_query(""),
    "10,000 selectors": altered(telephone_query(), selectors=list(telephone_query(SEEN).selectors) * 10_000),
}


@pytest.mark.parametrize("fault", UNFIT)
async def test_an_unfit_question_is_not_asked(world: World, gt: Parts, fault: str) -> None:
    async def ask() -> None:
        with pytest.raises(MalformedError):
            await asked(gt, "MX", query=UNFIT[fault])

    await nothing_leaves(world, ask, "MalformedError", "")


FORBIDDEN = {
    "immigration enforcement": altered(telephone_query(), purpose=Purpose.PURPOSE_IMMIGRATION_ENFORCEMENT),
    "by an immigration unit": altered(
        telephone_query(), asker={"officer": "analyst", "unit": "U", "unit_type": UnitType.UNIT_TYPE_IMMIGRATION}
    ),
    "in no covered offence": altered(telephone_query(), crimes=[]),
    "an unlawful purpose": altered(telephone_query(), purpose=Purpose.PURPOSE_POLITICAL),
}


@pytest.mark.parametrize("what", FORBIDDEN)
async def test_what_own_rules_forbid_is_not_asked(world: World, gt: Parts, what: str) -> None:
    async def ask() -> None:
        (response,) = await asked(gt, "MX", query=FORBIDDEN[what])
        assert response.outcome == NOT_ASKED
        assert response.detail

    await nothing_leaves(world, ask, "DeniedError", "MX")
