"""`enlace ledger trace`, `stats` and `sample`: what an auditor asks of the ledger beyond listing it."""

import hashlib
import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer

from node.cli.client import desk
from node.cli.home import home_of
from node.cli.ledger import line_document, line_row
from node.cli.output import (
    HomeOption,
    JsonOption,
    LanguageOption,
    OfficerOption,
    UnmaskOption,
    printable,
    say,
    show_rows,
    time_text,
)
from node.cli.reading import message_dict
from node.cli.words import all_named, id_text, named, parse_id, parse_interval, word
from node.errors import ProofError, UsageError
from node.ledger.usage import draw
from node.records.labels import Language
from node.wire.audit_pb2 import (
    CommitSampleRequest,
    GetSampleRequest,
    LedgerStatsRequest,
    LedgerStatsResponse,
    RevealSampleRequest,
    SampleDrawn,
    TracedLine,
    TraceEntryRequest,
    TraceEntryResponse,
    UnusualKind,
    UnusualUse,
)
from node.wire.codes_pb2 import DataCategory, Obligation, Purpose
from node.wire.desk_pb2 import ListLedgerRequest
from node.wire.ledger_pb2 import ENTRY_OUTCOME_PENDING, EntryOutcome
from node.wire.safeguard_pb2 import Freeze, FreezeState


