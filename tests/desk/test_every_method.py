"""Every method of the desk port that reads leaves a line that says so, and none is forgotten: they are taken from the
contract. What changes something commits with a line of its own; the few methods that leave none have a reason here.
"""

import hashlib
import importlib
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from sqlalchemy import create_engine

from node.store.findings import raise_finding
from node.wire import (
    audit_pb2,
    bundle_pb2,
    desk_pb2,
    explaining_pb2,
    fence_pb2,
    reconcile_pb2,
    rulebook_pb2,
    safeguard_pb2,
    subject_pb2,
)
from node.wire.codes_pb2 import CRIME_TRAFFICKING, UNIT_TYPE_POLICE_INTELLIGENCE
from node.wire.desk_pb2 import OFFICER_ROLE_UNIT
from node.wire.entry_pb2 import Entry
from node.wire.ledger_pb2 import LeafKind
from node.wire.reconcile_pb2 import FINDING_STATE_CLOSED, FINDING_STATE_OPEN, ReconcileLedgerRequest
from tests.desk.support import Desks, call
from tests.federation.support import altered, case_record, private_of, telephone
from tests.peer_simulator import telephone_query
from tests.world import DAY_US, FOCAL, Place, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

WIRE = Path(__file__).parents[2] / "node" / "wire"
SERVICES = {"enlace.v1.Desk", "enlace.v1.Subjects"}
TO_PEERS = {"enlace.v1.Exchange"}  # what peers call: each message is in both ledgers anyway
ROLES = ("analyst", "supervisor", "focal", "auditor", "administrator")
RULEBOOK = Path(__file__).parents[2] / "node" / "policy" / "rulebooks" / "mx.yaml"


CASE = altered(case_record(), crimes=[CRIME_TRAFFICKING])
PHONE = telephone("+12025550187", roles=False)


class Known(NamedTuple):
    """What there is at MX to be read."""

    case: bytes
    entry: bytes
    rulebook: bytes
    seed: bytes
    bound: int
    revealed: int
    petition: bytes


Row = tuple[str, Callable[[Known], Message]]


def of(officer: str, request: Message) -> Row:
    return officer, lambda _: request


READINGS: Mapping[str, Row] = {
    "Desk.ListCases": of("analyst", desk_pb2.ListCasesRequest()),
    "Desk.GetCase": ("analyst", lambda known: desk_pb2.GetCaseRequest(case_id=known.case)),
    "Desk.GetEntry": ("analyst", lambda known: desk_pb2.GetEntryRequest(entry_id=known.entry)),
    "Desk.ListChanges": of("supervisor", desk_pb2.ListChangesRequest()),
    "Desk.ListHolds": of("focal", desk_pb2.ListHoldsRequest()),
    "Desk.ListLife": of("focal", desk_pb2.ListLifeRequest()),
    "Desk.ListDeterminations": of("focal", safeguard_pb2.ListDeterminationsRequest()),
    "Desk.ListFreezes": of("focal", safeguard_pb2.ListFreezesRequest()),
    "Desk.ListEmergencies": of("auditor", safeguard_pb2.ListEmergenciesRequest()),
    "Desk.RehearsePairing": of("focal", desk_pb2.RehearsePairingRequest(peer="GT")),
    "Desk.ListPairings": of("administrator", desk_pb2.ListPairingsRequest()),
    "Desk.ListRulebooks": of("auditor", rulebook_pb2.ListRulebooksRequest()),
    "Desk.GetRulebook": ("auditor", lambda known: rulebook_pb2.GetRulebookRequest(sha256=known.rulebook)),
    "Desk.Explain": (
        "focal",
        lambda known: explaining_pb2.ExplainRequest(
            what_if=explaining_pb2.WhatIf(recipient="GT", entry_id=known.entry)
        ),
    ),
    "Desk.RehearseRulebook": of("focal", explaining_pb2.RehearseRulebookRequest(content=RULEBOOK.read_bytes())),
    "Desk.ListLedger": of("auditor", desk_pb2.ListLedgerRequest()),
    "Desk.ProveLine": of("auditor", bundle_pb2.ProveLineRequest()),
    "Desk.TraceEntry": ("auditor", lambda known: audit_pb2.TraceEntryRequest(entry_id=known.entry)),
    "Desk.LedgerStats": of("auditor", audit_pb2.LedgerStatsRequest()),
    "Desk.CommitSample": of("auditor", audit_pb2.CommitSampleRequest(lines=1, seed_sha256=bytes(32))),
    "Desk.RevealSample": (
        "auditor",
        lambda known: audit_pb2.RevealSampleRequest(index=known.bound, seed=known.seed),
    ),
    "Desk.GetSample": ("auditor", lambda known: audit_pb2.GetSampleRequest(revealed=known.revealed)),
    "Desk.ListFindings": of("auditor", reconcile_pb2.ListFindingsRequest()),
    "Desk.GetFence": of("auditor", fence_pb2.GetFenceRequest()),
    "Desk.ListOfficers": of("administrator", desk_pb2.ListOfficersRequest()),
    "Subjects.ListPetitions": of("auditor", subject_pb2.ListPetitionsRequest()),
    "Subjects.GetPetition": (
        "focal",
        lambda known: subject_pb2.GetPetitionRequest(petition_id=known.petition),
    ),
    "Subjects.ReportPetition": (
        "focal",
        lambda known: subject_pb2.ReportPetitionRequest(petition_id=known.petition),
    ),
    "Subjects.PlanNotices": ("focal", lambda known: subject_pb2.PlanNoticesRequest(petition_id=known.petition)),
    "Subjects.ListEntryErasures": of("focal", subject_pb2.ListEntryErasuresRequest()),
}

