"""The methods of the desk's second service for quotas, silent alarms and decoys."""

from node.desk.alarms import AlarmDesk
from node.desk.officers import Officers
from node.desk.quotas import QuotaDesk
from node.desk.servicer import ANYBODY, AUDITOR, FOCAL_POINT
from node.federation.boundary import Context
from node.wire import alarm_pb2, quota_pb2


class WatchingMethods:
    """Who calls and in which role; the use cases do the rest."""

    officers: Officers
    quotas: QuotaDesk
    alarms: AlarmDesk

    __slots__ = ()

    async def ListQuotas(self, request: quota_pb2.ListQuotasRequest, context: Context) -> quota_pb2.ListQuotasResponse:
        del request
        officer = await self.officers.officer(context, *ANYBODY)
        return quota_pb2.ListQuotasResponse(quotas=await self.quotas.list_quotas(officer))

    async def RaiseQuota(self, request: quota_pb2.RaiseQuotaRequest, context: Context) -> quota_pb2.RaiseQuotaResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        return quota_pb2.RaiseQuotaResponse(quota=await self.quotas.raise_quota(request, officer))

    async def ListAlarms(self, request: alarm_pb2.ListAlarmsRequest, context: Context) -> alarm_pb2.ListAlarmsResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, AUDITOR)
        return alarm_pb2.ListAlarmsResponse(alarms=await self.alarms.list_alarms(request, officer))

    async def CloseAlarm(self, request: alarm_pb2.CloseAlarmRequest, context: Context) -> alarm_pb2.CloseAlarmResponse:
        officer = await self.officers.officer(context, FOCAL_POINT, AUDITOR)
        return alarm_pb2.CloseAlarmResponse(alarm=await self.alarms.close(request, officer))

    async def PlantDecoy(self, request: alarm_pb2.PlantDecoyRequest, context: Context) -> alarm_pb2.PlantDecoyResponse:
        officer = await self.officers.officer(context, FOCAL_POINT)
        return alarm_pb2.PlantDecoyResponse(decoy=await self.alarms.plant(request, officer))

    async def ListDecoys(self, request: alarm_pb2.ListDecoysRequest, context: Context) -> alarm_pb2.ListDecoysResponse:
        del request
        officer = await self.officers.officer(context, FOCAL_POINT)
        return alarm_pb2.ListDecoysResponse(decoys=await self.alarms.list_decoys(officer))
