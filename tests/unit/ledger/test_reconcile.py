"""Two lists of commitments compared, and pages of them judged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import MalformedError
from node.ledger.reconcile import (
    LATE_US,
    LONGEST_US,
    PAGE,
    Logged,
    build_logged,
    key_of,
    reconcile,
    statements_sha256,
    verify_page,
    verify_query,
)
from node.wire.reconcile_pb2 import (
    DISCREPANCY_KIND_DIFFERENT,
    DISCREPANCY_KIND_LATE,
    DISCREPANCY_KIND_ONLY_HERE,
    DISCREPANCY_KIND_ONLY_THERE,
    Commitment,
    DiscrepancyKind,
    ReconcileQuery,
)

SINCE_US, UNTIL_US = 1_000_000, 2_000_000
ONLY_HERE, ONLY_THERE = DISCREPANCY_KIND_ONLY_HERE, DISCREPANCY_KIND_ONLY_THERE
DIFFERENT, LATE = DISCREPANCY_KIND_DIFFERENT, DISCREPANCY_KIND_LATE


@dataclass(frozen=True)
class Exchange:
    """An exchange as both sides should have it; `began_by_gt` where GT asked MX."""

    number: int
    began_by_gt: bool = True
    question: bytes = b"question"
    answer: bytes = b"answer"
    time_us: int = SINCE_US
    apart_us: int = 1_000  # from the question to the line of the answer

    def logged_by(self, country: str) -> Logged:
        return build_logged(
            self.number.to_bytes(16, "big"),
            began_us=self.time_us,
            question=self.question,
            answer=self.answer,
            logged_us=self.time_us + self.apart_us,
            ours=self.began_by_gt == (country == "GT"),
        )


def compared(gt: Sequence[Exchange], mx: Sequence[Exchange]) -> tuple[int, int, list[tuple[int, int]]]:
    """What GT's comparison says: agreed, unanswered, and the others by kind and number."""
    found = reconcile([each.logged_by("GT") for each in gt], [each.logged_by("MX").commitment for each in mx])
    told = [(int(each.kind), int.from_bytes(each.exchange_id, "big")) for each in found.discrepancies]
    return found.agreed, found.unanswered, told


ASKED = Exchange(1)
WAS_ASKED = Exchange(2, began_by_gt=False)
UNANSWERED = replace(ASKED, answer=b"")
THEY_UNANSWERED = replace(WAS_ASKED, answer=b"")


@pytest.mark.parametrize(
    ("gt", "mx", "kind"),
    [
        ([ASKED], [], ONLY_HERE),  # MX lost its answer's line
        ([WAS_ASKED], [], ONLY_HERE),  # MX lost its question's line
        ([], [ASKED], ONLY_THERE),  # GT lost both
        ([], [WAS_ASKED], ONLY_THERE),
        ([ASKED], [replace(ASKED, answer=b"another")], DIFFERENT),
        ([ASKED], [replace(ASKED, question=b"another")], DIFFERENT),
        ([WAS_ASKED], [replace(WAS_ASKED, answer=b"another")], DIFFERENT),
        # MX sent an answer that GT did not count: it came late, or broken, or never.
        ([UNANSWERED], [ASKED], LATE),
        ([WAS_ASKED], [THEY_UNANSWERED], LATE),
        # Both have the answer, but its line was written long after.
        ([replace(ASKED, apart_us=LATE_US + 1)], [ASKED], LATE),
        ([replace(ASKED, apart_us=-LATE_US - 1)], [ASKED], LATE),
        # Another question under the same id, of which MX says that it was not answered.
        ([WAS_ASKED], [replace(THEY_UNANSWERED, question=b"another")], DIFFERENT),
        # Who was asked has the line of its answer or none.
        ([ASKED], [UNANSWERED], DIFFERENT),
        ([UNANSWERED], [UNANSWERED], DIFFERENT),
    ],
)
def test_what_does_not_fit(gt: list[Exchange], mx: list[Exchange], kind: DiscrepancyKind.ValueType) -> None:
    (exchange,) = {each.number for each in (*gt, *mx)}
    assert compared(gt, mx) == (0, 0, [(kind, exchange)])


