"""How each table is held to the ledger; its `info` says so, and a test finds a table that does not say.

Whoever can write SQL can alter any row. Of a bound table, lines say what each thing in it is (`node.ledger.states`). Of
any other, it is said why nothing binds it, and what shows that it was altered.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Table

_NAME: Final = "ledger"


@dataclass(frozen=True, slots=True)
class Bound:
    """Lines say what is in this table.

    Attributes:
        what: A thing in it, in an officer's words, before its key: "the officer".
        key: Columns that name a thing; several rows may share them.
        beside: Columns that say nothing that matters, and change too often for a line each.
    """

    what: str
    key: tuple[str, ...]
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unbound:
    """No line says what is in this table; `why` not, and what shows that somebody altered it."""

    why: str


def bound(what: str, *key: str, beside: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the `info` of a table that lines speak of; without a key, it is the primary key."""
    return {_NAME: Bound(what, key, beside)}


def unbound(why: str) -> dict[str, Any]:
    """Return the `info` of a table that lines don't speak of."""
    return {_NAME: Unbound(why)}


def holding_of(table: Table) -> Bound | Unbound | None:
    """Return how a table is held, with its key filled in; None where it does not say."""
    held: Bound | Unbound | None = table.info.get(_NAME)
    if isinstance(held, Bound) and not held.key:
        return Bound(held.what, tuple(str(column.name) for column in table.primary_key), held.beside)
    return held
