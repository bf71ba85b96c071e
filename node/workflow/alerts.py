"""An alert, which is a query that stands: as who set it sees it, and as who is to answer it does.

What it finds is no state of it: it may find any number of entries while it stands.
"""

from enum import StrEnum
from typing import Final

from node.workflow.machine import Machine, Row


class State(StrEnum):
    """Where an alert stands."""

    SET = "set"
    STANDING = "standing"
    REFUSED = "refused"
    OVER_QUOTA = "over quota"
    ENDED = "ended"
    EXPIRED = "expired"


class Event(StrEnum):
    """What may happen to it, as what is then said of it."""

    ACCEPT = "accepted"
    REFUSE = "refused"
    TURN_AWAY = "turned away, since as many stand as may"
    MATCH = "matched"
    CALL = "told whom to call"
    END = "ended"
    EXPIRE = "expired"


class Actor(StrEnum):
    """Who may cause it."""

    UNIT = "the unit"
    PEER = "the peer"
    FOCAL_POINT = "a focal point"
    NODE = "the node"
    CLOCK = "the clock"


OPEN: Final = (State.SET, State.STANDING)
"""States in which it may still find something."""

_GONE: Final = (State.ENDED, State.EXPIRED)
_CROSSED: Final = "it was under way when the alert ended"

SETTING: Final = Machine(
    "alert",
    "An alert, as who set it sees it",
    start=State.SET,
    rows=(
        Row((State.SET,), Event.ACCEPT, (Actor.PEER,), State.STANDING),
        Row((State.SET,), Event.REFUSE, (Actor.PEER, Actor.NODE), State.REFUSED, "also where it could not be sent"),
        Row((State.SET,), Event.TURN_AWAY, (Actor.PEER,), State.OVER_QUOTA),
        Row((State.REFUSED,), Event.ACCEPT, (Actor.PEER,), "", "its mail was tried again; it is gone here"),
        Row((State.STANDING,), Event.MATCH, (Actor.PEER,), "", "any number of times"),
        Row((State.STANDING,), Event.CALL, (Actor.PEER,), "", "somebody works on the same"),
        Row(OPEN, Event.CALL, (Actor.NODE,), "", "likewise, a unit of this country or as this node knows"),
        Row(OPEN, Event.END, (Actor.UNIT, Actor.FOCAL_POINT), State.ENDED),
        Row((State.STANDING,), Event.END, (Actor.PEER,), State.ENDED),
        Row(OPEN, Event.EXPIRE, (Actor.CLOCK,), State.EXPIRED),
        Row(_GONE, Event.ACCEPT, (Actor.PEER,), "", _CROSSED),
        Row(_GONE, Event.REFUSE, (Actor.PEER, Actor.NODE), "", _CROSSED),
        Row(_GONE, Event.TURN_AWAY, (Actor.PEER,), "", _CROSSED),
        Row(_GONE, Event.MATCH, (Actor.PEER,), "", _CROSSED),
        Row(_GONE, Event.CALL, (Actor.PEER,), "", _CROSSED),
        Row(_GONE, Event.END, (Actor.PEER,), "", _CROSSED),
    ),
)

ANSWERING: Final = Machine(
    "alert",
    "An alert, as who is to answer it sees it",
    start=State.STANDING,
    rows=(
        Row((State.STANDING,), Event.MATCH, (Actor.NODE,), "", "whether or not anything is told of it"),
        Row((State.STANDING,), Event.CALL, (Actor.NODE,), "", "likewise"),
        Row((State.STANDING,), Event.END, (Actor.PEER, Actor.FOCAL_POINT), State.ENDED),
        Row((State.STANDING,), Event.EXPIRE, (Actor.CLOCK,), State.EXPIRED),
        Row(_GONE, Event.END, (Actor.PEER,), "", _CROSSED),
    ),
)
