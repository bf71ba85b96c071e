"""The desk's service on who is on call: who calls and in which role."""

from dataclasses import dataclass

from node.desk.duty import DutyRoster
from node.desk.officers import Officers
from node.desk.servicer import ADMINISTRATOR, AUDITOR, FOCAL_POINT, SUPERVISOR, UNIT
from node.federation.boundary import Context
from node.wire import duty_pb2 as wire
from node.wire.duty_pb2_grpc import DutyServicer as GeneratedServicer

EVERYBODY = (UNIT, SUPERVISOR, FOCAL_POINT, AUDITOR, ADMINISTRATOR)


@dataclass(slots=True)
class DutyServicer(GeneratedServicer):
    """Serves the officers of this country."""

    officers: Officers
    roster: DutyRoster

    async def ShowDuty(self, request: wire.ShowDutyRequest, context: Context) -> wire.ShowDutyResponse:
        return await self.roster.show(await self.officers.officer(context, *EVERYBODY), request.unmask)

    async def ListTurns(self, request: wire.ListTurnsRequest, context: Context) -> wire.ListTurnsResponse:
        officer = await self.officers.officer(context, *EVERYBODY)
        return wire.ListTurnsResponse(turns=await self.roster.list_turns(officer, request.since_us, request.unmask))

    async def SetTurn(self, request: wire.SetTurnRequest, context: Context) -> wire.SetTurnResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, SUPERVISOR)
        return wire.SetTurnResponse(turn=await self.roster.set_turn(request, officer))

    async def SwapTurn(self, request: wire.SwapTurnRequest, context: Context) -> wire.SwapTurnResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, SUPERVISOR)
        return wire.SwapTurnResponse(turn=await self.roster.swap(request, officer))

    async def SetContact(self, request: wire.SetContactRequest, context: Context) -> wire.SetContactResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, SUPERVISOR)
        await self.roster.set_contact(request.contact, officer)
        return wire.SetContactResponse()

    async def ListPages(self, request: wire.ListPagesRequest, context: Context) -> wire.ListPagesResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, SUPERVISOR, AUDITOR)
        return wire.ListPagesResponse(
            pages=await self.roster.list_pages(officer, request.unmask, closed=request.closed)
        )
