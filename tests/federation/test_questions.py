"""Questions and bytes of an identified peer that are not accepted: refused, logged, and nothing is lost."""

import grpc
import pytest

from node.cli.serving import running
from node.errors import (
    MalformedError,
    OverloadedError,
)
from node.federation.channels import ACKNOWLEDGE, GET_DIRECTORY, PUSH_REVOCATIONS, QUERY
from node.wire.codes_pb2 import Crime, LookupKind, Purpose, UnitType, Urgency
from node.wire.entry_pb2 import DateInterval
from node.wire.exchange_pb2 import Answer, PersonBasis, Query, Selector
from tests.federation.support import (
    SEEN,
    Book,
    altered,
    private_of,
    refused,
    rejected,
    still_answers,
    told,
)
from tests.peer_simulator import (
    channel_to,
    opened_answer,
    request,
    sealed_query,
    send,
    telephone_query,
)
from tests.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

Status = grpc.StatusCode


# --- the question ----------------------------------------------------------------------------------------------------


def asking(**changes: object) -> Query:
    return altered(telephone_query(), **changes)


def by_telephone(value: str) -> Selector:
    return Selector(kind=LookupKind.LOOKUP_KIND_TELEPHONE, value=value)


def by_name(name: str) -> Selector:
    return Selector(kind=LookupKind.LOOKUP_KIND_NAME, value=name)


BASIS = PersonBasis(
    offence=Crime.CRIME_TRAFFICKING,
    when=DateInterval(first_day=20_000, last_day=20_001),
    place_country="MX",
    place="Tapachula",
    factual_basis="Invented statement of a witness.",
)


def naming(**basis: object) -> Query:
    return asking(selectors=[by_name("Invented Person")], person_basis=altered(BASIS, **basis))


UNFIT: dict[str, Query] = {
    "no purpose": asking(purpose=0),
    "unknown purpose": asking(purpose=99),
    "unknown urgency": asking(urgency=99),
    "unknown crime": asking(crimes=[99]),
    "unknown unit type": asking(asker={"officer": "analyst", "unit": "UNIT-1", "unit_type": 99}),
    "nobody asks": asking(asker={}),
    "no selector": asking(selectors=[]),
    "empty selector": asking(selectors=[by_telephone("")]),
    "blank selector": asking(selectors=[by_telephone("  \t")]),
    "selector of no kind": asking(selectors=[Selector(value=SEEN)]),
    "selector of unknown kind": asking(selectors=[Selector(kind=99, value=SEEN)]),  # type: ignore[arg-type]
    "21 selectors": asking(selectors=[by_telephone(SEEN)] * 21),
    "10,000 selectors": asking(selectors=[by_telephone(SEEN)] * 10_000),
    "long selector": asking(selectors=[by_telephone("1" * 300)]),
    "urgent without a reason": asking(urgency=Urgency.URGENCY_URGENT),
    "life without a reason": asking(urgency=Urgency.URGENCY_LIFE),
    "a person without a basis": asking(selectors=[by_name("Invented Person")]),
    "a person among telephones": asking(selectors=[by_telephone(SEEN), by_name("Invented Person")]),
    "a person without an offence": naming(offence=0),
    "a person without a time": naming(when=None),
    "a person at a time that ends before it begins": naming(when=DateInterval(first_day=2, last_day=1)),
    "a person without a country": naming(place_country=""),
    "a person in no country": naming(place_country="XX"),
    "a person without a place": naming(place=" "),
    "a person without facts": naming(factual_basis=""),
}


@pytest.mark.parametrize("fault", UNFIT)
async def test_an_unfit_question_is_refused(world: World, channel: grpc.aio.Channel, fault: str) -> None:
    sealed = sealed_query(world["GT"], "MX", UNFIT[fault])
    await refused(
        world,
        send(channel, request(sealed)),
        Status.INVALID_ARGUMENT,
        rejected("MalformedError"),
        words=MalformedError.public,
    )


async def test_a_person_with_a_basis_may_be_named(world: World, channel: grpc.aio.Channel) -> None:
    sealed = sealed_query(world["GT"], "MX", naming())
    opened_answer(world, "MX", "GT", sealed, await send(channel, request(sealed)))


async def test_the_same_selector_twenty_times_finds_an_entry_once(world: World, channel: grpc.aio.Channel) -> None:
    sealed = sealed_query(world["GT"], "MX", asking(selectors=[by_telephone(SEEN)] * 20))
    answer = opened_answer(world, "MX", "GT", sealed, await send(channel, request(sealed))).body.answer
    assert len(answer.hits) == 1


async def test_a_page_beyond_the_last_is_empty(world: World, channel: grpc.aio.Channel) -> None:
    sealed = sealed_query(world["GT"], "MX", asking(page=2**32 - 1))
    answer = opened_answer(world, "MX", "GT", sealed, await send(channel, request(sealed))).body.answer
    assert answer == Answer()


