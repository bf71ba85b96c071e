"""A person's request about their own data, here called a petition: from its coming in until nothing is left to do."""

from enum import StrEnum
from typing import Final

from node.workflow.machine import Machine, Row


class State(StrEnum):
    """Where a petition stands."""

    RECEIVED = "received"
    IDENTITY_CHECKED = "identity checked"
    UNDER_REVIEW = "under review"
    ANSWERED = "answered"
    REFUSED = "refused"
    CORRECTED = "corrected"
    ERASED = "erased"
    CLOSED = "closed"


class Event(StrEnum):
    """What may happen to it, as what is then said of it."""

    TAKE = "taken"
    CHECK_IDENTITY = "checked for identity"
    REVIEW = "reviewed"
    EXTEND = "extended"
    ANSWER = "answered"
    REFUSE = "refused"
    CORRECT = "corrected"
    ERASE = "erased"
    CLOSE = "closed"


class Actor(StrEnum):
    """Who may cause it."""

    FOCAL_POINT = "a focal point"


_BY: Final = (Actor.FOCAL_POINT,)

OPEN: Final = (State.RECEIVED, State.IDENTITY_CHECKED, State.UNDER_REVIEW)
"""States in which the person still waits for an answer."""

DECIDED: Final = (State.ANSWERED, State.REFUSED, State.CORRECTED, State.ERASED)

PETITION: Final = Machine(
    "petition",
    "A person's request about their own data",
    start=State.RECEIVED,
    rows=(
        Row((*OPEN, *DECIDED), Event.TAKE, _BY, "", "also from a colleague"),
        Row((State.RECEIVED,), Event.CHECK_IDENTITY, _BY, State.IDENTITY_CHECKED, "nobody is told another's data"),
        Row((State.IDENTITY_CHECKED,), Event.REVIEW, _BY, State.UNDER_REVIEW),
        Row(OPEN, Event.EXTEND, _BY, "", "where the law allows it"),
        Row(OPEN, Event.REFUSE, _BY, State.REFUSED, "with a ground and its law"),
        Row((State.UNDER_REVIEW,), Event.ANSWER, _BY, State.ANSWERED, "also that nothing can be told"),
        Row((State.UNDER_REVIEW,), Event.CORRECT, _BY, State.CORRECTED, "in the records, by then"),
        Row((State.UNDER_REVIEW,), Event.ERASE, _BY, State.ERASED, "likewise"),
        Row(DECIDED, Event.REVIEW, _BY, State.UNDER_REVIEW, "on appeal, or by order of a court"),
        Row(DECIDED, Event.CLOSE, _BY, State.CLOSED),
    ),
)
