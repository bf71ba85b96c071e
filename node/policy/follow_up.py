"""A follow-up request and its answer as such: whether each is of the contract, and the one within the other."""

from collections.abc import Collection
from typing import Final

from node.errors import MalformedError
from node.policy.evaluate import EXISTENCE, REFERENCE
from node.policy.narrowing import categories_in
from node.policy.outbound import verify_asking
from node.policy.vocabulary import CATEGORIES, CATEGORIES_BY_KIND, KIND_BY_FIELD, Category
from node.schema import COMMON_CATEGORIES
from node.wire import codes_pb2
from node.wire.exchange_pb2 import Query
from node.wire.request_pb2 import (
    REQUEST_OUTCOME_GRANTED,
    REQUEST_OUTCOME_PARTLY_GRANTED,
    REQUEST_OUTCOME_REFUSED,
    FollowUpRequest,
    RequestAnswer,
)

MAX_HANDLES: Final = 16
MAX_WORDS: Final = 1_000  # characters
_ID_BYTES: Final = 16
_ANSWERS: Final = frozenset({REQUEST_OUTCOME_GRANTED, REQUEST_OUTCOME_PARTLY_GRANTED, REQUEST_OUTCOME_REFUSED})
# These go with whatever is told of an entry.
_WITH_ANY: Final = frozenset({EXISTENCE, REFERENCE})


def query_of(request: FollowUpRequest) -> Query:
    """Return who asks, why and on what, as a query would say it."""
    return Query(
        purpose=request.purpose,
        crimes=request.crimes,
        urgency=request.urgency,
        urgency_reason=request.urgency_reason,
        asker=request.asker,
        case_reference=request.case_reference,
        instrument=request.instrument,
        ground=request.ground,
    )


def verify_request(request: FollowUpRequest) -> None:
    """Check that a request is complete and within the contract's bounds; both sides do, before anything else.

    Raises:
        MalformedError: it is not. The text names the field, never its value.
    """
    verify_asking(query_of(request))
    _verify_id("request_id", request.request_id)
    if not 1 <= len(request.handles) <= MAX_HANDLES or len(set(request.handles)) != len(request.handles):
        raise MalformedError(f"handles: 1 to {MAX_HANDLES} different ones")
    for handle in request.handles:
        _verify_id("handles", handle)
    if len(set(request.categories)) != len(request.categories) or not _are_known(request.categories):
        raise MalformedError("categories: each once, of this contract's list, and none that goes to no peer")
    if not request.why.strip():
        raise MalformedError("why: say why this is asked for")
    verify_words("why", request.why)
    if request.narrows:
        _verify_id("narrows", request.narrows)
    if request.asked_us <= 0:
        raise MalformedError("asked_us: says when it was asked")


def _are_known(categories: Collection[Category]) -> bool:
    return all(each in CATEGORIES and each not in {0, EXISTENCE, codes_pb2.DATA_CATEGORY_ASYLUM} for each in categories)


def verify_narrower(new: FollowUpRequest, old: FollowUpRequest) -> None:
    """Check that a request that takes another one's place asks for no more than that did.

    Raises:
        MalformedError: it asks for another entry, or another category.
    """
    wider = old.categories and (not new.categories or not set(new.categories) <= set(old.categories))
    if wider or not set(new.handles) <= set(old.handles):
        raise MalformedError("narrows: asks for more than the request whose place it takes")


def verify_words(field: str, words: str) -> None:
    """Check words of a person to the other side.

    Raises:
        MalformedError: they are too long, or hold what is no text.
    """
    if len(words) > MAX_WORDS or not all(each.isprintable() or each == "\n" for each in words):
        raise MalformedError(f"{field}: text of at most {MAX_WORDS:,} characters")


def verify_answer(answer: RequestAnswer) -> None:
    """Check that an answer is of the contract.

    Raises:
        MalformedError: it is not.
    """
    _verify_id("request_id", answer.request_id)
    if answer.outcome not in _ANSWERS:
        raise MalformedError("outcome: is granted, partly granted or refused")
    if (answer.outcome == REQUEST_OUTCOME_REFUSED) != (not answer.hits):
        raise MalformedError("hits: there are some where something is granted, and else none")
    if any(hit.WhichOneof("kind") not in {"entry", "hit"} for hit in answer.hits):
        raise MalformedError("hits: each is an entry, or tells that there is one")
    handles = handles_of(answer)
    if len(set(handles)) != len(handles):
        raise MalformedError("hits: each entry once")
    for handle in handles:
        _verify_id("hits.handle", handle)
    verify_words("words", answer.words)


def verify_within(answer: RequestAnswer, request: FollowUpRequest) -> None:
    """Check that an answer grants nothing that was not asked for.

    Raises:
        MalformedError: it has another entry, or another category of one.
    """
    if not set(handles_of(answer)) <= set(request.handles):
        raise MalformedError("an entry is granted that was not asked for")
    asked = frozenset(request.categories)
    for hit in answer.hits:
        if asked and not (categories_in(hit.entry) - _WITH_ANY) <= asked:
            raise MalformedError("data is granted that was not asked for")


def handles_of(answer: RequestAnswer) -> list[bytes]:
    """Return the handles of the entries in an answer."""
    return [hit.entry.handle if hit.HasField("entry") else hit.hit.handle for hit in answer.hits]


def asked_of(request: FollowUpRequest, holder: str) -> frozenset[Category]:
    """Return which categories are asked for of an entry of this kind; `holder` is the field of its entity."""
    own = CATEGORIES_BY_KIND[KIND_BY_FIELD[holder]] | COMMON_CATEGORIES
    return own & frozenset(request.categories) if request.categories else own


def _verify_id(field: str, value: bytes) -> None:
    if len(value) != _ID_BYTES:
        raise MalformedError(f"{field}: has {_ID_BYTES} bytes")
