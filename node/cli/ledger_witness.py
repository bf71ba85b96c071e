"""`enlace ledger witnesses`, and what `verify` and `doctor` say of witnesses: who cosigned this ledger, and when."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Annotated, Final

import typer
from sqlalchemy import Connection

from node.cli.examining import Finding
from node.cli.home import database_at, home_of
from node.cli.output import HomeOption, JsonOption, show_rows, time_text
from node.config import Config, load_config
from node.errors import LedgerBrokenError, LedgerError, NoteError, ProofError, UnknownMemberError
from node.federation.signed_checkpoints import opened_of, quorum_of, witness_keys
from node.identity.directory import DAY_US, TrustedDirectory
from node.ledger.checkpoint import Checkpoint, SignedCheckpoint, origin_of
from node.ledger.epoch import FIRST, name_gap, note_checkpoint, split_origin
from node.ledger.witness import split_digest
from node.store import directories
from node.store.database import Database
from node.store.epochs import is_fenced, list_lost, restores_of
from node.store.evidence import list_split_views
from node.store.findings import list_findings
from node.store.tiles import prove_consistency
from node.store.witnessing import Cosigned, own_checkpoints
from node.wire.reconcile_pb2 import FINDING_STATE_CLOSED

YELLOW_AFTER_US: Final = DAY_US
"""Age of the last witnessed checkpoint from which somebody should look: a night and a day."""
RED_AFTER_US: Final = 7 * DAY_US
_NAMED: Final = 20


def witnesses(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many checkpoints, the newest first.")] = 20,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List this node's checkpoints, and which countries cosigned them when; every signature is verified anew."""
    config = load_config(home_of(home).config)
    with Database.open_read_only(database_at(config.store.database)) as opened, opened.reading() as connection:
        directory = TrustedDirectory.restored(config.trust.root.read_bytes(), directories.accepted(connection))
        kept = own_checkpoints(connection)[::-1][:limit]
    rows = []
    for each in kept:
        by = _cosigned(each, [directory], config)
        rows.append(
            {
                "lines": each.size,
                "signed": time_text(each.signed_us),
                "cosigned by": ", ".join(f"{country} {time_text(at_us)}" for country, at_us in sorted(by.items())),
                "witnessed": len(by) >= quorum_of(directory),
            }
        )
    show_rows(rows, as_json, empty="No checkpoint was shown to a witness yet.")


def verify_witnessed(
    connection: Connection, config: Config, history: Sequence[TrustedDirectory], *, size: int, root: bytes
) -> None:
    """Check each checkpoint that this node has signed, and each cosignature, against a ledger that was verified.

    Args:
        connection: To the main database.
        config: Of this node.
        history: All directories that were in force, the newest first.
        size: Of the ledger.
        root: Of its tree, computed from the lines.

    Raises:
        LedgerBrokenError: the text names the checkpoints by their sizes.
        LedgerError: the database can't be read.
    """
    restores = restores_of(connection)
    found = [
        f"line {line} confesses a checkpoint that this node never signed"
        for line, confession in restores
        for head in confession.fence.heads
        if _opened(head.checkpoint, history, config) is None
    ]
    for each in own_checkpoints(connection):
        what = f"the checkpoint of {each.size} lines"
        opened = _opened(each.note, history, config)
        if opened is None:
            found.append(f"{what} is not signed by a key of this node in the directories")
            continue
        fault = _fault(connection, opened.checkpoint, each.size, size, root)
        epoch = max([FIRST, *(confession.fence.epoch for line, confession in restores if line < each.size)])
        if split_origin(opened.checkpoint.origin)[1] != epoch:
            found.append(f"{what} is not of epoch {epoch}, as those lines are")
        if fault:
            found.append(f"{what} {fault}")
        known = _cosigned(each, history, config)
        found += [
            f"the cosignature of {country} under {what} is false"
            for country, _, _ in each.lines
            if country not in known
        ]
    if found:
        more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise LedgerBrokenError("; ".join(found[:_NAMED]) + more)


