"""A follow-up request, or an answer that was held: as who asked sees it, and as who decides on it does.

Both sides keep a table of their own, since what happens at the focal points' is nobody's business elsewhere: until it
is decided, who asked sees that it was asked. Silence past the due time is refusal.
"""

from enum import StrEnum
from typing import Final

from node.workflow.machine import Machine, Row


class State(StrEnum):
    """Where a request stands; the first three are open."""

    ASKED = "asked"
    TAKEN = "taken"
    ESCALATED = "escalated"
    SIGNED = "signed"
    GRANTED = "granted"
    PARTLY_GRANTED = "partly granted"
    REFUSED = "refused"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


class Event(StrEnum):
    """What may happen to it, as what is then said of it."""

    TAKE = "taken"
    ESCALATE = "escalated"
    SIGN = "signed by the first of two"
    GRANT = "granted"
    GRANT_PART = "granted in part"
    REFUSE = "refused"
    PUT_BACK = "put back"
    EXPIRE = "expired"
    NARROW = "asked again narrower"
    ANSWER_BACK = "answered back"


class Actor(StrEnum):
    """Who may cause it."""

    UNIT = "the unit"
    PEER = "the peer"
    FOCAL_POINT = "a focal point"
    SECOND = "a second focal point"
    NODE = "the node"
    CLOCK = "the clock"


UNSIGNED: Final = (State.ASKED, State.TAKEN, State.ESCALATED)
OPEN: Final = (*UNSIGNED, State.SIGNED)
"""States in which somebody still has to decide."""

RELEASED: Final = (State.GRANTED, State.PARTLY_GRANTED)
ANSWERED: Final = (*RELEASED, State.REFUSED)

_IN_TIME: Final = "also where it was answered in time and only its way was slow"

ASKING: Final = Machine(
    "request",
    "A request, as who asked sees it",
    start=State.ASKED,
    rows=(
        Row((State.ASKED, State.EXPIRED), Event.GRANT, (Actor.PEER,), State.GRANTED, _IN_TIME),
        Row((State.ASKED, State.EXPIRED), Event.GRANT_PART, (Actor.PEER,), State.PARTLY_GRANTED, _IN_TIME),
        Row((State.ASKED, State.EXPIRED), Event.REFUSE, (Actor.PEER,), State.REFUSED, _IN_TIME),
        Row((State.ASKED,), Event.EXPIRE, (Actor.CLOCK,), State.EXPIRED, "silence is refusal"),
        Row((State.ASKED,), Event.NARROW, (Actor.UNIT,), State.SUPERSEDED, "the narrower request stands instead"),
        Row((*ANSWERED, State.EXPIRED), Event.NARROW, (Actor.UNIT,), "", "as a request of its own"),
        Row((*ANSWERED, State.EXPIRED), Event.ANSWER_BACK, (Actor.UNIT,), ""),
        # Both crossed on their way; what was released counts, and is kept with what the recipient owes.
        Row((State.SUPERSEDED,), Event.GRANT, (Actor.PEER,), State.GRANTED, "it crossed the narrower request"),
        Row((State.SUPERSEDED,), Event.GRANT_PART, (Actor.PEER,), State.PARTLY_GRANTED, "likewise"),
        Row((State.SUPERSEDED,), Event.REFUSE, (Actor.PEER,), State.REFUSED, "likewise"),
    ),
)

DECIDING: Final = Machine(
    "request",
    "A request, as who decides on it sees it",
    start=State.ASKED,
    rows=(
        Row(UNSIGNED, Event.TAKE, (Actor.FOCAL_POINT,), State.TAKEN, "also from a colleague"),
        Row((State.SIGNED,), Event.TAKE, (Actor.FOCAL_POINT, Actor.SECOND), "", "the first signature stays"),
        Row((State.ASKED, State.TAKEN), Event.ESCALATE, (Actor.FOCAL_POINT, Actor.CLOCK), State.ESCALATED),
        Row((State.SIGNED,), Event.ESCALATE, (Actor.FOCAL_POINT, Actor.SECOND, Actor.CLOCK), ""),
        Row(UNSIGNED, Event.SIGN, (Actor.FOCAL_POINT,), State.SIGNED, "where a rule asks for two pairs of eyes"),
        Row(UNSIGNED, Event.GRANT, (Actor.FOCAL_POINT,), State.GRANTED),
        Row((State.SIGNED,), Event.GRANT, (Actor.SECOND,), State.GRANTED),
        Row(UNSIGNED, Event.GRANT_PART, (Actor.FOCAL_POINT,), State.PARTLY_GRANTED),
        Row((State.SIGNED,), Event.GRANT_PART, (Actor.SECOND,), State.PARTLY_GRANTED),
        Row(OPEN, Event.REFUSE, (Actor.FOCAL_POINT,), State.REFUSED),
        Row((State.SIGNED,), Event.REFUSE, (Actor.SECOND,), State.REFUSED),
        Row((State.SIGNED,), Event.PUT_BACK, (Actor.NODE,), State.ASKED, "what would leave has changed since"),
        Row(RELEASED, Event.PUT_BACK, (Actor.NODE,), State.ASKED, "likewise, and it has not left yet"),
        Row(OPEN, Event.EXPIRE, (Actor.CLOCK,), State.EXPIRED, "silence is refusal, and counts as late"),
        Row(OPEN, Event.NARROW, (Actor.PEER,), State.SUPERSEDED, "the narrower request stands instead"),
        Row((*ANSWERED, State.EXPIRED, State.SUPERSEDED), Event.NARROW, (Actor.PEER,), "", "as a request of its own"),
        Row((*ANSWERED, State.EXPIRED, State.SUPERSEDED), Event.ANSWER_BACK, (Actor.PEER,), ""),
    ),
)