FORBIDDEN = {
    "immigration enforcement": (asking(purpose=Purpose.PURPOSE_IMMIGRATION_ENFORCEMENT), "PURPOSE"),
    "asylum decision": (asking(purpose=Purpose.PURPOSE_ASYLUM_DECISION), "PURPOSE"),
    "political": (asking(purpose=Purpose.PURPOSE_POLITICAL), "PURPOSE"),
    "commercial": (asking(purpose=Purpose.PURPOSE_COMMERCIAL), "PURPOSE"),
    "an immigration unit": (
        asking(asker={"officer": "analyst", "unit": "UNIT-1", "unit_type": UnitType.UNIT_TYPE_IMMIGRATION}),
        "PURPOSE",
    ),
    "no instrument": (asking(instrument=""), "NO_INSTRUMENT"),
    "an instrument that is none": (asking(instrument="NONE-SUCH"), "NO_INSTRUMENT"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
async def test_what_is_forbidden_is_refused_in_a_signed_answer_that_gives_no_reason(
    world: World, book: Book, channel: grpc.aio.Channel, what: str
) -> None:
    query, reason = FORBIDDEN[what]
    sealed, before = sealed_query(world["GT"], "MX", query), book.size
    answer = opened_answer(world, "MX", "GT", sealed, await send(channel, request(sealed))).body.answer
    assert answer == Answer(refused=True)
    (line,) = book.lines(before)
    assert told(line) == ("ANSWERED", "GT", reason)
    assert private_of(line).released == private_of(line).hits == 0
    book.verify()


# --- bytes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [QUERY, ACKNOWLEDGE, GET_DIRECTORY, PUSH_REVOCATIONS])
async def test_malformed_protobuf_is_refused(world: World, channel: grpc.aio.Channel, method: str) -> None:
    (line,) = await refused(
        world,
        send(channel, b"\x0a\xff\xff\xff\xff\x0f", method),
        Status.INVALID_ARGUMENT,
        rejected("MalformedError"),
        words=MalformedError.public,
    )
    assert line.shared.body_sha256
    await still_answers(world)


@pytest.mark.parametrize("method", [QUERY, ACKNOWLEDGE])
async def test_an_empty_message_is_refused(world: World, channel: grpc.aio.Channel, method: str) -> None:
    await refused(world, send(channel, b"", method), Status.INVALID_ARGUMENT, rejected("MalformedError"))


@pytest.mark.parametrize("method", [QUERY, GET_DIRECTORY])
async def test_64_mebibytes_are_refused(world: World, method: str) -> None:
    async with channel_to(world["MX"], world["GT"].node) as channel:
        call = send(channel, bytes(64 * 1_048_576), method)
        await refused(world, call, Status.RESOURCE_EXHAUSTED, rejected("TooLargeError"))
    await still_answers(world)


async def test_a_statement_or_body_of_garbage_is_refused(world: World, channel: grpc.aio.Channel) -> None:
    sealed = sealed_query(world["GT"], "MX", telephone_query())
    sealed.envelope.statement = b"\xff" * 40
    await refused(world, send(channel, request(sealed)), Status.INVALID_ARGUMENT, rejected("MalformedError"))


async def test_a_method_that_does_not_exist_is_not_implemented(world: World, channel: grpc.aio.Channel) -> None:
    await refused(world, send(channel, b"", "/enlace.v1.Exchange/Other"), Status.UNIMPLEMENTED)


async def test_the_peer_port_tells_nothing_of_its_services(world: World, channel: grpc.aio.Channel) -> None:
    reflection = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    await refused(world, send(channel, b"", reflection), Status.UNIMPLEMENTED)
    await refused(world, send(channel, b"", "/enlace.v1.Desk/GetStatus"), Status.UNIMPLEMENTED)


# --- too much --------------------------------------------------------------------------------------------------------


async def test_more_calls_than_allowed_are_refused_and_cost_no_other_peer(fresh: World) -> None:
    mx, gt = fresh["MX"], fresh["GT"]
    mx.configure(calls_per_peer=2)
    async with running(mx.config), channel_to(mx, gt.node) as channel:
        stalled: list[grpc.aio.StreamUnaryCall[bytes, bytes]] = [
            channel.stream_unary(QUERY)() for _ in range(2)
        ]  # calls that never send their message
        for call in stalled:
            await call.wait_for_connection()
        sealed = request(sealed_query(gt, "MX", telephone_query()))
        await refused(
            fresh,
            send(channel, sealed),
            Status.RESOURCE_EXHAUSTED,
            rejected("OverloadedError"),
            words=OverloadedError.public,
        )
        await still_answers(fresh, asker="US")
        for call in stalled:
            call.cancel()
        await until_answered(channel, sealed)
        assert [told(line) for line in Book(mx, fresh).lines(0, peer="GT")][-1][0] == "ANSWERED"
        Book(mx, fresh).verify()


async def until_answered(channel: grpc.aio.Channel, data: bytes) -> None:
    """Cancelling takes a moment to arrive."""
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(QUERY)
    for _ in range(40):
        call = method(data)
        if await call.code() is Status.OK:
            return
        assert await call.code() is Status.RESOURCE_EXHAUSTED
    pytest.fail("the calls that were cancelled still count")
