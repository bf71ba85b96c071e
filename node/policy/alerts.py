"""An alert as such: whether it is of the contract, and how long one may stand."""

from typing import Final

from node.errors import MalformedError
from node.policy.outbound import verify_query
from node.wire.alert_pb2 import Alert, AlertMatch
from node.wire.codes_pb2 import URGENCY_LIFE
from node.wire.exchange_pb2 import Hit

MOST_DAYS: Final = 180
"""How long an alert may stand: it is a search that never ends by itself, so that somebody has to say again, twice a
year, that it is still needed and what for."""

MOST_US: Final = MOST_DAYS * 86_400 * 1_000_000

MOST_FROM_PEER: Final = 1_000
"""How many alerts of one country stand at a node at a time, this country's at a peer as well."""

_ID_BYTES: Final = 16


def verify_alert(alert: Alert) -> None:
    """Check that an alert is complete and within the contract's bounds; both sides do, before anything else.

    Raises:
        MalformedError: it is not. The text names the field, never its value.
    """
    verify_query(alert.query)
    if alert.query.page:
        raise MalformedError("page: an alert has none")
    if alert.query.urgency == URGENCY_LIFE:
        raise MalformedError("urgency: a life can't wait for what is recorded some day: ask")
    if alert.set_us <= 0 or alert.until_us <= alert.set_us:
        raise MalformedError("until_us: is after the alert is set")
    if alert.until_us - alert.set_us > MOST_US:
        raise MalformedError(
            f"until_us: an alert ends after {MOST_DAYS} days at most, so that somebody says again what it is needed for"
        )


def verify_match(match: AlertMatch) -> None:
    """Check that what an alert has found is of the contract.

    Raises:
        MalformedError: it is not.
    """
    kind = match.hit.WhichOneof("kind")
    if kind is None:
        raise MalformedError("hit: an entry, that there is one, or that it is decided on later")
    if len(handle_of(match.hit)) != _ID_BYTES:
        raise MalformedError(f"hit: its handle has {_ID_BYTES} bytes")
    if kind == "pending" and match.hit.pending.due_us <= 0:
        raise MalformedError("hit.pending.due_us: says when it is decided on")


def handle_of(hit: Hit) -> bytes:
    """Return what the recipient knows the entry by."""
    if hit.HasField("pending"):
        return hit.pending.ticket
    return hit.entry.handle if hit.HasField("entry") else hit.hit.handle