# What changes something, or asks peers, by the kind of line with which it commits.
CHANGES: Mapping[str, str] = {
    "Desk.Search": "ASKED",
    "Desk.PutCase": "RECORD",
    "Desk.PutEntry": "RECORD",
    "Desk.Import": "RECORD",
    "Desk.DecideChange": "WEAKENING",
    "Desk.AcknowledgeLife": "ACKNOWLEDGED",
    "Desk.DecideFreeze": "RECORD",
    "Desk.DeclareEmergency": "EMERGENCY",
    "Desk.EndEmergency": "EMERGENCY",
    "Desk.ReviewEmergency": "EMERGENCY",
    "Desk.EnrolFocalPoint": "ENROLMENT",
    "Desk.SignPairing": "PAIRING",
    "Desk.EndPairing": "PAIRING",
    "Desk.ProposeRulebook": "RULEBOOK",
    "Desk.SignRulebook": "RULEBOOK",
    "Desk.ScheduleRulebook": "RULEBOOK",
    "Desk.RevokeRulebook": "RULEBOOK",
    "Desk.ReconcileLedger": "FINDING",
    "Desk.DecideFinding": "FINDING",
    "Desk.EnrolOfficer": "ENROLMENT",
    "Desk.SuspendOfficer": "ENROLMENT",
    "Desk.ImportDirectory": "DIRECTORY",
    "Desk.StoreRevocations": "REVOCATIONS",
    "Desk.ProposeFence": "FENCED",
    "Desk.OpenEpoch": "FENCED",
    "Subjects.RegisterPetition": "RECORD",
    "Subjects.StepPetition": "RECORD",
    "Subjects.MarkItem": "RECORD",
    "Subjects.DecideOrigin": "RECORD",
    "Subjects.EraseEntry": "DELETED",
    "Subjects.DecideEntryErasure": "WEAKENING",
}

# Those of them that need nobody's signature are called here; the others' tests look for their lines.
CALLED: Mapping[str, tuple[str, str, Message]] = {
    "Desk.Search": ("GT", "analyst", desk_pb2.SearchRequest(query=telephone_query(), peers=["MX"])),
    "Desk.PutCase": ("MX", "analyst", desk_pb2.PutCaseRequest(case=CASE)),
    "Desk.Import": (
        "MX",
        "analyst",
        desk_pb2.ImportRequest(case=CASE, entries=[PHONE]),
    ),
    "Desk.ReconcileLedger": ("MX", "auditor", ReconcileLedgerRequest(peer="GT")),
    "Desk.EnrolOfficer": (
        "MX",
        "administrator",
        desk_pb2.EnrolOfficerRequest(
            officer="newcomer", unit="UNIT-1", unit_type=UNIT_TYPE_POLICE_INTELLIGENCE, roles=[OFFICER_ROLE_UNIT]
        ),
    ),
    "Desk.SuspendOfficer": ("MX", "administrator", desk_pb2.SuspendOfficerRequest(officer="second")),
}

# Methods that leave no line.
WITHOUT: Mapping[str, str] = {
    "Desk.GetStatus": "counts, versions and dates, no case data and nobody's name; programs ask it every minute",
}


