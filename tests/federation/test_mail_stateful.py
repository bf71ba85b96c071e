"""Any interleaving of mail, rules that change, lost and doubled calls, crashes and restored backups ends well.

Two real nodes, their databases and ledgers; what is simulated is the network between them alone.
"""

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import select

from node.cli.parts import Parts
from node.cli.serving import _composed
from node.federation.trust import Trust
from node.identity.certificates import Peer
from node.ledger.leaf import parse_leaf, parse_shared
from node.store.findings import list_findings
from node.store.lines import ledger_lines
from node.store.mail import open_received
from node.store.mail_tables import inbox
from node.wire.correspondence_pb2 import (
    MAIL_STATE_DELIVERED,
    MAIL_STATE_QUEUED,
    MAIL_STATE_WITHDRAWN,
    MailItem,
)
from node.wire.delivery_pb2 import DeliverMailRequest
from node.wire.envelope_pb2 import Statement
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT, LeafKind
from node.wire.mail_pb2 import Mail
from tests.conftest import Clock
from tests.federation.mail_support import OVERTAKING, Noted, install, mail_here, sent, words_of, written
from tests.pki import FEDERATION
from tests.world import Place, World, now_us

EXCHANGES = (b"a" * 16, b"b" * 16)
DOWN = grpc.StatusCode.UNAVAILABLE


def broken_off() -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(DOWN, grpc.aio.Metadata(), grpc.aio.Metadata())


@dataclass
class Network:
    """Carries calls to the other node, as its next fault says; keeps what it carried, to bring it again much later."""

    to: Callable[[], Parts]
    caller: Peer
    faults: list[str] = field(default_factory=list)
    carried: list[bytes] = field(default_factory=list)

    async def call(self, trust: Trust, country: str, method: str, request: bytes, timeout_s: float) -> bytes:
        del trust, country, method, timeout_s
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "lost":
            raise broken_off()
        self.carried.append(request)
        if fault == "reversed":
            parsed = DeliverMailRequest.FromString(request)
            turned = DeliverMailRequest(envelopes=reversed(parsed.envelopes))
            await self.to().correspondence.intake.receive(turned.SerializeToString(), self.caller)
            raise broken_off()
        answer = await self.to().correspondence.intake.receive(request, self.caller)
        if fault == "doubled":
            answer = await self.to().correspondence.intake.receive(request, self.caller)
        if fault == "unanswered":
            raise broken_off()
        return answer


