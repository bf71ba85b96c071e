"""The desk's second service, on everything between countries that is not an immediate answer."""

from dataclasses import dataclass

from node.desk.alarms import AlarmDesk
from node.desk.alerting import Alerting
from node.desk.alerting_servicer import AlertingMethods
from node.desk.attachments import AttachmentDesk
from node.desk.attachments_servicer import AttachmentMethods
from node.desk.deciding import Deciding
from node.desk.mailing import Mailing
from node.desk.officers import Officers
from node.desk.quotas import QuotaDesk
from node.desk.recalling import TakingBack
from node.desk.received import Receiving
from node.desk.requests import Requests
from node.desk.reviewing import Reviewing
from node.desk.servicer import ADMINISTRATOR, AUDITOR, FOCAL_POINT, SUPERVISOR, UNIT
from node.desk.sharing import Sharing
from node.desk.sharing_servicer import SharingMethods
from node.desk.suspensions import Suspensions
from node.desk.watching_servicer import WatchingMethods
from node.federation.boundary import Context
from node.wire import correspondence_pb2 as wire
from node.wire import deciding_pb2, received_pb2, suspension_pb2
from node.wire.correspondence_pb2_grpc import CorrespondenceServicer as GeneratedServicer


@dataclass(slots=True)
class CorrespondenceServicer(AlertingMethods, AttachmentMethods, SharingMethods, WatchingMethods, GeneratedServicer):
    """Serves the officers of this country: who calls and in which role; the use cases do the rest."""

    officers: Officers
    mailing: Mailing
    receiving: Receiving
    reviewing: Reviewing
    suspensions: Suspensions
    requests: Requests
    deciding: Deciding
    alerting: Alerting
    quotas: QuotaDesk
    alarms: AlarmDesk
    sharing: Sharing
    taking_back: TakingBack
    attachments: AttachmentDesk

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

    # --- suspension ---

    async def SuspendPeer(
        self, request: suspension_pb2.SuspendPeerRequest, context: Context
    ) -> suspension_pb2.SuspendPeerResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        state = await self.suspensions.suspend(request.signed_suspension, officer)
        return suspension_pb2.SuspendPeerResponse(suspension=state)

    async def LiftSuspension(
        self, request: suspension_pb2.LiftSuspensionRequest, context: Context
    ) -> suspension_pb2.LiftSuspensionResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        state = await self.suspensions.lift(request.signed_lifting, officer)
        return suspension_pb2.LiftSuspensionResponse(suspension=state)

    async def ListSuspensions(
        self, request: suspension_pb2.ListSuspensionsRequest, context: Context
    ) -> suspension_pb2.ListSuspensionsResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, AUDITOR)
        states = await self.suspensions.list_suspensions(officer, request.unmask)
        return suspension_pb2.ListSuspensionsResponse(suspensions=states)

    # --- what peers disclosed, and how long records are kept ---

    async def KeepReceived(
        self, request: received_pb2.KeepReceivedRequest, context: Context
    ) -> received_pb2.KeepReceivedResponse:
        officer = await self.officers.officer(context, UNIT)
        return received_pb2.KeepReceivedResponse(received=await self.receiving.keep(request, officer))

    async def ListReceived(
        self, request: received_pb2.ListReceivedRequest, context: Context
    ) -> received_pb2.ListReceivedResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR, FOCAL_POINT)
        return received_pb2.ListReceivedResponse(received=await self.receiving.list_received(request, officer))

    async def FindReceived(
        self, request: received_pb2.FindReceivedRequest, context: Context
    ) -> received_pb2.FindReceivedResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR)
        return received_pb2.FindReceivedResponse(received=await self.receiving.find(request, officer))

    async def GetReceived(
        self, request: received_pb2.GetReceivedRequest, context: Context
    ) -> received_pb2.GetReceivedResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR, FOCAL_POINT)
        return received_pb2.GetReceivedResponse(received=await self.receiving.get(request, officer))

    async def ReviewReceived(
        self, request: received_pb2.ReviewReceivedRequest, context: Context
    ) -> received_pb2.ReviewReceivedResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR)
        return received_pb2.ReviewReceivedResponse(received=await self.receiving.review(request, officer))

    async def BarReceived(
        self, request: received_pb2.BarReceivedRequest, context: Context
    ) -> received_pb2.BarReceivedResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR, FOCAL_POINT)
        await self.receiving.bar(request, officer)
        return received_pb2.BarReceivedResponse()

    async def ReviewCase(
        self, request: received_pb2.ReviewCaseRequest, context: Context
    ) -> received_pb2.ReviewCaseResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR)
        return await self.reviewing.review_case(request, officer)

    async def ReviewEntry(
        self, request: received_pb2.ReviewEntryRequest, context: Context
    ) -> received_pb2.ReviewEntryResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR)
        return await self.reviewing.review_entry(request, officer)

    async def PlaceLegalHold(
        self, request: received_pb2.PlaceLegalHoldRequest, context: Context
    ) -> received_pb2.PlaceLegalHoldResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, SUPERVISOR)
        return received_pb2.PlaceLegalHoldResponse(hold=await self.reviewing.place_hold(request, officer))

    async def ReleaseLegalHold(
        self, request: received_pb2.ReleaseLegalHoldRequest, context: Context
    ) -> received_pb2.ReleaseLegalHoldResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, SUPERVISOR)
        await self.reviewing.release_hold(request, officer)
        return received_pb2.ReleaseLegalHoldResponse()

    async def ListLegalHolds(
        self, request: received_pb2.ListLegalHoldsRequest, context: Context
    ) -> received_pb2.ListLegalHoldsResponse:
        del request
        officer = await self.officers.officer(context, FOCAL_POINT, SUPERVISOR, AUDITOR)
        return received_pb2.ListLegalHoldsResponse(holds=await self.reviewing.list_holds(officer))

    # --- requests ---

    async def SendRequest(
        self, request: deciding_pb2.SendRequestRequest, context: Context
    ) -> deciding_pb2.SendRequestResponse:
        officer = await self.officers.officer(context, UNIT)
        return deciding_pb2.SendRequestResponse(item=await self.requests.send(request, officer))

    async def ListRequests(
        self, request: deciding_pb2.ListRequestsRequest, context: Context
    ) -> deciding_pb2.ListRequestsResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR, FOCAL_POINT, AUDITOR)
        items = await self.requests.list_requests(
            request.direction,
            open_only=request.open_only,
            emergency_only=request.emergency_only,
            limit=request.limit,
            officer=officer,
        )
        return deciding_pb2.ListRequestsResponse(items=items)

    async def GetRequest(
        self, request: deciding_pb2.GetRequestRequest, context: Context
    ) -> deciding_pb2.GetRequestResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR, FOCAL_POINT)
        get = self.deciding.get if FOCAL_POINT in officer.roles else self.requests.get
        return deciding_pb2.GetRequestResponse(detail=await get(request.request_id, request.peer, officer))

    async def ReplyToAnswer(
        self, request: deciding_pb2.ReplyToAnswerRequest, context: Context
    ) -> deciding_pb2.ReplyToAnswerResponse:
        officer = await self.officers.officer(context, UNIT)
        await self.requests.reply(request.request_id, request.words, officer)
        return deciding_pb2.ReplyToAnswerResponse()

    async def ListInbox(
        self, request: deciding_pb2.ListInboxRequest, context: Context
    ) -> deciding_pb2.ListInboxResponse:
        del request
        officer = await self.officers.officer(context, UNIT, SUPERVISOR, FOCAL_POINT)
        items = await self.requests.inbox(officer)
        return deciding_pb2.ListInboxResponse(items=items, alerts=await self.alerting.news(officer))

    async def ListQueue(
        self, request: deciding_pb2.ListQueueRequest, context: Context
    ) -> deciding_pb2.ListQueueResponse:
        del request
        officer = await self.officers.officer(context, FOCAL_POINT)
        return deciding_pb2.ListQueueResponse(items=await self.deciding.queue(officer))

    async def PrepareRelease(
        self, request: deciding_pb2.PrepareReleaseRequest, context: Context
    ) -> deciding_pb2.PrepareReleaseResponse:
        return await self.deciding.prepare(request, await self.officers.officer(context, FOCAL_POINT))

    async def ApproveRelease(
        self, request: deciding_pb2.ApproveReleaseRequest, context: Context
    ) -> deciding_pb2.ApproveReleaseResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        return deciding_pb2.ApproveReleaseResponse(item=await self.deciding.approve(request.signed_release, officer))

    async def RefuseRequest(
        self, request: deciding_pb2.RefuseRequestRequest, context: Context
    ) -> deciding_pb2.RefuseRequestResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        return deciding_pb2.RefuseRequestResponse(item=await self.deciding.refuse(request, officer))

    async def TakeRequest(
        self, request: deciding_pb2.TakeRequestRequest, context: Context
    ) -> deciding_pb2.TakeRequestResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        return deciding_pb2.TakeRequestResponse(
            item=await self.deciding.take(request.request_id, request.peer, officer)
        )

    async def EscalateRequest(
        self, request: deciding_pb2.EscalateRequestRequest, context: Context
    ) -> deciding_pb2.EscalateRequestResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        item = await self.deciding.escalate(request.request_id, request.peer, officer)
        return deciding_pb2.EscalateRequestResponse(item=item)

    async def ReviewRelease(
        self, request: deciding_pb2.ReviewReleaseRequest, context: Context
    ) -> deciding_pb2.ReviewReleaseResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        return deciding_pb2.ReviewReleaseResponse(item=await self.deciding.review(request, officer))

    async def CountRequests(
        self, request: deciding_pb2.CountRequestsRequest, context: Context
    ) -> deciding_pb2.CountRequestsResponse:
        officer = await self.officers.officer(context, AUDITOR)
        counts = await self.requests.count(request.since_us, request.until_us, officer)
        return deciding_pb2.CountRequestsResponse(counts=counts)
