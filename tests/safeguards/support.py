"""What the tests of safeguards share: invented records, and what is asked about them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from node.wire.codes_pb2 import (
    AGE_CLASS_UNKNOWN,
    EXPOSURE_UNKNOWN,
    TRI_UNKNOWN,
    TRI_YES,
    AsylumState,
    LookupKind,
)
from node.wire.desk_pb2 import GetCaseRequest, ListCasesRequest, PutEntryRequest
from node.wire.entry_pb2 import Case, Entry
from node.wire.exchange_pb2 import Answer, Query, Selector
from tests.desk.support import Desks, asserted, search
from tests.federation.support import altered, case_record, protection, telephone
from tests.federation.test_questions import BASIS
from tests.peer_simulator import telephone_query

if TYPE_CHECKING:
    from node.wire.desk_pb2_grpc import DeskAsyncStub

T = TypeVar("T")

PLAIN, UNDECIDED, PROTECTED, EXILE = (f"+120255501{number}" for number in (60, 61, 62, 63))


def with_protection(number: str, **changes: object) -> Entry:
    entry = telephone(number)
    entry.protection.CopyFrom(protection(**changes))
    return asserted(entry)


def records() -> tuple[Case, list[Entry]]:
    """A suspect's telephone, one of which protective facts are unknown, and two that are protected."""
    return (
        case_record(),
        [
            with_protection(PLAIN),
            with_protection(UNDECIDED, witness_protection=TRI_UNKNOWN, stateless=TRI_UNKNOWN),
            with_protection(PROTECTED, witness_protection=TRI_YES, age=AGE_CLASS_UNKNOWN),
            with_protection(EXILE, exposure=EXPOSURE_UNKNOWN, origins=["GT"]),
        ],
    )


def by_name(name: str) -> Query:
    selector = Selector(kind=LookupKind.LOOKUP_KIND_NAME, value=name)
    return altered(telephone_query(), selectors=[selector], person_basis=BASIS)


async def asked(desks: Desks, query: Query) -> Answer:
    """What GT's analyst is answered by MX."""
    (response,) = await search(await desks("GT"), query, "MX")
    return response.answer


async def entries_of(desks: Desks) -> list[Entry]:
    """All entries of MX's first case, as its unit reads them."""
    stub = await desks("MX")
    (case, *_) = (await stub.ListCases(ListCasesRequest())).cases
    return list((await stub.GetCase(GetCaseRequest(case_id=case.case_id))).entries)


async def entry_of(desks: Desks, number: str) -> Entry:
    (found,) = [each for each in await entries_of(desks) if each.telecom.telephone == number]
    return found


async def put(stub: "DeskAsyncStub", entry: Entry, reason: str = "") -> bytes:
    """Change an entry; what weakens it waits under the id that is returned."""
    return (await stub.PutEntry(PutEntryRequest(entry=entry, reason=reason))).pending_change


async def until(look: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> T:
    """Look again and again until what is seen holds, and return it; the node looks after itself once a second."""
    for _ in range(150):
        found = await look()
        if holds(found):
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("it did not come to pass within 15 seconds")


CLAIMED = AsylumState.ASYLUM_STATE_CLAIMED