def methods(*, tabled: bool = True) -> dict[str, MethodDescriptor]:
    """Every method of the contract that officers call: those of the services of these tables, or all others."""
    found: dict[str, MethodDescriptor] = {}
    for module in sorted(WIRE.glob("*_pb2.py")):
        file = importlib.import_module(f"node.wire.{module.stem}").DESCRIPTOR
        for service in file.services_by_name.values():
            if service.full_name not in TO_PEERS and (service.full_name in SERVICES) == tabled:
                found |= {f"{service.name}.{method.name}": method for method in service.methods}
    return found


OTHERS = [name for name in methods(tabled=False) if re.search(r"\.(?:List|Get|Find|Report|Export|Show)", name)]


async def called(place: Place, officer: str, name: str, request: Message) -> list[Message]:
    method = {**methods(), **methods(tabled=False)}[name]
    path = f"/{method.containing_service.full_name}/{method.name}"
    answers: Any = GetMessageClass(method.output_type)
    kinds = {(False, False): "unary_unary", (False, True): "unary_stream", (True, True): "stream_stream"}
    async with place.desk_channel(officer) as channel:
        make = getattr(channel, kinds[method.client_streaming, method.server_streaming])
        made = make(path, request_serializer=type(request).SerializeToString, response_deserializer=answers.FromString)
        asked = made(iter([request]) if method.client_streaming else request, timeout=20)
        return [each async for each in asked] if method.server_streaming else [await asked]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def known(desks: Desks) -> Known:
    stub, auditor, seed = await desks("MX"), await desks("MX", "auditor"), secrets.token_bytes(32)
    case = (await stub.PutCase(desk_pb2.PutCaseRequest(case=CASE))).case
    put = await stub.PutEntry(desk_pb2.PutEntryRequest(entry=altered(PHONE, case_id=case.case_id)))
    proposed = await (await desks("MX", "focal")).ProposeRulebook(
        rulebook_pb2.ProposeRulebookRequest(text=RULEBOOK.read_bytes().replace(b"\nversion: ", b"\nversion: 7"))
    )
    digests = [audit_pb2.CommitSampleRequest(lines=1, seed_sha256=hashlib.sha256(seed).digest()) for _ in range(2)]
    bound = [(await auditor.CommitSample(each)).index for each in digests]
    drawn = await auditor.RevealSample(audit_pb2.RevealSampleRequest(index=bound[0], seed=seed))
    digest, revealed = proposed.rulebook.sha256, drawn.sample.revealed
    registration = subject_pb2.RegisterPetitionRequest(
        number="HD-1", kind=subject_pb2.PETITION_KIND_ACCESS, due_us=now_us() + DAY_US, entry_ids=[put.entry.entry_id]
    )
    (made,) = await called(desks.world["MX"], "focal", "Subjects.RegisterPetition", registration)
    assert isinstance(made, subject_pb2.RegisterPetitionResponse)
    petition = made.petition.petition_id
    return Known(case.case_id, put.entry.entry_id, digest, seed, bound[1], revealed, petition)


async def test_every_method_of_the_contract_is_in_one_of_the_tables() -> None:
    tables = [*READINGS, *CHANGES, *WITHOUT]
    assert sorted(tables) == sorted(methods())
    assert all(WITHOUT.values())
    assert set(CALLED) <= set(CHANGES)


@pytest.mark.parametrize("name", READINGS)
async def test_who_reads_is_a_line_before_anything_is_shown(desks: Desks, known: Known, name: str) -> None:
    (officer, request), book = READINGS[name], desks.book("MX")
    before = book.size
    await called(desks.world["MX"], officer, name, request(known))
    first, *_ = [each for each in book.lines(before) if each.shared.kind == LeafKind.LEAF_KIND_READ]
    private = private_of(first)
    assert (private.officer, private.unit) == (officer, "UNIT-1")
    assert private.reason


@pytest.mark.parametrize("name", CALLED)
async def test_what_changes_something_is_a_line_of_its_kind(desks: Desks, name: str) -> None:
    (code, officer, request), book = CALLED[name], desks.book(CALLED[name][0])
    before = book.size
    await called(desks.world[code], officer, name, request)
    kinds = {LeafKind.Name(line.shared.kind).removeprefix("LEAF_KIND_"): line for line in book.lines(before)}
    assert CHANGES[name] in kinds
    assert private_of(kinds[CHANGES[name]]).officer == officer


