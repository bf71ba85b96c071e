"""Comparing what two ledgers say of the same exchanges, by digests that only those who took part can compute.

Neither side tells anything that the other did not have: an exchange id is random and was in both messages, and the
digest is over statements that both hold, whatever the answer held. What was kept silent is an answered exchange here
as there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

from node.errors import MalformedError
from node.wire.reconcile_pb2 import (
    DISCREPANCY_KIND_DIFFERENT,
    DISCREPANCY_KIND_LATE,
    DISCREPANCY_KIND_ONLY_HERE,
    DISCREPANCY_KIND_ONLY_THERE,
    Commitment,
    Discrepancy,
    DiscrepancyKind,
    ReconcileQuery,
)

PAGE: Final = 500
"""Commitments of one answer at most; some 35 kB."""

LONGEST_US: Final = 366 * 86_400_000_000
"""The longest period that a peer is asked about at once."""

LATE_US: Final = 600_000_000
"""Twice the widest clock window that a node may have: two honest lines of one exchange are never further apart."""

_DOMAIN: Final = b"enlace/v1/reconcile\x00"
_EXCHANGE_ID_SIZE: Final = 16
_HASH_SIZE: Final = 32

Key: TypeAlias = tuple[int, bytes]
"""Time (UTC microseconds) of the statement that began an exchange, and its id: what pages are ordered by."""


@dataclass(frozen=True, slots=True)
class Logged:
    """What this ledger says of one exchange.

    Attributes:
        commitment: As the peer would be told.
        ours: This country began it.
        unanswered_sha256: The digest, had no answer been logged.
        late: The line of the answer was written long after the question was asked, or before.
    """

    commitment: Commitment
    ours: bool
    unanswered_sha256: bytes
    late: bool

    @property
    def key(self) -> Key:
        """What pages are ordered by."""
        return key_of(self.commitment)


class Comparison(NamedTuple):
    """How two ledgers compare: exchanges that fit, those that neither saw answered, and the others by time."""

    agreed: int
    unanswered: int
    discrepancies: Sequence[Discrepancy]


def key_of(commitment: Commitment) -> Key:
    """Return what pages are ordered by."""
    return commitment.time_us, commitment.exchange_id


def build_logged(
    exchange_id: bytes, *, began_us: int, question: bytes, answer: bytes, logged_us: int, ours: bool
) -> Logged:
    """Say what this ledger holds of an exchange.

    Args:
        exchange_id: 16 bytes.
        began_us: The time in the statement that began it, UTC microseconds.
        question: That statement, as it was signed.
        answer: The statement that answered it, as it was signed; empty where none was logged.
        logged_us: When the last line of the exchange was written, by this node's clock.
        ours: This country began it.
    """
    digest, unanswered = statements_sha256(question, answer), statements_sha256(question, b"")
    commitment = Commitment(exchange_id=exchange_id, time_us=began_us, answered=bool(answer), statements_sha256=digest)
    return Logged(commitment, ours, unanswered, late=bool(answer) and abs(logged_us - began_us) > LATE_US)


def statements_sha256(question: bytes, answer: bytes) -> bytes:
    """Return the digest over the statements of an exchange, as reconcile.proto says; `answer` may be empty."""
    hashes = [sha256(statement).digest() for statement in (question, answer) if statement]
    return sha256(_DOMAIN + b"".join(hashes)).digest()


# --- the wire --------------------------------------------------------------------------------------------------------


def verify_query(query: ReconcileQuery, latest_us: int) -> None:
    """Check what a peer asks for; no period may end after `latest_us` (UTC microseconds).

    Raises:
        MalformedError: the period is empty, too long or ahead, or the place to go on from is not in it.
    """
    if not query.since_us < query.until_us <= latest_us or query.until_us - query.since_us > LONGEST_US:
        raise MalformedError("the period to reconcile is empty, ahead, or longer than 366 days")
    if not query.after_exchange_id and not query.after_us:
        return
    if len(query.after_exchange_id) != _EXCHANGE_ID_SIZE or not query.since_us <= query.after_us < query.until_us:
        raise MalformedError("the place to go on from is no place in the period")


def verify_page(query: ReconcileQuery, commitments: Sequence[Commitment], *, more: bool) -> None:
    """Check a page that a peer answered a query with.

    1. It is no longer than a page, and full where more is to come: so all pages end.
    2. Ids and digests have their lengths, and times lie in the period.
    3. Each follows the one before, and the page before; so nothing is told twice.

    Raises:
        MalformedError: it is not so.
    """
    if len(commitments) > PAGE or (more and len(commitments) < PAGE):
        raise MalformedError("a page of commitments is longer than the contract allows, or not full")
    last: Key = (query.after_us, query.after_exchange_id)
    for each in commitments:
        if len(each.exchange_id) != _EXCHANGE_ID_SIZE or len(each.statements_sha256) != _HASH_SIZE:
            raise MalformedError("a commitment has an id or a digest of a wrong length")
        if not query.since_us <= each.time_us < query.until_us:
            raise MalformedError("a commitment is of another time than was asked about")
        if key_of(each) <= last:
            raise MalformedError("commitments are not in order, or told twice")
        last = key_of(each)


# --- comparing -------------------------------------------------------------------------------------------------------


def reconcile(here: Iterable[Logged], there: Iterable[Commitment]) -> Comparison:
    """Compare what this ledger and the peer's say of the exchanges between them in a period.

    A question that has no answer here and no line there is not a discrepancy: the peer was down, and both ledgers say
    that nothing left. Where one side says another time of an exchange than the other, it is one that differs.
    """
    ours = {each.key: each for each in here}
    theirs = {key_of(each): each for each in there}
    agreed = unanswered = 0
    found = list[Discrepancy]()
    for key in ours.keys() & theirs.keys():
        kind = _compared(ours[key], theirs[key])
        agreed += kind is None
        if kind is not None:
            found.append(_discrepancy(kind, key, ours=ours[key].ours))
    moved = _moved(ours.keys() - theirs.keys(), theirs.keys() - ours.keys())
    for key in ours.keys() - theirs.keys():
        mine = ours[key]
        if key in moved:
            found.append(_discrepancy(DISCREPANCY_KIND_DIFFERENT, key, ours=mine.ours))
        elif mine.commitment.answered:
            found.append(_discrepancy(DISCREPANCY_KIND_ONLY_HERE, key, ours=mine.ours))
        else:
            unanswered += 1
    for key in theirs.keys() - ours.keys() - moved:
        if theirs[key].answered:
            found.append(_discrepancy(DISCREPANCY_KIND_ONLY_THERE, key, ours=False))
        else:
            unanswered += 1
    return Comparison(agreed, unanswered, sorted(found, key=lambda each: (each.time_us, each.exchange_id)))


def _compared(mine: Logged, told: Commitment) -> DiscrepancyKind.ValueType | None:
    """Compare an exchange that both have; None where they agree."""
    held = mine.commitment
    if held.answered and told.answered:
        if held.statements_sha256 != told.statements_sha256:
            return DISCREPANCY_KIND_DIFFERENT
        return DISCREPANCY_KIND_LATE if mine.late else None
    # Who was asked has one line, that of its answer: so only who asked can have an exchange without one.
    if mine.ours and told.answered:
        return DISCREPANCY_KIND_LATE
    if not mine.ours and held.answered and told.statements_sha256 == mine.unanswered_sha256:
        return DISCREPANCY_KIND_LATE
    return DISCREPANCY_KIND_DIFFERENT


def _moved(here: Iterable[Key], there: Iterable[Key]) -> set[Key]:
    """Return the keys of exchanges that both sides have, each at another time."""
    here, there = list(here), list(there)
    both = {exchange_id for _, exchange_id in here} & {exchange_id for _, exchange_id in there}
    return {key for key in (*here, *there) if key[1] in both}


def _discrepancy(kind: DiscrepancyKind.ValueType, key: Key, *, ours: bool) -> Discrepancy:
    return Discrepancy(kind=kind, time_us=key[0], exchange_id=key[1], ours=ours)
