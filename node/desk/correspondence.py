"""The desk's second service, on everything between countries that is not an immediate answer."""

from dataclasses import dataclass

from node.desk.mailing import Mailing
from node.desk.officers import Officers
from node.desk.servicer import ADMINISTRATOR, AUDITOR, FOCAL_POINT
from node.federation.boundary import Context
from node.wire import correspondence_pb2 as wire
from node.wire.correspondence_pb2_grpc import CorrespondenceServicer as GeneratedServicer


@dataclass(slots=True)
class CorrespondenceServicer(GeneratedServicer):
    """Serves the officers of this country: who calls and in which role; the use cases do the rest."""

    officers: Officers
    mailing: Mailing

    # --- mail ---

    async def ListMail(self, request: wire.ListMailRequest, context: Context) -> wire.ListMailResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, AUDITOR, ADMINISTRATOR)
        return await self.mailing.list_mail(request, officer)

    async def GetMail(self, request: wire.GetMailRequest, context: Context) -> wire.GetMailResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, AUDITOR, ADMINISTRATOR)
        return await self.mailing.get_mail(request, officer)

    async def RetryMail(self, request: wire.RetryMailRequest, context: Context) -> wire.RetryMailResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, ADMINISTRATOR)
        return wire.RetryMailResponse(queued=await self.mailing.retry(request, officer))
