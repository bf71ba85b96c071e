"""`enlace institution verify`, `list`, `sample` and `stats`: a replica read without the node.

Each reading is a line of the institution's own log first, sealed from the node.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from node.cli.directory_files import private_key
from node.cli.ledger import line_document, line_row
from node.cli.ledger_export import told
from node.cli.office import Office, OfficeOption, OfficePassphrase
from node.cli.output import JsonOption, LanguageOption, show, show_rows
from node.cli.replica import Replica, ReplicaLine
from node.cli.words import id_text, word
from node.errors import LedgerBrokenError, NoteError, UsageError
from node.federation.lines import QUERY_BODY
from node.ledger.leaf import parse_private, unpad
from node.ledger.usage import draw
from node.store.lines import unpack_bodies
from node.wire.desk_pb2 import ListLedgerResponse
from node.wire.exchange_pb2 import Body
from node.wire.institution_pb2 import Reading
from node.wire.ledger_pb2 import Decisions, LeafKind

RootOption = Annotated[Path, typer.Option("--root", help="The stewards' root that you trust.")]
AuditorOption = Annotated[str, typer.Option("--auditor", help="Which of the institution's auditors you are.")]
AuditorKey = Annotated[Path, typer.Option("--key", help="Your key as an auditor.")]
WhyOption = Annotated[str, typer.Option("--reason", help="Why you read; the institution's log keeps it, sealed.")]
ReplicaFolder = Annotated[Path, typer.Argument(metavar="REPLICA", help="A folder of `ledger export --replica`.")]
_LONGEST_REASON: Final = 200


def _read(
    replica: Path, office: Office, *, root: Path, auditor: str, key: Path, what: str, reason: str
) -> tuple[Replica, tuple[int, bytes] | None]:
    """Open a replica once the institution's log says so; also return what was read of this ledger before."""
    if not 0 < len(reason.strip()) <= _LONGEST_REASON:
        raise UsageError(f"say why you read, in up to {_LONGEST_REASON} characters")
    opened = Replica.open(replica, root, office.private_keys())
    checkpoint = opened.signed.checkpoint
    before = [each for each in office.opened(office.readings()) if each.ledger == checkpoint.origin]
    seen = max(((each.size, each.root) for each in before), default=None)
    reading = Reading(
        auditor=auditor,
        time_us=time.time_ns() // 1_000,
        what=what,
        reason=reason,
        ledger=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root,
    )
    office.log(reading, private_key(key, None))
    return opened, seen


def verify(
    replica: ReplicaFolder,
    *,
    office: OfficeOption,
    root: RootOption,
    auditor: AuditorOption,
    key: AuditorKey,
    reason: WhyOption,
    passphrase_file: OfficePassphrase = None,
    as_json: JsonOption = False,
) -> None:
    """Check a replica without the node: nothing was withheld, altered or cut; exit status 1 names what is wrong."""
    place = Office(office, passphrase_file)
    try:
        opened, seen = _read(replica, place, root=root, auditor=auditor, key=key, what="VERIFY", reason=reason)
        with told("verifying", quiet=as_json) as tell:
            facts = opened.verify(tell, seen)
    except (LedgerBrokenError, NoteError) as error:
        show({"verified": False, "findings": str(error).split("; ")}, as_json)
        raise typer.Exit(1) from None
    show({"verified": True, **facts}, as_json)


