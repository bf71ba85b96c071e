"""Counters and gauges for Prometheus; their labels are countries and outcomes, never anything about a person."""

from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

ANSWERS = Counter("enlace_answers_total", "Queries of peers answered", ["peer"])
REJECTED = Counter("enlace_rejected_total", "Messages of identified peers that were refused", ["peer", "reason"])
UNIDENTIFIED = Counter("enlace_unidentified_total", "Callers whose certificate was not accepted")
ASKED = Counter("enlace_asked_total", "Queries put to peers, by how they ended", ["peer", "outcome"])
ANSWER_SECONDS = Histogram(
    "enlace_answer_seconds",
    "Time from a query's arrival until its answer is made, to be logged and to leave at its tick",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
RED_LINES = Counter("enlace_red_lines_held_total", "Entries that the rules would have let cross a red line")
LEDGER_SIZE = Gauge("enlace_ledger_size", "Lines in the ledger")
LEDGER_WITNESSED = Gauge(
    "enlace_ledger_witnessed_seconds", "When the newest checkpoint was signed that the quorum cosigned; 0: none"
)
LEDGER_FENCED = Gauge("enlace_ledger_fenced", "1 while lines are lost that no epoch of the ledger confesses")
FINDINGS = Gauge("enlace_findings_open", "Findings that no auditor has closed", ["kind", "peer"])
DIRECTORY_EXPIRES = Gauge("enlace_directory_expires_seconds", "When the directory in force ends, seconds since 1970")
CERTIFICATE_EXPIRES = Gauge("enlace_certificate_expires_seconds", "When the node's certificate ends, likewise")
RULEBOOK_IN_FORCE = Gauge("enlace_rulebook_in_force", "1 where a valid rulebook is in force", ["layer"])
RULEBOOK_EXPIRES = Gauge("enlace_rulebook_expires_seconds", "When its validity ends, likewise; 0: none", ["layer"])
EMERGENCIES = Gauge("enlace_emergencies", "Emergencies in force")
EMERGENCIES_UNREVIEWED = Gauge("enlace_emergencies_unreviewed", "Emergencies that nobody reviewed within 24 hours")
SUSPENDED = Gauge("enlace_peers_suspended", "Peers that focal points have suspended")
FREEZES_WAITING = Gauge("enlace_freezes_waiting", "Views of peers that stay as they were until a focal point decides")
UNDETERMINED = Gauge("enlace_life_undetermined", "Entries that unknown facts alone keep from LIFE queries", ["overdue"])
MAIL_SENT = Counter("enlace_mail_sent_total", "Mail put to peers, by what became of it each time", ["peer", "outcome"])
MAIL_RECEIVED = Counter(
    "enlace_mail_received_total", "Mail of peers, by what it was answered with", ["peer", "outcome"]
)
MAIL_QUEUED = Gauge("enlace_mail_queued", "Mail that waits to be received by a peer", ["peer"])
MAIL_OLDEST = Gauge(
    "enlace_mail_oldest_seconds", "When the oldest of it was written, seconds since 1970; 0: none", ["peer"]
)
MAIL_DEAD = Gauge("enlace_mail_dead", "Mail that a peer refused, with what is blocked behind it", ["peer"])
OVERDUE = Gauge("enlace_records_overdue", "Records past their date that could not be deleted yet, holds aside")
RECALLS = Gauge("enlace_recalls", "Recalls that are proposed, wait for a receipt, or miss it", ["state"])
ALARMS = Gauge("enlace_silent_alarms", "Silent alarms that nobody has closed")
UNTAKEN = Gauge("enlace_untaken", "What waits for somebody on duty and that nobody has taken", ["urgency"])
NOTIFICATIONS_FAILING = Gauge("enlace_notifications_failing", "Calls by mail or webhook that could not be sent so far")
ALERTS_WAITING = Gauge("enlace_alert_finds_waiting", "What peers' alerts found and nobody has weighed since it was due")
ALERTS_FORBIDDEN = Gauge("enlace_alert_matches_forbidden", "Matches told that the rules would not let leave any more")
REQUESTS_WAITING = Gauge("enlace_requests_waiting", "Requests and held answers that wait for a focal point")

_told: set[tuple[str, str]] = set()


def follow_findings(found: Mapping[tuple[str, str], int]) -> None:
    """Tell how many findings are not closed, by kind and peer; those that were are told as none, and not for ever."""
    for key in _told - found.keys():
        FINDINGS.labels(*key).set(0)
    for key, count in found.items():
        FINDINGS.labels(*key).set(count)
    _told.update(found)