def trace(
    entry: Annotated[str, typer.Argument(help="Id of an own entry, also of one that was erased.")],
    *,
    officer: OfficerOption,
    language: LanguageOption,
    unmask: UnmaskOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List everyone who got any part of an entry, under which rules and obligations; that you looked is a line too."""
    whole = TraceEntryResponse()
    with desk(home_of(home), officer) as stub:
        for response in stub.TraceEntry(TraceEntryRequest(entry_id=parse_id(entry), unmask=unmask)):
            whole.MergeFrom(response)
    if as_json:
        typer.echo(json.dumps(message_dict(whole), ensure_ascii=False))
    else:
        say(map(printable, _told(whole, language)))


def _told(whole: TraceEntryResponse, language: Language) -> Iterator[str]:
    peers = sorted({line.peer for line in whole.lines})
    if peers:
        yield f"{', '.join(peers)} got something of this entry, in {len(whole.lines)} of {whole.answers} answers."
    else:
        yield f"Nobody got anything of this entry in any of the {whole.answers - whole.unreadable_total} answers read."
    for line in whole.lines:
        yield ""
        yield from _line(line, language)
    for freeze in whole.freezes:
        yield ""
        yield _frozen(freeze)
    if whole.unreadable_total:
        yield ""
        first = ", ".join(str(each) for each in whole.unreadable[:20])
        more = " …" if whole.unreadable_total > len(whole.unreadable[:20]) else ""
        yield (
            f"{whole.unreadable_total} answers can't be told, since what opens them was erased or altered: "
            f"lines {first}{more}. `enlace ledger verify` names what was altered."
        )


def _line(line: TracedLine, language: Language) -> Iterator[str]:
    who = " ".join(part for part in (line.officer, line.unit) if part)
    yield (
        f"Line {line.index}: {line.peer}, {time_text(line.logged_us)}, exchange {id_text(line.exchange_id)}: "
        f"{word(EntryOutcome.DESCRIPTOR, line.outcome).upper()}, revision {line.revision}"
    )
    yield f"  asked by {who}: {named(Purpose.DESCRIPTOR, line.purpose, language)}"
    could = "an approval could let leave " if line.outcome == ENTRY_OUTCOME_PENDING else ""
    for name in ("released", "generalised", "pseudonymised", "masked"):
        categories = getattr(line, name)
        if categories:
            yield f"  {could}{name}: {all_named(DataCategory.DESCRIPTOR, categories, language)}"
    yield f"  rules: {', '.join(line.rules) or 'none'} ({', '.join(line.rulebooks)})"
    if line.obligations:
        yield f"  obligations: {all_named(Obligation.DESCRIPTOR, line.obligations, language)}"
    if line.retention_days:
        yield f"  to be deleted after {line.retention_days} days"
    if line.remark:
        yield f"  {line.remark}"


def _frozen(freeze: Freeze) -> str:
    by = f" by {freeze.decided_by}" if freeze.decided_by else ""
    return (
        f"{freeze.peer} was kept at revision {freeze.revision} on {time_text(freeze.made_us)}, until "
        f"{time_text(freeze.until_us)}: {word(FreezeState.DESCRIPTOR, freeze.state)}{by}"
    )


# --- use -------------------------------------------------------------------------------------------------------------

_DAY_US = 86_400_000_000


def stats(
    *,
    officer: OfficerOption,
    language: LanguageOption,
    since: Annotated[str | None, typer.Option("--since", help="First day, UTC: 2026-03-01; else 30 days back.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Last day, UTC; else now.")] = None,
    utc_offset: Annotated[
        float | None,
        typer.Option("--utc-offset", help="Hours that officers' clocks are ahead of UTC: -6; else as here."),
    ] = None,
    unmask: UnmaskOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count who asked what of whom, and list what stands out, that which does so most first."""
    request = LedgerStatsRequest(
        since_us=parse_interval(since).first_day * _DAY_US if since else 0,
        until_us=(parse_interval(until).last_day + 1) * _DAY_US if until else 0,
        utc_offset_minutes=_offset_here() if utc_offset is None else round(utc_offset * 60),
        unmask=unmask,
    )
    whole = LedgerStatsResponse()
    with desk(home_of(home), officer) as stub:
        for response in stub.LedgerStats(request):
            whole.MergeFrom(response)
    if as_json:
        typer.echo(json.dumps(message_dict(whole), ensure_ascii=False))
        return
    say([f"From {time_text(whole.since_us)} until {time_text(whole.until_us)}: {whole.lines} lines.", ""])
    _show_counts(whole, language)
    say(["", f"What stands out ({whole.unusual_total}): a reason to look, not a finding."])
    say(printable(_stands_out(each)) for each in whole.unusual)
    say(map(printable, _not_told(whole)))


def _offset_here() -> int:
    offset = datetime.now(UTC).astimezone().utcoffset()
    return int(offset.total_seconds()) // 60 if offset else 0


def _show_counts(whole: LedgerStatsResponse, language: Language) -> None:
    peers = [
        {field.name.replace("_", " "): getattr(row, field.name) for field in row.DESCRIPTOR.fields}
        for row in whole.peers
    ]
    show_rows(peers, as_json=False, empty="No peer was asked, and none asked.")
    say([""])
    officers = [
        {
            "officer": row.officer,
            "unit": row.unit,
            "purpose": named(Purpose.DESCRIPTOR, row.purpose, language) if row.purpose else "",
            "searches": row.searches,
            "questions": row.asked,
            "without a case": row.without_case,
            "denied": row.denied,
        }
        for row in whole.officers
    ]
    show_rows(officers, as_json=False, empty="No officer searched.")


def _stands_out(each: UnusualUse) -> str:
    who, units = ", ".join(each.officers), ", ".join(each.units)
    what = {
        UnusualKind.UNUSUAL_KIND_FAR_ABOVE_UNIT: f"{each.searches} searches on one day, where {each.median} are usual "
        "for an officer of the unit",
        UnusualKind.UNUSUAL_KIND_WITHOUT_CASE: f"{each.searches} searches without a case",
        UnusualKind.UNUSUAL_KIND_NIGHT_BURST: f"{each.searches} searches within an hour of a night",
        UnusualKind.UNUSUAL_KIND_ONE_BY_MANY: f"{len(each.officers)} officers searched for the same, "
        f"{each.searches} times",
    }.get(each.kind, word(UnusualKind.DESCRIPTOR, each.kind))
    lines = ", ".join(map(str, each.lines[:10])) + (" …" if each.searches > len(each.lines[:10]) else "")
    return (
        f"{each.score / 100:.1f}x  {what}: {who} ({units}), {time_text(each.from_us)} to {time_text(each.to_us)}, "
        f"lines {lines}"
    )


def _not_told(whole: LedgerStatsResponse) -> Iterator[str]:
    if whole.units_without_past:
        yield f"Too little is known of the past of {', '.join(whole.units_without_past)} to compare officers with it."
    if whole.unreadable:
        yield f"{whole.unreadable} lines are counted by peer alone, since what opens them was erased or altered."
    if whole.damaged_total:
        first = ", ".join(str(each) for each in whole.damaged[:20])
        more = " …" if whole.damaged_total > len(whole.damaged[:20]) else ""
        yield (
            f"{whole.damaged_total} lines are damaged, so that they are counted nowhere: {first}{more}. "
            "`enlace ledger verify` says how."
        )
    if whole.untold:
        yield f"{whole.untold} searches could not be compared, since their text is not kept."


# --- samples ---------------------------------------------------------------------------------------------------------


def sample(
    *,
    officer: OfficerOption,
    language: LanguageOption,
    lines: Annotated[int | None, typer.Option("--lines", min=1, max=1_000, help="So many.")] = None,
    verify: Annotated[
        int | None, typer.Option("--verify", min=0, help="Draw again what was drawn: the line that revealed its seed.")
    ] = None,
    unmask: UnmaskOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw lines at random to review by hand, from a seed that the ledger binds before anybody can know the draw.

    Your seed is bound by its SHA-256; the hash of that line, which the node can't foresee your seed for, and your seed
    draw the lines together. With --verify anybody draws the same again.
    """
    if (lines is None) == (verify is None):
        raise UsageError("say how many --lines to draw, or which draw to --verify")
    with desk(home_of(home), officer) as stub:
        if verify is not None:
            drawn = stub.GetSample(GetSampleRequest(revealed=verify)).sample
        else:
            seed = secrets.token_bytes(32)
            digest = hashlib.sha256(seed).digest()
            bound = stub.CommitSample(CommitSampleRequest(lines=lines or 0, seed_sha256=digest)).index
            drawn = stub.RevealSample(RevealSampleRequest(index=bound, seed=seed)).sample
            if (drawn.index, drawn.seed, drawn.seed_sha256, drawn.lines) != (bound, seed, digest, lines):
                raise ProofError("the node revealed another seed than the one that was bound")
        indexes = _drawn(drawn)
        found = list(stub.ListLedger(ListLedgerRequest(lines=indexes, unmask=unmask)))
    if as_json:
        document = {**message_dict(drawn), "drawn": indexes, "found": [line_document(line) for line in found]}
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    say(_how(drawn, len(indexes)))
    show_rows([line_row(line, language) for line in found], as_json=False, empty="There was no line before.")


def _how(drawn: SampleDrawn, count: int) -> Iterator[str]:
    yield f"{count} of the {drawn.index} lines before line {drawn.index}."
    yield f"Line {drawn.index} binds the seed by its SHA-256: {drawn.seed_sha256.hex()}."
    yield f"Line {drawn.revealed} reveals it: {drawn.seed.hex()}."
    yield f"Hash of line {drawn.index}, which is the node's part: {drawn.leaf_hash.hex()}."
    yield ""


def _drawn(drawn: SampleDrawn) -> list[int]:
    """Return the lines of a sample, recomputed here.

    Raises:
        ProofError: the seed is not the one that was bound.
    """
    if hashlib.sha256(drawn.seed).digest() != drawn.seed_sha256:
        raise ProofError("the seed that was revealed is not the one that was bound")
    return draw(drawn.seed, drawn.leaf_hash, drawn.index, drawn.lines)
