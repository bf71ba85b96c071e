"""Alerts between two real nodes: set, refused, matched as records are written, held, ended, and who works on it too."""

import secrets
from collections.abc import AsyncIterator
from functools import partial

import grpc
import pytest
import pytest_asyncio
from sqlalchemy import select

from node.errors import DeniedError
from node.federation import alert_kinds
from node.federation.alert_kinds import new_detail
from node.federation.calling import DeconflictionKind
from node.federation.mail_kinds import MailKind, OutgoingMail, Post, SentMail
from node.federation.matching import INSTANT_US
from node.policy.alerts import MOST_DAYS
from node.store import alerts
from node.store.listing import ListedLine
from node.store.mail import MailId, find_sent
from node.store.mail_tables import inbox
from node.wire.alert_pb2 import (
    ALERT_OUTCOME_ACCEPTED,
    Alert,
    AlertAnswer,
    AlertEnd,
    AlertMatch,
    Deconfliction,
)
from node.wire.alerting_pb2 import AlertDetail, EndAlertRequest, GetAlertRequest, SetAlertRequest, SetAt
from node.wire.codes_pb2 import (
    CRIME_LAUNDERING,
    CRIME_TRAFFICKING,
    PURPOSE_POLITICAL,
    ROLE_OFFICIAL_SUSPECT,
    SOURCE_GRADE_A,
    UNIT_TYPE_POLICE_INTELLIGENCE,
)
from node.wire.correspondence_pb2 import MAIL_STATE_DEAD
from node.wire.deciding_pb2 import ListInboxRequest
from node.wire.desk_pb2 import GetEntryRequest, PutCaseRequest, PutEntryRequest
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.entry_pb2 import Entry
from node.wire.exchange_pb2 import Asker, Hit, HitOnly
from node.wire.ledger_pb2 import (
    DIRECTION_RECEIVED,
    DIRECTION_SENT,
    LEAF_KIND_ALERT,
    EntryDecision,
    LeafPrivate,
)
from node.wire.mail_pb2 import Mail
from tests.desk.request_support import HELD, Pair, held_telephone, pair_of
from tests.desk.support import Status, asserted, life_query, refused, search
from tests.federation.mail_support import mail_here
from tests.federation.support import altered, case_record, decisions_of, opened_ledger, private_of, telephone
from tests.peer_simulator import telephone_query
from tests.world import DAY_US, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    world = World.make(tmp_path_factory.mktemp("alerts"), ("GT", "MX"))
    async with pair_of(world) as opened:
        for parts in opened.nodes.values():
            parts.correspondence.mailroom.clock = opened.clock
        yield opened


async def set_alert(pair: Pair, number: str, by: str = "GT", **changes: object) -> SetAt:
    alert = Alert(query=telephone_query(number), until_us=pair.clock() + 30 * DAY_US, deconflict=True)
    stub, peers = await pair.desk(by), ["MX" if by == "GT" else "GT"]
    response = await stub.SetAlert(SetAlertRequest(alert=altered(alert, **changes), peers=peers))
    await pair.delivered()
    return response.set[0]


async def record(pair: Pair, entry: Entry) -> Entry:
    channel = await pair.stack.enter_async_context(pair.world["MX"].desk_channel())
    stub = DeskStub(channel)
    if not entry.case_id:
        case = (await stub.PutCase(PutCaseRequest(case=altered(case_record(), crimes=[CRIME_TRAFFICKING])))).case
        entry = altered(asserted(entry), case_id=case.case_id)
    return (await stub.PutEntry(PutEntryRequest(entry=entry))).entry


async def latest(pair: Pair, entry: Entry) -> Entry:
    channel = await pair.stack.enter_async_context(pair.world["MX"].desk_channel())
    return (await DeskStub(channel).GetEntry(GetEntryRequest(entry_id=entry.entry_id))).entry


def decisions(line: ListedLine) -> list[EntryDecision]:
    if line.opening is None or not line.opening.decisions:
        return []
    return list(decisions_of(line).entries)


async def sent_anyway(pair: Pair, alert: Alert) -> bytes:
    """Set an alert at MX that GT's own desk would not."""
    exchange_id = secrets.token_bytes(16)
    alert = altered(alert)
    alert.query.asker.CopyFrom(Asker(officer="analyst", unit="UNIT-1", unit_type=UNIT_TYPE_POLICE_INTELLIGENCE))
    detail = new_detail(exchange_id, "MX", alert, DIRECTION_SENT, "set")

    def change(post: Post) -> None:
        alerts.put(post.connection, post.vault, detail, ())
        post.send(OutgoingMail("MX", exchange_id, Mail(alert=alert), LeafPrivate()))

    await pair.nodes["GT"].correspondence.mailroom.post(change)
    await pair.delivered()
    return exchange_id


