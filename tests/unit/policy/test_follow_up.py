"""Requests and answers as such: what is not of the contract is refused, and an answer stays within what was asked."""

import pytest

from node.errors import MalformedError
from node.policy.follow_up import (
    MAX_HANDLES,
    handles_of,
    query_of,
    verify_answer,
    verify_narrower,
    verify_request,
    verify_within,
    verify_words,
)
from node.wire import codes_pb2
from node.wire.exchange_pb2 import Asker, Hit, HitOnly, Pending, ReleasedEntry
from node.wire.request_pb2 import (
    REQUEST_OUTCOME_GRANTED,
    REQUEST_OUTCOME_PARTLY_GRANTED,
    REQUEST_OUTCOME_REFUSED,
    FollowUpRequest,
    RequestAnswer,
)
from tests.federation.support import altered

A, B = bytes(16), bytes([1]) * 16
TELECOM, IDENTITY = codes_pb2.DATA_CATEGORY_TELECOM, codes_pb2.DATA_CATEGORY_IDENTITY
REQUEST = FollowUpRequest(
    request_id=A,
    handles=[A, B],
    why="Invented need.",
    purpose=codes_pb2.PURPOSE_INVESTIGATE,
    crimes=[codes_pb2.CRIME_TRAFFICKING],
    urgency=codes_pb2.URGENCY_ROUTINE,
    asker=Asker(officer="analyst", unit="UNIT-1", unit_type=codes_pb2.UNIT_TYPE_POLICE_INTELLIGENCE),
    instrument="UNTOC",
    asked_us=1,
)


def entry(handle: bytes = A, **fields: str) -> Hit:
    released = ReleasedEntry(handle=handle)
    released.telecom.telephone = "+12025550143"
    for name, value in fields.items():
        setattr(released.telecom, name, value)
    return Hit(entry=released)


GRANT = RequestAnswer(request_id=A, outcome=REQUEST_OUTCOME_GRANTED, hits=[entry()])


def test_what_is_complete_is_accepted_and_says_what_a_query_would() -> None:
    verify_request(REQUEST)
    query = query_of(REQUEST)
    assert (query.purpose, query.asker, query.instrument) == (REQUEST.purpose, REQUEST.asker, "UNTOC")
    verify_answer(GRANT)
    verify_within(GRANT, REQUEST)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"request_id": b""}, "request_id"),
        ({"handles": []}, "handles"),
        ({"handles": [A, A]}, "handles"),
        ({"handles": [bytes([n]) * 16 for n in range(MAX_HANDLES + 1)]}, "handles"),
        ({"handles": [b"x"]}, "handles"),
        ({"categories": [TELECOM, TELECOM]}, "categories"),
        ({"categories": [codes_pb2.DATA_CATEGORY_ASYLUM]}, "categories"),
        ({"categories": [codes_pb2.DATA_CATEGORY_EXISTENCE]}, "categories"),
        ({"categories": [9_999]}, "categories"),
        ({"why": "\n"}, "why"),
        ({"why": "a\x1bb"}, "why"),
        ({"urgency": codes_pb2.URGENCY_URGENT}, "urgency_reason"),
        ({"urgency": 99}, "urgency"),
        ({"purpose": 0}, "purpose"),
        ({"narrows": b"x"}, "narrows"),
        ({"asked_us": 0}, "asked_us"),
        ({"asker": Asker()}, "asker"),
    ],
)
def test_what_is_not_complete_names_the_field(changes: dict[str, object], words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        verify_request(altered(REQUEST, **changes))


@pytest.mark.parametrize(
    ("old", "new", "fits"),
    [
        ({}, {"handles": [A]}, True),
        ({}, {"categories": [TELECOM]}, True),
        ({"categories": [TELECOM, IDENTITY]}, {"categories": [TELECOM]}, True),
        ({"categories": [TELECOM]}, {"categories": [TELECOM, IDENTITY]}, False),
        ({"categories": [TELECOM]}, {}, False),
        ({"handles": [A]}, {"handles": [A, B]}, False),
    ],
)
def test_what_takes_the_place_of_a_request_asks_for_no_more(
    old: dict[str, object], new: dict[str, object], *, fits: bool
) -> None:
    before, after = altered(REQUEST, **old), altered(REQUEST, **new)
    if fits:
        verify_narrower(after, before)
    else:
        with pytest.raises(MalformedError, match="more than the request whose place it takes"):
            verify_narrower(after, before)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"request_id": b"x"}, "request_id"),
        ({"outcome": 0}, "outcome"),
        ({"outcome": 7}, "outcome"),
        ({"outcome": REQUEST_OUTCOME_REFUSED}, "hits"),
        ({"hits": []}, "hits"),
        ({"hits": [Hit(pending=Pending(ticket=A))]}, "hits"),
        ({"hits": [Hit()]}, "hits"),
        ({"hits": [entry(), Hit(hit=HitOnly(handle=A))]}, "each entry once"),
        ({"hits": [entry(b"x")]}, "handle"),
        ({"words": "x" * 1_001}, "words"),
    ],
)
def test_an_answer_that_is_none_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        verify_answer(altered(GRANT, **changes))


def test_an_answer_grants_nothing_that_was_not_asked_for() -> None:
    partly = altered(GRANT, outcome=REQUEST_OUTCOME_PARTLY_GRANTED, hits=[entry(), Hit(hit=HitOnly(handle=B))])
    verify_within(partly, REQUEST)
    assert handles_of(partly) == [A, B]
    with pytest.raises(MalformedError, match="an entry is granted"):
        verify_within(partly, altered(REQUEST, handles=[A]))
    named = altered(GRANT, hits=[entry(holder_name="Invented")])
    verify_within(named, altered(REQUEST, categories=[TELECOM, IDENTITY]))
    with pytest.raises(MalformedError, match="data is granted"):
        verify_within(named, altered(REQUEST, categories=[TELECOM]))


def test_words_are_text_of_a_bounded_length() -> None:
    verify_words("words", "Línea uno\nLínea dos")
    for words in ("\x07", "x" * 1_001):
        with pytest.raises(MalformedError, match="words: text of at most"):
            verify_words("words", words)
