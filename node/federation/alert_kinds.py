"""Alerts by mail: set, accepted or refused, matched, ended; each step is a line on both sides."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from node.errors import DeniedError, MalformedError, QuotaError, RecordError
from node.federation.holding import held_request
from node.federation.lines import local_line, private_of
from node.federation.mail_kinds import MailKind, OutgoingMail, Post, ReceivedMail, SentMail
from node.federation.weighing import Weighing, hit_sha256
from node.policy.alerts import MOST_FROM_PEER, handle_of, verify_alert, verify_match
from node.records.lookup import LookupKey, selector_tokens
from node.store import alert_finding, alerts, quotas, requests
from node.store.alert_finding import FindId
from node.store.alerts import AlertId, Kept
from node.store.mail import erase_received
from node.store.received import ReceivedEntries
from node.store.received_rows import queue_keys
from node.store.requests import due_us, held_id
from node.wire.alert_pb2 import (
    ALERT_OUTCOME_ACCEPTED,
    ALERT_OUTCOME_ENDED,
    ALERT_OUTCOME_OVER_QUOTA,
    ALERT_OUTCOME_REFUSED,
    Alert,
    AlertAnswer,
    AlertOutcome,
)
from node.wire.alerting_pb2 import AlertDetail, AlertItem
from node.wire.correspondence_pb2 import MAIL_STATE_DEAD, MAIL_STATE_DELIVERED, MAIL_STATE_WITHDRAWN, MailState
from node.wire.exchange_pb2 import Selector
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT, Direction, LeafKind, LeafPrivate
from node.wire.mail_pb2 import Mail
from node.wire.received_pb2 import RECEIVED_SOURCE_ALERT, ReceivedEntry
from node.workflow.alerts import ANSWERING, SETTING, Actor, Event, State

CLOCK_US: Final = 300 * 1_000_000
"""What an alert says of when it was set is so near its mail's time."""

FIRST: Final = 1
"""Number of the mail that sets an alert: it begins its exchange."""

_EVENTS: Final = {
    ALERT_OUTCOME_ACCEPTED: Event.ACCEPT,
    ALERT_OUTCOME_REFUSED: Event.REFUSE,
    ALERT_OUTCOME_OVER_QUOTA: Event.TURN_AWAY,
    ALERT_OUTCOME_ENDED: Event.END,
}


def new_detail(exchange_id: bytes, peer: str, alert: Alert, direction: Direction.ValueType, state: str) -> AlertDetail:
    """Return an alert as it begins."""
    item = AlertItem(
        direction=direction,
        peer=peer,
        exchange_id=exchange_id,
        state=state,
        set_us=alert.set_us,
        until_us=alert.until_us,
        changed_us=alert.set_us,
        officer=alert.query.asker.officer,
        unit=alert.query.asker.unit,
    )
    return AlertDetail(item=item, alert=alert)


def tokens_of(selectors: Iterable[Selector], keys: Collection[LookupKey], region: str) -> set[bytes]:
    """Return tokens of selectors of a country, of every key; one that can't be normalised finds nothing."""
    tokens = set[bytes]()
    for selector in selectors:
        try:
            tokens.update(selector_tokens(selector, tuple(keys), region))
        except RecordError:
            continue
    return tokens


def private_of_alert(kept: Kept, reason: str) -> LeafPrivate:
    """Start the private part of a line about this alert: who set it, why, and on what."""
    private = private_of(kept.detail.alert.query)
    private.officer, private.unit, private.reason = kept.item.officer, kept.item.unit, reason
    return private


def log_step(post: Post, kept: Kept, reason: str, private: LeafPrivate | None = None) -> None:
    """Log a step that the peer does not see: the line names exchange and peer in its private part alone."""
    made = private or private_of_alert(kept, "")
    made.subject, made.reason = kept.id.exchange_id, f"{reason} {kept.id.peer}"[:64]
    post.log(local_line(LeafKind.LEAF_KIND_ALERT, made, post.standing.signer, post.now_us))


def verify_standing(kept: Kept, now_us: int) -> None:
    """Check that an alert of a peer may still be told something.

    Raises:
        DeniedError: it may not.
    """
    if kept.item.state != State.STANDING or kept.item.until_us <= now_us:
        raise DeniedError("the alert stands no more")