@pytest.mark.parametrize("name", OTHERS)
async def test_whatever_another_service_shows_is_a_line_first(desks: Desks, name: str) -> None:
    request = GetMessageClass(methods(tabled=False)[name].input_type)()
    book = desks.book("MX")
    for role in ROLES:
        before = book.size
        try:
            await called(desks.world["MX"], role, name, request)
        except grpc.aio.AioRpcError:  # whoever is refused sees nothing
            continue
        reads = [line for line in book.lines(before) if line.shared.kind == LeafKind.LEAF_KIND_READ]
        assert [private_of(line).officer for line in reads] == [role], role


async def test_what_can_not_be_read_shows_nothing_and_an_entry_that_is_written_is_a_record(
    desks: Desks, known: Known
) -> None:
    stub, book = await desks("MX"), desks.book("MX")
    entry = Entry()
    entry.CopyFrom((await stub.GetEntry(desk_pb2.GetEntryRequest(entry_id=known.entry))).entry)
    before = book.size
    await stub.PutEntry(desk_pb2.PutEntryRequest(entry=entry))
    (line,) = book.lines(before)
    assert LeafKind.Name(line.shared.kind) == f"LEAF_KIND_{CHANGES['Desk.PutEntry']}"


# --- whose names are shown -------------------------------------------------------------------------------------------


async def test_an_auditor_reads_officers_under_masks_and_who_enrols_them_by_name(desks: Desks) -> None:
    auditor, book = await desks("MX", "auditor"), desks.book("MX")
    masked = (await auditor.ListOfficers(desk_pb2.ListOfficersRequest())).officers
    assert all(each.officer.startswith("masked-") for each in masked)
    before = book.size
    shown = (await auditor.ListOfficers(desk_pb2.ListOfficersRequest(unmask="complaint 7"))).officers
    (line,) = book.lines(before)
    assert private_of(line).reason == "OFFICERS UNMASK complaint 7"
    administrator = await desks("MX", "administrator")
    own = (await administrator.ListOfficers(desk_pb2.ListOfficersRequest())).officers
    assert [each.officer for each in own] == [each.officer for each in shown]
    assert {"analyst", *FOCAL} < {each.officer for each in shown}
    with pytest.raises(grpc.aio.AioRpcError):
        await auditor.ListOfficers(desk_pb2.ListOfficersRequest(unmask=" "))


async def test_who_takes_care_of_a_finding_is_masked_to_another_auditor(desks: Desks) -> None:
    administrator, auditor, mx = await desks("MX", "administrator"), await desks("MX", "auditor"), desks.world["MX"]
    await administrator.EnrolOfficer(
        desk_pb2.EnrolOfficerRequest(
            officer="auditor-2",
            unit="UNIT-2",
            unit_type=UNIT_TYPE_POLICE_INTELLIGENCE,
            roles=[desk_pb2.OFFICER_ROLE_AUDITOR],
        )
    )
    await _orphan(desks)
    (found, *_) = (await auditor.ListFindings(reconcile_pb2.ListFindingsRequest(state=FINDING_STATE_OPEN))).findings
    decision = reconcile_pb2.DecideFindingRequest(
        finding_id=found.finding_id, state=FINDING_STATE_CLOSED, reason="a test"
    )
    await auditor.DecideFinding(decision)
    closed = reconcile_pb2.ListFindingsRequest(state=FINDING_STATE_CLOSED)
    assert [each.owner for each in (await auditor.ListFindings(closed)).findings] == ["auditor"]
    (other,) = await called(mx, "auditor-2", "Desk.ListFindings", closed)
    assert isinstance(other, reconcile_pb2.ListFindingsResponse)
    assert other.findings[0].owner.startswith("masked-")
    why = reconcile_pb2.ListFindingsRequest(state=FINDING_STATE_CLOSED, unmask="complaint 7")
    (told,) = await called(mx, "auditor-2", "Desk.ListFindings", why)
    assert isinstance(told, reconcile_pb2.ListFindingsResponse)
    assert told.findings[0].owner == "auditor"


async def _orphan(desks: Desks) -> None:
    """A finding to take care of."""
    engine = create_engine(desks.world["MX"].config.store.database)
    with engine.begin() as connection:
        raise_finding(
            connection,
            kind="ONLY_HERE",
            peer="GT",
            exchange_id=secrets.token_bytes(16),
            detail="a test",
            now_us=now_us(),
        )
    engine.dispose()


async def test_the_call_of_the_table_is_the_call_of_the_stub(desks: Desks) -> None:
    listed = await call(await desks("MX"), "ListCases", desk_pb2.ListCasesRequest())
    assert listed == await called(desks.world["MX"], "analyst", "Desk.ListCases", desk_pb2.ListCasesRequest())
