"""Lines that say what was changed with them (`node.ledger.states`)."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Final

from node.ledger.leaf import build_leaf, build_opening
from node.ledger.states import SALT_SIZE, State, bind, build_states
from node.store.lines import Line
from node.wire.ledger_pb2 import DIRECTION_LOCAL, LEAF_KIND_NOTED, LeafPrivate, LeafShared

_REASON: Final = 64  # characters of a line's reason


def now_us() -> int:
    """Return the time of this machine, UTC microseconds."""
    return time.time_ns() // 1_000


def with_states(lines: Sequence[Line], states: Sequence[State], node: str, clock: Callable[[], int]) -> list[Line]:
    """Return the lines of a change, of which the last says what was changed; where there is none, one that does."""
    if not lines:
        return [noted_line(node, clock(), states)]
    return [*lines[:-1], bound_line(lines[-1], states)]


def bound_line(line: Line, states: Sequence[State]) -> Line:
    """Return a line that says besides what was changed with it; a statement signs the leaf's shared part alone."""
    listed = build_states(os.urandom(SALT_SIZE), states)
    return replace(line, leaf=bind(line.leaf, listed), states=listed)


def noted_line(node: str, now_us: int, states: Sequence[State]) -> Line:
    """Make the line of what the node (its name in the ledger: "GT/gt-1") wrote down of its own accord."""
    exchange_id = os.urandom(16)
    shared = LeafShared(
        kind=LEAF_KIND_NOTED,
        direction=DIRECTION_LOCAL,
        time_us=now_us,
        exchange_id=exchange_id,
        node=node,
        body_sha256=sha256().digest(),
    ).SerializeToString()
    tables = ", ".join(sorted({each.table for each in states}))
    opening, commitment = build_opening(os.urandom(32), LeafPrivate(reason=tables.upper()[:_REASON]))
    return bound_line(Line(build_leaf(shared, now_us, commitment), opening, exchange_id), states)
