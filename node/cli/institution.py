"""`enlace institution`: the auditing institution's keys and auditors, and its log of what they read."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from sqlalchemy import Connection

from node.cli.client import desk_channel
from node.cli.directory_files import create, new_key, public_path, read, read_public_key
from node.cli.home import database_at, home_of
from node.cli.institution_reading import list_lines, sample, stats, verify
from node.cli.ledger_keys import history
from node.cli.office import Office, OfficeOption, OfficePassphrase, enrolled, fingerprint, verify_reading
from node.cli.output import HomeOption, JsonOption, OfficerOption, show, show_rows, time_text
from node.cli.words import parse_country
from node.config import load_config
from node.errors import (
    ForbiddenError,
    LedgerBrokenError,
    MalformedError,
    NoteError,
    ProofError,
    SignatureError,
    UsageError,
)
from node.identity.directory import TrustedDirectory
from node.identity.institution import verified_charter
from node.ledger.checkpoint import Checkpoint, open_checkpoint
from node.ledger.note import ED25519, VerifierKey
from node.ledger.readings import open_reading, open_release, readings_origin, verify_commitments
from node.store import directories
from node.store.database import Database
from node.store.institution import list_charters, list_commitments
from node.wire.institution_pb2 import AcceptCharterRequest, AcceptCommitmentRequest, Charter, Reading
from node.wire.institution_pb2_grpc import InstitutionStub

T = TypeVar("T")

app = typer.Typer(
    help="Audit a country's ledger as the institution that is to do so: with keys and auditors of its own, offline.",
    no_args_is_help=True,
)
app.command("verify")(verify)
app.command("list")(list_lines)
app.command("sample")(sample)
app.command("stats")(stats)


def _now_us() -> int:
    return time.time_ns() // 1_000


# --- keys and charters -----------------------------------------------------------------------------------------------


@app.command("new")
def new(
    folder: Annotated[Path, typer.Argument(help="New or empty.")],
    *,
    country: Annotated[str, typer.Option("--country", help="ISO 3166-1 alpha-2.")],
    federation: Annotated[str, typer.Option("--federation", help="As in the directory.")],
    passphrase_file: OfficePassphrase = None,
    as_json: JsonOption = False,
) -> None:
    """Make the institution's keys; its country's record in the directory then names the root key."""
    office = Office(folder, passphrase_file)
    charter = office.found(parse_country(country), federation, _now_us())
    root = public_path(folder / "root.pem")
    show(
        {
            **_facts(charter),
            "root_key": str(root),
            "next": f"the country names {root} under `audit` in its record; then enrol auditors, and bring the charter",
        },
        as_json,
    )


@app.command("enrol")
def enrol(
    name: Annotated[str, typer.Argument(help="The auditor's pseudonym.")],
    *,
    office: OfficeOption,
    key_out: Annotated[Path | None, typer.Option("--key-out", help="Where to put the auditor's new key.")] = None,
    public: Annotated[Path | None, typer.Option("--public-key", help="The auditor's own, made elsewhere.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Name this auditor no more.")] = False,
    passphrase_file: OfficePassphrase = None,
    as_json: JsonOption = False,
) -> None:
    """Name an auditor in a new charter, which the institution's own key signs; the node only verifies that."""
    if sum((key_out is not None, public is not None, remove)) != 1:
        raise UsageError("give one of --key-out, --public-key and --remove")
    place = Office(office, passphrase_file)
    charter = place.charter()
    if key_out is not None:
        enrolled(charter, name, new_key(key_out, None))
    else:
        enrolled(charter, name, read_public_key(public) if public is not None else None)
    show(_facts(place.succeed(charter, _now_us())), as_json)


@app.command("rotate")
def rotate(*, office: OfficeOption, passphrase_file: OfficePassphrase = None, as_json: JsonOption = False) -> None:
    """Make a new key to which copies are encrypted, in a new charter; the old ones go on opening what they opened."""
    place = Office(office, passphrase_file)
    show(_facts(place.succeed(place.charter(), _now_us(), new_encryption_key=True)), as_json)


def _facts(charter: Charter) -> dict[str, object]:
    return {
        "country": charter.country,
        "charter": charter.number,
        "keys_sha256": fingerprint(charter),
        "auditors": [auditor.name for auditor in charter.auditors],
    }


