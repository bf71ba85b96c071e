"""What comes from the auditing institution, and erasures of what opens ledger lines, at the desk."""

from dataclasses import dataclass

from node.desk.officers import Officers, private_of_officer
from node.desk.servicer import ANYBODY, FOCAL_POINT
from node.federation.boundary import Context
from node.federation.copying import Copying
from node.federation.erasing import Erasing
from node.wire.institution_pb2 import (
    AcceptCharterRequest,
    AcceptCharterResponse,
    AcceptCommitmentRequest,
    AcceptCommitmentResponse,
    EraseOpeningsRequest,
    EraseOpeningsResponse,
)
from node.wire.institution_pb2_grpc import InstitutionServicer as GeneratedServicer


@dataclass(slots=True)
class InstitutionServicer(GeneratedServicer):
    """Serves whoever brings what the institution has signed, and focal points."""

    officers: Officers
    copying: Copying
    erasing: Erasing

    async def AcceptCharter(self, request: AcceptCharterRequest, context: Context) -> AcceptCharterResponse:
        officer = await self.officers.officer(context, *ANYBODY)
        number = await self.copying.accept_charter(request.signed_charter, private_of_officer(officer))
        return AcceptCharterResponse(number=number)

    async def AcceptCommitment(self, request: AcceptCommitmentRequest, context: Context) -> AcceptCommitmentResponse:
        officer = await self.officers.officer(context, *ANYBODY)
        size = await self.copying.accept_commitment(request.checkpoint, private_of_officer(officer))
        return AcceptCommitmentResponse(size=size)

    async def EraseOpenings(self, request: EraseOpeningsRequest, context: Context) -> EraseOpeningsResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        count = await self.erasing.erase(request.signed_erasure, private_of_officer(officer))
        return EraseOpeningsResponse(lines=count)
