"""The composition root's part for everything between countries that is not an immediate answer."""

from collections.abc import Callable
from dataclasses import dataclass

from node.desk.alarms import AlarmDesk
from node.desk.alerting import Alerting
from node.desk.attachments import AttachmentDesk
from node.desk.correspondence import CorrespondenceServicer
from node.desk.deciding import Deciding
from node.desk.mailing import Mailing
from node.desk.masking import Reading
from node.desk.notices import Notices
from node.desk.officers import Officers
from node.desk.petitions import Petitions
from node.desk.quotas import QuotaDesk
from node.desk.recalling import TakingBack
from node.desk.received import Receiving
from node.desk.recording import Recording
from node.desk.requests import Requests
from node.desk.reviewing import Reviewing
from node.desk.sharing import Sharing
from node.desk.suspensions import Suspensions
from node.federation.attaching import Attaching
from node.federation.calling import Calling, alert_kinds
from node.federation.channels import Channels
from node.federation.deadlines import Deadlines
from node.federation.delivering import Delivering
from node.federation.flagging import FlagMailKind
from node.federation.freezing import Freezing
from node.federation.mail_heads import Heads
from node.federation.mail_intake import Intake
from node.federation.mailroom import Mailroom
from node.federation.matching import Matching
from node.federation.notice_kinds import DeletionReceiptKind, EntryRecallKind, EntryUpdateKind
from node.federation.purging import Purging
from node.federation.recalling import Recalling
from node.federation.redeciding import Redeciding
from node.federation.reexamining import Reexamining
from node.federation.releasing import Releasing
from node.federation.requesting import FollowUpKind, RequestAnswerKind, RequestReplyKind
from node.federation.sharing import ShareKind
from node.federation.standing import Standing
from node.federation.suspending import Suspending
from node.federation.ticks import Ticks
from node.federation.watching import Watching
from node.federation.weighing import Weighing
from node.store.attachments import Attachments, ReceivedAttachments
from node.store.database import Database
from node.store.entries import Entries
from node.store.frozen import Frozen
from node.store.received import ReceivedEntries
from node.store.vault import Vault
from node.store.writer import Writer


@dataclass(slots=True)
class Correspondence:
    """What a serving node has for mail, and for what travels by it."""

    mailroom: Mailroom
    intake: Intake
    delivering: Delivering
    heads: Heads
    mailing: Mailing
    receiving: Receiving
    purging: Purging
    suspending: Suspending
    releasing: Releasing
    requests: Requests
    deadlines: Deadlines
    alerting: Alerting
    matching: Matching
    sharing: Sharing
    taking_back: TakingBack
    recalling: Recalling
    reexamining: Reexamining
    attaching: Attaching

    def servicer(self, officers: Officers, recording: Recording, watching: Watching) -> CorrespondenceServicer:
        """Return what the desk's server registers."""
        return CorrespondenceServicer(
            officers=officers,
            mailing=self.mailing,
            receiving=self.receiving,
            reviewing=Reviewing(recording, self.receiving.received),
            suspensions=Suspensions(self.suspending, self.mailroom),
            requests=self.requests,
            alerting=self.alerting,
            sharing=self.sharing,
            taking_back=self.taking_back,
            attachments=AttachmentDesk(recording, self.receiving, self.attaching, self.mailroom.clock),
            deciding=Deciding(
                self.mailroom, self.mailing.database, self.releasing, recording.freezing, self.mailroom.clock
            ),
            quotas=QuotaDesk(watching, recording.database, recording.writer, recording.clock),
            alarms=AlarmDesk(watching, recording, recording.clock),
        )


def composed_correspondence(
    *,
    standing: Standing,
    database: Database,
    vault: Vault,
    writer: Writer,
    channels: Channels,
    ticks: Ticks,
    clock: Callable[[], int],
    window_us: int,
    entries: Entries,
    frozen: Frozen,
    received: ReceivedEntries,
) -> Correspondence:
    """Put together mail and all that travels by it."""
    releasing = Releasing(standing, vault, entries, frozen)
    redeciding = Redeciding(releasing)
    kinds = (
        FollowUpKind(),
        RequestAnswerKind(releasing, received),
        RequestReplyKind(),
        ShareKind(releasing, received),
        EntryUpdateKind(redeciding, received),
        EntryRecallKind(received),
        DeletionReceiptKind(),
        FlagMailKind(releasing, received),
    )
    weighing = Weighing(standing, vault, entries, frozen, vault.lookup_keys())
    calling = Calling(weighing)
    mailroom = Mailroom(standing, vault, writer, (*kinds, *alert_kinds(weighing, calling, received)), clock)
    freezing = Freezing(standing, database, vault, writer, entries, frozen, clock)
    recalling = Recalling(mailroom, database, redeciding, freezing)
    petitions = Petitions(standing, Reading(standing, writer, clock), database, vault, writer, entries, clock)
    purging = Purging(standing.signer, database, vault, writer, entries, frozen, received, clock)
    purging.beside.append(ReceivedAttachments())
    kept = Attachments(vault)
    return Correspondence(
        mailroom=mailroom,
        intake=Intake(mailroom, database, ticks, window_us),
        delivering=Delivering(mailroom, database, channels, window_us),
        heads=Heads(mailroom, database, channels),
        mailing=Mailing(mailroom, database),
        receiving=Receiving(standing, database, vault, writer, received, clock),
        purging=purging,
        suspending=Suspending(standing, database, vault, clock),
        releasing=releasing,
        requests=Requests(mailroom, database, received, clock),
        deadlines=Deadlines(mailroom, database),
        alerting=Alerting(mailroom, database, received, calling),
        matching=Matching(mailroom, database, weighing, calling),
        sharing=Sharing(mailroom, database, releasing, freezing, received, clock),
        taking_back=TakingBack(recalling, Notices(petitions, freezing), clock),
        recalling=recalling,
        reexamining=Reexamining(mailroom, database, redeciding, freezing),
        attaching=Attaching(standing, channels, database, writer, kept, redeciding, freezing, received, clock),
    )
