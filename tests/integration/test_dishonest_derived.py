"""Whoever alters by SQL what the node works out from lines is found out too: `ledger verify` makes it again."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import pytest
from sqlalchemy import Connection, select, text

from node.errors import LedgerBrokenError, ProofError
from node.ledger.leaf import build_leaf, build_opening
from node.store.database import Database
from node.store.disclosures import catch_up
from node.store.ledger import verify_ledger
from node.store.lines import Line, ledger_openings, replay_key
from node.store.receipts import Promise, keep_promises, promised
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.envelope_pb2 import STATEMENT_TYPE_QUERY, Statement
from node.wire.ledger_pb2 import (
    DIRECTION_RECEIVED,
    DIRECTION_SENT,
    ENTRY_OUTCOME_ENTRY,
    LEAF_KIND_ANSWERED,
    LEAF_KIND_ASKED,
    Decisions,
    Direction,
    EntryDecision,
    LeafKind,
    LeafPrivate,
    LeafShared,
)

PATIENCE_S = 20
AT_US = 1_790_000_000_000_000
BEHIND = "behind the ledger's back"
ENTRY = b"e" * 16


def a_line(kind: LeafKind.ValueType, direction: Direction.ValueType, number: int, *, revision: int = 0) -> Line:
    exchange_id = bytes([number]) * 16
    theirs = Statement(exchange_id=exchange_id, sender="MX", node="mx-1", type=STATEMENT_TYPE_QUERY)
    shared = LeafShared(
        kind=kind, direction=direction, time_us=AT_US, exchange_id=exchange_id, node="GT/gt-1", peer="MX"
    )
    if kind == LEAF_KIND_ANSWERED:
        theirs.leaf_sha256 = b"" if revision else b"l" * 32
        shared.counterpart_statement = theirs.SerializeToString()
        shared.counterpart_key_id, shared.counterpart_signature = bytes(8), bytes(64)
    decided = [EntryDecision(entry_id=ENTRY, outcome=ENTRY_OUTCOME_ENTRY, revision=revision)] if revision else []
    opening, commitment = build_opening(
        os.urandom(32), LeafPrivate(officer="a41f"), Decisions(salt=os.urandom(16), entries=decided)
    )
    sent = Statement(leaf_sha256=sha256(shared.SerializeToString()).digest()).SerializeToString()
    return Line(
        leaf=build_leaf(shared.SerializeToString(), AT_US + 1, commitment),
        opening=opening,
        exchange_id=exchange_id,
        replay_key=replay_key(theirs) if revision else None,
        statement=sent if direction == DIRECTION_SENT else b"",
    )


def lines() -> Iterator[Line]:
    """Two questions, of which one was answered; and two answers that showed MX two revisions of an entry."""
    for number in (1, 2):
        yield a_line(LEAF_KIND_ASKED, DIRECTION_SENT, number)
    for number in (1, 2):
        yield a_line(LEAF_KIND_ANSWERED, DIRECTION_RECEIVED, number)
    for revision in (1, 2):
        yield a_line(LEAF_KIND_ANSWERED, DIRECTION_SENT, 10 + revision, revision=revision)


@pytest.fixture
def followed(database: Database, vault: Vault) -> Database:
    """Lines, and all that the node works out from them."""
    with Writer(database.engine, vault, "GT/gt-1") as writer:
        for line in lines():
            writer.submit(lambda _: None, [line]).result(PATIENCE_S)
        writer.submit(lambda connection: catch_up(connection, vault, lambda _: None)).result(PATIENCE_S)
        writer.submit(lambda connection: keep_promises(connection, promised(connection, 0)[0])).result(PATIENCE_S)
    return database


@contextmanager
def attacked(database: Database, *statements: str) -> Iterator[Connection]:
    with database.engine.connect() as connection, connection.begin() as transaction:
        for statement in statements:
            assert connection.execute(text(statement)).rowcount
        yield connection
        transaction.rollback()


def findings(connection: Connection, vault: Vault | None) -> str:
    with pytest.raises(LedgerBrokenError) as error:
        verify_ledger(connection, vault=vault)
    return str(error.value)


def test_what_the_node_works_out_follows_from_the_lines(followed: Database, vault: Vault) -> None:
    with followed.reading() as connection:
        assert verify_ledger(connection, vault=vault).dim == 0
        assert verify_ledger(connection).dim > 0  # without a key, openings tell nothing


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE asked_days SET answered = 1", "how often MX has answered on 2026-09-21 was changed"),
        ("UPDATE asked_days SET asked = 9", "how often MX was asked on 2026-09-21 was changed"),
        ("UPDATE asked_days SET day = day - 1", "how often MX was asked on 2026-09-20 was changed"),
        ("DELETE FROM asked_days", "how often MX was asked on 2026-09-21 was changed"),
        ("UPDATE followed SET size = 99", "how far lines were followed was altered"),
        ("UPDATE followed SET size = 2", "MX was shown last of the entry 6565"),
        ("UPDATE disclosures SET revision = 1", "what MX was shown last of the entry 6565"),
        ("UPDATE disclosures SET idx = 4", "what MX was shown last of the entry 6565"),
        ("UPDATE disclosures SET peer = 'HN'", "what HN was shown last of the entry 6565"),
        ("DELETE FROM disclosures", "was taken away"),
        ("DELETE FROM told_lines WHERE idx = 5", "that line 5 told MX of the entry 6565"),
        ("UPDATE told_lines SET idx = 1 WHERE idx = 4", "that line 1 told MX of the entry 6565"),
        ("DELETE FROM promises WHERE line = 2", "what MX promised with the exchange 0101"),
        ("UPDATE promises SET leaf_sha256 = exchange_id", "what MX promised with line 2 was changed"),
        ("UPDATE promises SET due_us = due_us + 1", "what MX promised with line 3 was changed"),
        ("UPDATE promises SET node = 'mx-2'", "what MX promised with line 3 was changed"),
        ("UPDATE promises SET state = 2", "its state and its proof do not fit"),
        ("UPDATE promises SET state = 3", "it is said to be overdue, and no finding says so"),
        ("UPDATE ledger_lines SET replay_key = NULL WHERE idx = 4", "line 4 is damaged: the memory against replays"),
        (
            "UPDATE ledger_lines SET replay_key = exchange_id WHERE idx = 5",
            "line 5 is damaged: the memory against replays",
        ),
    ],
)
def test_what_sql_makes_of_it_is_named(followed: Database, vault: Vault, statement: str, says: str) -> None:
    with attacked(followed, statement) as connection:
        assert says in findings(connection, vault)


def test_a_proof_that_does_not_hold_is_named(followed: Database, vault: Vault) -> None:
    def refuse(_: Promise, __: bytes) -> None:
        raise ProofError("it is of another line")

    with attacked(followed, "UPDATE promises SET state = 2, inclusion = exchange_id WHERE line = 2") as connection:
        with pytest.raises(LedgerBrokenError, match=r"line 2 was changed .*its proof does not hold: it is of another"):
            verify_ledger(connection, vault=vault, verify_receipt=refuse)
        verify_ledger(connection, vault=vault, verify_receipt=lambda _, __: None)


def test_what_an_erased_opening_told_is_no_attack(followed: Database, vault: Vault) -> None:
    with followed.reading() as connection:
        sealed = connection.execute(select(ledger_openings.c.sealed).where(ledger_openings.c.idx == 5)).scalar_one()
    assert sealed
    with attacked(followed, "DELETE FROM ledger_openings WHERE idx = 5") as connection:
        said = findings(connection, vault)
        assert "line 5 is damaged: what opens it is gone, and no erasure says so" in said
        assert BEHIND not in said
        connection.execute(text("DELETE FROM disclosures"))
        assert "what MX was shown last of the entry 6565" in findings(connection, vault)
