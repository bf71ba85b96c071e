"""What this ledger says of mail between this country and a peer, to be reconciled.

Mail is under way for as long as it takes, so its lines lie anywhere behind the time at which it was written. The
outbox and the inbox tell where to look; what is told is what the lines say.
"""

from collections.abc import Collection, Iterator
from typing import Final

from google.protobuf.message import DecodeError
from sqlalchemy import Connection, Table, select, tuple_

from node.errors import LedgerBrokenError
from node.ledger.leaf import parse_leaf, parse_shared
from node.ledger.reconcile import Key, Logged, build_logged
from node.store.lines import ledger_lines
from node.store.mail import MailId
from node.store.mail_tables import inbox, outbox
from node.wire.envelope_pb2 import Statement
from node.wire.ledger_pb2 import DIRECTION_SENT, LEAF_KIND_MAIL, LEAF_KIND_MAIL_RECEIPT

_IDS: Final = 250  # of one statement


def mail_logged_with(
    connection: Connection, peer: str, *, since_us: int, until_us: int, after: Key = (0, b""), limit: int
) -> list[Logged]:
    """Return what is logged of the mail with a peer that was written in a period, in order of time and exchange id.

    A mail and its receipt are one exchange. How long it was under way tells nothing, so none is late.

    Args:
        connection: To the main database.
        peer: ISO 3166-1 alpha-2.
        since_us: UTC microseconds, inclusive, of the statements of the mails.
        until_us: Exclusive.
        after: Only what comes behind this place.
        limit: At most so many.

    Raises:
        LedgerBrokenError: a line is damaged; `verify_ledger` names it.
    """
    place = max((since_us, b""), after)
    wanted: set[Key] = set()
    for box in (outbox, inbox):
        wanted.update(_keys(connection, box, peer, (place, until_us), limit))
    found = {each.key: each for each in _logged(connection, peer, {exchange_id for _, exchange_id in wanted})}
    return [found[key] for key in sorted(wanted & found.keys())][:limit]


def received_statement(connection: Connection, mail_id: MailId) -> bytes:
    """Return the statement of a mail that was received, as it was signed, from the line of its receipt.

    Raises:
        LedgerBrokenError: there is no such line.
    """
    line = ledger_lines.c
    query = select(line.idx, line.leaf).where(line.exchange_id == mail_id.exchange_id).order_by(line.idx)
    for row in connection.execute(query):
        shared = parse_shared(parse_leaf(row.leaf).shared)
        if (shared.kind, shared.direction, shared.peer) == (LEAF_KIND_MAIL_RECEIPT, DIRECTION_SENT, mail_id.peer):
            statement: bytes = shared.counterpart_statement
            if _parsed(row.idx, statement).mail_number == mail_id.number:
                return statement
    raise LedgerBrokenError("the line of a mail that was received is missing")


def _keys(connection: Connection, box: Table, peer: str, span: tuple[Key, int], limit: int) -> list[Key]:
    """Return where the first mails of a box are, behind a place and before a time, in their order."""
    (place, until_us), held = span, box.c
    query = select(held.sent_us, held.exchange_id).where(held.peer == peer, held.sent_us < until_us)
    query = query.where(tuple_(held.sent_us, held.exchange_id) > place).where(held.sent_us >= place[0])
    ordered = query.order_by(held.sent_us, held.exchange_id).limit(limit)
    return [(row.sent_us, row.exchange_id) for row in connection.execute(ordered)]


def _logged(connection: Connection, peer: str, exchange_ids: Collection[bytes]) -> Iterator[Logged]:
    """Read the lines of mail in these exchanges; of the receipts for a mail, the last one counts."""
    sent: dict[Key, bytes] = {}  # statements of this country's mail
    receipts: dict[tuple[bytes, int], bytes] = {}  # of the peer, by exchange and number
    line, ids = ledger_lines.c, list(exchange_ids)
    for at in range(0, len(ids), _IDS):
        query = select(line.idx, line.leaf, line.statement).where(line.exchange_id.in_(ids[at : at + _IDS]))
        for row in connection.execute(query.order_by(line.idx)):
            shared, statement = parse_shared(parse_leaf(row.leaf).shared), row.statement or b""
            if shared.peer != peer:
                continue
            if shared.kind == LEAF_KIND_MAIL and shared.direction == DIRECTION_SENT:
                sent[shared.time_us, shared.exchange_id] = statement
            elif shared.kind == LEAF_KIND_MAIL_RECEIPT and shared.direction == DIRECTION_SENT:
                began_us = _parsed(row.idx, shared.counterpart_statement).time_us
                yield _built((began_us, shared.exchange_id), shared.counterpart_statement, statement, ours=False)
            elif shared.kind == LEAF_KIND_MAIL_RECEIPT:
                number = _parsed(row.idx, shared.counterpart_statement).mail_number
                receipts[shared.exchange_id, number] = shared.counterpart_statement
    for key, statement in sent.items():
        number = _parsed(-1, statement).mail_number
        yield _built(key, statement, receipts.get((key[1], number), b""), ours=True)


def _built(key: Key, mail: bytes, receipt: bytes, *, ours: bool) -> Logged:
    began_us, exchange_id = key
    return build_logged(exchange_id, began_us=began_us, question=mail, answer=receipt, logged_us=began_us, ours=ours)


def _parsed(index: int, statement: bytes) -> Statement:
    try:
        return Statement.FromString(statement)
    except DecodeError:
        raise LedgerBrokenError(f"line {index}: a statement of mail is not one") from None
