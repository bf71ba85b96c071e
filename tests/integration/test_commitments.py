"""What the store finds of the exchanges with one peer, however its lines lie."""

import os
from collections.abc import Iterator
from itertools import pairwise

import pytest
from sqlalchemy import Connection, text

from node.errors import LedgerBrokenError
from node.ledger.leaf import build_leaf, build_opening, parse_leaf
from node.ledger.reconcile import LATE_US, Key, Logged, statements_sha256
from node.store.commitments import SLACK_US, is_anybody_elses, logged_with
from node.store.database import Database
from node.store.lines import Line
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.envelope_pb2 import Statement
from node.wire.ledger_pb2 import (
    DIRECTION_LOCAL,
    DIRECTION_RECEIVED,
    DIRECTION_SENT,
    LEAF_KIND_ACKNOWLEDGED,
    LEAF_KIND_ANSWERED,
    LEAF_KIND_ASKED,
    LEAF_KIND_READ,
    LEAF_KIND_RECEIVED,
    LEAF_KIND_RECONCILE_ANSWERED,
    LEAF_KIND_RECONCILE_ASKED,
    LEAF_KIND_REJECTED,
    LEAF_KIND_UNANSWERED,
    Direction,
    LeafKind,
    LeafPrivate,
    LeafShared,
)
from tests.conftest import START_US

S_US = 1_000_000
DAY_US = 86_400 * S_US


@pytest.fixture
def writer(database: Database, vault: Vault) -> Iterator[Writer]:
    with Writer(database.engine, vault) as opened:
        yield opened


def statement(exchange_id: bytes, sender: str, time_us: int) -> bytes:
    return Statement(exchange_id=exchange_id, sender=sender, time_us=time_us).SerializeToString()


def line(
    kind: LeafKind.ValueType,
    direction: Direction.ValueType,
    exchange_id: bytes,
    *,
    peer: str = "MX",
    time_us: int = START_US,
    logged_us: int = 0,
    counterpart: bytes = b"",
    sent: bytes = b"",
) -> Line:
    shared = LeafShared(
        kind=kind, direction=direction, time_us=time_us, exchange_id=exchange_id, node="GT/gt-1", peer=peer
    )
    if counterpart:
        shared.counterpart_statement = counterpart
        shared.counterpart_key_id, shared.counterpart_signature = bytes(8), bytes(64)
    opening, commitment = build_opening(os.urandom(32), LeafPrivate())
    leaf = build_leaf(shared.SerializeToString(), logged_us or time_us, commitment)
    return Line(leaf=leaf, opening=opening, exchange_id=exchange_id, statement=sent)


def asked(at_us: int, *, peer: str = "MX", answered: bool = True, after_us: int = 1_000) -> tuple[bytes, list[Line]]:
    exchange_id = os.urandom(16)
    question = statement(exchange_id, "GT", at_us)
    lines = [line(LEAF_KIND_ASKED, DIRECTION_SENT, exchange_id, peer=peer, time_us=at_us, sent=question)]
    if answered:
        answer = statement(exchange_id, peer, at_us + 10)
        lines.append(
            line(
                LEAF_KIND_ANSWERED,
                DIRECTION_RECEIVED,
                exchange_id,
                peer=peer,
                time_us=at_us + 10,
                logged_us=at_us + after_us,
                counterpart=answer,
            )
        )
    else:
        lines.append(line(LEAF_KIND_UNANSWERED, DIRECTION_LOCAL, exchange_id, peer=peer, time_us=at_us + 1_000))
    return exchange_id, lines


def was_asked(at_us: int, *, peer: str = "MX", skew_us: int = 0) -> tuple[bytes, list[Line]]:
    """An exchange that the peer began at its time, and this node answered by a clock that is so far ahead."""
    exchange_id = os.urandom(16)
    question = statement(exchange_id, peer, at_us)
    answer = statement(exchange_id, "GT", at_us + skew_us)
    mine = line(
        LEAF_KIND_ANSWERED,
        DIRECTION_SENT,
        exchange_id,
        peer=peer,
        time_us=at_us + skew_us,
        counterpart=question,
        sent=answer,
    )
    return exchange_id, [mine]


