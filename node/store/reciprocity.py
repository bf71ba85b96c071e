"""Who answers what this country asks: a snapshot for each day, from the shared parts of the ledger's lines."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, func, insert, select

from node.policy.vocabulary import UNKNOWN
from node.store.safeguard_tables import asked_days, reciprocity

DAYS: Final = 90
"""Whole days, UTC, before the one that a snapshot is for."""

ENOUGH: Final = 20
"""Questions in that time below which nothing can be said of a peer: about one in four days."""

AT_LEAST: Final = (1, 2)
"""Share of them that it answered in time, as a fraction. A peer that was down for a month still reciprocates."""


def word_of(asked: int, answered: int) -> str:
    """Return YES, NO or UNKNOWN for a peer that was asked so often and answered so often in time."""
    if asked < ENOUGH:
        return UNKNOWN
    return "YES" if answered * AT_LEAST[1] >= asked * AT_LEAST[0] else "NO"


def snapshot(connection: Connection, day: int) -> Mapping[str, str]:
    """Return the word for each peer from the midnight (UTC) on which a day begins; made once, and then as it is.

    What the ledger's lines tell of the days before must have been written down; see `node.store.disclosures`.
    """
    made = stored(connection, day)
    if made:
        return made
    held = asked_days.c
    query = select(held.peer, func.sum(held.asked).label("asked"), func.sum(held.answered).label("answered"))
    query = query.where(held.day >= day - DAYS, held.day < day).group_by(held.peer).order_by(held.peer)
    rows = [
        {
            "day": day,
            "peer": row.peer,
            "word": word_of(int(row.asked), int(row.answered)),
            "asked": int(row.asked),
            "answered": int(row.answered),
        }
        for row in connection.execute(query)
    ]
    if rows:
        connection.execute(insert(reciprocity), rows)
    return stored(connection, day)


def stored(connection: Connection, day: int) -> Mapping[str, str]:
    """Return the snapshot of a day, by peer; empty where none was made, or nobody was asked."""
    held = reciprocity.c
    return {row.peer: row.word for row in connection.execute(select(held.peer, held.word).where(held.day == day))}
