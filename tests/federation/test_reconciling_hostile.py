"""Peers that use reconciling to learn more, to blame others, or to wear a node out."""

import asyncio
import secrets
from collections.abc import Callable, Sequence

import grpc
import pytest

from node.cli.serving import running
from node.errors import (
    ClockError,
    MalformedError,
    MisdirectedError,
    NotPairedError,
    OverloadedError,
    ReplayError,
    SignatureError,
)
from node.federation.channels import RECONCILE
from node.federation.envelope import Opened, Sealed, new_salt, open_envelope, seal
from node.federation.reconciling import MOST
from node.identity.keys import generate_private_key, public_key
from node.ledger.reconcile import LONGEST_US, PAGE
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.envelope_pb2 import (
    STATEMENT_TYPE_ANSWER,
    STATEMENT_TYPE_RECONCILE_ANSWER,
    STATEMENT_TYPE_RECONCILE_QUERY,
    Statement,
)
from node.wire.exchange_pb2 import Answer, Body
from node.wire.reconcile_pb2 import (
    Commitment,
    ListFindingsRequest,
    ReconcileAnswer,
    ReconcileLedgerRequest,
    ReconcileQuery,
    ReconcileRequest,
    ReconcileResponse,
)
from tests.federation.support import SEEN, Book, private_of, refused, rejected, told
from tests.peer_simulator import (
    Behaviour,
    channel_to,
    hostile_server,
    opened_answer,
    request,
    sealed_query,
    send,
    signer_of,
    telephone_query,
)
from tests.pki import node_certificate
from tests.world import Place, World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

Status = grpc.StatusCode
DAY_US = 86_400_000_000
Answering = Callable[[ReconcileQuery, Opened], ReconcileAnswer]


def period(**changes: object) -> ReconcileQuery:
    values: dict[str, object] = {"since_us": now_us() - DAY_US, "until_us": now_us(), **changes}
    return ReconcileQuery(**values)  # type: ignore[arg-type]


def sealed_period(sender: Place, query: ReconcileQuery, **changes: object) -> Sealed:
    values: dict[str, object] = {
        "statement_type": STATEMENT_TYPE_RECONCILE_QUERY,
        "exchange_id": secrets.token_bytes(16),
        "recipient": "MX",
        "body": Body(salt=new_salt(), reconcile_query=query),
        "now_us": now_us(),
        "directory_version": 1,
    }
    return seal(signer_of(sender), **(values | changes))  # type: ignore[arg-type]


def serialised(sealed: Sealed) -> bytes:
    return ReconcileRequest(envelope=sealed.envelope).SerializeToString()


def opened(world: World, sender: str, recipient: str, data: bytes, *, answers: Sealed | None = None) -> Opened:
    answer = answers is not None
    message = ReconcileResponse.FromString(data) if answer else ReconcileRequest.FromString(data)
    return open_envelope(
        message.envelope,
        expected=STATEMENT_TYPE_RECONCILE_ANSWER if answer else STATEMENT_TYPE_RECONCILE_QUERY,
        sender=sender,
        recipient=recipient,
        public_key=lambda country, _node, _key, _at: public_key(world[country].signing_key),
        now_us=now_us(),
        window_us=60_000_000,
        answers=answers,
    )


# --- as a caller -----------------------------------------------------------------------------------------------------


async def asked(world: World, channel: grpc.aio.Channel, sender: str, query: ReconcileQuery) -> ReconcileAnswer:
    sealed = sealed_period(world[sender], query)
    data = await send(channel, serialised(sealed), RECONCILE)
    return opened(world, "MX", sender, data, answers=sealed).body.reconcile_answer


async def test_a_peer_is_told_of_its_own_exchanges_alone(world: World, channel: grpc.aio.Channel, book: Book) -> None:
    since_us = now_us()
    ids = {}
    for code in ("GT", "US"):
        async with channel_to(world["MX"], world[code].node) as to_mx:
            sealed = sealed_query(world[code], "MX", telephone_query(SEEN))
            opened_answer(world, "MX", code, sealed, await send(to_mx, request(sealed)))
            ids[code] = Statement.FromString(sealed.statement).exchange_id
    for code in ("GT", "US"):
        async with channel_to(world["MX"], world[code].node) as to_mx:
            answer = await asked(world, to_mx, code, period(since_us=since_us, until_us=now_us()))
        assert [each.exchange_id for each in answer.commitments] == [ids[code]]
        assert (answer.more, answer.commitments[0].answered) == (False, True)
    assert told(book.lines()[-1]) == ("RECONCILE_ANSWERED", "US", "1 COMMITMENTS")
    del channel


