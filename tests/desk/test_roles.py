"""Who may do what at the desk, and what a refusal leaves in the ledger."""

import secrets
from collections.abc import Mapping

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from node.errors import CertificateInvalidError, ForbiddenError
from node.wire import desk_pb2
from node.wire.codes_pb2 import UnitType
from node.wire.desk_pb2 import (
    EnrolOfficerRequest,
    GetStatusRequest,
    ListCasesRequest,
    OfficerRole,
    StoreRevocationsRequest,
    SuspendOfficerRequest,
)
from node.wire.entry_pb2 import Entry
from tests.desk.support import METHODS, Desks, Status, call, desk_as, lines_since, refused
from tests.federation.support import Book, case_record, private_of
from tests.peer_simulator import telephone_query
from tests.pki import DAY, NOW, Holder, country, desk_certificate, forge, node_certificate
from tests.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROLES = ("analyst", "supervisor", "focal", "auditor", "administrator")
UNIT = OfficerRole.OFFICER_ROLE_UNIT
AUDITOR = OfficerRole.OFFICER_ROLE_AUDITOR
ADMINISTRATOR = OfficerRole.OFFICER_ROLE_ADMINISTRATOR
NOBODY = secrets.token_bytes(16)

# Who may call what. Administrators never read case data; auditors read the ledger and change nothing.
MAY: Mapping[str, set[str]] = {
    "Search": {"analyst"},
    "PutCase": {"analyst"},
    "ListCases": {"analyst", "supervisor"},
    "GetCase": {"analyst", "supervisor"},
    "PutEntry": {"analyst"},
    "GetEntry": {"analyst", "supervisor"},
    "Import": {"analyst"},
    "ListChanges": {"analyst", "supervisor"},
    "DecideChange": {"analyst", "supervisor"},
    "ListHolds": {"focal"},
    "ListLife": {"analyst", "focal"},
    "AcknowledgeLife": {"analyst", "focal"},
    "ListDeterminations": {"analyst", "supervisor", "focal"},
    "ListFreezes": {"focal"},
    "DecideFreeze": {"focal"},
    "DeclareEmergency": {"focal"},
    "EndEmergency": {"focal"},
    "ReviewEmergency": {"focal"},
    "ListEmergencies": {"focal", "auditor"},
    "RehearsePairing": {"focal"},
    "SignPairing": {"focal"},
    "EndPairing": {"focal"},
    "EnrolFocalPoint": {"focal"},
    "ListPairings": {"focal", "auditor", "administrator"},
    "ProposeRulebook": {"focal"},
    "ListRulebooks": {"focal", "auditor"},
    "GetRulebook": {"focal", "auditor"},
    "SignRulebook": {"focal"},
    "ScheduleRulebook": {"focal"},
    "RevokeRulebook": {"focal"},
    "Explain": {"focal", "auditor"},
    "RehearseRulebook": {"focal"},
    "ListLedger": {"auditor"},
    "ProveLine": {"auditor"},
    "ReconcileLedger": {"auditor"},
    "ListFindings": {"auditor"},
    "DecideFinding": {"auditor"},
    "TraceEntry": {"auditor", "focal"},
    "LedgerStats": {"auditor"},
    "CommitSample": {"auditor"},
    "RevealSample": {"auditor"},
    "GetSample": {"auditor"},
    "GetFence": {"focal", "auditor", "administrator"},
    "ProposeFence": {"administrator"},
    "OpenEpoch": {"focal", "auditor"},
    "ListOfficers": {"auditor", "administrator"},
    "EnrolOfficer": {"administrator"},
    "SuspendOfficer": {"administrator"},
    "ImportDirectory": {"administrator"},
    "StoreRevocations": {"administrator"},
    "GetStatus": set(ROLES),
}