@app.command("bring")
def bring(
    *,
    charter: Annotated[Path | None, typer.Option("--charter", help="A new charter.")] = None,
    commitment: Annotated[Path | None, typer.Option("--commitment", help="Of the log of readings.")] = None,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the node what the institution has signed; who brings it does not matter."""
    if (charter is None) == (commitment is None):
        raise UsageError("give either --charter or --commitment")
    with desk_channel(home_of(home), officer) as channel:
        stub = InstitutionStub(channel)
        if charter is not None:
            number = stub.AcceptCharter(AcceptCharterRequest(signed_charter=read(charter))).number
            show({"charter": number, "in_force": True}, as_json)
        elif commitment is not None:
            size = stub.AcceptCommitment(AcceptCommitmentRequest(checkpoint=read(commitment))).size
            show({"readings": size, "logged": True}, as_json)


# --- the log of readings ---------------------------------------------------------------------------------------------


@app.command("commit")
def commit(
    out: Annotated[Path, typer.Argument(help="A new file, to be brought to the node.")],
    *,
    office: OfficeOption,
    passphrase_file: OfficePassphrase = None,
    as_json: JsonOption = False,
) -> None:
    """Sign what the log of readings commits to: how many there were, and a hash. The node learns no more from it."""
    place = Office(office, passphrase_file)
    kept = place.readings()
    create(out, place.commitment(kept))
    show({"readings": len(kept), "file": str(out)}, as_json)


@app.command("release")
def release(
    out: Annotated[Path, typer.Argument(help="A new file.")],
    *,
    office: OfficeOption,
    until: Annotated[
        int | None, typer.Option("--until", min=0, help="Open so many of them, the oldest first; else all.")
    ] = None,
    passphrase_file: OfficePassphrase = None,
    as_json: JsonOption = False,
) -> None:
    """Open readings to the node: every one of them is in the file, those after --until still sealed."""
    place = Office(office, passphrase_file)
    count = len(place.readings())
    opened = count if until is None else min(until, count)
    create(out, place.release(opened).SerializeToString(), 0o600)
    show({"readings": count, "opened": opened, "file": str(out)}, as_json)


@app.command("check-release")
def check_release(
    file: Annotated[Path, typer.Argument(help="What the institution has released.")],
    *,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that a release holds every reading that the institution ever committed to; exit status 1 says what not."""
    config = load_config(home_of(home).config)
    with Database.open_read_only(database_at(config.store.database)) as opened, opened.reading() as connection:
        in_force = history(read(config.trust.root), directories.accepted(connection))
        charters = _charters(config.country, in_force, connection)
        notes = list_commitments(connection)
    origin = readings_origin(config.federation, config.country)
    keys = [VerifierKey(origin, ED25519, key) for key in dict.fromkeys(each.readings_key for each in charters)]
    try:
        found, checkpoint = _first_opened(keys, partial(open_release, read(file)))
        committed = [_first_opened(keys, partial(_committed, note)) for note in notes]
        verify_commitments(found, committed)
        rows = []
        for place, line in enumerate(found.lines):
            if line.opening:
                reading, signed = open_reading(line.leaf, line.opening)
                verify_reading(signed, charters)
                rows.append(_reading_row(place, reading))
    except (ProofError, LedgerBrokenError, NoteError, SignatureError, ForbiddenError) as error:
        show({"whole": False, "findings": str(error).split("; ")}, as_json)
        raise typer.Exit(1) from None
    if as_json:
        whole = {"whole": True, "readings": checkpoint.size, "commitments": len(notes), "opened": rows}
        typer.echo(json.dumps(whole, ensure_ascii=False))
        return
    show({"whole": True, "readings": checkpoint.size, "commitments": len(notes), "opened": len(rows)}, as_json=False)
    show_rows(rows, as_json=False, empty="None is opened.")


def _charters(country: str, in_force: Sequence[TrustedDirectory], connection: Connection) -> list[Charter]:
    """Return the charters that the institution of some directory has signed, the oldest first."""
    records = [record for each in in_force for record in each.members() if record.country == country]
    roots = list(dict.fromkeys(record.audit.root_key for record in records if record.HasField("audit")))
    found = []
    for signed in list_charters(connection):
        for root in roots:
            with suppress(SignatureError, MalformedError):
                found.append(verified_charter(signed, country, root))
    return found


def _committed(note: bytes, key: VerifierKey) -> Checkpoint:
    return open_checkpoint(note, log=key).checkpoint


def _first_opened(keys: Sequence[VerifierKey], opening: Callable[[VerifierKey], T]) -> T:
    """Return what opens with one of the institution's keys.

    Raises:
        NoteError: none of them has signed it.
    """
    for key in keys:
        with suppress(NoteError):
            return opening(key)
    raise NoteError("it is not signed by a readings key of the institution's charters")


def _reading_row(place: int, reading: Reading) -> dict[str, object]:
    return {
        "reading": place,
        "auditor": reading.auditor,
        "at": time_text(reading.time_us),
        "what": reading.what,
        "reason": reading.reason,
        "ledger": reading.ledger,
        "lines": reading.size,
    }
