"""Alerts at the desk: setting one at peers, seeing what it found and who works on the same, ending it."""

import secrets
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from node.desk.officers import private_of_officer
from node.errors import EnlaceError, ForbiddenError, NotFoundError, UsageError
from node.federation.alert_kinds import answered, log_step, new_detail, private_of_alert, tokens_of
from node.federation.calling import Calling
from node.federation.lines import local_line, private_of
from node.federation.mail_kinds import OutgoingMail, Post
from node.federation.mailroom import Mailroom
from node.policy.alerts import MOST_FROM_PEER, handle_of, verify_alert
from node.policy.outbound import decide_outbound
from node.policy.received_use import Use
from node.store import alert_finding, alert_pairs, alerts
from node.store.alert_pairs import Pair
from node.store.alerts import Kept
from node.store.database import Database
from node.store.mail_listing import read_received
from node.store.officers import Officer
from node.store.received import ReceivedEntries
from node.wire.alert_pb2 import ALERT_OUTCOME_ENDED, Alert, AlertEnd
from node.wire.alerting_pb2 import AlertDetail, AlertItem, SetAlertRequest, SetAt, ToldEntry
from node.wire.desk_pb2 import OfficerRole
from node.wire.exchange_pb2 import Asker, Hit
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT, Direction, LeafKind
from node.wire.mail_pb2 import Mail
from node.workflow.alerts import ANSWERING, OPEN, SETTING, Actor, Event

MOST_LISTED = 1_000
RECENT_US = 7 * 86_400 * 1_000_000
"""How long what is new of an alert stays in the inbox of the unit that set it."""
_UNITS = frozenset({OfficerRole.OFFICER_ROLE_UNIT, OfficerRole.OFFICER_ROLE_SUPERVISOR})


