"""The methods of the desk's second service for what is told unasked, corrected and taken back."""

from node.desk.officers import Officers
from node.desk.recalling import TakingBack
from node.desk.servicer import AUDITOR, FOCAL_POINT, SUPERVISOR, UNIT
from node.desk.sharing import Sharing
from node.federation.boundary import Context
from node.wire import sharing_pb2 as wire


class SharingMethods:
    """Who calls and in which role; the use cases do the rest."""

    officers: Officers
    sharing: Sharing
    taking_back: TakingBack

    __slots__ = ()

    async def PreviewShare(self, request: wire.PreviewShareRequest, context: Context) -> wire.PreviewShareResponse:
        officer = await self.officers.officer(context, UNIT, FOCAL_POINT)
        return wire.PreviewShareResponse(previews=await self.sharing.preview(request, officer))

    async def SendShare(self, request: wire.SendShareRequest, context: Context) -> wire.SendShareResponse:
        officer = await self.officers.officer(context, UNIT)
        return wire.SendShareResponse(items=await self.sharing.send(request, officer))

    async def ListShares(self, request: wire.ListSharesRequest, context: Context) -> wire.ListSharesResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR, FOCAL_POINT, AUDITOR)
        return wire.ListSharesResponse(items=await self.sharing.list_shares(request, officer))

    async def SendRecall(self, request: wire.SendRecallRequest, context: Context) -> wire.SendRecallResponse:
        officer = await self.officers.officer(context, UNIT, FOCAL_POINT)
        return await self.taking_back.recall(request, officer)

    async def ListRecalls(self, request: wire.ListRecallsRequest, context: Context) -> wire.ListRecallsResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR, FOCAL_POINT, AUDITOR)
        return wire.ListRecallsResponse(items=await self.taking_back.list_recalls(request, officer))

    async def DecideRecall(self, request: wire.DecideRecallRequest, context: Context) -> wire.DecideRecallResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        return wire.DecideRecallResponse(item=await self.taking_back.decide(request, officer))

    async def SendUpdate(self, request: wire.SendUpdateRequest, context: Context) -> wire.SendUpdateResponse:
        officer = await self.officers.officer(context, UNIT, FOCAL_POINT)
        return await self.taking_back.update(request, officer)

    async def SendNotices(self, request: wire.SendNoticesRequest, context: Context) -> wire.SendNoticesResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        return await self.taking_back.send_notices(request.petition_id, officer)

    async def SendFlag(self, request: wire.SendFlagRequest, context: Context) -> wire.SendFlagResponse:
        officer = await self.officers.officer(context, UNIT)
        return wire.SendFlagResponse(item=await self.sharing.flag(request, officer))

    async def ListFlags(self, request: wire.ListFlagsRequest, context: Context) -> wire.ListFlagsResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR, FOCAL_POINT, AUDITOR)
        return wire.ListFlagsResponse(items=await self.sharing.list_flags(request, officer))