# Requests that are well formed, and change nothing where they are allowed.
REQUESTS: Mapping[str, Message] = {
    "Search": desk_pb2.SearchRequest(query=telephone_query(), peers=["MX"]),
    "PutCase": desk_pb2.PutCaseRequest(case=case_record()),
    "GetCase": desk_pb2.GetCaseRequest(case_id=NOBODY),
    "PutEntry": desk_pb2.PutEntryRequest(entry=Entry(entry_id=NOBODY)),
    "GetEntry": desk_pb2.GetEntryRequest(entry_id=NOBODY),
    "DecideChange": desk_pb2.DecideChangeRequest(change_id=NOBODY, confirm=True),
    "AcknowledgeLife": desk_pb2.AcknowledgeLifeRequest(exchange_id=NOBODY, telephone="+502 2411 9911"),
    "RehearsePairing": desk_pb2.RehearsePairingRequest(peer="MX"),
    "EndPairing": desk_pb2.EndPairingRequest(peer="US", reason="none is there"),
    "SuspendOfficer": SuspendOfficerRequest(officer="nobody"),
}


def request_of(name: str) -> Message:
    if name in REQUESTS:
        return REQUESTS[name]
    return GetMessageClass(METHODS[name].input_type)()


async def test_every_method_of_the_contract_is_in_the_table(world: World) -> None:
    del world
    assert set(MAY) == set(METHODS)


@pytest.mark.parametrize("name", MAY)
async def test_a_role_does_what_is_its_own_and_nothing_else(desks: Desks, name: str) -> None:
    for role in ROLES:
        stub, book = await desks("GT", role), desks.book("GT")
        before = book.size
        if role in MAY[name]:
            try:
                await call(stub, name, request_of(name))
            except grpc.aio.AioRpcError as error:
                assert error.code() is not Status.PERMISSION_DENIED, (role, error.details())  # noqa: PT017
            assert ("DENIED", "", "ROLE") not in lines_since(book, before), role
        else:
            await refused(call(stub, name, request_of(name)), Status.PERMISSION_DENIED, ForbiddenError.public)
            (line,) = book.lines(before)
            assert lines_since(book, before) == [("DENIED", "", "ROLE")], role
            assert private_of(line).officer == role


async def test_nothing_that_was_refused_broke_the_ledger(desks: Desks) -> None:
    desks.book("GT").verify()


# --- officers who are not, or not any more ---------------------------------------------------------------------------


async def test_a_certificate_alone_makes_no_officer(desks: Desks) -> None:
    place, book = desks.world["GT"], desks.book("GT")
    before = book.size
    async with desk_as(place, place.officer("stranger")) as stub:
        await refused(stub.GetStatus(GetStatusRequest()), Status.PERMISSION_DENIED, ForbiddenError.public)
    (line,) = book.lines(before)
    assert lines_since(book, before) == [("DENIED", "", "NO_SUCH_OFFICER")]
    assert private_of(line).officer == "stranger"


def enrolment(name: str, *roles: OfficerRole.ValueType) -> EnrolOfficerRequest:
    return EnrolOfficerRequest(
        officer=name, unit="UNIT-1", unit_type=UnitType.UNIT_TYPE_POLICE_INTELLIGENCE, roles=roles
    )


async def test_an_officer_works_from_enrolment_to_suspension(desks: Desks) -> None:
    place, book = desks.world["GT"], desks.book("GT")
    administrator = await desks("GT", "administrator")
    async with desk_as(place, place.officer("newcomer")) as stub:
        before = book.size
        await administrator.EnrolOfficer(enrolment("newcomer", UNIT))
        (line,) = book.lines(before)
        assert lines_since(book, before) == [("ENROLMENT", "", "OFFICER")]
        assert (private_of(line).officer, private_of(line).subject) == ("administrator", b"newcomer")
        await stub.ListCases(ListCasesRequest())
        before = book.size
        await administrator.SuspendOfficer(SuspendOfficerRequest(officer="newcomer"))
        # The connection is still open; the very next call is refused.
        await refused(stub.ListCases(ListCasesRequest()), Status.PERMISSION_DENIED, ForbiddenError.public)
        assert [kind for kind, _, _ in lines_since(book, before)] == ["ENROLMENT", "DENIED"]
        assert lines_since(book, before)[1][2] == "NO_SUCH_OFFICER"


