"""Who is on duty is called at once for a life, by mail and webhook that say nothing of it, until somebody comes."""

import base64
import email
import email.policy
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import Connection, delete, update

from node.cli.examining_safeguards import examine_safeguards
from node.cli.parts import Parts
from node.cli.serving import running
from node.config import Smtp, Webhook
from node.federation.paging import GIVEN_UP_US, REPEAT_US, WAIT_US
from node.store import duty, pages
from node.store.duty_tables import duty_turns, notifications
from node.store.duty_tables import pages as table_of_pages
from node.store.pages import Sending
from node.store.request_tables import requests
from node.store.safeguard_tables import determinations
from node.store.tables import life_queries
from node.wire.codes_pb2 import URGENCY_LIFE, URGENCY_URGENT
from node.wire.deciding_pb2 import EscalateRequestRequest, RequestItem, TakeRequestRequest
from node.wire.desk_pb2 import PEER_OUTCOME_ANSWERED, AcknowledgeLifeRequest
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.duty_pb2 import PAGE_KIND_FACTS, PAGE_KIND_LIFE, PAGE_KIND_REQUEST, ContactOf, ListPagesRequest, Page
from node.wire.duty_pb2_grpc import DutyStub
from node.wire.ledger_pb2 import LEAF_KIND_DUTY
from node.wire.safeguard_pb2 import ListDeterminationsRequest
from tests.called import Hook, Mailbox, hook_server, mail_server, roots_file, server_context
from tests.conftest import Clock
from tests.desk.request_support import SUSPECTS, Pair
from tests.desk.support import life_query, search
from tests.federation.support import case_record, private_of, telephone
from tests.pki import country
from tests.safeguards.support import UNDECIDED, records
from tests.world import DAY_US, FOCAL, World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = bytes(range(32))
LIFE_S, URGENT_S = WAIT_US[URGENCY_LIFE] / 1e6, WAIT_US[URGENCY_URGENT] / 1e6
SUPERVISOR, ONE, TWO = "boss@duty.example", "one@duty.example", "two@duty.example"


@dataclass(repr=False)  # asyncio writes out what a task returned, and a node is long
class Calls:
    """MX's node as it calls people, with what reaches them; its clock stands still for calls alone."""

    pair: Pair
    mail: Mailbox
    hook: Hook
    folder: Path

    @property
    def node(self) -> Parts:
        return self.pair.nodes["MX"]

    async def round(self, seconds: float = 0) -> list[str]:
        """Let time pass and the node look and send; returns who got mail."""
        before = len(self.mail.mails)
        self.pair.clock.advance(seconds=seconds)
        await self.node.duty.paging.look()
        await self.node.duty.notifying.deliver()
        return sorted(to for to, _ in self.mail.mails[before:])

    async def pages(self, *, closed: bool = False) -> list[Page]:
        async with self.pair.world["MX"].desk_channel("focal-1") as channel:
            return list((await DutyStub(channel).ListPages(ListPagesRequest(closed=closed))).pages)

    def lines(self, ticket: str) -> list[str]:
        found = [line for line in self.pair.book("MX").lines() if line.shared.kind == LEAF_KIND_DUTY]
        return [private_of(line).reason.replace(ticket, "T") for line in found if ticket in private_of(line).reason]

    async def life(self, number: str = SUSPECTS) -> bytes:
        async with self.pair.world["GT"].desk_channel() as channel:
            (response,) = await search(DeskStub(channel), life_query(number), "MX")
        assert response.outcome == PEER_OUTCOME_ANSWERED, response
        return response.exchange_id

    async def acknowledge(self, exchange_id: bytes) -> None:
        async with self.pair.world["MX"].desk_channel("focal-1") as channel:
            request = AcknowledgeLifeRequest(exchange_id=exchange_id, telephone="+52 55 5555 0101")
            await DeskStub(channel).AcknowledgeLife(request)

    async def urgent(self) -> RequestItem:
        exchange_id, hits = await self.pair.asked(number=SUSPECTS)
        handles = [hit.entry.handle for hit in hits]  # type: ignore[attr-defined]
        changes = {"urgency": URGENCY_URGENT, "urgency_reason": "Invented: they leave tonight."}
        return await self.pair.requested(exchange_id, handles, **changes)

    async def put_on_duty(self, *names: str, until_us: int = 0) -> None:
        now = self.pair.clock()

        def change(connection: Connection) -> None:
            duty.put_turn(connection, now, until_us or now + 10 * DAY_US, names, by="supervisor", now_us=now)

        self.node.writer.submit(change).result()