class MailBetweenTwo(RuleBasedStateMachine):
    """Guatemala writes, Mexico receives and sometimes answers."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.world = World.make(Path(self.folder.name), ("GT", "MX"))
        self.clock = Clock(now_us())
        self.kinds = {code: Noted() for code in ("GT", "MX")}
        self.kinds["MX"].answer = {f"ask {number}": f"told {number}" for number in range(100)}
        self.stacks: dict[str, ExitStack] = {}
        self.nodes: dict[str, Parts] = {}
        self.networks: dict[str, Network] = {}
        self.written = 0
        self.backup = False
        self.shielded: set[str] = set()  # forbidden before they could have left

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever the work returns
        return self.runner.run(work)

    @initialize()
    def start(self) -> None:
        for code in ("GT", "MX"):
            self.open(code)

    def open(self, code: str) -> None:
        async def composed() -> Parts:
            return _composed(self.world[code].config, self.stacks.setdefault(code, ExitStack()))

        other = "MX" if code == "GT" else "GT"
        parts = self.nodes[code] = self.run(composed())
        install(parts, self.kinds[code], Noted(field=OVERTAKING, overtakes=True))
        parts.correspondence.mailroom.clock = self.clock
        network = Network(
            lambda: self.nodes[other], Peer(code, FEDERATION, "node", self.world[code].name, 1, bytes(32), 1 << 62)
        )
        self.networks[code] = network
        parts.correspondence.delivering.channels = network

    def close(self, code: str) -> None:
        self.stacks.pop(code).close()

    # --- what happens -------------------------------------------------------------------------------------------------

    @rule(exchange=st.sampled_from(EXCHANGES), asks=st.booleans(), overtakes=st.booleans(), forbidden=st.booleans())
    def write(self, exchange: bytes, *, asks: bool, overtakes: bool, forbidden: bool) -> None:
        words = f"{'ask' if asks else 'say'} {self.written}"
        self.written += 1
        if forbidden and not overtakes:
            self.kinds["GT"].forbid.add(words)
            self.shielded.add(words)
        mail = written("MX", words, exchange_id=exchange, overtakes=overtakes)
        self.run(sent(self.nodes["GT"], mail))

    @rule(
        code=st.sampled_from(("GT", "MX")),
        faults=st.lists(st.sampled_from(("", "lost", "unanswered", "doubled", "reversed")), max_size=3),
    )
    def deliver(self, code: str, faults: list[str]) -> None:
        self.networks[code].faults = faults
        self.clock.advance(seconds=3_600)
        self.run(self.round(code))

    @rule(code=st.sampled_from(("GT", "MX")), data=st.data())
    def bring_late(self, code: str, data: st.DataObject) -> None:
        """A call that was carried long ago comes once more."""
        network = self.networks[code]
        if network.carried:
            late = data.draw(st.sampled_from(network.carried))
            self.run(network.to().correspondence.intake.receive(late, network.caller))

    @rule(word=st.integers(0, 30))
    def change_the_rules(self, word: int) -> None:
        """What was written may be forbidden by now; whether it had left already is another matter."""
        self.kinds["GT"].forbid ^= {f"say {word}"} - self.shielded

    @rule(code=st.sampled_from(("GT", "MX")))
    def crash(self, code: str) -> None:
        carried = self.networks[code].carried
        self.close(code)
        self.open(code)
        self.networks[code].carried = carried

    @rule()
    def back_up_mexico(self) -> None:
        self.close("MX")
        shutil.copy(self.database("MX"), self.database("MX").with_suffix(".backup"))
        self.backup = True
        self.open("MX")

    @precondition(lambda self: self.backup)
    @rule()
    def restore_mexico(self) -> None:
        self.close("MX")
        shutil.copy(self.database("MX").with_suffix(".backup"), self.database("MX"))
        self.open("MX")

    def database(self, code: str) -> Path:
        place: Place = self.world[code]
        return place.home.data / "enlace.db"

    async def round(self, code: str) -> None:
        parts = self.nodes[code]
        parts.correspondence.mailroom.ring(["MX" if code == "GT" else "GT"])
        await parts.correspondence.delivering.look()
        await parts.correspondence.delivering.settled()

    # --- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def nothing_forbidden_from_the_start_arrives(self) -> None:
        if "MX" in self.stacks:
            assert not self.shielded & {words for _, words in self.kinds["MX"].applied}

    def teardown(self) -> None:
        try:
            if self.stacks:
                self.ends_well()
        finally:
            for code in list(self.stacks):
                self.close(code)
            self.runner.close()
            self.folder.cleanup()

    def ends_well(self) -> None:
        # A peer that lost mail says so when more comes.
        for exchange in EXCHANGES:
            self.write(exchange, asks=False, overtakes=False, forbidden=False)
        for _ in range(12):
            for code in ("GT", "MX"):
                self.deliver(code, [])
            if not any(self.queued(code) for code in ("GT", "MX")):
                break
        sent_here = mail_here(self.nodes["GT"], DIRECTION_SENT)
        assert {each.state for each in sent_here} <= {MAIL_STATE_DELIVERED, MAIL_STATE_WITHDRAWN}, sent_here
        came = mail_here(self.nodes["MX"], DIRECTION_RECEIVED)
        assert [named(each) for each in came] == [named(each) for each in sent_here]
        self.verify_words(came)
        self.verify_order()
        for parts in self.nodes.values():
            with parts.database.reading() as connection:
                assert not [each for each in list_findings(connection) if each.kind == "MAIL_TWICE" and not self.backup]

    def queued(self, code: str) -> list[MailItem]:
        return mail_here(self.nodes[code], DIRECTION_SENT, state=MAIL_STATE_QUEUED)

    def verify_words(self, came: list[MailItem]) -> None:
        """What arrived is what was written, each at most once, and what was withdrawn says nothing."""
        parts, words = self.nodes["MX"], []
        with parts.database.reading() as connection:
            for row in connection.execute(select(inbox)):
                mail_id = (row.peer, row.exchange_id, row.number)
                mail = Mail.FromString(open_received(parts.correspondence.mailroom.vault, mail_id, row.sealed))  # type: ignore[arg-type]
                if mail.WhichOneof("content") != "withdrawn":
                    words.append(words_of(mail))
        assert len(words) == len(set(words))
        assert not self.shielded & set(words)
        assert len(came) == self.written

    def verify_order(self) -> None:
        """Every mail had a line before it left, and was received in order but for what overtook."""
        logged = {line.statement for line in self.lines("GT")}
        last: dict[bytes, int] = {}
        overtook = {
            (each.exchange_id, each.number)
            for each in mail_here(self.nodes["MX"], DIRECTION_RECEIVED)
            if each.kind == OVERTAKING.upper()
        }
        for line in self.lines("MX"):
            shared = parse_shared(parse_leaf(line.leaf).shared)
            if shared.kind != LeafKind.LEAF_KIND_MAIL_RECEIPT or shared.direction != DIRECTION_SENT:
                continue
            assert shared.counterpart_statement in logged
            mail = Statement.FromString(shared.counterpart_statement)
            if (mail.exchange_id, mail.mail_number) not in overtook:
                assert mail.mail_number > last.get(mail.exchange_id, 0)
                last[mail.exchange_id] = mail.mail_number

    def lines(self, code: str) -> list[Any]:
        with self.nodes[code].database.reading() as connection:
            return list(connection.execute(select(ledger_lines).order_by(ledger_lines.c.idx)))


def named(item: MailItem) -> tuple[bytes, int]:
    return item.exchange_id, item.number


TestMailBetweenTwo = MailBetweenTwo.TestCase
TestMailBetweenTwo.settings = settings(max_examples=3, stateful_step_count=14, deadline=None)
