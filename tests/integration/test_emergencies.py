"""What the database says of emergencies is believed as far as focal points signed it."""

import pytest
from sqlalchemy import Connection, insert, update

from node.errors import NotFoundError, UsageError
from node.identity.emergencies import HOUR_US, emergency_sha256, sign_emergency, sign_review
from node.identity.keys import public_key
from node.store import emergencies
from node.store.safeguard_tables import emergencies as table
from node.wire.safeguard_pb2 import Emergency, EmergencyReview
from tests.conftest import START_US

ONE, TWO, STRANGER = (bytes([n]) * 32 for n in (1, 2, 3))
KEYS = [public_key(ONE), public_key(TWO)]
DAY_US = 24 * HOUR_US


def signed(peer: str = "GT", *, by: bytes = ONE, at_us: int = START_US, hours: int = 2, country: str = "MX") -> bytes:
    told = Emergency(country=country, peer=peer, time_us=at_us, until_us=at_us + hours * HOUR_US, reason="Invented.")
    return sign_emergency(told, by).SerializeToString()


def review(declared: bytes, *, by: bytes = TWO, upheld: bool = True) -> bytes:
    said = EmergencyReview(
        emergency_sha256=emergency_sha256(declared), time_us=START_US, upheld=upheld, reason="Invented."
    )
    return sign_review(said, by).SerializeToString()


def put(connection: Connection, declared: bytes, now_us: int = START_US) -> bytes:
    return emergencies.put(connection, declared, officer="focal", now_us=now_us)


def reviewed(connection: Connection, declared: bytes, said: bytes, *, upheld: bool = True) -> None:
    digest = emergency_sha256(declared)
    emergencies.review(connection, digest, said, officer="other", now_us=START_US + 1, upheld=upheld)


def in_force(connection: Connection, now_us: int = START_US) -> dict[str, int]:
    return dict(emergencies.in_force(connection, "MX", KEYS, now_us))


def test_it_is_in_force_until_it_ends_by_itself(connection: Connection) -> None:
    put(connection, signed(hours=2))
    assert in_force(connection) == {"GT": START_US + 2 * HOUR_US}
    assert in_force(connection, START_US + 2 * HOUR_US - 1) == {"GT": START_US + 2 * HOUR_US}
    assert in_force(connection, START_US + 2 * HOUR_US) == {}


def test_it_ends_when_a_focal_point_ends_it(connection: Connection) -> None:
    put(connection, signed())
    put(connection, signed("US"))
    emergencies.end(connection, "GT", START_US + 1)
    assert in_force(connection, START_US + 2).keys() == {"US"}
    with pytest.raises(NotFoundError):
        emergencies.end(connection, "GT", START_US + 2)


def test_what_another_focal_point_does_not_uphold_ends(connection: Connection) -> None:
    declared = signed()
    put(connection, declared)
    reviewed(connection, declared, review(declared, upheld=False), upheld=False)
    assert in_force(connection) == {}
    with pytest.raises(UsageError, match="already"):
        reviewed(connection, declared, review(declared))
    (state,) = emergencies.list_emergencies(connection)
    assert (state.peer, state.declared_by, state.reviewed_by, state.upheld) == ("GT", "focal", "other", False)
    assert state.ended_us == START_US + 1


def test_what_is_upheld_stays(connection: Connection) -> None:
    declared = signed()
    put(connection, declared)
    reviewed(connection, declared, review(declared))
    assert in_force(connection).keys() == {"GT"}


def test_one_at_a_time_and_none_after_one_that_nobody_reviewed(connection: Connection) -> None:
    first = signed()
    put(connection, first)
    with pytest.raises(UsageError, match="before"):
        put(connection, first)
    with pytest.raises(UsageError, match="in force"):
        put(connection, signed(by=TWO, hours=3))
    later_us = START_US + 3 * HOUR_US
    with pytest.raises(UsageError, match="not reviewed"):
        put(connection, signed(at_us=later_us), later_us)
    reviewed(connection, first, review(first))
    put(connection, signed(at_us=later_us), later_us)
    assert in_force(connection, later_us).keys() == {"GT"}


def row(declared: bytes, **changes: object) -> dict[str, object]:
    return {
        "emergency_sha256": emergency_sha256(declared),
        "peer": "GT",
        "signed": declared,
        "until_us": START_US + DAY_US,
        "declared_by": "focal",
        "declared_us": START_US,
        "overdue": False,
        **changes,
    }


@pytest.mark.parametrize(
    "declared",
    [signed(by=STRANGER), signed(country="US"), b"\xff"],
    ids=["a stranger's", "another country's", "no message"],
)
def test_who_writes_one_into_the_database_declares_nothing(connection: Connection, declared: bytes) -> None:
    digest = bytes(32) if declared == b"\xff" else emergency_sha256(declared)
    connection.execute(insert(table).values({**row(signed()), "signed": declared, "emergency_sha256": digest}))
    assert in_force(connection) == {}


def test_who_changes_a_column_prolongs_nothing_and_turns_it_to_nobody_else(connection: Connection) -> None:
    put(connection, signed(hours=1))
    connection.execute(update(table).values(until_us=START_US + 365 * DAY_US, peer="US"))
    assert in_force(connection) == {"GT": START_US + HOUR_US}
    assert in_force(connection, START_US + HOUR_US) == {}


def test_a_review_that_says_no_counts_whatever_a_column_says(connection: Connection) -> None:
    declared = signed()
    put(connection, declared)
    reviewed(connection, declared, review(declared, upheld=False), upheld=False)
    connection.execute(update(table).values(ended_us=None))
    assert in_force(connection) == {}


def test_a_review_that_nobody_signed_keeps_nothing_in_force(connection: Connection) -> None:
    declared = signed()
    put(connection, declared)
    connection.execute(update(table).values(review=review(declared, by=STRANGER)))
    assert in_force(connection) == {}


def test_what_nobody_reviews_within_a_day_is_a_finding(connection: Connection) -> None:
    declared = signed()
    digest = put(connection, declared)
    assert emergencies.unreviewed(connection, START_US + DAY_US - 1) == []
    assert emergencies.unreviewed(connection, START_US + DAY_US) == [(digest, "GT", False)]
    emergencies.tell_overdue(connection, digest)
    assert emergencies.unreviewed(connection, START_US + DAY_US) == [(digest, "GT", True)]
    reviewed(connection, declared, review(declared))
    assert emergencies.unreviewed(connection, START_US + DAY_US) == []


def test_what_was_never_declared_is_not_found(connection: Connection) -> None:
    with pytest.raises(NotFoundError):
        emergencies.get(connection, bytes(32))
