"""Deconfliction: who works on the same learns that, and whom to call, and nothing of the other's case.

A peer is told that this country works on what its alert looks for only where a unit has itself told it so, by an alert
or a query sent to it, and where no own entry that matches is hidden from it. Nobody is told anything where an own entry
that matches marks an official suspect: neither that official's state nor unit may learn of it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from node.errors import DeniedError, IdentityError, NotFoundError, WorkflowError
from node.federation.alert_kinds import (
    AlertAnswerKind,
    AlertEndKind,
    AlertKind,
    AlertMatchKind,
    log_step,
    private_of_alert,
)
from node.federation.mail_kinds import MailKind, OutgoingMail, Post, ReceivedMail, SentMail
from node.federation.weighing import VISIBLE, Weighing
from node.store import alert_pairs, alerts
from node.store.alert_pairs import Pair
from node.store.alerts import AlertId, Kept
from node.store.received import ReceivedEntries
from node.wire.alert_pb2 import Deconfliction
from node.wire.codes_pb2 import ROLE_OFFICIAL_SUSPECT
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT
from node.wire.mail_pb2 import Mail
from node.workflow.alerts import ANSWERING, OPEN, SETTING, Actor, Event


@dataclass(slots=True)
class Calling:
    """Finds who works on the same, and decides who may learn it."""

    weighing: Weighing

    # --- finding -----------------------------------------------------------------------------------------------------

    def pair_theirs(self, post: Post, theirs: Kept, tokens: Collection[bytes]) -> None:
        """Note which alerts of this country, at the peer whose alert this is, look for the same."""
        for key in alerts.with_tokens(post.connection, tokens, DIRECTION_SENT):
            if key.peer == theirs.id.peer:
                own = alerts.get(post.connection, post.vault, key)
                if own.detail.alert.deconflict and own.item.state in OPEN:
                    _put(post, own.id.exchange_id, own.item.officer, own.item.unit, theirs.id)

    def pair_own(self, post: Post, own: Kept, tokens: Collection[bytes]) -> None:
        """Note which alerts of the peer at which a unit sets one, and of other units, look for the same."""
        item = own.item
        self.pair_asked(post, {own.id.peer: own.id.exchange_id}, item.officer, item.unit, tokens)
        others = dict[str, Kept]()
        for key in alerts.with_tokens(post.connection, tokens, DIRECTION_SENT):
            other = alerts.get(post.connection, post.vault, key)
            if other.item.unit != item.unit and other.detail.alert.deconflict and other.item.state in OPEN:
                others.setdefault(other.item.unit, other)
        country = post.standing.country
        for other in others.values():
            for one, two in ((own, other), (other, own)):
                exchanges = one.id.exchange_id, country, two.id.exchange_id
                pair = Pair(*exchanges, one.item.officer, one.item.unit, two.item.unit)
                alert_pairs.put(post.connection, pair, post.now_us)

    def pair_asked(
        self, post: Post, exchanges: Mapping[str, bytes], officer: str, unit: str, tokens: Collection[bytes]
    ) -> None:
        """Note which alerts of peers look for what a unit asks these peers for; `exchanges` are ids by peer."""
        for key in alerts.with_tokens(post.connection, tokens, DIRECTION_RECEIVED):
            if key.peer in exchanges:
                theirs = alerts.get(post.connection, post.vault, key)
                if theirs.detail.alert.deconflict:
                    _put(post, exchanges[key.peer], officer, unit, theirs.id)

    def is_of_official(self, connection: Connection, tokens: Collection[bytes], now_us: int) -> bool:
        """Tell whether an own entry that has any of the tokens marks an official suspect."""
        found = self.weighing.matching(connection, frozenset(tokens), now_us)
        return any(ROLE_OFFICIAL_SUSPECT in (*each.roles, *each.inherited_roles) for each in found)

    # --- telling -----------------------------------------------------------------------------------------------------

    def call(self, post: Post, *, pair: Pair) -> None:
        """Tell both, or neither."""
        domestic = pair.country == post.standing.country
        own, other = _found(post, pair.own_exchange_id), _found(post, pair.exchange_id)
        if other is None:  # it is forgotten by now
            alert_pairs.settle(post.connection, pair, None)
            return
        try:
            if own is not None:
                SETTING.after(own.item.state, Event.CALL, Actor.NODE)
            self.verify(post.connection, other, post.now_us, told=not domestic)
        except (DeniedError, IdentityError, WorkflowError) as error:
            log_step(post, other, f"NOT_CALLED {type(error).__name__}")
            alert_pairs.settle(post.connection, pair, None)
            return
        log_step(post, other, f"CALL {pair.unit}")
        if not domestic and not alert_pairs.is_told(post.connection, pair.country, pair.exchange_id):
            ANSWERING.after(other.item.state, Event.CALL, Actor.NODE)
            mail = Mail(deconfliction=Deconfliction())  # without decisions: it says nothing of any entry
            post.send(OutgoingMail(*other.id[1:], mail, private_of_alert(other, "")))
        alert_pairs.settle(post.connection, pair, post.now_us)

    def verify(self, connection: Connection, theirs: Kept, now_us: int, *, told: bool) -> None:
        """Check that it may be known that two work on what an alert looks for; `told`: by the peer that set it.

        Raises:
            NotPairedError: the peer is not, or is suspended.
            DeniedError: what is recorded forbids it.
        """
        peer, query = theirs.id.peer, theirs.detail.alert.query
        if theirs.item.state not in OPEN or theirs.item.until_us <= now_us:
            raise DeniedError("the alert stands no more")
        if told:
            self.weighing.standing.trust.verify_paired(peer)
        tokens = alerts.tokens_of(connection, theirs.id)
        if self.is_of_official(connection, tokens, now_us):
            raise DeniedError("an official suspect")
        for entry in self.weighing.matching(connection, tokens, now_us) if told else ():
            seen = self.weighing.frozen.of_entry(peer, entry, now_us)
            if seen is not None and self.weighing.decide(peer, query, seen, now_us)[0].outcome not in VISIBLE:
                raise DeniedError("an entry that the peer does not see")


def _put(post: Post, own_exchange_id: bytes, officer: str, unit: str, theirs: AlertId) -> None:
    pair = Pair(own_exchange_id, theirs.peer, theirs.exchange_id, officer, unit, "")
    alert_pairs.put(post.connection, pair, post.now_us)


def _found(post: Post, exchange_id: bytes) -> Kept | None:
    """Return the alert of an exchange; None where a query began it, or nothing is kept of it."""
    try:
        return alerts.find(post.connection, post.vault, exchange_id)
    except NotFoundError:
        return None


@dataclass(slots=True)
class DeconflictionKind(MailKind):
    """A peer says that it works on what an alert of this country looks for."""

    calling: Calling
    field = "deconfliction"

    def check(self, mail: Mail, peer: str, now_us: int) -> None:
        """Take it as it is: it says nothing else."""

    def apply(self, post: Post, received: ReceivedMail) -> None:
        """Tell the unit that set the alert.

        Raises:
            NotFoundError, DeniedError: this country set no such alert at this peer, or did not ask for this.
            WorkflowError: the alert does not stand, and never did.
        """
        peer, exchange_id, _ = received.mail_id
        kept = alerts.get(post.connection, post.vault, AlertId(DIRECTION_SENT, peer, exchange_id))
        if not kept.detail.alert.deconflict:
            raise DeniedError("the alert does not ask who works on the same")
        to = SETTING.after(kept.item.state, Event.CALL, Actor.PEER)
        received.private.CopyFrom(private_of_alert(kept, ""))
        if self.calling.is_of_official(post.connection, alerts.tokens_of(post.connection, kept.id), post.now_us):
            log_step(post, kept, "NOT_CALLED OFFICIAL")  # the unit may be that official's own
            return
        pair = Pair(exchange_id, peer, exchange_id, kept.item.officer, kept.item.unit, "", post.now_us)
        alert_pairs.put(post.connection, pair, None)
        alerts.change(post.connection, kept, post.now_us, to)

    def recheck(self, connection: Connection, sent: SentMail, now_us: int) -> None:
        """Check that it may still be told.

        Raises:
            DeniedError, NotPairedError: it may not.
        """
        key = AlertId(DIRECTION_RECEIVED, *sent.row.mail_id[:2])
        theirs = alerts.get(connection, self.calling.weighing.vault, key)
        self.calling.verify(connection, theirs, now_us, told=True)


def alert_kinds(weighing: Weighing, calling: Calling, received: ReceivedEntries) -> tuple[MailKind, ...]:
    """Return the kinds of mail that have to do with alerts."""
    return (
        AlertKind(weighing, calling.pair_theirs),
        AlertAnswerKind(),
        AlertEndKind(),
        AlertMatchKind(weighing, received),
        DeconflictionKind(calling),
    )