async def seen(pair: Pair, exchange_id: bytes, code: str = "GT", officer: str = "analyst") -> AlertDetail:
    stub = await pair.desk(code, officer)
    return (await stub.GetAlert(GetAlertRequest(exchange_id=exchange_id))).detail


async def instant(pair: Pair) -> None:
    """Let the next instant come, at which what was found is told."""
    pair.clock.advance(seconds=2 * INSTANT_US / 1e6)
    for parts in pair.nodes.values():
        await parts.correspondence.matching.look()
    await pair.delivered()


def local_reasons(pair: Pair, code: str = "MX") -> list[str]:
    return [private_of(line).reason for line in pair.book(code).lines() if line.shared.kind == LEAF_KIND_ALERT]


async def test_what_is_recorded_later_is_told_at_the_next_instant_and_once(pair: Pair) -> None:
    set_at = await set_alert(pair, "+12025550170")
    assert not set_at.detail
    exchange_id = set_at.item.exchange_id
    assert (await seen(pair, exchange_id)).item.state == "standing"
    entry = await record(pair, telephone("+12025550170"))
    for parts in pair.nodes.values():
        await parts.correspondence.matching.look()
    await pair.delivered()
    assert not (await seen(pair, exchange_id)).found
    await instant(pair)
    detail = await seen(pair, exchange_id)
    (hit,) = detail.found
    assert hit.entry.telecom.telephone == "+12025550170"
    assert detail.item.matches == 1
    stub = await pair.desk("GT")
    news = (await stub.ListInbox(ListInboxRequest())).alerts
    assert exchange_id in [each.exchange_id for each in news]

    await record(pair, altered(entry, source_grade=SOURCE_GRADE_A))  # what the peer sees of it stays the same
    await instant(pair)
    told = (await seen(pair, exchange_id)).item.matches
    await record(pair, altered(await latest(pair, entry), crimes=[CRIME_TRAFFICKING, CRIME_LAUNDERING]))
    await instant(pair)
    changed = await seen(pair, exchange_id)
    assert changed.item.matches == told + 1
    (hit,) = changed.found
    assert CRIME_LAUNDERING in hit.entry.crimes
    (line, *_) = [each for each in pair.book("MX").lines(exchange_id=exchange_id) if decisions(each)]
    assert decisions(line)[0].entry_id == entry.entry_id


async def test_what_the_rules_hide_stays_hidden_and_is_a_line_here_alone(pair: Pair) -> None:
    exchange_id = (await set_alert(pair, "+12025550171")).item.exchange_id
    before = len(pair.book("GT").lines(exchange_id=exchange_id))
    await record(pair, telephone("+12025550171", victim=True))
    await instant(pair)
    detail = await seen(pair, exchange_id)
    assert (detail.item.matches, len(detail.found)) == (0, 0)
    assert len(pair.book("GT").lines(exchange_id=exchange_id)) == before
    assert "NOT_TOLD GT" in local_reasons(pair)


async def test_what_is_held_waits_for_a_focal_point_and_leaves_once_it_is_signed(pair: Pair) -> None:
    exchange_id = (await set_alert(pair, HELD)).item.exchange_id
    await record(pair, held_telephone())
    await instant(pair)
    (hit,) = (await seen(pair, exchange_id)).found
    assert hit.HasField("pending")
    waiting = await pair.waiting(exchange_id)
    shown = await pair.prepared(waiting)
    focal = await pair.desk("MX", "focal-1")
    assert (await focal.ApproveRelease(pair.signed(shown, time_us=pair.clock()))).item.state == "granted"
    await pair.delivered()
    detail = await pair.seen(waiting)
    assert detail.answer.hits[0].entry.telecom.telephone == HELD