def list_lines(
    replica: ReplicaFolder,
    *,
    office: OfficeOption,
    root: RootOption,
    auditor: AuditorOption,
    key: AuditorKey,
    reason: WhyOption,
    language: LanguageOption,
    start: Annotated[int, typer.Option("--start", min=0, help="The first line, from 0.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 100,
    search: Annotated[
        str | None, typer.Option("--search", help="Only lines in which this occurs: an officer, a case, a number …")
    ] = None,
    passphrase_file: OfficePassphrase = None,
    as_json: JsonOption = False,
) -> None:
    """List lines, or search them: officers, units, cases, reasons, peers, ids, and what was asked about."""
    what = f"LIST {start}" if search is None else "SEARCH"
    opened, _ = _read(
        replica, Office(office, passphrase_file), root=root, auditor=auditor, key=key, what=what, reason=reason
    )
    found = []
    for line in opened.lines(start):
        if search is None or any(search.casefold() in text.casefold() for text in _texts(line)):
            found.append(_shown(line))
            if len(found) == limit:
                break
    if as_json:
        typer.echo(json.dumps([line_document(line) for line in found], ensure_ascii=False))
        return
    show_rows([line_row(line, language) for line in found], as_json=False, empty="There is no such line.")


def sample(
    replica: ReplicaFolder,
    *,
    office: OfficeOption,
    root: RootOption,
    auditor: AuditorOption,
    key: AuditorKey,
    reason: WhyOption,
    language: LanguageOption,
    lines: Annotated[int, typer.Option("--lines", min=1, max=1_000, help="So many.")] = 20,
    passphrase_file: OfficePassphrase = None,
    as_json: JsonOption = False,
) -> None:
    """Draw lines at random, by the hash of the line of the institution's log that says so: nobody can choose them."""
    place = Office(office, passphrase_file)
    opened, _ = _read(replica, place, root=root, auditor=auditor, key=key, what=f"SAMPLE {lines}", reason=reason)
    # The line's salt is drawn while it is written, and the root was signed by the node before.
    seed = _seed(place.readings()[-1].leaf)
    drawn = set(draw(seed, opened.signed.checkpoint.root, opened.signed.checkpoint.size, lines))
    found = [_shown(line) for line in opened.lines() if line.index in drawn]
    if as_json:
        typer.echo(json.dumps([line_document(line) for line in found], ensure_ascii=False))
        return
    show_rows([line_row(line, language) for line in found], as_json=False, empty="There is no line.")


def stats(
    replica: ReplicaFolder,
    *,
    office: OfficeOption,
    root: RootOption,
    auditor: AuditorOption,
    key: AuditorKey,
    reason: WhyOption,
    passphrase_file: OfficePassphrase = None,
    as_json: JsonOption = False,
) -> None:
    """Count lines by kind and peer, and by officer and kind; and those that no copy opens."""
    opened, _ = _read(
        replica, Office(office, passphrase_file), root=root, auditor=auditor, key=key, what="STATS", reason=reason
    )
    peers: Counter[tuple[str, str]] = Counter()
    officers: Counter[tuple[str, str]] = Counter()
    sealed = 0
    for line in opened.lines():
        kind = word(LeafKind.DESCRIPTOR, line.shared.kind)
        peers[line.shared.peer, kind] += 1
        if line.opening is None:
            sealed += 1
        else:
            officers[parse_private(line.opening.private).officer, kind] += 1
    if as_json:
        by_peer = [{"peer": peer, "kind": kind, "lines": count} for (peer, kind), count in sorted(peers.items())]
        by_officer = [
            {"officer": name, "kind": kind, "lines": count} for (name, kind), count in sorted(officers.items())
        ]
        typer.echo(json.dumps({"peers": by_peer, "officers": by_officer, "without_copy": sealed}))
        return
    rows = [{"peer": peer, "kind": kind, "lines": count} for (peer, kind), count in sorted(peers.items())]
    show_rows(rows, as_json=False, empty="There is no line.")
    rows = [{"officer": name, "kind": kind, "lines": count} for (name, kind), count in sorted(officers.items())]
    show_rows(rows, as_json=False, empty="No copy opens a line.")
    show({"lines_without_a_copy": sealed}, as_json=False)


def _seed(leaf: bytes) -> bytes:
    """Return the seed of a sample: what the line of the log that tells of it commits to, 32 bytes."""
    return leaf[-32:]


def _shown(line: ReplicaLine) -> ListLedgerResponse:
    response = ListLedgerResponse(
        index=line.index,
        kind=line.shared.kind,
        direction=line.shared.direction,
        peer=line.shared.peer,
        time_us=line.shared.time_us,
        logged_us=line.leaf.logged_us,
        exchange_id=line.shared.exchange_id,
    )
    if line.opening is not None:
        response.private.CopyFrom(parse_private(line.opening.private))
        if line.opening.decisions:
            response.decisions.extend(Decisions.FromString(unpad(line.opening.decisions)).entries)
    return response


def _texts(line: ReplicaLine) -> Iterator[str]:
    yield id_text(line.shared.exchange_id)
    yield line.shared.peer
    if line.opening is not None:
        private = parse_private(line.opening.private)
        yield from (private.officer, private.unit, private.case_reference, private.reason, private.instrument)
        yield id_text(private.subject)
        yield private.subject.decode(errors="replace")
    if line.bodies:
        query = unpack_bodies(line.bodies).get(QUERY_BODY)
        if query is not None:
            yield from (selector.value for selector in Body.FromString(query).query.selectors)
