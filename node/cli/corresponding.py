"""The composition root's part for everything between countries that is not an immediate answer."""

from collections.abc import Callable
from dataclasses import dataclass

from node.desk.correspondence import CorrespondenceServicer
from node.desk.mailing import Mailing
from node.desk.officers import Officers
from node.federation.channels import Channels
from node.federation.delivering import Delivering
from node.federation.mail_intake import Intake
from node.federation.mail_kinds import MailKind
from node.federation.mailroom import Mailroom
from node.federation.standing import Standing
from node.federation.ticks import Ticks
from node.store.database import Database
from node.store.vault import Vault
from node.store.writer import Writer


@dataclass(slots=True)
class Correspondence:
    """What a serving node has for mail, and for what travels by it."""

    mailroom: Mailroom
    intake: Intake
    delivering: Delivering
    mailing: Mailing

    def servicer(self, officers: Officers) -> CorrespondenceServicer:
        """Return what the desk's server registers."""
        return CorrespondenceServicer(officers=officers, mailing=self.mailing)


def composed_correspondence(
    standing: Standing,
    database: Database,
    vault: Vault,
    writer: Writer,
    channels: Channels,
    ticks: Ticks,
    clock: Callable[[], int],
    window_us: int,
) -> Correspondence:
    """Put together mail and all that travels by it."""
    kinds: list[MailKind] = []
    mailroom = Mailroom(standing, vault, writer, kinds, clock)
    return Correspondence(
        mailroom=mailroom,
        intake=Intake(mailroom, ticks, window_us),
        delivering=Delivering(mailroom, database, channels, window_us),
        mailing=Mailing(mailroom, database),
    )
