"""`enlace ledger reconcile`, `findings` and `finding`: two countries' ledgers compared, and what comes of it."""

from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from node.cli.client import desk
from node.cli.home import home_of
from node.cli.output import HomeOption, JsonOption, OfficerOption, UnmaskOption, show, show_rows, time_text
from node.cli.words import id_text, parse_country, parse_id, parse_word, word
from node.errors import UsageError
from node.wire.reconcile_pb2 import (
    FINDING_STATE_CLOSED,
    FINDING_STATE_EXPLAINED,
    FINDING_STATE_UNKNOWN,
    DecideFindingRequest,
    Discrepancy,
    DiscrepancyKind,
    Finding,
    FindingState,
    ListFindingsRequest,
    ReconcileLedgerRequest,
    ReconcileLedgerResponse,
)

_MICROSECONDS: Final = 1_000_000
_STYLES: Final = {"open": "bold red", "explained": "yellow", "closed": "green"}


def reconcile(
    *,
    peer: Annotated[str, typer.Option("--with", help="The country whose ledger is compared with this one.")],
    officer: OfficerOption,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Day or time (UTC) of the first exchanges, 2026-11-01; else 30 days before."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", help="Before which they began; else some minutes ago, so that all are over."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare what both countries have logged of each other, as an auditor; exit status 1 tells that it does not fit.

    Nothing readable is exchanged: ids of exchanges and digests that only those who took part can compute. Each thing
    that does not fit becomes a finding, once.
    """
    request = ReconcileLedgerRequest(peer=parse_country(peer), since_us=_time_us(since), until_us=_time_us(until))
    with desk(home_of(home), officer) as stub:
        report = stub.ReconcileLedger(request)
    _show(report, as_json)
    if report.discrepancy_count:
        raise typer.Exit(1)


def list_findings(
    *,
    officer: OfficerOption,
    peer: Annotated[str | None, typer.Option("--peer", help="Only those about this country's ledger.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="Only open, explained or closed ones.")] = None,
    unmask: UnmaskOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what an auditor has to look into, open findings first; that you looked is a ledger line too."""
    request = ListFindingsRequest(
        peer=parse_country(peer) if peer else "",
        state=FindingState.ValueType(parse_word(FindingState.DESCRIPTOR, state)) if state else FINDING_STATE_UNKNOWN,
        unmask=unmask,
    )
    with desk(home_of(home), officer) as stub:
        found = stub.ListFindings(request).findings
    rows = [_finding(each) for each in found]
    show_rows(rows, as_json, empty="There is no finding.", only_json=("exchange", "changed"), styles=_STYLES)


def decide_finding(
    finding: Annotated[
        str, typer.Argument(metavar="ID", help="The finding's id, as `enlace ledger findings` shows it.")
    ],
    *,
    own: Annotated[str | None, typer.Option("--own", metavar="REASON", help="You take care of it.")] = None,
    explain: Annotated[str | None, typer.Option("--explain", metavar="REASON", help="What happened is known.")] = None,
    close: Annotated[str | None, typer.Option("--close", metavar="REASON", help="Nothing remains to be done.")] = None,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take care of a finding, explain or close it; the reason, at most 40 bytes and never about a person, is logged."""
    chosen = {FINDING_STATE_UNKNOWN: own, FINDING_STATE_EXPLAINED: explain, FINDING_STATE_CLOSED: close}
    said = [(state, reason) for state, reason in chosen.items() if reason is not None]
    if len(said) != 1:
        raise UsageError("say one of --own, --explain or --close, with a reason")
    ((state, reason),) = said
    request = DecideFindingRequest(finding_id=parse_id(finding), state=state, reason=reason)
    with desk(home_of(home), officer) as stub:
        show(_finding(stub.DecideFinding(request).finding), as_json)


def _show(report: ReconcileLedgerResponse, as_json: bool) -> None:
    found = [_discrepancy(each) for each in report.discrepancies]
    facts = {
        "peer": report.peer,
        "since": time_text(report.since_us),
        "until": time_text(report.until_us),
        "here": report.here,
        "there": report.there,
        "agreed": report.agreed,
        "unanswered": report.unanswered,
        "do_not_fit": report.discrepancy_count,
        "new_findings": report.findings,
    }
    if as_json:
        show({**facts, "discrepancies": found}, as_json=True)
        return
    show(facts, as_json=False)
    show_rows(found, as_json=False, empty="Both ledgers say the same.")


def _discrepancy(found: Discrepancy) -> dict[str, object]:
    # What this ledger has no line of may have been asked by either.
    unknown = found.kind == DiscrepancyKind.DISCREPANCY_KIND_ONLY_THERE
    return {
        "kind": word(DiscrepancyKind.DESCRIPTOR, found.kind),
        "exchange": id_text(found.exchange_id),
        "time": time_text(found.time_us),
        "asked": "" if unknown else "here" if found.ours else "there",
    }


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "finding": id_text(finding.finding_id),  # whole in tables too: `enlace ledger finding` takes no less
        "state": word(FindingState.DESCRIPTOR, finding.state),
        "kind": finding.kind.lower().replace("_", " "),
        "peer": finding.peer,
        "exchange": finding.exchange_id,
        "raised": time_text(finding.raised_us),
        "owner": finding.owner,
        "note": finding.note,
        "detail": finding.detail,
        "changed": time_text(finding.changed_us),
    }


def _time_us(text: str | None) -> int:
    if text is None:
        return 0
    try:
        read = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{text!r} is no day or time: write 2026-11-01 or 2026-11-01T08:00Z") from None
    at = read if read.tzinfo else read.replace(tzinfo=UTC)
    return int(at.timestamp() * _MICROSECONDS)
