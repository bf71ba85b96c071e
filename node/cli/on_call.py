"""The composition root's part for the duty roster, and for calling who is on it."""

from collections.abc import Callable
from dataclasses import dataclass

from node.config import Config
from node.desk.duty import DutyRoster
from node.desk.duty_servicer import DutyServicer
from node.desk.masking import Reading
from node.desk.officers import Officers
from node.federation.notifying import Notifying
from node.federation.paging import Paging
from node.store.vault import Vault


@dataclass(slots=True)
class OnCall:
    """What a serving node has for its people on call."""

    desk: DutyServicer
    paging: Paging
    notifying: Notifying


def composed_duty(config: Config, officers: Officers, vault: Vault, clock: Callable[[], int]) -> OnCall:
    """Put together the desk's service, and what calls people."""
    standing, database, writer, duty = officers.standing, officers.database, officers.writer, config.duty
    roster = DutyRoster(Reading(standing, writer, clock), database, vault, clock)
    has_mail, has_webhook = duty.smtp is not None, duty.webhook is not None
    return OnCall(
        desk=DutyServicer(officers, roster),
        paging=Paging(standing, database, vault, writer, clock, has_mail, has_webhook),
        notifying=Notifying(database, vault, writer, clock, config.name, duty.smtp, duty.webhook),
    )