def answered(post: Post, kept: Kept, outcome: AlertOutcome.ValueType, private: LeafPrivate) -> None:
    """Tell a peer what becomes of its alert."""
    mail = Mail(alert_answer=AlertAnswer(outcome=outcome))
    post.send(OutgoingMail(kept.id.peer, kept.id.exchange_id, mail, private))


@dataclass(slots=True)
class AlertKind(MailKind):
    """A peer sets an alert."""

    weighing: Weighing
    pair: Callable[[Post, Kept, Collection[bytes]], None]  # notes who works on the same
    field = "alert"

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Check that the alert is of the contract."""
        del peer, now_us
        verify_alert(mail.alert)

    def apply(self, post: Post, received: ReceivedMail) -> None:
        """Have it stand, unless it is refused; who set it is told which.

        Raises:
            MalformedError, ReplayError: it contradicts its mail, or an alert that was set in this exchange.
        """
        alert, mail_id = received.mail.alert, received.mail_id
        if mail_id.number != FIRST:
            raise MalformedError("an alert begins an exchange of its own")
        if abs(alert.set_us - received.sent_us) > CLOCK_US:
            raise MalformedError("set_us: is not the time of the mail")
        key = AlertId(DIRECTION_RECEIVED, mail_id.peer, mail_id.exchange_id)
        detail = new_detail(mail_id.exchange_id, mail_id.peer, alert, DIRECTION_RECEIVED, ANSWERING.start)
        outcome, reason = self._outcome(post, alert, mail_id.peer)
        private = private_of_alert(Kept(key, detail), reason)
        received.private.CopyFrom(private)
        kept = Kept(key, detail)
        if outcome == ALERT_OUTCOME_ACCEPTED:
            tokens = tokens_of(alert.query.selectors, self.weighing.keys, mail_id.peer)
            kept = alerts.put(post.connection, post.vault, detail, tokens)
            if alert.deconflict:
                self.pair(post, kept, tokens)
        answered(post, kept, outcome, private)

    def _outcome(self, post: Post, alert: Alert, peer: str) -> tuple[AlertOutcome.ValueType, str]:
        """Decide by the alert itself and what this peer has set: by what is recorded, it would tell."""
        if refusal := self.weighing.refusal(alert.query, peer, post.now_us):
            return ALERT_OUTCOME_REFUSED, refusal
        if alert.until_us <= post.now_us:  # it was under way for so long
            return ALERT_OUTCOME_REFUSED, "OVER"
        if alerts.count_open(post.connection, DIRECTION_RECEIVED, peer=peer) >= MOST_FROM_PEER:
            return ALERT_OUTCOME_OVER_QUOTA, "QUOTA"
        try:
            quotas.take_mail(post.connection, peer, self.field, post.now_us)
        except QuotaError:
            return ALERT_OUTCOME_OVER_QUOTA, "QUOTA"
        return ALERT_OUTCOME_ACCEPTED, "ACCEPTED"

    def settled(self, post: Post, sent: SentMail, state: MailState.ValueType) -> None:
        """Note that a peer did not take an alert of this country."""
        if state == MAIL_STATE_DEAD:
            kept = alerts.get(post.connection, post.vault, AlertId(DIRECTION_SENT, *sent.row.mail_id[:2]))
            if kept.item.state == State.SET:
                to = SETTING.after(kept.item.state, Event.REFUSE, Actor.NODE)
                alerts.change(post.connection, kept, post.now_us, to)


class AlertAnswerKind(MailKind):
    """What became of an alert of this country."""

    field = "alert_answer"

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Check that it says what."""
        del peer, now_us
        if mail.alert_answer.outcome not in _EVENTS:
            raise MalformedError("outcome: is accepted, refused, over quota or ended")

    def apply(self, post: Post, received: ReceivedMail) -> None:
        """Note it.

        Raises:
            NotFoundError: this country set no such alert at this peer.
            WorkflowError: it was answered before.
        """
        kept = alerts.get(post.connection, post.vault, AlertId(DIRECTION_SENT, *received.mail_id[:2]))
        event = _EVENTS[received.mail.alert_answer.outcome]
        to = SETTING.after(kept.item.state, event, Actor.PEER)
        received.private.CopyFrom(private_of_alert(kept, event.name))
        alerts.change(post.connection, kept, post.now_us, to)

    def settled(self, post: Post, sent: SentMail, state: MailState.ValueType) -> None:
        """Erase the mail that an alert came in: what stands is kept with the alert, and what was refused nowhere."""
        if state == MAIL_STATE_DELIVERED:
            keys = erase_received(post.connection, sent.row.peer, sent.row.exchange_id, (FIRST,))
            queue_keys(post.connection, keys, post.now_us)