@dataclass(slots=True)
class Alerting:
    """Serves units, focal points and auditors with alerts."""

    mailroom: Mailroom
    database: Database
    received: ReceivedEntries
    calling: Calling

    async def set_alert(self, asked: SetAlertRequest, officer: Officer) -> list[SetAt]:
        """Set an alert at each of the peers that this country's own rules let it go to; it is logged before it leaves.

        Raises:
            MalformedError, UsageError: it is not complete; the text names the field.
        """
        alert, now_us = Alert(), self.mailroom.clock()
        alert.CopyFrom(asked.alert)
        alert.set_us = now_us
        alert.query.asker.CopyFrom(Asker(officer=officer.name, unit=officer.unit, unit_type=officer.unit_type))
        verify_alert(alert)
        if not asked.peers or len(set(asked.peers)) != len(asked.peers):
            raise UsageError("peers: name those that are to look out for it, each once")
        tokens = tokens_of(alert.query.selectors, self.calling.weighing.keys, self.mailroom.standing.country)
        for selector in alert.query.selectors:
            if not tokens_of([selector], self.calling.weighing.keys[:1], self.mailroom.standing.country):
                raise UsageError("selectors: one of them is no such value, and would find nothing")
        # Whose state or unit an official suspect is of, nobody knows here: so nobody is told of it, and this not told.
        if await self.database.read(self.calling.is_of_official, tokens, now_us):
            alert.deconflict = False
        return [await self._set_at(peer, alert, tokens, now_us) for peer in asked.peers]

    async def _set_at(self, peer: str, alert: Alert, tokens: set[bytes], now_us: int) -> SetAt:
        standing = self.mailroom.standing
        try:
            standing.verify_not_fenced()
            standing.trust.verify_paired(peer)
            decide_outbound(
                standing.rulebook("outbound", now_us),
                alert.query,
                recipient=peer,
                instruments=[
                    each.kind for each in standing.instruments_with(peer, now_us) if each.id == alert.query.instrument
                ],
                paired=True,
                now_us=now_us,
            )
            item = await self.mailroom.post(partial(self._send, peer=peer, alert=alert, tokens=tokens))
        except EnlaceError as error:
            private = private_of(alert.query)
            private.reason = f"ALERT {type(error).__name__}"
            line = local_line(LeafKind.LEAF_KIND_DENIED, private, standing.signer, now_us)
            await self.mailroom.writer.append(line)
            return SetAt(peer=peer, detail=str(error))
        return SetAt(peer=peer, item=item)

    def _send(self, post: Post, *, peer: str, alert: Alert, tokens: set[bytes]) -> AlertItem:
        if alerts.count_open(post.connection, DIRECTION_SENT, peer=peer) >= MOST_FROM_PEER:
            raise UsageError(f"{MOST_FROM_PEER:,} alerts of this country stand at {peer} already: end some")
        exchange_id = secrets.token_bytes(16)
        detail = new_detail(exchange_id, peer, alert, DIRECTION_SENT, SETTING.start)
        kept = alerts.put(post.connection, post.vault, detail, tokens)
        private = private_of_alert(kept, "")
        book = post.standing.rulebook("outbound", post.now_us)
        private.outbound_sha256 = book.sha256 if book else b""
        post.send(OutgoingMail(peer, exchange_id, Mail(alert=alert), private))
        if alert.deconflict:
            self.calling.pair_own(post, kept, tokens)
        return detail.item

    async def end(self, exchange_id: bytes, officer: Officer) -> AlertItem:
        """End an alert: one of this country's at the peer too; of a peer's, a focal point alone.

        Raises:
            NotFoundError: there is none.
            ForbiddenError: it is a peer's.
            WorkflowError: it has ended.
        """
        return await self.mailroom.post(partial(self._end, exchange_id=exchange_id, officer=officer))

    def _end(self, post: Post, *, exchange_id: bytes, officer: Officer) -> AlertItem:
        kept = alerts.find(post.connection, post.vault, exchange_id)
        is_focal = OfficerRole.OFFICER_ROLE_FOCAL_POINT in officer.roles
        private = private_of_officer(officer)
        if kept.id.direction == DIRECTION_RECEIVED:
            if not is_focal:
                raise ForbiddenError("a peer's alert is for focal points to end")
            to = ANSWERING.after(kept.item.state, Event.END, Actor.FOCAL_POINT)
            log_step(post, kept, "ENDED", private_of_officer(officer))
            answered(post, kept, ALERT_OUTCOME_ENDED, private)
        else:
            actor = Actor.FOCAL_POINT if is_focal else Actor.UNIT
            to = SETTING.after(kept.item.state, Event.END, actor)
            post.send(OutgoingMail(kept.id.peer, exchange_id, Mail(alert_end=AlertEnd()), private))
        alerts.change(post.connection, kept, post.now_us, to)
        return kept.item

    # --- looking -----------------------------------------------------------------------------------------------------

    async def list_alerts(
        self, direction: Direction.ValueType, *, standing_only: bool, limit: int, officer: Officer
    ) -> list[AlertItem]:
        """Return alerts without what they look for; a unit sees those that this country set."""
        if officer.roles <= _UNITS:
            direction = DIRECTION_SENT
        listing = partial(
            alerts.list_items,
            direction=direction or None,
            states=OPEN if standing_only else (),
            limit=min(limit or 100, MOST_LISTED),
        )
        found = await self.database.read(listing)
        await self._read(officer, b"", "ALERTS")
        return await self.database.read(self._with_calls, found)

    async def get(self, exchange_id: bytes, officer: Officer) -> AlertDetail:
        """Return an alert.

        With what one of this country's found, as far as the terms allow this officer, or what a peer was told.

        Raises:
            NotFoundError: there is none.
            ForbiddenError: it is a peer's, and a unit asks.
        """
        kept = await self.database.read(alerts.find, self.mailroom.vault, exchange_id)
        own = kept.id.direction == DIRECTION_SENT
        if not own and OfficerRole.OFFICER_ROLE_FOCAL_POINT not in officer.roles:
            raise ForbiddenError("a peer's alert is for focal points to see")
        await self._read(officer, exchange_id, "ALERT")
        await self.database.read(self._with_calls, [kept.item])
        await self.database.read(self._fill_own if own else _fill_peers, kept, officer)
        return kept.detail

    def _fill_own(self, connection: Connection, kept: Kept, officer: Officer) -> None:
        """Put in what it found, the latest of each entry, from where it is kept until its date."""
        now_us, found = self.mailroom.clock(), dict[bytes, Hit]()
        use = Use(kept.detail.alert.query.purpose, officer.unit_type, officer.unit)
        _, peer, exchange_id = kept.id
        for mail in read_received(connection, self.mailroom.vault, peer, exchange_id, "alert_match"):
            found[handle_of(mail.alert_match.hit)] = mail.alert_match.hit
        for handle, hit in found.items():
            if not hit.HasField("entry"):
                kept.detail.found.append(hit)
                continue
            copy = self.received.by_handle(connection, peer, exchange_id, handle, now_us)
            if copy is not None:  # else it was taken back, or its date has come
                shown = self.received.get(connection, copy.received_id, use, now_us)
                kept.detail.found.append(Hit(entry=shown.entry))

    def _with_calls(self, connection: Connection, items: list[AlertItem]) -> list[AlertItem]:
        own = {each.exchange_id: each for each in items if each.direction == DIRECTION_SENT}
        for pair in alert_pairs.told(connection, exchange_ids=own) if own else ():
            self._add_call(own[pair.own_exchange_id], pair)
        return items

    def _add_call(self, item: AlertItem, pair: Pair) -> None:
        if any((each.country, each.unit) == (pair.country, pair.other_unit) for each in item.call):
            return
        call = item.call.add(country=pair.country, unit=pair.other_unit, told_us=pair.told_us or 0)
        standing = self.mailroom.standing
        if pair.country != standing.country:
            try:
                call.telephone = standing.trust.directory.member(pair.country).duty_telephone
            except EnlaceError:  # it left the directory
                call.telephone = ""

    async def news(self, officer: Officer) -> list[AlertItem]:
        """Return what is new of this unit's alerts in the last week, and who works on what it asked for; not logged."""
        if not officer.roles & _UNITS:
            return []
        return await self.database.read(self._news, officer)

    def _news(self, connection: Connection, officer: Officer) -> list[AlertItem]:
        since_us = self.mailroom.clock() - RECENT_US
        listed = alerts.list_items(connection, direction=DIRECTION_SENT, unit=officer.unit, since_us=since_us)
        items = {each.exchange_id: each for each in listed if each.matches or each.state not in OPEN}
        for pair in alert_pairs.told(connection, unit=officer.unit, since_us=since_us):
            item = items.get(pair.own_exchange_id)
            if item is None:
                item = items.setdefault(pair.own_exchange_id, _asked(connection, self.mailroom, pair))
            self._add_call(item, pair)
        return list(items.values())

    async def _read(self, officer: Officer, subject: bytes, reason: str) -> None:
        """Return when the look is durably logged: only then may anything be shown."""
        private = private_of_officer(officer, subject=subject, reason=reason)
        line = local_line(LeafKind.LEAF_KIND_READ, private, self.mailroom.standing.signer, self.mailroom.clock())
        await self.mailroom.writer.append(line)


def _asked(connection: Connection, mailroom: Mailroom, pair: Pair) -> AlertItem:
    """Return the alert of a pair, or what stands for the query that it was."""
    try:
        return alerts.find(connection, mailroom.vault, pair.own_exchange_id).item
    except NotFoundError:
        return AlertItem(
            direction=DIRECTION_SENT,
            peer=pair.country,
            exchange_id=pair.own_exchange_id,
            state="asked",
            changed_us=pair.told_us or 0,
            officer=pair.officer,
            unit=pair.unit,
        )


def _fill_peers(connection: Connection, kept: Kept, officer: Officer) -> None:
    del officer
    for each in alert_finding.told_to(connection, kept.id.peer, kept.id.exchange_id):
        told = ToldEntry(entry_id=each.id.entry_id, told_us=each.told_us or 0, forbidden=each.forbidden)
        kept.detail.told.append(told)