@pytest.mark.parametrize(
    ("gt", "mx", "agreed", "unanswered"),
    [
        ([], [], 0, 0),
        ([ASKED], [ASKED], 1, 0),
        ([WAS_ASKED], [WAS_ASKED], 1, 0),
        ([ASKED, WAS_ASKED], [ASKED, WAS_ASKED], 2, 0),
        ([replace(ASKED, apart_us=LATE_US)], [ASKED], 1, 0),  # a clock's window is no lateness
        ([UNANSWERED], [], 0, 1),  # MX was down
        ([], [THEY_UNANSWERED], 0, 1),  # GT was
    ],
)
def test_what_fits(gt: list[Exchange], mx: list[Exchange], agreed: int, unanswered: int) -> None:
    assert compared(gt, mx) == (agreed, unanswered, [])


def test_an_exchange_at_another_time_differs_and_is_told_once() -> None:
    assert compared([ASKED], [replace(ASKED, time_us=SINCE_US + 1)]) == (0, 0, [(DIFFERENT, 1)])


def test_one_id_may_serve_an_exchange_each_way() -> None:
    # Who asks chooses the id, so MX may choose one that GT has used; their times tell them apart.
    back = replace(ASKED, began_by_gt=False, time_us=SINCE_US + 5)
    assert compared([ASKED, back], [ASKED, back]) == (2, 0, [])
    assert compared([ASKED, back], [ASKED]) == (1, 0, [(ONLY_HERE, 1)])


def test_the_digest_is_what_the_contract_says() -> None:
    both = sha256(b"question").digest() + sha256(b"answer").digest()
    assert statements_sha256(b"question", b"answer") == sha256(b"enlace/v1/reconcile\0" + both).digest()
    assert statements_sha256(b"question", b"") == sha256(b"enlace/v1/reconcile\0" + both[:32]).digest()


def test_a_commitment_tells_no_more_than_its_statements() -> None:
    # What was held silently or stayed invisible is an answer as any other: no field depends on anything else.
    early, late = replace(ASKED, apart_us=1), replace(ASKED, apart_us=LATE_US * 2)
    assert early.logged_by("MX").commitment == late.logged_by("MX").commitment == ASKED.logged_by("GT").commitment


# --- any two ledgers -------------------------------------------------------------------------------------------------

EXCHANGES = st.lists(
    st.builds(
        Exchange,
        number=st.integers(0, 30),
        began_by_gt=st.booleans(),
        question=st.sampled_from([b"a", b"b"]),
        answer=st.sampled_from([b"x", b"y"]),
        time_us=st.integers(SINCE_US, UNTIL_US - 1),
    ),
    unique_by=lambda each: each.number,
    max_size=20,
)


@given(EXCHANGES)
def test_equal_ledgers_fit(exchanges: list[Exchange]) -> None:
    assert compared(exchanges, exchanges) == (len(exchanges), 0, [])


@given(EXCHANGES, st.data())
def test_each_change_of_one_side_is_told_and_nothing_else(exchanges: list[Exchange], data: st.DataObject) -> None:
    here, there, expected = list[Exchange](), list[Exchange](), dict[int, int]()
    for each in exchanges:
        done = data.draw(st.sampled_from(["none", "lost here", "lost there", "answer", "question", "moved", "late"]))
        if done != "lost here":
            here.append(replace(each, apart_us=LATE_US + 1) if done == "late" else each)
        if done != "lost there":
            changed = {
                "answer": replace(each, answer=b"altered"),
                "question": replace(each, question=b"altered"),
                "moved": replace(each, time_us=UNTIL_US + each.number),
            }
            there.append(changed.get(done, each))
        kinds = {"lost here": ONLY_THERE, "lost there": ONLY_HERE, "late": LATE, "none": 0}
        expected[each.number] = kinds.get(done, DIFFERENT)
    agreed, unanswered, found = compared(here, there)
    assert {number: kind for kind, number in found} == {number: kind for number, kind in expected.items() if kind}
    assert (agreed, unanswered) == (sum(not kind for kind in expected.values()), 0)


@given(EXCHANGES, EXCHANGES)
def test_nothing_is_lost_or_told_twice(gt: list[Exchange], mx: list[Exchange]) -> None:
    agreed, unanswered, found = compared(gt, mx)
    numbers = {each.number for each in gt} | {each.number for each in mx}
    told = [number for _, number in found]
    assert len(set(told)) == len(told)
    assert agreed + unanswered + len(told) == len(numbers)