async def test_answers_about_hits_and_no_hits_have_the_same_size(world: World, channel: grpc.aio.Channel) -> None:
    sizes = set()
    for number in (SEEN, "+12025550198"):
        since_us = now_us()
        sealed = sealed_query(world["GT"], "MX", telephone_query(number))
        await send(channel, request(sealed))
        question = sealed_period(world["GT"], period(since_us=since_us, until_us=now_us()))
        sizes.add(len(await send(channel, serialised(question), RECONCILE)))
    assert len(sizes) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"since_us": 10, "until_us": 10},
        {"since_us": 11, "until_us": 10},
        {"until_us": 2**64 - 1},
        {"since_us": 0, "until_us": LONGEST_US + 1},
        {"after_us": 1},
        {"after_exchange_id": bytes(16)},
        {"after_us": 1, "after_exchange_id": bytes(16)},
    ],
)
async def test_a_period_that_makes_no_sense_is_refused(
    world: World, channel: grpc.aio.Channel, changes: dict[str, object]
) -> None:
    call = send(channel, serialised(sealed_period(world["GT"], period(**changes))), RECONCILE)
    await refused(world, call, Status.INVALID_ARGUMENT, rejected("MalformedError"), words=MalformedError.public)


async def test_what_is_no_such_question_is_refused(world: World, channel: grpc.aio.Channel) -> None:
    await refused(world, send(channel, b"\xff", RECONCILE), Status.INVALID_ARGUMENT, rejected("MalformedError"))
    other = sealed_query(world["GT"], "MX", telephone_query())
    await refused(world, send(channel, request(other), RECONCILE), Status.INVALID_ARGUMENT, rejected("MalformedError"))
    empty = sealed_period(world["GT"], period(), body=Body(salt=new_salt(), answer=Answer()))
    await refused(
        world, send(channel, serialised(empty), RECONCILE), Status.INVALID_ARGUMENT, rejected("MalformedError")
    )


async def test_a_question_in_anothers_name_or_at_another_time_is_refused(
    world: World, channel: grpc.aio.Channel
) -> None:
    theirs = serialised(sealed_period(world["US"], period()))
    await refused(
        world,
        send(channel, theirs, RECONCILE),
        Status.PERMISSION_DENIED,
        rejected("MisdirectedError"),
        words=MisdirectedError.public,
    )
    old = serialised(sealed_period(world["GT"], period(), now_us=now_us() - 3_600_000_000))
    await refused(
        world,
        send(channel, old, RECONCILE),
        Status.FAILED_PRECONDITION,
        rejected("ClockError"),
        words=ClockError.public,
    )
    sealed = sealed_period(world["GT"], period())
    sealed.envelope.body = sealed.envelope.body[:-1]
    await refused(
        world,
        send(channel, serialised(sealed), RECONCILE),
        Status.UNAUTHENTICATED,
        rejected("SignatureError"),
        words=SignatureError.public,
    )


async def test_another_node_of_the_same_country_can_not_ask_in_this_ones_name(world: World) -> None:
    other = node_certificate(world["GT"].ca, "gt-2", dns_names=("gt-2.gt.enlace.example",))
    async with channel_to(world["MX"], other) as channel:
        call = send(channel, serialised(sealed_period(world["GT"], period())), RECONCILE)
        await refused(world, call, Status.PERMISSION_DENIED, rejected("MisdirectedError"))


async def test_a_question_is_answered_once(world: World, channel: grpc.aio.Channel, book: Book) -> None:
    data = serialised(sealed_period(world["GT"], period()))
    await send(channel, data, RECONCILE)
    await refused(
        world, send(channel, data, RECONCILE), Status.ALREADY_EXISTS, rejected("ReplayError"), words=ReplayError.public
    )
    book.verify()


