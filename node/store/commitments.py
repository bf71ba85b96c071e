"""What this ledger says of its exchanges with one peer in a period, read from the shared parts of its lines."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.message import DecodeError
from sqlalchemy import Connection, Row, func, select

from node.errors import LedgerBrokenError
from node.ledger.leaf import parse_leaf, parse_shared
from node.ledger.reconcile import Key, Logged, build_logged
from node.store.lines import ledger_lines
from node.wire.envelope_pb2 import Statement
from node.wire.ledger_pb2 import (
    DIRECTION_RECEIVED,
    DIRECTION_SENT,
    LEAF_KIND_ACKNOWLEDGED,
    LEAF_KIND_ANSWERED,
    LEAF_KIND_ASKED,
    LEAF_KIND_RECEIVED,
    Leaf,
    LeafShared,
)

SLACK_US: Final = 900_000_000
"""How far from a question's time its lines are looked for: the widest clock window, the longest deadline, and more."""

_ROWS: Final = 500
_IDS: Final = 250  # of one statement
_QUESTIONS: Final = (LEAF_KIND_ASKED, LEAF_KIND_ACKNOWLEDGED)
_ANSWERS: Final = (LEAF_KIND_ANSWERED, LEAF_KIND_RECEIVED)


@dataclass(slots=True)
class _Found:
    """Lines found so far: of exchanges by what began them, and answers that came, by exchange id."""

    peer: str
    questions: dict[Key, tuple[Leaf, bytes, bytes]] = field(default_factory=dict)  # ours: statement, nothing
    answered: dict[Key, tuple[Leaf, bytes, bytes]] = field(default_factory=dict)  # theirs: statement, our answer
    answers: dict[bytes, tuple[Leaf, bytes]] = field(default_factory=dict)  # to ours

    def add(self, row: Row[tuple[int, bytes, bytes]]) -> None:
        leaf = parse_leaf(row.leaf)
        shared = parse_shared(leaf.shared)
        if shared.peer != self.peer:
            return
        if shared.kind in _QUESTIONS and shared.direction == DIRECTION_SENT:
            self.questions[shared.time_us, shared.exchange_id] = (leaf, row.statement or b"", b"")
        elif shared.kind in _ANSWERS and shared.direction == DIRECTION_SENT:
            self.answered[_began_us(row.idx, shared), shared.exchange_id] = (
                leaf,
                shared.counterpart_statement,
                row.statement or b"",
            )
        elif shared.kind in _ANSWERS and shared.direction == DIRECTION_RECEIVED:
            self.answers[shared.exchange_id] = (leaf, shared.counterpart_statement)

    def logged(self, since: Key, until_us: int) -> list[Logged]:
        """Return what is between a place (exclusive) and a time, in order."""
        made = list[Logged]()
        for ours, lines in ((True, self.questions), (False, self.answered)):
            for (began_us, exchange_id), (line, question, sent) in lines.items():
                if since < (began_us, exchange_id) and began_us < until_us:
                    leaf, answer = self.answers.get(exchange_id, (line, b"")) if ours else (line, sent)
                    made.append(
                        build_logged(
                            exchange_id,
                            began_us=began_us,
                            question=question,
                            answer=answer,
                            logged_us=leaf.logged_us,
                            ours=ours,
                        )
                    )
        return sorted(made, key=lambda each: each.key)


def logged_with(
    connection: Connection, peer: str, *, since_us: int, until_us: int, after: Key = (0, b""), limit: int
) -> list[Logged]:
    """Return what is logged of the exchanges with a peer that began in a period, in order of time and exchange id.

    Lines of a ledger follow each other in time but for seconds, so the first is found by halving, and what lies more
    than a quarter of an hour outside the period is not read.

    Args:
        connection: To the main database.
        peer: ISO 3166-1 alpha-2.
        since_us: UTC microseconds, inclusive, of the statements that began the exchanges.
        until_us: Exclusive.
        after: Only what comes behind this place.
        limit: At most so many.

    Raises:
        LedgerBrokenError: a line is damaged; `verify_ledger` names it.
    """
    place = max((since_us, b""), after)
    first, end = first_logged(connection, place[0] - SLACK_US), first_logged(connection, until_us + SLACK_US)
    found = _Found(peer)
    for rows in _pages(connection, peer, first, end):
        for row in rows:
            found.add(row)
        last_us = parse_leaf(rows[-1].leaf).logged_us
        if len(found.questions) + len(found.answered) > limit:
            made = found.logged(place, until_us)
            if len(made) >= limit and last_us > made[limit - 1].key[0] + SLACK_US:
                break
    return found.logged(place, until_us)[:limit]


def is_anybody_elses(connection: Connection, peer: str, exchange_ids: Collection[bytes]) -> bool:
    """Tell whether an exchange with another country, or something local, has one of these ids."""
    ids, line = list(exchange_ids), ledger_lines.c
    for at in range(0, len(ids), _IDS):
        query = select(line.leaf).where(line.exchange_id.in_(ids[at : at + _IDS]))
        for row in connection.execute(query):
            if parse_shared(parse_leaf(row.leaf).shared).peer != peer:
                return True
    return False


def _pages(connection: Connection, peer: str, first: int, end: int) -> Iterator[list[Row[tuple[int, bytes, bytes]]]]:
    line = ledger_lines.c
    # The peer's code as LeafShared is serialised: lines that lack it are not even brought here.
    mark = b"\x32\x02" + peer.encode()
    holds = (
        func.instr(line.leaf, mark)
        if connection.dialect.name == "sqlite"
        else func.pg_catalog.position(line.leaf, mark)
    )
    while True:
        query = select(line.idx, line.leaf, line.statement).where(line.idx >= first, line.idx < end, holds > 0)
        query = query.order_by(line.idx).limit(_ROWS)
        rows: list[Row[tuple[int, bytes, bytes]]] = list(connection.execute(query))
        if rows:
            yield rows
        if len(rows) < _ROWS:
            return
        first = rows[-1].idx + 1


def first_logged(connection: Connection, time_us: int) -> int:
    """Return the index of the first line that was logged at a time or later, or of the one that comes next.

    A line that is missing is passed over.
    """
    line = ledger_lines.c
    last = connection.execute(select(line.idx).order_by(line.idx.desc()).limit(1)).scalar_one_or_none()
    low, high = 0, 0 if last is None else last + 1
    while low < high:
        middle = (low + high) // 2
        query = select(line.leaf).where(line.idx >= middle).order_by(line.idx).limit(1)
        if parse_leaf(connection.execute(query).scalar_one()).logged_us < time_us:
            low = middle + 1
        else:
            high = middle
    return low


def _began_us(index: int, shared: LeafShared) -> int:
    try:
        return Statement.FromString(shared.counterpart_statement).time_us
    except DecodeError:
        raise LedgerBrokenError(f"line {index}: the counterpart's statement is not one") from None
