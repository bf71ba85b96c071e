"""Mail of a peer that is wrong in every way: refused or put off, logged, and nothing else is held up."""

import secrets
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256

import grpc
import pytest
import pytest_asyncio

from node.cli.parts import Parts
from node.cli.serving import running
from node.federation.channels import DELIVER_MAIL
from node.federation.envelope import Sealed, new_salt, seal
from node.store.findings import list_findings
from node.wire.correspondence_pb2 import MAIL_STATE_NOT_UNDERSTOOD
from node.wire.delivery_pb2 import DeliverMailRequest, DeliverMailResponse, Delivery
from node.wire.envelope_pb2 import STATEMENT_TYPE_MAIL, Envelope, Statement
from node.wire.exchange_pb2 import Body
from node.wire.ledger_pb2 import DIRECTION_RECEIVED
from node.wire.mail_pb2 import Mail
from tests.federation.mail_support import OVERTAKING, Noted, install, mail_here, written
from tests.federation.support import Book, rejected, told
from tests.peer_simulator import channel_to, send, signer_of
from tests.world import DAY_US, World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR_US = 3_600_000_000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("world"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mx(world: World) -> AsyncIterator[Parts]:
    async with running(world["MX"].config) as parts:
        install(parts, Noted(), Noted(field=OVERTAKING, overtakes=True))
        yield parts


def sealed_mail(
    world: World,
    words: str = "Invented words",
    *,
    number: int = 1,
    exchange_id: bytes = b"",
    sender: str = "GT",
    at_us: int = 0,
    mail: Mail | None = None,
) -> Sealed:
    content = written("MX", words).mail if mail is None else mail
    return seal(
        signer_of(world[sender]),
        statement_type=STATEMENT_TYPE_MAIL,
        exchange_id=exchange_id or secrets.token_bytes(16),
        recipient="MX",
        body=Body(salt=new_salt(), mail=content.SerializeToString()),
        now_us=at_us or now_us(),
        directory_version=1,
        mail_number=number,
    )


async def put(world: World, *sealed: Sealed, by: str = "GT") -> Sequence[Delivery]:
    request = DeliverMailRequest(envelopes=[each.envelope for each in sealed]).SerializeToString()
    async with channel_to(world["MX"], world[by].node) as channel:
        return DeliverMailResponse.FromString(await send(channel, request, DELIVER_MAIL)).deliveries


@pytest.mark.parametrize(
    ("changes", "answer", "line"),
    [
        ({"at_us": HOUR_US}, Delivery(later="the message's time is outside the accepted window"), "ClockError"),
        ({"at_us": -401 * DAY_US}, Delivery(refused="the signature does not verify"), "SignatureError"),
        ({"sender": "US"}, Delivery(refused="the message is addressed elsewhere"), "MisdirectedError"),
        ({"mail": Mail()}, Delivery(refused="the message is malformed"), "MalformedError"),
        ({"number": 0}, Delivery(refused="the message is malformed"), "MalformedError"),
        ({"number": 1 << 63}, Delivery(refused="the message is malformed"), "MalformedError"),
    ],
)
async def test_what_is_no_mail_of_this_peer_and_time_is_not_looked_at(
    world: World, mx: Parts, changes: dict[str, object], answer: Delivery, line: str
) -> None:
    del mx
    before = Book(world["MX"], world).size
    if isinstance(changes.get("at_us"), int):
        changes = {"at_us": now_us() + changes["at_us"]}  # type: ignore[operator]
    assert list(await put(world, sealed_mail(world, **changes))) == [answer]  # type: ignore[arg-type]
    assert [told(each) for each in Book(world["MX"], world).lines(before)] == [rejected(line)]


async def test_an_altered_mail_does_not_hold_up_the_others_of_its_batch(world: World, mx: Parts) -> None:
    altered = sealed_mail(world)
    altered.envelope.body = altered.envelope.body[:-1] + b"\1"
    first, second, third = await put(world, sealed_mail(world), altered, sealed_mail(world))
    assert (first.HasField("receipt"), second.refused, third.HasField("receipt")) == (
        True,
        "the signature does not verify",
        True,
    )
    assert len(mail_here(mx, DIRECTION_RECEIVED, exchange_id=bytes(16))) == 0


async def test_the_same_mail_gets_the_same_receipt_and_no_second_line(world: World, mx: Parts) -> None:
    del mx
    sealed = sealed_mail(world)
    (first,) = await put(world, sealed)
    size = Book(world["MX"], world).size
    assert list(await put(world, sealed, sealed)) == [first, first]
    assert Book(world["MX"], world).size == size
    statement = Statement.FromString(first.receipt.statement)
    assert (statement.mail_number, statement.body_sha256) == (1, sha256(first.receipt.body).digest())


async def test_another_content_under_a_used_number_is_refused_logged_and_an_alarm(world: World, mx: Parts) -> None:
    exchange_id = secrets.token_bytes(16)
    await put(world, sealed_mail(world, exchange_id=exchange_id))
    before = Book(world["MX"], world).size
    (answer,) = await put(world, sealed_mail(world, "Others", exchange_id=exchange_id))
    assert answer == Delivery(taken=2)
    assert [told(each) for each in Book(world["MX"], world).lines(before)][:1] == [rejected("OTHER_CONTENT")]
    with mx.database.reading() as connection:
        found = [each for each in list_findings(connection, peer="GT") if each.exchange_id == exchange_id]
    assert [each.kind for each in found] == ["MAIL_TWICE"]


async def test_a_withdrawn_mail_in_the_place_of_one_that_came_gets_that_ones_receipt(world: World, mx: Parts) -> None:
    del mx
    exchange_id, mail = secrets.token_bytes(16), Mail()
    mail.withdrawn.SetInParent()
    (first,) = await put(world, sealed_mail(world, exchange_id=exchange_id))
    (again,) = await put(world, sealed_mail(world, exchange_id=exchange_id, mail=mail))
    assert again == first


async def test_what_is_missing_is_asked_for_and_nothing_behind_it_is_taken(world: World, mx: Parts) -> None:
    exchange_id = secrets.token_bytes(16)
    mails = [sealed_mail(world, f"{number}", number=number, exchange_id=exchange_id) for number in range(1, 5)]
    assert [each.waiting_for for each in await put(world, *mails[1:])] == [1, 1, 1]
    assert mail_here(mx, DIRECTION_RECEIVED, exchange_id=exchange_id) == []
    assert all(each.HasField("receipt") for each in await put(world, *mails))


async def test_an_exchange_with_another_country_can_t_be_entered(world: World, mx: Parts) -> None:
    del mx
    exchange_id = secrets.token_bytes(16)
    await put(world, sealed_mail(world, sender="US", exchange_id=exchange_id), by="US")
    before = Book(world["MX"], world).size
    (answer,) = await put(world, sealed_mail(world, exchange_id=exchange_id))
    assert answer == Delivery(refused="the message is addressed elsewhere")
    assert [told(each) for each in Book(world["MX"], world).lines(before)] == [rejected("MisdirectedError")]


async def test_what_was_never_sent_can_t_be_not_understood(world: World, mx: Parts) -> None:
    del mx
    mail = Mail()
    mail.not_understood.number = 7
    before = Book(world["MX"], world).size
    (answer,) = await put(world, sealed_mail(world, mail=mail))
    assert answer == Delivery(refused="not found")
    assert [told(each) for each in Book(world["MX"], world).lines(before)] == [rejected("NOT_UNDERSTOOD NotFoundError")]


async def test_a_field_of_a_later_version_is_kept_as_it_came(world: World, mx: Parts) -> None:
    exchange_id = secrets.token_bytes(16)
    later = Mail.FromString(b"\xa2\x1f\x05later")  # field 500
    (answer,) = await put(world, sealed_mail(world, mail=later, exchange_id=exchange_id))
    (kept,) = mail_here(mx, DIRECTION_RECEIVED, exchange_id=exchange_id)
    assert (answer.HasField("receipt"), kept.state) == (True, MAIL_STATE_NOT_UNDERSTOOD)


@pytest.mark.parametrize(
    ("count", "size", "code"),
    [(0, 0, "INVALID_ARGUMENT"), (65, 0, "INVALID_ARGUMENT"), (1, 300_000, "RESOURCE_EXHAUSTED")],
)
async def test_batches_that_the_contract_does_not_allow_are_refused_whole(
    world: World, mx: Parts, count: int, size: int, code: str
) -> None:
    del mx
    request = DeliverMailRequest(envelopes=[Envelope(body=bytes(size))] * count).SerializeToString()
    before = Book(world["MX"], world).size
    async with channel_to(world["MX"], world["GT"].node) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(channel, request, DELIVER_MAIL)
    assert caught.value.code().name == code
    assert Book(world["MX"], world).size == before + 1