async def test_an_alert_that_ended_finds_nothing_and_what_it_looked_for_is_gone(pair: Pair) -> None:
    exchange_id = (await set_alert(pair, "+12025550172")).item.exchange_id
    stub = await pair.desk("GT")
    ended = await stub.EndAlert(EndAlertRequest(exchange_id=exchange_id))
    assert ended.item.state == "ended"
    await pair.delivered()
    at_mx = await seen(pair, exchange_id, "MX", "focal-1")
    assert at_mx.item.state == "ended"
    assert not at_mx.HasField("alert")
    await record(pair, telephone("+12025550172"))
    await instant(pair)
    assert (await seen(pair, exchange_id)).item.matches == 0
    await refused(stub.EndAlert(EndAlertRequest(exchange_id=exchange_id)), Status.FAILED_PRECONDITION)
    with opened_ledger(pair.world["MX"]) as (database, _), database.reading() as connection:
        bodies = select(inbox.c.sealed).where(inbox.c.exchange_id == exchange_id, inbox.c.kind == "alert")
        assert connection.execute(bodies).scalars().all() == [None]


async def test_a_focal_point_ends_what_a_peer_has_set_and_the_peer_sees_it(pair: Pair) -> None:
    exchange_id = (await set_alert(pair, "+12025550173")).item.exchange_id
    unit, focal = await pair.desk("MX"), await pair.desk("MX", "focal-1")
    await refused(unit.EndAlert(EndAlertRequest(exchange_id=exchange_id)), Status.PERMISSION_DENIED)
    await refused(unit.GetAlert(GetAlertRequest(exchange_id=exchange_id)), Status.PERMISSION_DENIED)
    await focal.EndAlert(EndAlertRequest(exchange_id=exchange_id))
    await pair.delivered()
    assert (await seen(pair, exchange_id)).item.state == "ended"


async def test_an_alert_names_its_end_and_none_stands_for_longer_than_half_a_year(pair: Pair) -> None:
    late = pair.clock() + (MOST_DAYS + 1) * DAY_US
    for changes in ({"until_us": late}, {"until_us": 0}, {"query": life_query("+12025550174")}):
        await refused(set_alert(pair, "+12025550174", **changes), Status.INVALID_ARGUMENT)
    exchange_id = (await set_alert(pair, "+12025550174", until_us=pair.clock() + 3_600_000_000)).item.exchange_id
    pair.clock.advance(seconds=3_600)
    await instant(pair)
    assert (await seen(pair, exchange_id)).item.state == "expired"
    assert (await seen(pair, exchange_id, "MX", "focal-1")).item.state == "expired"
    assert "EXPIRED GT" in local_reasons(pair)


async def test_own_rules_and_the_peers_instruments_decide_as_of_a_query(pair: Pair) -> None:
    query = altered(telephone_query("+12025550175"), purpose=PURPOSE_POLITICAL)
    told = await set_alert(pair, "", query=query)
    assert (told.HasField("item"), "never lawful" in told.detail) == (False, True)
    gt = pair.nodes["GT"].correspondence.mailroom
    query = altered(telephone_query("+12025550175"), instrument="NO-SUCH-TREATY")
    alert = Alert(query=query, set_us=gt.clock(), until_us=gt.clock() + DAY_US)
    exchange_id = await sent_anyway(pair, alert)
    assert (await seen(pair, exchange_id)).item.state == "refused"
    with pytest.raises(grpc.aio.AioRpcError):
        await seen(pair, exchange_id, "MX", "focal-1")


