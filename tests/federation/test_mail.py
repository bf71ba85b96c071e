"""Mail between two real nodes: delivered in order, once, with a line on each side."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio

from node.cli.parts import Parts
from node.cli.serving import running
from node.errors import NotFoundError
from node.ledger.reconcile import reconcile
from node.wire.correspondence_pb2 import (
    MAIL_STATE_DEAD,
    MAIL_STATE_DELIVERED,
    MAIL_STATE_NOT_UNDERSTOOD,
    MAIL_STATE_RECEIVED,
    MAIL_STATE_REFUSED,
    MAIL_STATE_WITHDRAWN,
)
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT, LeafPrivate
from tests.conftest import postgres_database
from tests.federation.mail_support import OVERTAKING, Noted, delivered, install, mail_here, sent, written
from tests.federation.support import Book, private_of
from tests.world import World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Pair:
    """Guatemala and Mexico, with what their kinds of mail noted."""

    world: World
    gt: Parts
    mx: Parts

    def __post_init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.gt_kind, self.mx_kind = Noted(), Noted()
        self.mx_urgent = Noted(field=OVERTAKING, overtakes=True)
        install(self.gt, self.gt_kind, Noted(field=OVERTAKING, overtakes=True))
        install(self.mx, self.mx_kind, self.mx_urgent)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        databases = {}
        if request.param == "postgresql":
            server = request.getfixturevalue("postgres_server")
            databases = {code: stack.enter_context(postgres_database(server)) for code in ("GT", "MX")}
        yield World.make(tmp_path_factory.mktemp("world"), ("GT", "MX"), databases=databases)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(world: World) -> AsyncIterator[Pair]:
    async with running(world["GT"].config) as gt, running(world["MX"].config) as mx:
        yield Pair(world, gt, mx)


@pytest.fixture
def pair(nodes: Pair) -> Pair:
    nodes.renew()
    return nodes


async def test_a_mail_arrives_once_with_a_line_and_a_receipt_on_both_sides(pair: Pair) -> None:
    exchange_id = secrets.token_bytes(16)
    await sent(pair.gt, *(written("MX", f"{number}", exchange_id=exchange_id) for number in range(1, 4)))
    await delivered(pair.gt)
    assert [words for _, words in pair.mx_kind.applied] == ["1", "2", "3"]
    assert [each.state for each in mail_here(pair.gt, DIRECTION_SENT, exchange_id=exchange_id)] == [
        MAIL_STATE_DELIVERED
    ] * 3
    assert pair.gt_kind.states == [(f"{number}", MAIL_STATE_DELIVERED) for number in range(1, 4)]
    here = Book(pair.world["GT"], pair.world).lines(exchange_id=exchange_id)
    there = Book(pair.world["MX"], pair.world).lines(exchange_id=exchange_id)
    assert [private_of(line).reason for line in (*here, *there)] == ["REQUEST_REPLY"] * 9
    assert Book(pair.world["GT"], pair.world).verify().signatures
    assert Book(pair.world["MX"], pair.world).verify().signatures


async def test_what_overtakes_is_applied_though_mail_before_it_is_missing(pair: Pair) -> None:
    exchange_id = secrets.token_bytes(16)
    pair.gt_kind.forbid.clear()
    await sent(
        pair.gt,
        written("MX", "first", exchange_id=exchange_id),
        written("MX", "urgent", exchange_id=exchange_id, overtakes=True),
        written("MX", "third", exchange_id=exchange_id),
    )
    await delivered(pair.gt)
    assert [words for _, words in pair.mx_urgent.applied] == ["urgent"]
    assert [words for _, words in pair.mx_kind.applied] == ["first", "third"]
    lines = Book(pair.world["MX"], pair.world).lines(exchange_id=exchange_id)
    assert [private_of(line).reason for line in lines] == ["REQUEST_ANSWER", "REQUEST_REPLY", "REQUEST_REPLY"]


async def test_a_refusal_is_final_and_logged_and_holds_nothing_up(pair: Pair) -> None:
    exchange_id = secrets.token_bytes(16)
    pair.mx_kind.refuse["no"] = NotFoundError("no such request of this peer")
    pair.mx_kind.answer["no"] = "never"
    await sent(pair.gt, *(written("MX", words, exchange_id=exchange_id) for words in ("yes", "no", "on")))
    await delivered(pair.gt)
    found = mail_here(pair.gt, DIRECTION_SENT, exchange_id=exchange_id)
    assert [(each.state, each.reason) for each in found] == [
        (MAIL_STATE_DELIVERED, ""),
        (MAIL_STATE_DEAD, "refused: not found"),
        (MAIL_STATE_DELIVERED, ""),
    ]
    there = mail_here(pair.mx, DIRECTION_RECEIVED, exchange_id=exchange_id)
    assert [each.state for each in there] == [MAIL_STATE_RECEIVED, MAIL_STATE_REFUSED, MAIL_STATE_RECEIVED]
    assert mail_here(pair.mx, DIRECTION_SENT, exchange_id=exchange_id) == []
    lines = Book(pair.world["MX"], pair.world).lines(exchange_id=exchange_id)
    assert [private_of(line).reason for line in lines] == [
        "REQUEST_REPLY",
        "REQUEST_REPLY NotFoundError",
        "REQUEST_REPLY",
    ]


async def test_what_the_rules_forbid_by_now_does_not_leave(pair: Pair) -> None:
    exchange_id = secrets.token_bytes(16)
    pair.gt_kind.forbid.add("secret")
    await sent(pair.gt, *(written("MX", words, exchange_id=exchange_id) for words in ("a", "secret", "b")))
    await delivered(pair.gt)
    assert [words for _, words in pair.mx_kind.applied] == ["a", "b"]
    found = mail_here(pair.gt, DIRECTION_SENT, exchange_id=exchange_id)
    assert [each.state for each in found] == [MAIL_STATE_DELIVERED, MAIL_STATE_WITHDRAWN, MAIL_STATE_DELIVERED]
    assert ("secret", MAIL_STATE_WITHDRAWN) in pair.gt_kind.states
    lines = Book(pair.world["GT"], pair.world).lines(exchange_id=exchange_id)
    assert "WITHDRAWN REQUEST_REPLY DeniedError" in {private_of(line).reason for line in lines}


async def test_mail_of_an_unknown_kind_is_kept_and_the_sender_hears(pair: Pair) -> None:
    exchange_id = secrets.token_bytes(16)
    install(pair.mx)
    await sent(pair.gt, written("MX", "from a newer version", exchange_id=exchange_id))
    await delivered(pair.gt, pair.mx)
    (here,) = mail_here(pair.gt, DIRECTION_SENT, exchange_id=exchange_id)
    (there,) = mail_here(pair.mx, DIRECTION_RECEIVED, exchange_id=exchange_id)
    assert (here.state, there.state, there.kind) == (MAIL_STATE_NOT_UNDERSTOOD, MAIL_STATE_NOT_UNDERSTOOD, "")
    assert pair.gt_kind.states[-1] == ("from a newer version", MAIL_STATE_NOT_UNDERSTOOD)
    # The newer version has come.
    pair.renew()
    assert await pair.mx.correspondence.intake.reconsider() == 1
    assert await pair.mx.correspondence.intake.reconsider() == 0
    assert [words for _, words in pair.mx_kind.applied] == ["from a newer version"]
    (there,) = mail_here(pair.mx, DIRECTION_RECEIVED, exchange_id=exchange_id)
    assert (there.state, there.kind) == (MAIL_STATE_RECEIVED, "REQUEST_REPLY")
    (*_, line) = Book(pair.world["MX"], pair.world).lines(exchange_id=exchange_id)
    assert private_of(line).reason == "UNDERSTOOD REQUEST_REPLY"


async def test_ledgers_are_reconciled_over_mail_too(pair: Pair) -> None:
    since_us = now_us()
    exchange_id = secrets.token_bytes(16)
    pair.mx_kind.answer["ask"] = "told"
    pair.mx_kind.refuse["no"] = NotFoundError("no such request of this peer")
    pair.gt_kind.forbid.add("secret")
    await sent(pair.gt, *(written("MX", words, exchange_id=exchange_id) for words in ("ask", "secret", "no", "end")))
    await delivered(pair.gt, pair.mx)
    reconciling = pair.gt.exchange.reconciling
    until_us = now_us() + 1_000_000
    here = await reconciling.logged_here("MX", since_us=since_us, until_us=until_us)
    there = await reconciling.logged_there("MX", LeafPrivate(), since_us=since_us, until_us=until_us)
    compared = reconcile(here, there)
    assert (compared.agreed, compared.unanswered, list(compared.discrepancies)) == (4, 1, [])
