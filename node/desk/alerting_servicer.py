"""Methods of the desk's second service that have to do with alerts."""

from node.desk.alerting import Alerting
from node.desk.officers import Officers
from node.desk.servicer import AUDITOR, FOCAL_POINT, SUPERVISOR, UNIT
from node.federation.boundary import Context
from node.wire import alerting_pb2


class AlertingMethods:
    """Mixed into the servicer, which holds what they call."""

    __slots__ = ()

    officers: Officers
    alerting: Alerting

    async def SetAlert(self, request: alerting_pb2.SetAlertRequest, context: Context) -> alerting_pb2.SetAlertResponse:
        officer = await self.officers.officer(context, UNIT)
        return alerting_pb2.SetAlertResponse(set=await self.alerting.set_alert(request, officer))

    async def ListAlerts(
        self, request: alerting_pb2.ListAlertsRequest, context: Context
    ) -> alerting_pb2.ListAlertsResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR, FOCAL_POINT, AUDITOR)
        items = await self.alerting.list_alerts(
            request.direction, standing_only=request.standing_only, limit=request.limit, officer=officer
        )
        return alerting_pb2.ListAlertsResponse(items=items)

    async def GetAlert(self, request: alerting_pb2.GetAlertRequest, context: Context) -> alerting_pb2.GetAlertResponse:
        officer = await self.officers.officer(context, UNIT, SUPERVISOR, FOCAL_POINT)
        return alerting_pb2.GetAlertResponse(detail=await self.alerting.get(request.exchange_id, officer))

    async def EndAlert(self, request: alerting_pb2.EndAlertRequest, context: Context) -> alerting_pb2.EndAlertResponse:
        officer = await self.officers.officer(context, UNIT, FOCAL_POINT)
        return alerting_pb2.EndAlertResponse(item=await self.alerting.end(request.exchange_id, officer))
