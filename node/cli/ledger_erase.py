"""`enlace ledger erase`: what opens lines is erased, on a ground; the lines stay, and a line says that it was done."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from node.cli.client import desk_channel
from node.cli.directory_files import create, parse_time, private_key, read
from node.cli.home import database_at, home_of
from node.cli.output import HomeOption, JsonOption, KeyPassphraseFile, OfficerOption, show
from node.cli.words import parse_word
from node.config import Config, load_config
from node.errors import UsageError
from node.identity.institution import SIGNED_GROUNDS, SIGNERS, parse_erasure, sign_erasure
from node.store.commitments import first_logged
from node.store.database import Database
from node.store.erasures import openings_before
from node.wire.institution_pb2 import EraseOpeningsRequest, Erasure, ErasureGround, LineRange, SignedErasure
from node.wire.institution_pb2_grpc import InstitutionStub


def erase(
    *,
    officer: OfficerOption,
    before: Annotated[str | None, typer.Option("--before", help="All lines logged before this time, UTC.")] = None,
    lines: Annotated[list[int] | None, typer.Option("--line", min=0, help="A line; repeatable.")] = None,
    ground: Annotated[
        str | None, typer.Option("--ground", help="retention-ended, data-subject or court-order.")
    ] = None,
    reference: Annotated[
        str, typer.Option("--reference", help="Of the request or order, at most 40 bytes; never about a person.")
    ] = "",
    begun: Annotated[Path | None, typer.Option("--signed", help="What another focal point has signed already.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Your key as a focal point.")] = None,
    passphrase_file: KeyPassphraseFile = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the next focal point finds what you have signed.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase what opens ledger lines and the messages kept beside them, for ever; proofs of the lines go on holding.

    That retention has ended is compared with the directory. A person's right and a court's order take two focal points:
    the first signs with --out FILE, the second with --signed FILE. What the auditing institution has copies of stays
    with it until the audit period is over.
    """
    node = home_of(home)
    config = load_config(node.config)
    if begun is not None:
        signed = SignedErasure.FromString(read(begun))
    elif ground is not None:
        signed = _begun(config, ground, before, lines or [], reference)
    else:
        raise UsageError("say on which --ground, or what was --signed already")
    erasure = parse_erasure(signed.erasure)
    if key is not None:
        signed = sign_erasure(signed, private_key(key, passphrase_file))
    facts: dict[str, object] = {
        "ground": ErasureGround.Name(erasure.ground).removeprefix("ERASURE_GROUND_").lower().replace("_", " "),
        "reference": erasure.reference,
        "lines": [f"{each.first} to {each.last}" for each in erasure.lines],
    }
    if erasure.ground in SIGNED_GROUNDS and len(signed.signatures) < SIGNERS:
        if out is None or key is None:
            raise UsageError("two focal points sign this: give your --key, and --out for the other one")
        create(out, signed.SerializeToString())
        show({**facts, "next": f"another focal point reads this, and signs it: --signed {out}"}, as_json)
        return
    with desk_channel(node, officer) as channel:
        stub = InstitutionStub(channel)
        erased = stub.EraseOpenings(EraseOpeningsRequest(signed_erasure=signed.SerializeToString())).lines
    show({**facts, "erased": erased}, as_json)


def _begun(config: Config, ground: str, before: str | None, lines: Sequence[int], reference: str) -> SignedErasure:
    if (before is None) == (not lines):
        raise UsageError("say either --before, or each --line")
    ranges = _joined(sorted(set(lines))) if before is None else [_before(config, parse_time(before))]
    erasure = Erasure(
        node=f"{config.country}/{config.name}",
        ground=ErasureGround.ValueType(parse_word(ErasureGround.DESCRIPTOR, ground)),
        lines=ranges,
        time_us=time.time_ns() // 1_000,
        reference=reference,
    )
    return SignedErasure(erasure=erasure.SerializeToString())


def _joined(lines: Sequence[int]) -> list[LineRange]:
    ranges: list[LineRange] = []
    for line in lines:
        if ranges and ranges[-1].last == line - 1:
            ranges[-1].last = line
        else:
            ranges.append(LineRange(first=line, last=line))
    return ranges


def _before(config: Config, time_us: int) -> LineRange:
    with Database.open_read_only(database_at(config.store.database)) as database, database.reading() as connection:
        found = openings_before(connection, first_logged(connection, time_us))
    if found is None:
        raise UsageError("nothing opens any line from before that time")
    return LineRange(first=found[0], last=found[1])