@pytest.mark.parametrize(
    ("name", "roles", "code"),
    [
        ("both", [ADMINISTRATOR, UNIT], Status.PERMISSION_DENIED),
        ("both", [ADMINISTRATOR, OfficerRole.OFFICER_ROLE_SUPERVISOR], Status.PERMISSION_DENIED),
        ("both", [ADMINISTRATOR, OfficerRole.OFFICER_ROLE_FOCAL_POINT], Status.PERMISSION_DENIED),
        ("both", [AUDITOR, UNIT], Status.PERMISSION_DENIED),
        ("both", [AUDITOR, ADMINISTRATOR], Status.PERMISSION_DENIED),
        ("administrator", [UNIT], Status.PERMISSION_DENIED),
        ("nothing", [], Status.INVALID_ARGUMENT),
        ("nothing", [OfficerRole.OFFICER_ROLE_UNKNOWN], Status.INVALID_ARGUMENT),
        ("n" * 33, [UNIT], Status.INVALID_ARGUMENT),
        ("", [UNIT], Status.INVALID_ARGUMENT),
        ("not a name", [UNIT], Status.INVALID_ARGUMENT),
        ("odd", [99], Status.INVALID_ARGUMENT),
    ],
)
async def test_an_administrator_enrols_nobody_in_roles_that_watch_each_other(
    desks: Desks, name: str, roles: list[OfficerRole.ValueType], code: grpc.StatusCode
) -> None:
    administrator = await desks("GT", "administrator")
    await refused(administrator.EnrolOfficer(enrolment(name, *roles)), code)


# --- certificates ----------------------------------------------------------------------------------------------------


async def test_a_revoked_certificate_ends_on_the_open_connection(desks: Desks) -> None:
    place = desks.world["GT"]
    holder = place.officer("second")
    administrator = await desks("GT", "administrator")
    async with desk_as(place, holder) as stub:
        await stub.ListCases(ListCasesRequest())
        stored = await administrator.StoreRevocations(StoreRevocationsRequest(crl=place.ca.crl(7, [holder.serial])))
        assert [(each.peer, each.outcome) for each in stored.pushed] == [("MX", desk_pb2.PEER_OUTCOME_ANSWERED)]
        await refused(stub.ListCases(ListCasesRequest()), Status.UNAUTHENTICATED, CertificateInvalidError.public)
    async with desk_as(place, place.officer("second")) as stub:  # the officer has another certificate, which is good
        await stub.ListCases(ListCasesRequest())


def with_the_officers_name(issuer: str) -> Holder:
    return forge(country(issuer).root, "spiffe://gt.enlace.example/desk/analyst")


@pytest.mark.parametrize(
    ("holder", "code"),
    [
        (lambda: node_certificate(country("GT")), Status.UNAUTHENTICATED),
        (lambda: desk_certificate(country("GT"), "analyst", now=NOW - 500 * DAY), Status.UNAVAILABLE),
        (lambda: desk_certificate(country("MX"), "analyst"), Status.UNAVAILABLE),
        (lambda: node_certificate(country("MX")), Status.UNAVAILABLE),
        (lambda: with_the_officers_name("MX"), Status.UNAVAILABLE),
        (lambda: None, Status.UNAVAILABLE),
    ],
    ids=["a node", "expired", "an officer of MX", "a node of MX", "issued by MX for GT", "none"],
)
async def test_another_certificate_is_refused(desks: Desks, holder: object, code: grpc.StatusCode) -> None:
    book: Book = desks.book("GT")
    before = book.size
    assert callable(holder)
    async with desk_as(desks.world["GT"], holder()) as stub:
        await refused(stub.GetStatus(GetStatusRequest()), code)
    assert book.size == before