@given(EXCHANGES, EXCHANGES)
def test_the_other_side_sees_the_same_the_other_way_round(gt: list[Exchange], mx: list[Exchange]) -> None:
    one = reconcile([each.logged_by("GT") for each in gt], [each.logged_by("MX").commitment for each in mx])
    other = reconcile([each.logged_by("MX") for each in mx], [each.logged_by("GT").commitment for each in gt])
    turned = {ONLY_HERE: ONLY_THERE, ONLY_THERE: ONLY_HERE}
    assert {(turned.get(each.kind, each.kind), each.exchange_id) for each in one.discrepancies} == {
        (each.kind, each.exchange_id) for each in other.discrepancies
    }


# --- the wire --------------------------------------------------------------------------------------------------------


def query(**changes: object) -> ReconcileQuery:
    values: dict[str, object] = {"since_us": SINCE_US, "until_us": UNTIL_US, **changes}
    return ReconcileQuery(**values)  # type: ignore[arg-type]


def page(count: int = 3, first_us: int = SINCE_US) -> list[Commitment]:
    return [
        Commitment(exchange_id=place.to_bytes(16, "big"), time_us=first_us + place, statements_sha256=bytes(32))
        for place in range(count)
    ]


@pytest.mark.parametrize(
    "asked",
    [
        query(),
        query(since_us=0),
        query(after_us=SINCE_US, after_exchange_id=bytes(16)),
        query(since_us=0, until_us=LONGEST_US),
    ],
)
def test_a_period_that_may_be_asked_about(asked: ReconcileQuery) -> None:
    verify_query(asked, asked.until_us)


@pytest.mark.parametrize(
    "asked",
    [
        query(until_us=SINCE_US),
        query(since_us=UNTIL_US, until_us=SINCE_US),
        query(until_us=UNTIL_US + 1),  # ahead
        query(since_us=0, until_us=2**64 - 1),
        query(after_us=SINCE_US),
        query(after_exchange_id=bytes(16)),
        query(after_us=SINCE_US, after_exchange_id=bytes(15)),
        query(after_us=SINCE_US - 1, after_exchange_id=bytes(16)),
        query(after_us=UNTIL_US, after_exchange_id=bytes(16)),
    ],
)
def test_a_period_that_may_not(asked: ReconcileQuery) -> None:
    with pytest.raises(MalformedError):
        verify_query(asked, UNTIL_US)


def test_a_period_of_more_than_a_year_may_not() -> None:
    with pytest.raises(MalformedError):
        verify_query(query(since_us=0, until_us=LONGEST_US + 1), LONGEST_US + 1)


@pytest.mark.parametrize(("count", "more"), [(0, False), (1, False), (PAGE, False), (PAGE, True)])
def test_a_page_as_the_contract_wants_it(count: int, more: bool) -> None:  # noqa: FBT001 - a table's column
    verify_page(query(), page(count), more=more)


def test_a_page_goes_on_behind_the_one_before() -> None:
    first = page()
    following = query(after_us=first[-1].time_us, after_exchange_id=first[-1].exchange_id)
    verify_page(following, page(first_us=SINCE_US + 100), more=False)
    with pytest.raises(MalformedError, match="order"):
        verify_page(following, first, more=False)
    with pytest.raises(MalformedError, match="order"):
        verify_page(following, first[-1:], more=False)


def altered(place: int, **fields: object) -> list[Commitment]:
    made = page()
    made[place].MergeFrom(Commitment(**fields))  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(
    ("commitments", "more"),
    [
        (page(PAGE + 1), False),
        (page(PAGE - 1), True),  # pages of one line each would never end
        ([], True),
        (page()[::-1], False),
        ([*page(), page()[-1]], False),
        (altered(0, exchange_id=bytes(15)), False),
        (altered(0, exchange_id=bytes(17)), False),
        (altered(0, statements_sha256=bytes(31)), False),
        (altered(2, time_us=UNTIL_US), False),
        (altered(2, time_us=2**64 - 1), False),
        (altered(0, time_us=SINCE_US - 1), False),
        (altered(0, time_us=SINCE_US + 2), False),
    ],
)
def test_a_page_that_the_contract_does_not_allow(commitments: list[Commitment], more: bool) -> None:  # noqa: FBT001
    with pytest.raises(MalformedError):
        verify_page(query(), commitments, more=more)


def test_two_exchanges_of_one_microsecond_are_told_by_their_ids() -> None:
    both = [Commitment(exchange_id=bytes([n]) * 16, time_us=SINCE_US, statements_sha256=bytes(32)) for n in (1, 2)]
    verify_page(query(), both, more=False)
    assert key_of(both[0]) < key_of(both[1])
    with pytest.raises(MalformedError, match="order"):
        verify_page(query(), both[::-1], more=False)