@contextmanager
def servers(folder: Path) -> Iterator[tuple[Mailbox, Hook]]:
    context = server_context(folder, country("MX"))
    with mail_server(context) as mail, hook_server(context) as hook:
        yield mail, hook


def configure(world: World, folder: Path, mail: Mailbox, hook: Hook) -> None:
    roots = roots_file(folder, "MX")
    (folder / "secret").write_text("whsec_" + base64.b64encode(SECRET).decode() + "\n")
    (folder / "password").write_text("invented\n")
    place = world["MX"]
    config = (
        place.home.config.read_text()
        + f"""
[duty]
timezone = "America/Mexico_City"
[duty.smtp]
host = "localhost"
port = {mail.port}
sender = "enlace@duty.example"
user = "enlace"
password = "{folder}/password"
roots = "{roots}"
[duty.webhook]
url = "https://localhost:{hook.port}/called?by=enlace"
secret = "{folder}/secret"
roots = "{roots}"
"""
    )
    place.home.config.write_text(config)


@asynccontextmanager
async def calling(folder: Path) -> AsyncIterator[Calls]:
    world = World.make(folder, ("GT", "MX"))
    world["MX"].write((case_record(), [telephone(SUSPECTS)]), records())
    with servers(folder) as (mail, hook):
        configure(world, folder, mail, hook)
        async with running(world["MX"].config) as mx, running(world["GT"].config) as gt:
            assert mx.upkeep is not None
            mx.upkeep.cancel()  # so that nobody else looks and sends
            clock = Clock(now_us())
            mx.duty.paging.clock = mx.duty.notifying.clock = clock
            async with AsyncExitStack() as stack:
                yield Calls(Pair(world, {"MX": mx, "GT": gt}, stack, clock), mail, hook, folder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def country_of_calls(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Calls]:
    async with calling(tmp_path_factory.mktemp("calling")) as opened:
        contacts = {"focal-1": ONE, "focal-2": TWO, "supervisor": SUPERVISOR}

        def change(connection: Connection) -> None:
            for officer, address in contacts.items():
                duty.put_contact(connection, opened.node.duty.paging.vault, ContactOf(officer=officer, email=address))

        opened.node.writer.submit(change).result()
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def calls(country_of_calls: Calls) -> Calls:
    """Nothing waits, nobody was called, and the right ones are on duty."""
    opened = country_of_calls

    def settle(connection: Connection) -> None:
        connection.execute(update(life_queries).values(acknowledged_us=1))
        connection.execute(update(determinations).values(closed_us=1))
        connection.execute(update(requests).values(taken_by="focal-1"))
        connection.execute(delete(duty_turns))
        connection.execute(delete(notifications))
        connection.execute(delete(table_of_pages))

    opened.node.writer.submit(settle).result()
    opened.pair.clock.now_us = now_us()
    await opened.put_on_duty(*FOCAL)
    for kept in (opened.mail.mails, opened.mail.said, opened.hook.posts, opened.hook.answers):
        kept.clear()
    opened.mail.logins, opened.node.duty.paging.has_webhook = 0, True
    return opened


async def test_the_next_ones_are_called_until_somebody_comes(calls: Calls) -> None:
    exchange_id = await calls.life()
    await calls.round()
    (page,) = await calls.pages()
    assert (page.kind, page.peer, page.subject, page.told) == (PAGE_KIND_LIFE, "GT", exchange_id, "on duty")
    assert [to for to, _ in calls.mail.mails] == [ONE]
    assert await calls.round(LIFE_S - 1) == []
    assert await calls.round(1) == [TWO]
    assert await calls.round(LIFE_S) == [ONE, TWO]  # all focal points
    assert await calls.round(LIFE_S) == [SUPERVISOR]
    assert await calls.round(LIFE_S) == [SUPERVISOR, ONE, TWO]
    assert await calls.round(LIFE_S) == []
    assert await calls.round(REPEAT_US / 1e6 - LIFE_S) == [SUPERVISOR, ONE, TWO]
    told = ["on duty", "deputy 1", "all focal points", "supervisors", "everybody", "everybody"]
    assert calls.lines(page.ticket) == [f"CALLED T LIFE: {words}" for words in told]
    assert [json.loads(body)["data"]["to"] for _, body in calls.hook.posts] == told

    await calls.acknowledge(exchange_id)
    assert await calls.round(REPEAT_US / 1e6) == []
    assert await calls.pages() == []
    assert calls.lines(page.ticket)[-1] == "CLOSED T"
    assert len({(to, message["Message-ID"]) for to, message in read(calls)}) == len(calls.mail.mails)


def read(calls: Calls) -> list[tuple[str, email.message.EmailMessage]]:
    parse = email.message_from_bytes
    return [(to, parse(data, policy=email.policy.default)) for to, data in calls.mail.mails]


async def test_neither_mail_nor_webhook_says_what_it_is_about(calls: Calls) -> None:
    exchange_id, item = await calls.life(), await calls.urgent()
    for _ in range(6):
        await calls.round(URGENT_S)
    listed = await calls.pages()
    assert {page.kind for page in listed} == {PAGE_KIND_LIFE, PAGE_KIND_REQUEST}
    assert len(calls.mail.mails) > 8
    secrets = ["GT", "Guatemala", SUSPECTS, SUSPECTS[2:], *FOCAL, "supervisor@", "analyst", "CASE-1", "Invented"]
    for subject in (exchange_id, item.request_id, item.exchange_id):
        secrets += [subject.hex(), subject[:4].hex(), base64.b64encode(subject)[:12].decode()]
    said = [data for _, data in calls.mail.mails] + [message.get_content().encode() for _, message in read(calls)]
    said += [f"{headers}".encode() + body for headers, body in calls.hook.posts]
    for data in said:
        # The call itself is there: a ticket of those that are listed, and how urgent it is.
        assert any(page.ticket.encode() in data for page in listed)
        assert b"LIFE" in data or b"URGENT" in data
        assert [word for word in secrets if word.encode() in data] == []
    keys = {"ticket", "urgency", "due", "step", "to"}
    assert all(json.loads(body)["data"].keys() == keys for _, body in calls.hook.posts)


async def test_a_webhook_is_signed_and_says_the_same_id_again(calls: Calls) -> None:
    calls.hook.answers += [500, 302]
    await calls.life()
    for _ in range(4):
        await calls.round(10)
        calls.pair.clock.advance(seconds=10)
    first, second, third = calls.hook.posts[:3]
    assert first[0]["webhook-id"] == second[0]["webhook-id"] == third[0]["webhook-id"]
    for headers, body in (first, second, third):
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
    assert int(third[0]["webhook-timestamp"]) > int(first[0]["webhook-timestamp"])
    assert len([to for to, _ in calls.mail.mails]) == 1, "the mail had come, and is not sent again"


async def test_taking_a_request_ends_it_and_calling_for_all_begins_it_again(calls: Calls) -> None:
    item = await calls.urgent()
    await calls.round()
    (page,) = await calls.pages()
    assert (page.kind, page.urgency, page.subject) == (PAGE_KIND_REQUEST, URGENCY_URGENT, item.request_id)
    stub = await calls.pair.desk("MX", "focal-2")
    await stub.TakeRequest(TakeRequestRequest(request_id=item.request_id))
    assert await calls.round(URGENT_S) == []
    assert await calls.pages() == []
    await stub.EscalateRequest(EscalateRequestRequest(request_id=item.request_id))
    assert await calls.round() == [ONE, TWO]
    (again,) = await calls.pages()
    assert (again.ticket, again.told) == (page.ticket, "all focal points")
    await stub.TakeRequest(TakeRequestRequest(request_id=item.request_id))
    assert await calls.round(URGENT_S) == []


async def test_reading_the_facts_to_determine_takes_them_and_another_officer_does_not(calls: Calls) -> None:
    await calls.acknowledge(await calls.life(UNDECIDED))
    await calls.node.determining.look()
    await calls.round()
    (page,) = await calls.pages()
    assert (page.kind, page.told) == (PAGE_KIND_FACTS, "on duty")

    async def listed(officer: str, *, take: bool) -> int:
        async with calls.pair.world["MX"].desk_channel(officer) as channel:
            request = ListDeterminationsRequest(take=take)
            return len((await DeskStub(channel).ListDeterminations(request)).determinations)

    assert await listed("analyst", take=True) == await listed("focal-1", take=False) == 1
    assert await calls.round(LIFE_S) == [TWO]
    assert await listed("focal-1", take=True) == 1
    assert await calls.round(LIFE_S) == []
    assert await calls.pages() == []
    assert calls.lines(page.ticket)[-1] == "TAKEN T"
    assert await listed("focal-1", take=True) == 1, "it waits until it is determined"


async def test_who_comes_on_duty_is_told_of_what_nobody_took(calls: Calls) -> None:
    await calls.put_on_duty("focal-1", until_us=calls.pair.clock() + 60_000_000)
    await calls.life()
    await calls.round()
    await calls.put_on_duty("focal-2")
    assert await calls.round(1) == [TWO]
    assert (await calls.pages())[0].told == "on duty"
    # Nobody at all is on duty: all focal points are called, without waiting.
    clock = calls.pair.clock
    clock.advance(days=11)
    await calls.life()
    assert ONE in await calls.round()
    assert {page.told for page in await calls.pages()} == {"all focal points"}


async def test_somebody_without_an_address_is_passed_over_at_once(calls: Calls) -> None:
    calls.node.duty.paging.has_webhook = False
    await calls.put_on_duty("focal", "focal-2")
    await calls.life()
    assert await calls.round() == []
    assert await calls.round() == [TWO]


async def test_a_node_that_was_killed_while_it_sent_sends_again(calls: Calls) -> None:
    await calls.life()
    await calls.node.duty.paging.look()
    database, writer = calls.node.database, calls.node.writer
    # As it is when the process dies between taking a notification up and having sent it.
    for each in await database.read(pages.due, calls.pair.clock()):
        again_us = calls.pair.clock() + 10_000_000
        assert writer.submit(lambda on, each=each, again_us=again_us: pages.claim(on, each, again_us)).result()  # type: ignore[misc]
        assert not writer.submit(lambda on, each=each: pages.claim(on, each, 0)).result(), "another process has it"  # type: ignore[misc]
    assert await calls.round(9) == []
    assert await calls.round(1) == [ONE]
    assert await calls.round(20) == []


async def test_without_tls_or_with_a_strangers_certificate_nothing_leaves(calls: Calls, tmp_path: Path) -> None:
    notifying, smtp = calls.node.duty.notifying, calls.node.config.duty.smtp
    assert smtp is not None
    assert notifying.webhook is not None
    strangers = server_context(tmp_path, country("US"))
    await calls.life()
    await calls.node.duty.paging.look()
    with (
        mail_server(strangers) as false,
        mail_server(strangers, offers=False) as plain,
        hook_server(strangers) as other,
    ):
        for box in (false, plain):
            notifying.smtp = altered_smtp(smtp, port=box.port)
            notifying.webhook = altered_hook(notifying.webhook, url=f"https://localhost:{other.port}/")
            calls.pair.clock.advance(seconds=60)
            await notifying.deliver()
            assert not box.mails
            assert not any(said.startswith(("MAIL", "RCPT", "AUTH")) for said in box.said)
        assert not other.posts
    findings = {each.what: each for each in examine_safeguards(calls.node.config, calls.pair.clock())}
    assert (findings["calls"].state, findings["urgent work"].state) == ("red", "yellow")
    assert findings["calls"].says.startswith("2 could not be sent")
    failing = await calls.pages()
    assert [page.failing for page in failing] == [2]
    # As soon as the right servers are there again, both come, once.
    notifying.smtp, notifying.webhook = smtp, calls.node.config.duty.webhook
    calls.pair.clock.advance(seconds=200)
    await notifying.deliver()
    assert [to for to, _ in calls.mail.mails] == [ONE]
    assert (calls.mail.logins, len(calls.hook.posts)) == (1, 1)


def altered_smtp(smtp: Smtp, *, port: int) -> Smtp:
    return msgspec.structs.replace(smtp, port=port)


def altered_hook(webhook: Webhook, *, url: str) -> Webhook:
    return msgspec.structs.replace(webhook, url=url)


async def test_mail_with_tls_from_the_start(calls: Calls, tmp_path: Path) -> None:
    smtp = calls.node.config.duty.smtp
    assert smtp is not None
    with mail_server(server_context(tmp_path, country("MX")), tls=True) as box:
        calls.node.duty.notifying.smtp = msgspec.structs.replace(smtp, port=box.port, security="tls")
        await calls.life()
        await calls.round()
        assert [to for to, _ in box.mails] == [ONE]


async def test_what_somebody_took_before_it_was_sent_is_not_sent(calls: Calls) -> None:
    exchange_id = await calls.life()
    await calls.node.duty.paging.look()
    await calls.acknowledge(exchange_id)
    assert await calls.round() == []
    with calls.node.database.reading() as connection:
        states = {row.state for row in connection.execute(notifications.select())}
    assert states <= {Sending.DROPPED, Sending.SENT}


async def test_nobody_is_called_for_ever(calls: Calls) -> None:
    await calls.life()
    for _ in range(6):
        await calls.round(LIFE_S)
    calls.pair.clock.advance(seconds=GIVEN_UP_US / 1e6 + 3_600)
    assert await calls.round() == []
    assert len(await calls.pages()) == 1, "it still waits, and shows"