async def test_beyond_its_quota_a_peer_is_turned_away_and_told_so(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange_id = (await set_alert(pair, "+12025550176")).item.exchange_id
    with opened_ledger(pair.world["MX"]) as (database, _), database.reading() as connection:
        standing = alerts.count_open(connection, DIRECTION_RECEIVED, peer="GT")
    monkeypatch.setattr(alert_kinds, "MOST_FROM_PEER", standing)
    turned_away = (await set_alert(pair, "+12025550177")).item.exchange_id
    assert (await seen(pair, turned_away)).item.state == "over quota"
    await (await pair.desk("GT")).EndAlert(EndAlertRequest(exchange_id=exchange_id))
    await pair.delivered()
    taken = (await set_alert(pair, "+12025550177")).item.exchange_id
    assert (await seen(pair, taken)).item.state == "standing"


async def test_alerts_of_a_peer_that_is_not_paired_any_more_find_nothing_nor_later(pair: Pair) -> None:
    exchange_id = (await set_alert(pair, "+12025550178")).item.exchange_id
    standing = pair.nodes["MX"].standing
    root_key = standing.trust.pairings["GT"]
    standing.unpair("GT")
    try:
        await record(pair, telephone("+12025550178"))
        pair.clock.advance(seconds=2 * INSTANT_US / 1e6)
        await pair.nodes["MX"].correspondence.matching.look()
    finally:
        standing.pair("GT", root_key)
    await instant(pair)
    assert (await seen(pair, exchange_id)).item.matches == 0


async def test_bad_alerts_are_refused_logged_and_visible(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (alert_kinds.AlertMatchKind, DeconflictionKind):  # else they would not even leave
        monkeypatch.setattr(kind, "recheck", MailKind.recheck)
        monkeypatch.setattr(kind, "settled", MailKind.settled)
    gt = pair.nodes["GT"].correspondence.mailroom
    now = gt.clock()
    query = telephone_query("+12025550179")
    bad = [
        Alert(query=query, set_us=now, until_us=now + (MOST_DAYS + 1) * DAY_US),
        Alert(query=altered(query, page=1), set_us=now, until_us=now + DAY_US),
        Alert(query=altered(query, selectors=[]), set_us=now, until_us=now + DAY_US),
        Alert(query=query, set_us=now - DAY_US, until_us=now + DAY_US),
    ]
    for alert in bad:
        exchange_id = await sent_anyway(pair, alert)
        assert (await seen(pair, exchange_id)).item.state == "refused"
        assert [each.state for each in mail_here(pair.nodes["GT"], DIRECTION_SENT, exchange_id=exchange_id)] == [
            MAIL_STATE_DEAD
        ]
    for mail in (
        Mail(alert_match=AlertMatch(hit=Hit(hit=HitOnly(handle=bytes(16))))),
        Mail(alert_answer=AlertAnswer(outcome=ALERT_OUTCOME_ACCEPTED)),
        Mail(alert_end=AlertEnd()),
        Mail(deconfliction=Deconfliction()),
    ):
        exchange_id = secrets.token_bytes(16)
        await gt.post(partial(Post.send, outgoing=OutgoingMail("MX", exchange_id, mail, LeafPrivate())))
        await pair.delivered()
        (item,) = mail_here(pair.nodes["GT"], DIRECTION_SENT, exchange_id=exchange_id)
        assert item.state == MAIL_STATE_DEAD


# --- who works on the same -------------------------------------------------------------------------------------------


async def both_set(pair: Pair, number: str, *, deconflict: bool = True) -> tuple[bytes, bytes]:
    """GT and MX each set an alert on a number at the other, and the next instant comes."""
    ours = (await set_alert(pair, number, deconflict=deconflict)).item.exchange_id
    theirs = (await set_alert(pair, number, by="MX")).item.exchange_id
    await instant(pair)
    return ours, theirs


async def calls(pair: Pair, code: str, exchange_id: bytes) -> list[tuple[str, str]]:
    return [(each.country, each.telephone) for each in (await seen(pair, exchange_id, code)).item.call]


async def test_who_works_on_the_same_learns_whom_to_call_and_nothing_of_the_others_case(pair: Pair) -> None:
    ours, theirs = await both_set(pair, "+12025550180")
    telephone_of_duty = pair.world["MX"].record().duty_telephone
    assert await calls(pair, "GT", ours) == [("MX", telephone_of_duty)]
    assert await calls(pair, "MX", theirs) == [("GT", telephone_of_duty)]
    stub = await pair.desk("GT")
    assert ours in [each.exchange_id for each in (await stub.ListInbox(ListInboxRequest())).alerts]
    assert "CALL UNIT-1 GT" in local_reasons(pair)


async def test_who_does_not_want_it_known_is_neither_told_nor_told_of(pair: Pair) -> None:
    ours, theirs = await both_set(pair, "+12025550181", deconflict=False)
    assert (await calls(pair, "GT", ours), await calls(pair, "MX", theirs)) == ([], [])


async def test_neither_the_state_nor_the_unit_of_an_official_suspect_learns_of_it(pair: Pair) -> None:
    number = "+12025550182"
    suspect = altered(telephone(number), roles=[ROLE_OFFICIAL_SUSPECT])
    theirs = (await set_alert(pair, number, by="MX")).item.exchange_id
    await record(pair, suspect)
    ours = (await set_alert(pair, number)).item.exchange_id
    await instant(pair)
    assert await calls(pair, "MX", theirs) == []
    assert {"NOT_CALLED DeniedError GT", "NOT_CALLED OFFICIAL GT"} <= set(local_reasons(pair))
    quiet = (await set_alert(pair, number, by="MX")).item.exchange_id
    await instant(pair)
    assert not (await seen(pair, quiet, "GT", "focal-1")).alert.deconflict
    del ours


async def test_a_peer_is_not_told_of_what_hides_an_entry_from_it(pair: Pair) -> None:
    await record(pair, telephone("+12025550183", victim=True))
    theirs = (await set_alert(pair, "+12025550183", by="MX")).item.exchange_id
    ours = (await set_alert(pair, "+12025550183")).item.exchange_id
    before = len(mail_here(pair.nodes["MX"], DIRECTION_SENT, exchange_id=ours))
    await instant(pair)
    sent = mail_here(pair.nodes["MX"], DIRECTION_SENT, exchange_id=ours)
    assert "DECONFLICTION" not in [each.kind for each in sent[before:]]
    assert theirs


async def test_who_asks_for_what_a_peers_alert_looks_for_learns_whom_to_call(pair: Pair) -> None:
    ours = (await set_alert(pair, "+12025550184")).item.exchange_id
    channel = await pair.stack.enter_async_context(pair.world["MX"].desk_channel())
    (response,) = await search(DeskStub(channel), telephone_query("+12025550184"), "GT")
    await pair.nodes["MX"].asking.drained()
    await instant(pair)
    assert [country for country, _ in await calls(pair, "GT", ours)] == ["MX"]
    stub = await pair.desk("MX")
    news = {each.exchange_id: each for each in (await stub.ListInbox(ListInboxRequest())).alerts}
    asked = news[response.exchange_id]
    assert (asked.state, [each.country for each in asked.call]) == ("asked", ["GT"])


async def test_two_units_of_one_country_learn_of_each_other(pair: Pair) -> None:
    ours = (await set_alert(pair, "+12025550185")).item.exchange_id
    gt, exchange_id = pair.nodes["GT"].correspondence, secrets.token_bytes(16)
    query = telephone_query("+12025550185")
    query.asker.CopyFrom(Asker(officer="second", unit="UNIT-2", unit_type=UNIT_TYPE_POLICE_INTELLIGENCE))
    alert = Alert(query=query, set_us=pair.clock(), until_us=pair.clock() + DAY_US, deconflict=True)
    tokens = alert_kinds.tokens_of(query.selectors, gt.matching.weighing.keys, "GT")

    def change(post: Post) -> None:
        kept = alerts.put(
            post.connection, post.vault, new_detail(exchange_id, "MX", alert, DIRECTION_SENT, "set"), tokens
        )
        gt.matching.calling.pair_own(post, kept, tokens)

    await gt.mailroom.post(change)
    await instant(pair)
    assert [each.unit for each in (await seen(pair, ours)).item.call] == ["UNIT-2"]
    assert [each.unit for each in (await seen(pair, exchange_id)).item.call] == ["UNIT-1"]


# --- other rules -----------------------------------------------------------------------------------------------------


async def test_other_rules_weigh_again_what_was_told_and_stop_what_has_not_left(pair: Pair) -> None:
    exchange_id = (await set_alert(pair, "+12025550186")).item.exchange_id
    await record(pair, telephone("+12025550186"))
    await instant(pair)
    mx = pair.nodes["MX"]
    (sent,) = [each for each in mail_here(mx, DIRECTION_SENT, exchange_id=exchange_id) if each.kind == "ALERT_MATCH"]
    mailroom = mx.correspondence.mailroom
    with mx.database.reading() as connection:
        row = find_sent(connection, MailId("GT", exchange_id, sent.number))
        match, kind = SentMail(row, mailroom.mail_of(row)), mailroom.by_field["alert_match"]
        kind.recheck(connection, match, pair.clock())

    async def forbidden() -> list[bool]:
        await instant(pair)
        await instant(pair)
        return [each.forbidden for each in (await seen(pair, exchange_id, "MX", "focal-1")).told]

    mx.standing.withdraw_floor("a test")
    try:
        with mx.database.reading() as connection, pytest.raises(DeniedError):
            kind.recheck(connection, match, pair.clock())
        assert await forbidden() == [True]
        assert "FORBIDDEN_NOW GT" in local_reasons(pair)
    finally:
        mx.standing.follow(mx.standing.trust.directory)
    assert await forbidden() == [False]


async def test_both_ledgers_verify_with_all_rows_that_lines_speak_of(pair: Pair) -> None:
    for code in ("GT", "MX"):
        report = pair.book(code).verify()
        assert report.signatures > 0
        assert report.rows > 0
