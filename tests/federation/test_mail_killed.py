"""Two nodes as processes, either of which is killed again and again: every mail arrives once, with its lines."""

import random
import time
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import select

from node.store.mail_tables import inbox, outbox
from node.wire.correspondence_pb2 import MAIL_STATE_DELIVERED, MAIL_STATE_RECEIVED
from node.wire.envelope_pb2 import Statement
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT, LeafKind
from tests.federation.node_process import NodeProcess, node_process
from tests.federation.support import Book, opened_ledger
from tests.world import Place, World

MAILS = 400
KILLS = 3
PATIENCE_S = 60


def started(stack: ExitStack, place: Place) -> NodeProcess:
    count = MAILS if place.code == "GT" else 0
    arguments = ("-m", "tests.federation.mailing_node", str(place.home.path), str(count), "MX")
    return stack.enter_context(node_process(place, arguments))


def states(place: Place, direction: int) -> list[int]:
    box = outbox if direction == DIRECTION_SENT else inbox
    with opened_ledger(place) as (database, _), database.reading() as connection:
        return list(connection.execute(select(box.c.state)).scalars())


def test_no_mail_is_lost_or_applied_twice_whoever_is_killed(tmp_path: Path) -> None:
    chance, world = random.Random(), World.make(tmp_path, ("GT", "MX"))
    with ExitStack() as stack:
        nodes = {code: started(stack, world[code]) for code in ("MX", "GT")}
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.05, 0.6))
            code = chance.choice(("GT", "MX"))
            nodes[code].kill()
            nodes[code] = started(stack, world[code])
        deadline = time.monotonic() + PATIENCE_S
        while states(world["GT"], DIRECTION_SENT) != [MAIL_STATE_DELIVERED] * MAILS:
            assert time.monotonic() < deadline, nodes["GT"].log
            time.sleep(0.2)
    assert states(world["MX"], DIRECTION_RECEIVED) == [MAIL_STATE_RECEIVED] * MAILS
    gt, mx = Book(world["GT"], world).lines(), Book(world["MX"], world).lines()
    written = [line.statement for line in gt if line.shared.kind == LeafKind.LEAF_KIND_MAIL]
    receipts = [line for line in mx if line.shared.kind == LeafKind.LEAF_KIND_MAIL_RECEIPT]
    # Each was logged before it left, and received once; each receipt that was logged is the one that was given.
    assert sorted(line.shared.counterpart_statement for line in receipts) == sorted(written)
    came = [line.shared for line in gt if line.shared.kind == LeafKind.LEAF_KIND_MAIL_RECEIPT]
    assert sorted(line.counterpart_statement for line in came) == sorted(line.statement for line in receipts)
    in_order: dict[bytes, int] = {}
    for line in receipts:
        mail = Statement.FromString(line.shared.counterpart_statement)
        if overtakes(mail):
            continue
        assert mail.mail_number > in_order.get(mail.exchange_id, 0)
        in_order[mail.exchange_id] = mail.mail_number
    for code in ("GT", "MX"):
        assert Book(world[code], world).verify().signatures >= 2 * MAILS


def overtakes(mail: Statement) -> bool:
    """The n-th mail of exchange e was written as number 4(n - 1) + e - 1, and each seventh overtakes."""
    return (4 * (mail.mail_number - 1) + mail.exchange_id[0] - 1) % 7 == 0