async def test_who_is_not_paired_is_told_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = World.make(tmp_path_factory.mktemp("unpaired"), ("GT", "MX"), paired=False)
    async with running(world["MX"].config), channel_to(world["MX"], world["GT"].node) as channel:
        call = send(channel, serialised(sealed_period(world["GT"], period())), RECONCILE)
        words = NotPairedError.public
        await refused(world, call, Status.PERMISSION_DENIED, rejected("NotPairedError"), words=words)


async def test_one_look_through_the_ledger_at_a_time_for_each_peer(
    world: World, channel: grpc.aio.Channel, book: Book
) -> None:
    before = book.size
    calls = [
        send(channel, serialised(sealed_period(world["GT"], period(since_us=now_us() - 300 * DAY_US))), RECONCILE)
        for _ in range(8)
    ]
    ended = await asyncio.gather(*calls, return_exceptions=True)
    answered = [each for each in ended if isinstance(each, bytes)]
    overloaded = [each for each in ended if isinstance(each, grpc.aio.AioRpcError)]
    assert answered
    assert {(each.code(), each.details()) for each in overloaded} <= {
        (Status.RESOURCE_EXHAUSTED, OverloadedError.public)
    }
    assert book.size == before + 8  # answered or refused, each has its line


# --- as the one that is asked ----------------------------------------------------------------------------------------


def answering(world: World, make: Answering, **changes: object) -> Behaviour:
    """Answer as MX, whose keys it has, with what a test makes of the question."""

    async def behave(data: bytes) -> bytes:
        question = opened(world, "GT", "MX", data)
        answer = make(question.body.reconcile_query, question)
        values: dict[str, object] = {
            "statement_type": STATEMENT_TYPE_RECONCILE_ANSWER,
            "exchange_id": question.statement.exchange_id,
            "recipient": "GT",
            "body": Body(salt=new_salt(), reconcile_answer=answer),
            "now_us": now_us(),
            "directory_version": 1,
            "answered": question,
        }
        signer = changes.get("signer", signer_of(world["MX"]))
        values |= {name: value for name, value in changes.items() if name != "signer"}
        sealed = seal(signer, **values)  # type: ignore[arg-type]
        return ReconcileResponse(envelope=sealed.envelope).SerializeToString()

    return behave


def commitments(query: ReconcileQuery, count: int = 3) -> list[Commitment]:
    """Well-formed ones, behind the place that the question names."""
    first_us = max(query.since_us, query.after_us) + 1
    return [
        Commitment(
            exchange_id=secrets.token_bytes(16),
            time_us=first_us + place,
            answered=True,
            statements_sha256=secrets.token_bytes(32),
        )
        for place in range(count)
    ]


def page(change: Callable[[list[Commitment]], Sequence[Commitment]], *, more: bool = False) -> Answering:
    return lambda query, _: ReconcileAnswer(commitments=change(commitments(query)), more=more)


def with_time(made: list[Commitment], time_us: int) -> list[Commitment]:
    made[-1].time_us = time_us
    return made


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> World:
    """GT, whose MX is a test's."""
    return World.make(tmp_path_factory.mktemp("quiet"))


async def not_believed(world: World, behave: Behaviour, code: grpc.StatusCode, reason: str, calls: int = 1) -> None:
    """GT refuses what MX says, raises no finding, and its ledger says why."""
    book = Book(world["GT"], world)
    async with (
        hostile_server(world, "MX", behave) as came,
        running(world["GT"].config),
        world["GT"].desk_channel("auditor") as channel,
    ):
        before, stub = book.size, DeskStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ReconcileLedger(ReconcileLedgerRequest(peer="MX"), timeout=60)
        assert caught.value.code() == code, caught.value.details()
        assert not (await stub.ListFindings(ListFindingsRequest())).findings
    assert len(came.requests) == calls
    lines = book.lines(before)
    assert [told(each) for each in lines[:2]] == [("RECONCILE_ASKED", "MX", "RECONCILE"), ("UNANSWERED", "MX", reason)]
    assert private_of(lines[1]).officer == "auditor"
    book.verify()


