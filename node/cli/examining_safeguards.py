"""What `enlace doctor` tells of what waits: facts for a life, frozen views, emergencies, mail; of no record."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection

from node.cli.examining import Finding, own_focal_points
from node.cli.output import time_text
from node.config import Config
from node.federation.paging import waiting as untaken
from node.store import (
    alarms,
    alert_finding,
    alert_pairs,
    determinations,
    duty,
    emergencies,
    freezes,
    pages,
    petitions,
    recalls,
    suspensions,
)
from node.store.database import Database
from node.store.mail_listing import queues
from node.wire.codes_pb2 import URGENCY_LIFE
from node.workflow.recalls import State

MAIL_YELLOW_US: Final = 3_600_000_000
"""How long mail may wait until it shows; the longest pause between two attempts is as long."""
MAIL_RED_US: Final = 24 * MAIL_YELLOW_US
ALERTS_LATE_US: Final = 1_800_000_000
"""How long what an alert found may wait: thrice the time between two instants at which it is told."""
PETITION_YELLOW_US: Final = 5 * MAIL_RED_US
"""How long before the date of the law a person's request shows."""


def examine_safeguards(config: Config, now_us: int) -> Iterator[Finding]:
    """Look at what waits, read-only; the database is one that can be read."""
    with Database.open_read_only(config.store.database) as database, database.reading() as connection:
        yield _determinations(connection, now_us)
        yield from _duty(connection, config, now_us)
        yield _freezes(connection, now_us)
        yield from _emergencies(connection, config, now_us)
        yield _suspensions(connection, config, now_us)
        yield _petitions(connection, now_us)
        yield _alarms(connection)
        yield from _mail(connection, now_us)
        yield _recalls(connection)
        yield _alerts(connection, now_us)


def _determinations(connection: Connection, now_us: int) -> Finding:
    what, waiting = "facts for a life", determinations.waiting(connection)
    if not waiting:
        return Finding(what, "green", "none waits to be determined")
    overdue = sum(notice.due_us <= now_us for notice in waiting)
    do = "determine them, `enlace life facts`"
    if overdue:
        return Finding(what, "red", f"{overdue} of {len(waiting)} entries are overdue: {do}")
    return Finding(what, "yellow", f"{len(waiting)} entries wait until {time_text(waiting[0].due_us)}: {do}")


def _duty(connection: Connection, config: Config, now_us: int) -> Iterator[Finding]:
    turn, found = duty.on_duty(connection, now_us), list(untaken(connection))
    if turn is not None:
        yield Finding("on duty", "green", f"somebody is, until {time_text(turn.until_us)}")
    elif duty.has_roster(connection):
        yield Finding("on duty", "red", "nobody is: all focal points are called at once; see `enlace duty set`")
    else:
        yield Finding("on duty", "yellow", "nobody ever was: `enlace duty set`")
    if config.duty.smtp is None and config.duty.webhook is None:
        yield Finding("calls", "yellow", "nobody is told: name a mail server or a webhook in [duty], see the runbook")
    elif failing := pages.count_failing(connection):
        yield Finding("calls", "red", f"{failing} could not be sent so far: see notification_failed in the log")
    if not found:
        yield Finding("urgent work", "green", "none waits to be taken")
        return
    late, life = sum(what.due_us <= now_us for what in found), sum(what.urgency == URGENCY_LIFE for what in found)
    says = f"{len(found)} wait to be taken, {life} of them for a life: `enlace duty pages`"
    yield Finding("urgent work", "red" if late else "yellow", f"{says}; {late} are overdue" if late else says)


def _petitions(connection: Connection, now_us: int) -> Finding:
    what, dates = "persons' requests", petitions.due(connection)
    if not dates:
        return Finding(what, "green", "none waits for an answer")
    do = "answer them, `enlace ledger subject list`"
    if overdue := sum(due_us <= now_us for due_us in dates):
        return Finding(what, "red", f"{overdue} of {len(dates)} are past the date of the law: {do}")
    soon = dates[0] - now_us < PETITION_YELLOW_US
    return Finding(what, "yellow" if soon else "green", f"{len(dates)} wait until {time_text(dates[0])}: {do}")


