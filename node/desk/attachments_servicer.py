"""The methods of the desk's second service that are about attachments."""

from collections.abc import AsyncIterator

from node.desk.attachments import AttachmentDesk
from node.desk.officers import Officers
from node.desk.servicer import FOCAL_POINT, SUPERVISOR, UNIT
from node.federation.boundary import Context
from node.wire import attachment_pb2 as wire


class AttachmentMethods:
    """Mixed into the servicer, which has what they need."""

    __slots__ = ()

    officers: Officers
    attachments: AttachmentDesk

    async def BeginAttachment(
        self, request: wire.BeginAttachmentRequest, context: Context
    ) -> wire.BeginAttachmentResponse:
        await self.officers.officer(context, UNIT)
        return await self.attachments.begin(request)

    async def PutAttachment(
        self, request_iterator: AsyncIterator[wire.PutAttachmentRequest], context: Context
    ) -> wire.PutAttachmentResponse:
        officer = await self.officers.officer(context, UNIT)
        return await self.attachments.put(request_iterator, officer)

    async def ListAttachments(
        self, request: wire.ListAttachmentsRequest, context: Context
    ) -> wire.ListAttachmentsResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR, FOCAL_POINT)
        return wire.ListAttachmentsResponse(items=await self.attachments.list_attachments(request, officer))

    async def GetContents(
        self, request: wire.GetContentsRequest, context: Context
    ) -> AsyncIterator[wire.GetContentsResponse]:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR, FOCAL_POINT)
        async for data in self.attachments.contents(request, officer):
            yield wire.GetContentsResponse(data=data)

    async def FetchAttachment(
        self, request: wire.FetchAttachmentRequest, context: Context
    ) -> AsyncIterator[wire.FetchAttachmentResponse]:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR)
        async for response in self.attachments.fetch(request, officer):
            yield response