def found(
    connection: Connection, peer: str = "MX", *, since_us: int = START_US, until_us: int = START_US + DAY_US, **how: int
) -> list[Logged]:
    return logged_with(connection, peer, since_us=since_us, until_us=until_us, limit=how.get("limit", 1_000))


def ids(logged: list[Logged]) -> list[bytes]:
    return [each.commitment.exchange_id for each in logged]


def append(writer: Writer, lines: list[Line]) -> None:
    writer.submit(lambda _: None, lines).result()


def test_both_directions_are_found_with_their_statements(database: Database, writer: Writer) -> None:
    mine, one = asked(START_US)
    theirs, two = was_asked(START_US + S_US, skew_us=5)
    silent, three = asked(START_US + 2 * S_US, answered=False)
    append(writer, [*one, *two, *three])
    with database.reading() as connection:
        first, second, third = found(connection)
    assert ids([first, second, third]) == [mine, theirs, silent]
    assert [(each.ours, each.commitment.answered, each.late) for each in (first, second, third)] == [
        (True, True, False),
        (False, True, False),
        (True, False, False),
    ]
    answer = statement(mine, "MX", START_US + 10)
    assert first.commitment.statements_sha256 == statements_sha256(statement(mine, "GT", START_US), answer)
    began = statement(theirs, "MX", START_US + S_US)
    expected = statements_sha256(began, statement(theirs, "GT", START_US + S_US + 5))
    assert second.commitment.statements_sha256 == expected
    assert second.unanswered_sha256 == statements_sha256(began, b"")
    assert third.commitment.statements_sha256 == third.unanswered_sha256


def test_acknowledgements_are_exchanges_too(database: Database, writer: Writer) -> None:
    here, there = os.urandom(16), os.urandom(16)
    sent, receipt = statement(here, "GT", START_US), statement(here, "MX", START_US + 1)
    came, told = statement(there, "MX", START_US + 2), statement(there, "GT", START_US + 3)
    append(
        writer,
        [
            line(LEAF_KIND_ACKNOWLEDGED, DIRECTION_SENT, here, sent=sent),
            line(LEAF_KIND_RECEIVED, DIRECTION_RECEIVED, here, counterpart=receipt),
            line(LEAF_KIND_RECEIVED, DIRECTION_SENT, there, time_us=START_US + 3, counterpart=came, sent=told),
        ],
    )
    with database.reading() as connection:
        first, second = found(connection)
    assert first.commitment.statements_sha256 == statements_sha256(sent, receipt)
    assert second.commitment.statements_sha256 == statements_sha256(came, told)
    assert (first.ours, second.ours, second.commitment.time_us) == (True, False, START_US + 2)


def test_other_peers_other_kinds_and_reconciling_itself_are_left_out(database: Database, writer: Writer) -> None:
    mine, one = asked(START_US)
    _, others = asked(START_US, peer="US")
    random = os.urandom(16)
    question = statement(random, "MX", START_US)
    append(
        writer,
        [
            *others,
            *one,
            line(LEAF_KIND_REJECTED, DIRECTION_RECEIVED, os.urandom(16)),
            line(LEAF_KIND_READ, DIRECTION_LOCAL, os.urandom(16), peer=""),
            line(LEAF_KIND_RECONCILE_ASKED, DIRECTION_SENT, os.urandom(16), sent=question),
            line(LEAF_KIND_RECONCILE_ANSWERED, DIRECTION_SENT, random, counterpart=question, sent=question),
        ],
    )
    with database.reading() as connection:
        assert ids(found(connection)) == [mine]
        assert len(found(connection, "US")) == 1
        assert found(connection, "CA") == []


def test_a_period_begins_with_its_first_microsecond_and_ends_before_its_last(
    database: Database, writer: Writer
) -> None:
    kept = [asked(START_US + place) for place in range(3)]
    append(writer, [each for _, lines in kept for each in lines])
    with database.reading() as connection:
        middle = found(connection, since_us=START_US + 1, until_us=START_US + 2)
        assert ids(middle) == [kept[1][0]]
        assert found(connection, since_us=START_US + 3) == []


