"""A recall: an entry that a peer was told of is taken back, until a receipt says that its copies are deleted."""

from enum import StrEnum
from typing import Final

from node.workflow.machine import Machine, Row


class State(StrEnum):
    """Where a recall stands."""

    PROPOSED = "proposed"
    STANDS = "stands"
    SENT = "sent"
    DELIVERED = "delivered"
    OVERDUE = "overdue"
    HELD = "held"
    DELETED = "deleted"


class Event(StrEnum):
    """What may happen to it, as what is then said of it."""

    SEND = "sent"
    LET_STAND = "let stand"
    PROPOSE = "proposed"
    DELIVER = "delivered"
    TELL_HELD = "told held"
    TELL_DELETED = "told deleted"
    MISS = "missed"
    CHASE = "chased"


class Actor(StrEnum):
    """Who may cause it."""

    UNIT = "the unit"
    FOCAL_POINT = "a focal point"
    PEER = "the peer"
    NODE = "the node"
    CLOCK = "the clock"


OPEN: Final = (State.SENT, State.DELIVERED, State.OVERDUE)
"""States in which a receipt is still to come."""

_TOLD: Final = (*OPEN, State.HELD)

RECALLING: Final = Machine(
    "recall",
    "A recall, as who takes back sees it",
    start=State.PROPOSED,
    rows=(
        Row((State.PROPOSED, State.STANDS), Event.SEND, (Actor.UNIT, Actor.FOCAL_POINT), State.SENT),
        Row((State.HELD, State.DELETED), Event.SEND, (Actor.UNIT, Actor.FOCAL_POINT), State.SENT, "it was told again"),
        Row(OPEN, Event.SEND, (Actor.UNIT, Actor.FOCAL_POINT), "", "it is under way already"),
        Row((State.PROPOSED,), Event.LET_STAND, (Actor.FOCAL_POINT,), State.STANDS, "with a reason"),
        Row(
            (State.STANDS, State.DELETED),
            Event.PROPOSE,
            (Actor.NODE,),
            State.PROPOSED,
            "the rules that came into force forbid what was told",
        ),
        Row((State.SENT,), Event.DELIVER, (Actor.PEER,), State.DELIVERED),
        Row(
            (State.DELIVERED, State.OVERDUE, State.HELD, State.DELETED),
            Event.DELIVER,
            (Actor.PEER,),
            "",
            "what was chased, or came behind its receipt",
        ),
        Row(_TOLD, Event.TELL_HELD, (Actor.PEER,), State.HELD, "a law holds the copy there, out of every use"),
        Row(_TOLD, Event.TELL_DELETED, (Actor.PEER,), State.DELETED, "as the peer asserts it"),
        Row((State.DELETED,), Event.TELL_DELETED, (Actor.PEER,), "", "as it was chased"),
        Row((State.SENT, State.DELIVERED), Event.MISS, (Actor.CLOCK,), State.OVERDUE, "no receipt within 48 hours"),
        Row((State.HELD,), Event.MISS, (Actor.CLOCK,), State.OVERDUE, "the hold has ended, and no receipt came"),
        Row((State.OVERDUE,), Event.CHASE, (Actor.CLOCK,), "", "once a day the recall is sent again"),
    ),
)