def _fault(connection: Connection, checkpoint: Checkpoint, kept_size: int, size: int, root: bytes) -> str:
    if checkpoint.size != kept_size:
        return f"counts {checkpoint.size}"
    if checkpoint.size > size:
        return f"counts more than the {size} that are there: the ledger was cut"
    if checkpoint.size == 0:
        return ""  # everything begins with nothing
    try:
        # Its root must follow from the root that was computed from the lines; what a tile says is worth nothing else.
        prove_consistency(connection, old_size=checkpoint.size, old_root=checkpoint.root, size=size, root=root)
    except ProofError:
        return "has another root than those lines: history was rewritten"
    except LedgerError as error:
        return f"can't be compared: {error}"
    return ""


def _opened(note: bytes, history: Sequence[TrustedDirectory], config: Config) -> SignedCheckpoint | None:
    for directory in history:
        with suppress(NoteError, UnknownMemberError):
            opened = opened_of(directory, config.country, note)
            if split_origin(opened.checkpoint.origin)[0] == origin_of(config.federation, config.country, config.name):
                return opened
    return None


def _cosigned(each: Cosigned, history: Sequence[TrustedDirectory], config: Config) -> dict[str, int]:
    """Return the countries whose cosignature verifies, with its time; a country's own never counts."""
    found: dict[str, int] = {}
    for country, line, _ in each.lines:
        for directory in history if country != config.country else ():
            with suppress(NoteError, UnknownMemberError):
                keys = tuple(witness_keys(directory, country))
                opened = opened_of(directory, config.country, each.note + line, keys)
                times = [signed.time_us for signed in opened.cosignatures if signed.time_us is not None]
                if times:
                    found[country] = times[0]
                    break
    return found


def examine_witnesses(config: Config, directory: TrustedDirectory, now_us: int) -> Iterator[Finding]:
    """Look at how old the last witnessed checkpoint is, and at ledgers that were rolled back or have two histories."""
    with Database.open_read_only(config.store.database) as database, database.reading() as connection:
        newest = own_checkpoints(connection)[::-1]
        split = list_split_views(connection)
        fenced = is_fenced(connection)
        lost = [each for each in list_lost(connection) if not each.epoch]
        restores = restores_of(connection)
        waiting = [each for each in list_findings(connection) if each.state != FINDING_STATE_CLOSED]
    quorum = quorum_of(directory)
    yield _age(
        next((each for each in newest if len(_cosigned(each, [directory], config)) >= quorum), None), quorum, now_us
    )
    open_digests = {each.exchange_id for each in waiting}
    for view in split:
        says = "signed two histories: both checkpoints are kept as evidence, `enlace ledger findings`"
        digest = split_digest(note_checkpoint(view.first), note_checkpoint(view.second))
        if digest in open_digests:
            yield Finding(f"ledger {view.origin}", "red", says if view.proved else f"{says}; no proof links them")
        else:
            yield Finding(f"ledger {view.origin}", "hint", f"{says}; an auditor has closed the finding")
    if fenced:
        seen = max(lost, key=lambda each: each.seen.checkpoint.size)
        says = f"{seen.witness} has seen {seen.seen.checkpoint.size} lines signed that are not here: nothing leaves. "
        todo = "Was an old backup restored? Keep the old disk, look for a newer backup, else `enlace ledger fence`"
        yield Finding("ledger", "red", says + todo)
    for line, confession in restores:
        yield Finding("ledger", "hint", name_gap(confession, line))
    kinds = ", ".join(sorted({each.kind.lower().replace("_", " ") for each in waiting}))
    if waiting:
        yield Finding("findings", "yellow", f"{len(waiting)} are open ({kinds}): `enlace ledger findings`")
    else:
        yield Finding("findings", "green", "none is open")


def _age(last: Cosigned | None, quorum: int, now_us: int) -> Finding:
    what, wanted = "witnesses", f"{quorum} other {'country' if quorum == 1 else 'countries'}"
    if last is None:
        return Finding(what, "yellow", f"no checkpoint of the ledger is cosigned by {wanted} yet")
    age_us = now_us - last.signed_us
    says = f"{last.size} lines are cosigned by {wanted}, as of {time_text(last.signed_us)}"
    if age_us < YELLOW_AFTER_US:
        return Finding(what, "green", says)
    return Finding(what, "red" if age_us > RED_AFTER_US else "yellow", f"{says}: are the peers reached?")