def test_pages_join_to_the_whole_in_order(database: Database, writer: Writer) -> None:
    # Clocks differ by up to minutes, so lines do not lie in the order of the questions' times.
    made = [was_asked(START_US + n * S_US, skew_us=(n * 37 % 11 - 5) * 50 * S_US) for n in range(200)]
    noise = [asked(START_US + n * S_US, peer="US") for n in range(300)]
    lines = [(each.leaf, each) for _, pair in (*made, *noise) for each in pair]
    append(writer, [each for _, each in sorted(lines, key=lambda pair: logged_at(pair[1]))])
    with database.reading() as connection:
        whole = found(connection)
        assert ids(whole) == [exchange_id for exchange_id, _ in made]
        pages, after = list[Logged](), (0, b"")
        while page := logged_with(
            connection, "MX", since_us=START_US, until_us=START_US + DAY_US, after=after, limit=7
        ):
            pages += page
            after = page[-1].key
    assert pages == whole
    keys: list[Key] = [each.key for each in whole]
    assert all(one < other for one, other in pairwise(keys))


def logged_at(one: Line) -> int:

    return parse_leaf(one.leaf).logged_us


def test_only_lines_near_the_period_are_read(database: Database, writer: Writer) -> None:
    made = [asked(START_US + day * DAY_US) for day in range(20)]
    append(writer, [each for _, lines in made for each in lines])
    # Damage where nothing is looked for shows in `verify`, not here; a line that is missing is passed over.
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE ledger_lines SET leaf = :leaf WHERE idx = 5"), {"leaf": b"damaged 2\x02MX"})
        connection.execute(text("DELETE FROM ledger_lines WHERE idx IN (0, 8, 9, 21)"))
    with database.reading() as connection:
        tenth = found(connection, since_us=START_US + 10 * DAY_US, until_us=START_US + 10 * DAY_US + SLACK_US)
        assert [(each.commitment.exchange_id, each.commitment.answered) for each in tenth] == [(made[10][0], False)]
        with pytest.raises(LedgerBrokenError):
            found(connection, until_us=START_US + 100 * DAY_US)


def test_an_answer_long_after_is_late(database: Database, writer: Writer) -> None:
    soon, one = asked(START_US, after_us=LATE_US)
    late, two = asked(START_US, after_us=LATE_US + 1)
    append(writer, [*one, *two])
    with database.reading() as connection:
        assert {each.commitment.exchange_id: each.late for each in found(connection)} == {soon: False, late: True}


def test_an_empty_ledger_has_no_exchanges(database: Database) -> None:
    with database.reading() as connection:
        assert found(connection) == []


def test_ids_of_exchanges_with_others_are_known_as_such(database: Database, writer: Writer) -> None:
    mine, one = asked(START_US)
    others, two = asked(START_US, peer="US")
    local = os.urandom(16)
    append(writer, [*one, *two, line(LEAF_KIND_READ, DIRECTION_LOCAL, local, peer="")])
    many = [os.urandom(16) for _ in range(600)]
    with database.reading() as connection:
        assert not is_anybody_elses(connection, "MX", [])
        assert not is_anybody_elses(connection, "MX", [mine, *many])
        assert is_anybody_elses(connection, "MX", [*many, others])
        assert is_anybody_elses(connection, "MX", [local])
        assert is_anybody_elses(connection, "US", [mine])


def test_a_question_that_is_none_is_a_damaged_line(database: Database, writer: Writer) -> None:
    broken = line(LEAF_KIND_ANSWERED, DIRECTION_SENT, os.urandom(16), counterpart=b"\xff", sent=b"x")
    append(writer, [broken])
    with database.reading() as connection, pytest.raises(LedgerBrokenError, match="line 0"):
        found(connection)


def test_a_page_is_not_looked_for_beyond_its_end(database: Database, writer: Writer) -> None:
    made = [was_asked(START_US + n * 10 * S_US) for n in range(700)]
    append(writer, [each for _, lines in made for each in lines])
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE ledger_lines SET leaf = :leaf WHERE idx = 650"), {"leaf": b"damaged 2\x02MX"})
    with database.reading() as connection:
        assert ids(found(connection, limit=5)) == [exchange_id for exchange_id, _ in made[:5]]
        with pytest.raises(LedgerBrokenError):
            found(connection, limit=600)
