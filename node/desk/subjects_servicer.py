"""The desk's service on persons' requests about their own data: who calls and in which role."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from node.desk.erasing import Erasing
from node.desk.notices import Notices
from node.desk.officers import Officers
from node.desk.petitions import Petitions
from node.desk.servicer import AUDITOR, FOCAL_POINT
from node.desk.subjects import Subjects
from node.federation.boundary import Context
from node.wire import subject_pb2 as wire
from node.wire.subject_pb2_grpc import SubjectsServicer as GeneratedServicer


@dataclass(slots=True)
class SubjectsServicer(GeneratedServicer):
    """Serves the competent officers, who are focal points."""

    officers: Officers
    petitions: Petitions
    subjects: Subjects
    notices: Notices
    erasing: Erasing

    async def RegisterPetition(
        self, request: wire.RegisterPetitionRequest, context: Context
    ) -> wire.RegisterPetitionResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        return wire.RegisterPetitionResponse(petition=await self.petitions.register(request, officer))

    async def ListPetitions(self, request: wire.ListPetitionsRequest, context: Context) -> wire.ListPetitionsResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, AUDITOR)
        found = await self.petitions.list_petitions(officer, closed=request.closed, unmask=request.unmask)
        return wire.ListPetitionsResponse(petitions=found)

    async def GetPetition(self, request: wire.GetPetitionRequest, context: Context) -> wire.GetPetitionResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        return wire.GetPetitionResponse(petition=await self.petitions.get(request.petition_id, officer))

    async def StepPetition(self, request: wire.StepPetitionRequest, context: Context) -> wire.StepPetitionResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        return wire.StepPetitionResponse(petition=await self.petitions.step(request, officer))

    async def ReportPetition(
        self, request: wire.ReportPetitionRequest, context: Context
    ) -> AsyncIterator[wire.ReportPetitionResponse]:
        officer = await self.officers.officer(context, FOCAL_POINT)
        async for response in self.subjects.report(request, officer):
            yield response

    async def MarkItem(self, request: wire.MarkItemRequest, context: Context) -> wire.MarkItemResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        return wire.MarkItemResponse(petition=await self.petitions.mark(request, officer))

    async def DecideOrigin(self, request: wire.DecideOriginRequest, context: Context) -> wire.DecideOriginResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        decision = wire.OriginDecision(
            entry_id=request.entry_id, peer=request.peer, notify=request.notify, words=request.words
        )
        petition = await self.petitions.decide_origin(request.petition_id, decision, officer)
        return wire.DecideOriginResponse(petition=petition)

    async def PlanNotices(self, request: wire.PlanNoticesRequest, context: Context) -> wire.PlanNoticesResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        return await self.notices.plan(request.petition_id, officer)

    async def EraseEntry(self, request: wire.EraseEntryRequest, context: Context) -> wire.EraseEntryResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        return wire.EraseEntryResponse(erasure=await self.erasing.erase(request, officer))

    async def ListEntryErasures(
        self, request: wire.ListEntryErasuresRequest, context: Context
    ) -> wire.ListEntryErasuresResponse:
        del request
        officer = await self.officers.officer(context, FOCAL_POINT)
        return wire.ListEntryErasuresResponse(erasures=await self.erasing.list_erasures(officer))

    async def DecideEntryErasure(
        self, request: wire.DecideEntryErasureRequest, context: Context
    ) -> wire.DecideEntryErasureResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        erasure = await self.erasing.decide(request.erasure_id, officer, confirm=request.confirm)
        return wire.DecideEntryErasureResponse(erasure=erasure)