class AlertEndKind(MailKind):
    """Who set an alert ends it."""

    field = "alert_end"

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Take it as it is: it says nothing."""

    def apply(self, post: Post, received: ReceivedMail) -> None:
        """End it.

        Raises:
            NotFoundError: this peer has no such alert here.
        """
        kept = alerts.get(post.connection, post.vault, AlertId(DIRECTION_RECEIVED, *received.mail_id[:2]))
        to = ANSWERING.after(kept.item.state, Event.END, Actor.PEER)
        received.private.CopyFrom(private_of_alert(kept, ""))
        alerts.change(post.connection, kept, post.now_us, to)


@dataclass(slots=True)
class AlertMatchKind(MailKind):
    """What an alert has found."""

    weighing: Weighing
    received: ReceivedEntries
    field = "alert_match"

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Check that it is of the contract."""
        del peer, now_us
        verify_match(mail.alert_match)

    def apply(self, post: Post, received: ReceivedMail) -> None:
        """Keep what was released, with what this country owes for it, or wait for what is held.

        Raises:
            NotFoundError: this country set no such alert at this peer.
            WorkflowError: it does not stand, and never did.
        """
        mail_id, hit = received.mail_id, received.mail.alert_match.hit
        kept = alerts.get(post.connection, post.vault, AlertId(DIRECTION_SENT, *mail_id[:2]))
        to, item = SETTING.after(kept.item.state, Event.MATCH, Actor.PEER), kept.item
        private = private_of_alert(kept, "")
        if hit.HasField("entry"):
            private.released = 1
            new = ReceivedEntry(
                peer=mail_id.peer,
                originator=mail_id.peer,
                exchange_id=mail_id.exchange_id,
                disclosed_us=received.sent_us,
                source=RECEIVED_SOURCE_ALERT,
                officer=item.officer,
                unit=item.unit,
                entry=hit.entry,
            )
            self.received.put(post.connection, new, post.now_us)
        elif hit.HasField("pending"):
            private.held = 1
            self._await(post, kept, hit.pending.ticket, hit.pending.due_us)
        else:
            private.hits = 1
        received.private.CopyFrom(private)
        alerts.change(post.connection, kept, post.now_us, to, matches=1)

    def _await(self, post: Post, kept: Kept, ticket: bytes, until_us: int) -> None:
        query, (_, peer, exchange_id) = kept.detail.alert.query, kept.id
        if requests.own(post.connection, post.vault, peer, held_id(exchange_id, ticket)) is None:
            at_us = until_us - due_us(query.urgency, 0)
            detail = held_request(exchange_id, peer, query, ticket, silent=False, at_us=at_us, sent=True)
            requests.put(post.connection, post.vault, detail)

    def recheck(self, connection: Connection, sent: SentMail, now_us: int) -> None:
        """Check that the alert still stands, and that the rules still let leave what is about to.

        Raises:
            DeniedError: it does not, or they do not.
        """
        kept = alerts.get(connection, self.weighing.vault, AlertId(DIRECTION_RECEIVED, *sent.row.mail_id[:2]))
        verify_standing(kept, now_us)
        hit = sent.mail.alert_match.hit
        weighed = self.weighing.weigh(connection, kept, self._find_of(sent).entry_id, now_us)
        if weighed is None or weighed.hit is None or hit_sha256(weighed.hit) != hit_sha256(hit):
            raise DeniedError("what the rules let leave has changed since")

    def settled(self, post: Post, sent: SentMail, state: MailState.ValueType) -> None:
        """Have what did not leave looked at again; and note what turned out to have left."""
        key = self._find_of(sent)
        if state == MAIL_STATE_WITHDRAWN:
            alert_finding.untell(post.connection, key, post.now_us)
        elif state == MAIL_STATE_DELIVERED:
            digest = hit_sha256(sent.mail.alert_match.hit)
            alert_finding.tell(post.connection, key, digest, post.now_us)

    def _find_of(self, sent: SentMail) -> FindId:
        peer, exchange_id, _ = sent.row.mail_id
        entry_id = self.weighing.vault.resolve_handle(peer, handle_of(sent.mail.alert_match.hit))
        return FindId(peer, exchange_id, entry_id)