def _alarms(connection: Connection) -> Finding:
    what, count = "silent alarms", alarms.count_open(connection)
    if not count:
        return Finding(what, "green", "none is open")
    return Finding(what, "red", f"{count} are open: a focal point or an auditor looks, `enlace alarms list`")


def _freezes(connection: Connection, now_us: int) -> Finding:
    what, waiting = "frozen views", Counter(freezes.waiting(connection, now_us))
    if not waiting:
        return Finding(what, "green", "none waits for a focal point")
    of_peers = ", ".join(f"{count} of {peer}" for peer, count in sorted(waiting.items()))
    return Finding(what, "yellow", f"{of_peers}: a focal point decides how they end, `enlace freeze list`")


def _mail(connection: Connection, now_us: int) -> Iterator[Finding]:
    found = queues(connection)
    if not found:
        yield Finding("mail", "green", "none waits")
    for queue in found:
        what, waits_us = f"mail {queue.peer}", now_us - queue.oldest_us if queue.queued else 0
        if queue.dead:
            behind = f", and {queue.blocked} wait behind it" if queue.blocked else ""
            says = f"{queue.dead} are dead{behind}: see why, `enlace mail list --state dead`, then `enlace mail retry`"
            yield Finding(what, "red", says)
        if waits_us > MAIL_RED_US:
            yield Finding(what, "red", f"{queue.queued} wait since {time_text(queue.oldest_us)}: is {queue.peer} down?")
        elif queue.queued:
            says = f"{queue.queued} wait since {time_text(queue.oldest_us)}"
            yield Finding(what, "yellow" if waits_us > MAIL_YELLOW_US else "green", says)


def _alerts(connection: Connection, now_us: int) -> Finding:
    what, before_us = "alerts", now_us - ALERTS_LATE_US
    if waiting := alert_finding.waiting(connection, before_us) + alert_pairs.waiting(connection, before_us):
        return Finding(what, "red", f"{waiting} finds of peers' alerts were not worked off in time: see the log")
    return Finding(what, "green", "nothing that peers' alerts found waits")


def _recalls(connection: Connection) -> Finding:
    what, found = "recalls", recalls.count(connection)
    if overdue := found[State.OVERDUE]:
        says = f"{overdue} without a deletion receipt within 48 hours: ask the peer, `enlace recall list --missing`"
        return Finding(what, "red", says)
    if proposed := found[State.PROPOSED]:
        return Finding(what, "yellow", f"{proposed} are proposed: decide on them, `enlace recall proposed`")
    waiting = found[State.SENT] + found[State.DELIVERED]
    return Finding(what, "green", f"{waiting} wait for their deletion receipts" if waiting else "none waits")


def _suspensions(connection: Connection, config: Config, now_us: int) -> Finding:
    focal = own_focal_points(config, connection)
    suspended = sorted(suspensions.in_force(connection, config.country, focal, now_us))
    if suspended:
        says = f"{', '.join(suspended)}: neither answered nor asked, see `enlace suspension list`"
        return Finding("suspended peers", "yellow", says)
    return Finding("suspended peers", "green", "none")


def _emergencies(connection: Connection, config: Config, now_us: int) -> Iterator[Finding]:
    late = [peer for _, peer, _ in emergencies.unreviewed(connection, now_us)]
    for peer in late:
        says = "nobody reviewed it within 24 hours: another focal point does, `enlace emergency review`"
        yield Finding(f"emergency {peer}", "red", says)
    focal = list(own_focal_points(config, connection).values())
    in_force = emergencies.in_force(connection, config.country, focal, now_us)
    for peer, until_us in sorted(in_force.items()):
        if peer not in late:
            yield Finding(f"emergency {peer}", "yellow", f"in force until {time_text(until_us)}")
    if not late and not in_force:
        yield Finding("emergencies", "green", "none is in force, and none waits for its review beyond its time")
