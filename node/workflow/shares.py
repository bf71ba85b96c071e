"""A share: entries that a peer is told of unasked, as who shares them sees it, and as who got them does."""

from enum import StrEnum
from typing import Final

from node.workflow.machine import Machine, Row


class State(StrEnum):
    """Where a share stands."""

    DRAFTED = "drafted"
    HELD = "held"
    SENT = "sent"
    DELIVERED = "delivered"
    WITHDRAWN = "withdrawn"
    NOT_SHARED = "not shared"
    RECEIVED = "received"
    PARTLY_TAKEN_BACK = "taken back in part"
    TAKEN_BACK = "taken back"


class Event(StrEnum):
    """What may happen to it, as what is then said of it."""

    SEND = "sent"
    HOLD = "held"
    GRANT = "granted"
    REFUSE = "refused"
    EXPIRE = "expired"
    WITHDRAW = "withdrawn"
    PUT_BACK = "put back"
    DELIVER = "delivered"
    TAKE_BACK_PART = "taken back in part"
    TAKE_BACK = "taken back"


class Actor(StrEnum):
    """Who may cause it."""

    UNIT = "the unit"
    PEER = "the peer"
    FOCAL_POINT = "a focal point"
    NODE = "the node"
    CLOCK = "the clock"


SHARING: Final = Machine(
    "share",
    "A share, as who shares sees it",
    start=State.DRAFTED,
    rows=(
        Row((State.DRAFTED,), Event.SEND, (Actor.UNIT,), State.SENT, "as it was previewed"),
        Row((State.DRAFTED,), Event.HOLD, (Actor.NODE,), State.HELD, "a rule has focal points decide"),
        Row((State.HELD,), Event.GRANT, (Actor.FOCAL_POINT,), State.SENT),
        Row((State.HELD,), Event.REFUSE, (Actor.FOCAL_POINT,), State.NOT_SHARED, "the peer hears nothing"),
        Row((State.HELD,), Event.EXPIRE, (Actor.CLOCK,), State.NOT_SHARED, "likewise"),
        Row((State.SENT,), Event.WITHDRAW, (Actor.NODE,), State.WITHDRAWN, "it may not leave any more as it was shown"),
        Row((State.SENT,), Event.PUT_BACK, (Actor.NODE,), State.HELD, "what focal points signed has changed since"),
        Row(
            (State.SENT, State.WITHDRAWN, State.HELD),
            Event.DELIVER,
            (Actor.PEER,),
            State.DELIVERED,
            "also where it had left before it was withdrawn",
        ),
    ),
)

SHARED: Final = Machine(
    "share",
    "A share, as who got it sees it",
    start=State.RECEIVED,
    rows=(
        Row((State.RECEIVED, State.PARTLY_TAKEN_BACK), Event.TAKE_BACK_PART, (Actor.PEER,), State.PARTLY_TAKEN_BACK),
        Row((State.RECEIVED, State.PARTLY_TAKEN_BACK), Event.TAKE_BACK, (Actor.PEER,), State.TAKEN_BACK),
        Row((State.TAKEN_BACK,), Event.TAKE_BACK, (Actor.PEER,), "", "the same again changes nothing"),
    ),
)
