"""The desk service: who calls and in which role; the use cases do the rest."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from node import errors
from node.desk.administration import Administration
from node.desk.approving import Approving
from node.desk.auditing import Auditing
from node.desk.determinations import Determinations
from node.desk.emergencies import Emergencies
from node.desk.explaining import Explaining
from node.desk.fences import Fences
from node.desk.freezes import Freezes
from node.desk.importing import Importing
from node.desk.officers import Officers
from node.desk.reconciling import Reconciliation
from node.desk.recording import Recording
from node.desk.replaying import Replaying
from node.desk.rulebooks import Rulebooks
from node.desk.sampling import Sampling
from node.desk.searching import Searching
from node.desk.statistics import Statistics
from node.desk.tracing import Tracing
from node.federation.boundary import Context
from node.wire import (
    audit_pb2,
    bundle_pb2,
    desk_pb2,
    explaining_pb2,
    fence_pb2,
    reconcile_pb2,
    rulebook_pb2,
    safeguard_pb2,
)
from node.wire.desk_pb2 import OfficerRole
from node.wire.desk_pb2_grpc import DeskServicer as GeneratedServicer

UNIT = OfficerRole.OFFICER_ROLE_UNIT
SUPERVISOR = OfficerRole.OFFICER_ROLE_SUPERVISOR
FOCAL_POINT = OfficerRole.OFFICER_ROLE_FOCAL_POINT
AUDITOR = OfficerRole.OFFICER_ROLE_AUDITOR
ADMINISTRATOR = OfficerRole.OFFICER_ROLE_ADMINISTRATOR
# What an officer can mend, and is told in full: these texts name fields, peers and what to do, never a record's value.
IN_FULL = (
    errors.UsageError,
    errors.NotFoundError,
    errors.RecordError,
    errors.MalformedError,
    errors.NotPairedError,
    errors.DirectoryError,
    errors.FencedError,
    errors.UnansweredError,
    errors.RulebookError,
    errors.ApprovalError,
    errors.DeniedError,
    errors.WorkflowError,
    errors.QuotaError,
)
ANYBODY = (UNIT, SUPERVISOR, FOCAL_POINT, AUDITOR, ADMINISTRATOR)


@dataclass(slots=True)
class DeskServicer(GeneratedServicer):
    """Serves the officers of this country."""

    officers: Officers
    searching: Searching
    recording: Recording
    importing: Importing
    approving: Approving
    rulebooks: Rulebooks
    auditing: Auditing
    reconciliation: Reconciliation
    tracing: Tracing
    statistics: Statistics
    sampling: Sampling
    explaining: Explaining
    replaying: Replaying
    administration: Administration
    determinations: Determinations
    freezes: Freezes
    emergencies: Emergencies
    fences: Fences

    # --- units ---

    async def Search(self, request: desk_pb2.SearchRequest, context: Context) -> AsyncIterator[desk_pb2.SearchResponse]:
        officer = await self.officers.officer(context, UNIT)
        async for response in self.searching.search(request, officer):
            yield response

    async def PutCase(self, request: desk_pb2.PutCaseRequest, context: Context) -> desk_pb2.PutCaseResponse:
        officer = await self.officers.officer(context, UNIT)
        return desk_pb2.PutCaseResponse(case=await self.recording.put_case(request.case, officer))

    async def ListCases(self, request: desk_pb2.ListCasesRequest, context: Context) -> desk_pb2.ListCasesResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR)
        cases = await self.recording.list_cases(officer, request.limit or 100, request.after)
        return desk_pb2.ListCasesResponse(cases=cases)

    async def GetCase(self, request: desk_pb2.GetCaseRequest, context: Context) -> desk_pb2.GetCaseResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR)
        case, entries = await self.recording.get_case(request.case_id, officer)
        return desk_pb2.GetCaseResponse(case=case, entries=entries)

    async def PutEntry(self, request: desk_pb2.PutEntryRequest, context: Context) -> desk_pb2.PutEntryResponse:
        officer = await self.officers.officer(context, UNIT)
        return await self.recording.put_entry(request.entry, request.reason, officer)

    async def GetEntry(self, request: desk_pb2.GetEntryRequest, context: Context) -> desk_pb2.GetEntryResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR)
        return desk_pb2.GetEntryResponse(entry=await self.recording.get_entry(request.entry_id, officer))

    async def Import(
        self, request_iterator: AsyncIterator[desk_pb2.ImportRequest], context: Context
    ) -> AsyncIterator[desk_pb2.ImportResponse]:
        officer = await self.officers.officer(context, UNIT)
        async for response in self.importing.take(request_iterator, officer):
            yield response

    # --- second officers ---

    async def ListChanges(self, request: desk_pb2.ListChangesRequest, context: Context) -> desk_pb2.ListChangesResponse:
        del request
        officer = await self.officers.officer(context, UNIT, SUPERVISOR)
        return desk_pb2.ListChangesResponse(changes=await self.recording.list_changes(officer))

    async def DecideChange(
        self, request: desk_pb2.DecideChangeRequest, context: Context
    ) -> desk_pb2.DecideChangeResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR)
        entry = await self.recording.decide_change(request.change_id, officer, confirm=request.confirm)
        return desk_pb2.DecideChangeResponse(entry=entry)

    # --- focal points ---

    async def ListHolds(self, request: desk_pb2.ListHoldsRequest, context: Context) -> desk_pb2.ListHoldsResponse:
        del request
        officer = await self.officers.officer(context, FOCAL_POINT)
        return desk_pb2.ListHoldsResponse(holds=await self.approving.list_holds(officer))

    async def ListLife(self, request: desk_pb2.ListLifeRequest, context: Context) -> desk_pb2.ListLifeResponse:
        del request
        officer = await self.officers.officer(context, FOCAL_POINT, UNIT)
        return desk_pb2.ListLifeResponse(notices=await self.approving.list_life(officer))

    async def AcknowledgeLife(
        self, request: desk_pb2.AcknowledgeLifeRequest, context: Context
    ) -> desk_pb2.AcknowledgeLifeResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, UNIT)
        at_us = await self.approving.acknowledge_life(request.exchange_id, request.telephone, officer)
        return desk_pb2.AcknowledgeLifeResponse(acknowledged_us=at_us)

    async def ListDeterminations(
        self, request: safeguard_pb2.ListDeterminationsRequest, context: Context
    ) -> safeguard_pb2.ListDeterminationsResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, UNIT, SUPERVISOR)
        found = await self.determinations.list_determinations(officer, take=request.take)
        return safeguard_pb2.ListDeterminationsResponse(determinations=found)

    async def ListFreezes(
        self, request: safeguard_pb2.ListFreezesRequest, context: Context
    ) -> safeguard_pb2.ListFreezesResponse:
        del request
        officer = await self.officers.officer(context, FOCAL_POINT)
        return safeguard_pb2.ListFreezesResponse(freezes=await self.freezes.list_freezes(officer))

    async def DecideFreeze(
        self, request: safeguard_pb2.DecideFreezeRequest, context: Context
    ) -> safeguard_pb2.DecideFreezeResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        return safeguard_pb2.DecideFreezeResponse(freeze=await self.freezes.decide(request, officer))

    async def DeclareEmergency(
        self, request: safeguard_pb2.DeclareEmergencyRequest, context: Context
    ) -> safeguard_pb2.DeclareEmergencyResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        digest = await self.emergencies.declare(request.signed_emergency, officer)
        return safeguard_pb2.DeclareEmergencyResponse(emergency_sha256=digest)

    async def EndEmergency(
        self, request: safeguard_pb2.EndEmergencyRequest, context: Context
    ) -> safeguard_pb2.EndEmergencyResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        await self.emergencies.end(request.peer, request.reason, officer)
        return safeguard_pb2.EndEmergencyResponse()

    async def ReviewEmergency(
        self, request: safeguard_pb2.ReviewEmergencyRequest, context: Context
    ) -> safeguard_pb2.ReviewEmergencyResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        await self.emergencies.review(request.signed_review, officer)
        return safeguard_pb2.ReviewEmergencyResponse()

    async def ListEmergencies(
        self, request: safeguard_pb2.ListEmergenciesRequest, context: Context
    ) -> safeguard_pb2.ListEmergenciesResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, AUDITOR)
        found = await self.emergencies.list_emergencies(officer, request.unmask)
        return safeguard_pb2.ListEmergenciesResponse(emergencies=found)

    async def RehearsePairing(
        self, request: desk_pb2.RehearsePairingRequest, context: Context
    ) -> desk_pb2.RehearsePairingResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        report, digest = await self.approving.rehearse_pairing(request.peer, officer)
        return desk_pb2.RehearsePairingResponse(report=report, sha256=digest)

    async def SignPairing(self, request: desk_pb2.SignPairingRequest, context: Context) -> desk_pb2.SignPairingResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        in_force = await self.approving.sign_pairing(request.signed_pairing, officer)
        return desk_pb2.SignPairingResponse(in_force=in_force)

    async def EndPairing(self, request: desk_pb2.EndPairingRequest, context: Context) -> desk_pb2.EndPairingResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        await self.approving.end_pairing(request.peer, request.reason, officer)
        return desk_pb2.EndPairingResponse()

    async def EnrolFocalPoint(
        self, request: desk_pb2.EnrolFocalPointRequest, context: Context
    ) -> desk_pb2.EnrolFocalPointResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        name = await self.approving.enrol_focal_point(request.signed_enrolment, officer)
        return desk_pb2.EnrolFocalPointResponse(name=name)

    async def ListPairings(
        self, request: desk_pb2.ListPairingsRequest, context: Context
    ) -> desk_pb2.ListPairingsResponse:
        del request
        officer = await self.officers.officer(context, FOCAL_POINT, AUDITOR, ADMINISTRATOR)
        return desk_pb2.ListPairingsResponse(pairings=await self.approving.list_pairings(officer))

    async def ProposeRulebook(
        self, request: rulebook_pb2.ProposeRulebookRequest, context: Context
    ) -> rulebook_pb2.ProposeRulebookResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        return await self.rulebooks.propose(request.text, officer)

    async def ListRulebooks(
        self, request: rulebook_pb2.ListRulebooksRequest, context: Context
    ) -> rulebook_pb2.ListRulebooksResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, AUDITOR)
        found = await self.rulebooks.list_rulebooks(request.layer, officer)
        return rulebook_pb2.ListRulebooksResponse(rulebooks=found)

    async def GetRulebook(
        self, request: rulebook_pb2.GetRulebookRequest, context: Context
    ) -> rulebook_pb2.GetRulebookResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, AUDITOR)
        return await self.rulebooks.get_rulebook(request.sha256, officer)

    async def SignRulebook(
        self, request: rulebook_pb2.SignRulebookRequest, context: Context
    ) -> rulebook_pb2.SignRulebookResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        state = await self.rulebooks.sign(request.signed_approval, request.signed_removal, officer)
        return rulebook_pb2.SignRulebookResponse(rulebook=state)

    async def ScheduleRulebook(
        self, request: rulebook_pb2.ScheduleRulebookRequest, context: Context
    ) -> rulebook_pb2.ScheduleRulebookResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        activates_us = await self.rulebooks.schedule(request.sha256, request.activates_at_us, officer)
        return rulebook_pb2.ScheduleRulebookResponse(activates_us=activates_us)

    async def RevokeRulebook(
        self, request: rulebook_pb2.RevokeRulebookRequest, context: Context
    ) -> rulebook_pb2.RevokeRulebookResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        await self.rulebooks.revoke(request.sha256, request.reason, officer)
        return rulebook_pb2.RevokeRulebookResponse()

    async def Explain(
        self, request: explaining_pb2.ExplainRequest, context: Context
    ) -> AsyncIterator[explaining_pb2.ExplainResponse]:
        officer = await self.officers.officer(context, FOCAL_POINT, AUDITOR)
        async for response in self.explaining.explain(request, officer):
            yield response

    async def RehearseRulebook(
        self, request: explaining_pb2.RehearseRulebookRequest, context: Context
    ) -> AsyncIterator[explaining_pb2.RehearseRulebookResponse]:
        officer = await self.officers.officer(context, FOCAL_POINT)
        async for response in self.replaying.serve(request, officer):
            yield response

    # --- auditors ---

    async def ListLedger(
        self, request: desk_pb2.ListLedgerRequest, context: Context
    ) -> AsyncIterator[desk_pb2.ListLedgerResponse]:
        officer = await self.officers.officer(context, AUDITOR)
        async for line in self.auditing.list_ledger(request, officer):
            yield line

    async def ProveLine(self, request: bundle_pb2.ProveLineRequest, context: Context) -> bundle_pb2.ProveLineResponse:
        officer = await self.officers.officer(context, AUDITOR)
        return bundle_pb2.ProveLineResponse(bundle=await self.auditing.prove_line(request, officer))

    async def TraceEntry(
        self, request: audit_pb2.TraceEntryRequest, context: Context
    ) -> AsyncIterator[audit_pb2.TraceEntryResponse]:
        officer = await self.officers.officer(context, AUDITOR, FOCAL_POINT)
        async for response in self.tracing.trace_entry(request, officer):
            yield response

    async def LedgerStats(
        self, request: audit_pb2.LedgerStatsRequest, context: Context
    ) -> AsyncIterator[audit_pb2.LedgerStatsResponse]:
        officer = await self.officers.officer(context, AUDITOR)
        async for response in self.statistics.stats(request, officer):
            yield response

    async def CommitSample(
        self, request: audit_pb2.CommitSampleRequest, context: Context
    ) -> audit_pb2.CommitSampleResponse:
        officer = await self.officers.officer(context, AUDITOR)
        return audit_pb2.CommitSampleResponse(index=await self.sampling.commit(request, officer))

    async def RevealSample(
        self, request: audit_pb2.RevealSampleRequest, context: Context
    ) -> audit_pb2.RevealSampleResponse:
        officer = await self.officers.officer(context, AUDITOR)
        return audit_pb2.RevealSampleResponse(sample=await self.sampling.reveal(request, officer))

    async def GetSample(self, request: audit_pb2.GetSampleRequest, context: Context) -> audit_pb2.GetSampleResponse:
        officer = await self.officers.officer(context, AUDITOR)
        return audit_pb2.GetSampleResponse(sample=await self.sampling.get(request.revealed, officer))

    async def ReconcileLedger(
        self, request: reconcile_pb2.ReconcileLedgerRequest, context: Context
    ) -> reconcile_pb2.ReconcileLedgerResponse:
        return await self.reconciliation.reconcile(request, await self.officers.officer(context, AUDITOR))

    async def ListFindings(
        self, request: reconcile_pb2.ListFindingsRequest, context: Context
    ) -> reconcile_pb2.ListFindingsResponse:
        officer = await self.officers.officer(context, AUDITOR)
        return reconcile_pb2.ListFindingsResponse(findings=await self.reconciliation.list_findings(request, officer))

    async def DecideFinding(
        self, request: reconcile_pb2.DecideFindingRequest, context: Context
    ) -> reconcile_pb2.DecideFindingResponse:
        officer = await self.officers.officer(context, AUDITOR)
        return reconcile_pb2.DecideFindingResponse(finding=await self.reconciliation.decide(request, officer))

    async def GetFence(self, request: fence_pb2.GetFenceRequest, context: Context) -> fence_pb2.GetFenceResponse:
        del request
        return await self.fences.get_fence(await self.officers.officer(context, ADMINISTRATOR, FOCAL_POINT, AUDITOR))

    async def ProposeFence(
        self, request: fence_pb2.ProposeFenceRequest, context: Context
    ) -> fence_pb2.ProposeFenceResponse:
        return await self.fences.propose(request, await self.officers.officer(context, ADMINISTRATOR))

    async def OpenEpoch(self, request: fence_pb2.OpenEpochRequest, context: Context) -> fence_pb2.OpenEpochResponse:
        return await self.fences.open_epoch(request, await self.officers.officer(context, FOCAL_POINT, AUDITOR))

    # --- administrators ---

    async def ListOfficers(
        self, request: desk_pb2.ListOfficersRequest, context: Context
    ) -> desk_pb2.ListOfficersResponse:
        officer = await self.officers.officer(context, ADMINISTRATOR, AUDITOR)
        found = await self.administration.list_officers(officer, request.unmask)
        return desk_pb2.ListOfficersResponse(officers=found)

    async def EnrolOfficer(
        self, request: desk_pb2.EnrolOfficerRequest, context: Context
    ) -> desk_pb2.EnrolOfficerResponse:
        officer = await self.officers.officer(context, ADMINISTRATOR)
        await self.administration.enrol_officer(request, officer)
        return desk_pb2.EnrolOfficerResponse()

    async def SuspendOfficer(
        self, request: desk_pb2.SuspendOfficerRequest, context: Context
    ) -> desk_pb2.SuspendOfficerResponse:
        officer = await self.officers.officer(context, ADMINISTRATOR)
        await self.administration.suspend_officer(request.officer, officer)
        return desk_pb2.SuspendOfficerResponse()

    async def ImportDirectory(
        self, request: desk_pb2.ImportDirectoryRequest, context: Context
    ) -> desk_pb2.ImportDirectoryResponse:
        officer = await self.officers.officer(context, ADMINISTRATOR)
        version = await self.administration.import_directory(request.signed_directory, officer)
        return desk_pb2.ImportDirectoryResponse(version=version)

    async def StoreRevocations(
        self, request: desk_pb2.StoreRevocationsRequest, context: Context
    ) -> desk_pb2.StoreRevocationsResponse:
        officer = await self.officers.officer(context, ADMINISTRATOR)
        pushed = await self.administration.store_revocations(request.crl, officer)
        return desk_pb2.StoreRevocationsResponse(pushed=pushed)

    async def GetStatus(self, request: desk_pb2.GetStatusRequest, context: Context) -> desk_pb2.GetStatusResponse:
        await self.officers.officer(context, *ANYBODY)
        return await self.administration.status(probe_peers=request.probe_peers)