@pytest.mark.parametrize(
    "make",
    [
        page(lambda made: [*made, made[-1]]),  # twice
        page(lambda made: made[::-1]),
        page(lambda made: with_time(made, 2**64 - 1)),
        page(lambda made: with_time(made, now_us() + DAY_US)),
        page(lambda made: with_time(made, 1)),
        page(lambda made: made, more=True),  # pages that never end
        page(lambda _: [], more=True),
        page(lambda made: [Commitment(exchange_id=b"x", time_us=made[0].time_us, statements_sha256=bytes(32))]),
        page(lambda made: [Commitment(exchange_id=bytes(16), time_us=made[0].time_us, statements_sha256=b"Juan")]),
        lambda query, _: ReconcileAnswer(commitments=commitments(query, PAGE + 1)),
    ],
)
async def test_lists_that_the_contract_does_not_allow_are_refused(quiet: World, make: Answering) -> None:
    await not_believed(quiet, answering(quiet, make), Status.INVALID_ARGUMENT, "MalformedError")


async def test_an_exchange_with_another_country_is_no_business_of_this_one(quiet: World) -> None:
    # US has asked GT; a peer that names that exchange has its id from somewhere else.
    world = quiet
    async with running(world["GT"].config), channel_to(world["GT"], world["US"].node) as channel:
        sealed = sealed_query(world["US"], "GT", telephone_query())
        await send(channel, request(sealed))
    stolen = Statement.FromString(sealed.statement)

    def make(query: ReconcileQuery, _: Opened) -> ReconcileAnswer:
        (made,) = commitments(query, 1)
        made.exchange_id = stolen.exchange_id
        return ReconcileAnswer(commitments=[made])

    await not_believed(world, answering(world, make), Status.PERMISSION_DENIED, "MisdirectedError")


async def test_answers_that_nobody_of_the_peer_signed_for_this_question_are_refused(quiet: World) -> None:
    def make(query: ReconcileQuery, _: Opened) -> ReconcileAnswer:
        return ReconcileAnswer(commitments=commitments(query))

    own = signer_of(quiet["MX"])
    forged = type(own)(own.country, own.node, own.key_id, generate_private_key())
    cases: list[tuple[dict[str, object], grpc.StatusCode, str]] = [
        ({"signer": forged}, Status.UNAUTHENTICATED, "SignatureError"),
        ({"signer": signer_of(quiet["US"])}, Status.PERMISSION_DENIED, "MisdirectedError"),
        ({"exchange_id": bytes(16)}, Status.INVALID_ARGUMENT, "MalformedError"),
        ({"answered": None}, Status.PERMISSION_DENIED, "MisdirectedError"),
        ({"recipient": "US"}, Status.PERMISSION_DENIED, "MisdirectedError"),
        ({"now_us": now_us() - 3_600_000_000}, Status.FAILED_PRECONDITION, "ClockError"),
        ({"statement_type": STATEMENT_TYPE_ANSWER}, Status.INVALID_ARGUMENT, "MalformedError"),
        ({"body": Body(salt=new_salt(), answer=Answer())}, Status.INVALID_ARGUMENT, "MalformedError"),
    ]
    for changes, code, reason in cases:
        await not_believed(quiet, answering(quiet, make, **changes), code, reason)


async def garbage(data: bytes) -> bytes:
    del data
    return b"\xff\xff"


async def test_garbage_is_refused(quiet: World) -> None:
    await not_believed(quiet, garbage, Status.INVALID_ARGUMENT, "MalformedError")


async def test_pages_without_end_are_given_up(quiet: World) -> None:
    def make(query: ReconcileQuery, _: Opened) -> ReconcileAnswer:
        return ReconcileAnswer(commitments=commitments(query, PAGE), more=True)

    book, pages = Book(quiet["GT"], quiet), MOST // PAGE + 1
    async with (
        hostile_server(quiet, "MX", answering(quiet, make)) as came,
        running(quiet["GT"].config),
        quiet["GT"].desk_channel("auditor") as channel,
    ):
        before, stub = book.size, DeskStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ReconcileLedger(ReconcileLedgerRequest(peer="MX"), timeout=120)
        assert caught.value.code() == Status.INVALID_ARGUMENT
        assert len(came.requests) == pages
        assert book.size == before + 2 * pages
        assert not (await stub.ListFindings(ListFindingsRequest())).findings
