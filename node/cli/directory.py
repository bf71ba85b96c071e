"""`enlace directory`: what stewards and members do to make, sign and check directories, all of it on files.

Private keys are read where they lie and leave no trace elsewhere, so each of these commands can run on a machine that
has never been on a network.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from node.cli import directory_facts as facts
from node.cli import directory_files as files
from node.cli.output import JsonOption, KeyPassphraseFile, show, time_text
from node.errors import UsageError
from node.identity.directory import (
    DAY_US,
    LIFETIME_US,
    TrustedDirectory,
    build_directory,
    sign_directory,
)
from node.identity.keys import public_key
from node.identity.members import parse_member, sign_member
from node.identity.stewards import ROOT_TYPE, build_root, decoded, followed, parse_root, sign_root, signed_by
from node.wire.directory_pb2 import Directory, MemberRecord, Root, SignedDirectory, SignedMember, SignedRoot

app = typer.Typer(help="Make, sign and check the list of member countries.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The signed directory, which may still lack signatures.")]
Out = Annotated[Path, typer.Option("--out", help="The file to write; must not exist.")]
PinnedRoot = Annotated[Path, typer.Option("--root", help="The first root, as pinned by the nodes.")]
Previous = Annotated[
    Path | None, typer.Option("--previous", help="The directory now in force, which the new one must follow.")
]
Key = Annotated[Path, typer.Option("--key", help="The private key to sign with.")]
Stewards = Annotated[
    list[str], typer.Option("--steward", metavar="NAME=FILE", help="A steward and the file of the public key.")
]
Threshold = Annotated[int, typer.Option("--threshold", min=2, help="How many stewards must sign.")]
Rotations = Annotated[
    list[Path] | None, typer.Option("--rotation", help="A signed root after the previous directory's newest, in order.")
]


# --- keys and roots ---------------------------------------------------------------------------------------------------


@app.command("new-steward")
def new_steward(out: Out, passphrase_file: KeyPassphraseFile = None, as_json: JsonOption = False) -> None:
    """Make a steward's key: the private one in the file named, the public one beside it in FILE.pub."""
    _new_key(out, passphrase_file, as_json)


@app.command("new-member-key")
def new_member_key(out: Out, passphrase_file: KeyPassphraseFile = None, as_json: JsonOption = False) -> None:
    """Make a country's own root key, which signs its record; keep it offline."""
    _new_key(out, passphrase_file, as_json)


def _new_key(out: Path, passphrase_file: Path | None, as_json: bool) -> None:
    public = files.new_key(out, passphrase_file)
    show({"private_key": str(out), "public_key_file": str(files.public_path(out)), "public_key": public.hex()}, as_json)


@app.command("init-root")
def init_root(
    federation: Annotated[str, typer.Option("--federation", help="As in spiffe://gt.FEDERATION.")],
    stewards: Stewards,
    threshold: Threshold,
    out: Out,
    as_json: JsonOption = False,
) -> None:
    """Make the first root, which nodes pin; compare its digest by voice before you do."""
    root = build_root(federation=federation, version=1, threshold=threshold, stewards=_stewards(stewards))
    files.create(out, root)
    show(facts.root_facts(root), as_json)


@app.command("rotate-root")
def rotate_root(
    *,
    root: PinnedRoot,
    stewards: Stewards,
    threshold: Threshold,
    out: Out,
    previous: Previous = None,
    rotations: Rotations = None,
    as_json: JsonOption = False,
) -> None:
    """Make the next root, to be signed with `sign-root` by the old threshold and by the new one."""
    newest = parse_root(_roots(root, previous, rotations)[-1])
    data = build_root(
        federation=newest.federation,
        version=newest.version + 1,
        threshold=threshold,
        stewards=_stewards(stewards),
    )
    files.create(out, SignedRoot(root=data).SerializeToString())
    show(facts.root_facts(data), as_json)


@app.command("sign-root")
def sign_next_root(
    file: Annotated[Path, typer.Argument(help="The next root, as `rotate-root` made it.")],
    *,
    root: PinnedRoot,
    key: Key,
    passphrase_file: KeyPassphraseFile = None,
    previous: Previous = None,
    rotations: Rotations = None,
    as_json: JsonOption = False,
) -> None:
    """Add a steward's signature to a root made with `rotate-root`; those who leave and those who come both sign."""
    old = parse_root(_roots(root, previous, rotations)[-1])
    signed = decoded(SignedRoot, files.read(file), str(file))
    new = parse_root(signed.root)
    if (new.version, new.federation) != (old.version + 1, old.federation):
        raise UsageError(f"{file}: root {new.version} can't follow root {old.version}")
    private = files.private_key(key, passphrase_file)
    _steward_of(private, key, old, new)
    signed = sign_root(signed, private)
    told = facts.root_facts(signed.root)
    for name, judge in (("old", old), ("new", new)):
        names = signed_by(judge, ROOT_TYPE, signed.root, signed.signatures, str(file))
        told[f"signed_by_{name}"] = sorted(names)
        told[f"missing_of_{name}"] = max(0, judge.threshold - len(names))
    files.replace(file, signed.SerializeToString())
    show(told, as_json)


# --- members ----------------------------------------------------------------------------------------------------------


@app.command("member-record")
def member_record(
    description: Annotated[Path, typer.Argument(help="What the country says of itself (YAML): member.yaml.")],
    *,
    root: PinnedRoot,
    key: Key,
    out: Out,
    passphrase_file: KeyPassphraseFile = None,
    as_json: JsonOption = False,
) -> None:
    """Make a country's record from its description (YAML) and sign it with the country's own root key."""
    signed = sign_member(files.read_record(description), files.private_key(key, passphrase_file))
    # Refused here rather than at the stewards' table. A rotated root has the same federation.
    member = parse_member(signed, parse_root(files.read(root)).federation)
    files.create(out, signed.SerializeToString())
    show(facts.member_facts(member.record, member.root_key), as_json)


# --- directories ------------------------------------------------------------------------------------------------------


@app.command("compose")
def compose(
    *,
    root: PinnedRoot,
    out: Out,
    previous: Previous = None,
    rotations: Rotations = None,
    members: Annotated[list[Path] | None, typer.Option("--member", help="A signed record, new or newer.")] = None,
    without: Annotated[list[str] | None, typer.Option("--without", help="A country that leaves.")] = None,
    instruments: Annotated[Path | None, typer.Option("--instruments", help="All instruments (YAML).")] = None,
    floor: Annotated[Path | None, typer.Option("--floor", help="The multilateral floor rulebook (YAML).")] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=LIFETIME_US // DAY_US, help="How long it lives.")] = 90,
    witness_quorum: Annotated[
        int | None, typer.Option("--witness-quorum", min=0, help="Other countries that must cosign each ledger.")
    ] = None,
    demonstration: Annotated[bool, typer.Option("--demonstration", help="Invented data only.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put together an unsigned directory; what is not given stays as in the previous one."""
    held = _held(root, [previous] if previous else [])
    signed_before = decoded(SignedDirectory, held.signed, "the previous directory")
    before = decoded(Directory, signed_before.directory, "the previous directory")
    if floor is None and previous is None:
        raise UsageError("the first directory needs a floor rulebook: give --floor")
    new_roots = [decoded(SignedRoot, files.read(path), str(path)) for path in rotations or []]
    all_roots = [*signed_before.roots, *new_roots]
    now_us = _now_us()
    signed = build_directory(
        followed(files.read(root), all_roots)[-1],
        version=held.version + 1,
        issued_us=now_us,
        lifetime_us=days * DAY_US,
        members=_composed(before.members, members or [], without or []),
        instruments=before.instruments if instruments is None else files.read_instruments(instruments),
        floor_rulebook=before.floor_rulebook if floor is None else files.read(floor),
        demonstration=demonstration or before.demonstration,
        rotations=all_roots,
        witness_quorum=before.witness_quorum if witness_quorum is None else witness_quorum,
    )
    data = signed.SerializeToString()
    held.verify_draft(data, now_us)
    files.create(out, data)
    show(facts.directory_facts(signed, files.read(root)), as_json)


def _composed(before: Iterable[SignedMember], new: Iterable[Path], without: Iterable[str]) -> list[SignedMember]:
    members = {_country(signed, "the previous directory"): signed for signed in before}
    for path in new:
        signed = decoded(SignedMember, files.read(path), str(path))
        members[_country(signed, str(path))] = signed
    for country in without:
        if members.pop(country, None) is None:
            raise UsageError(f"{country} is not a member, so it can't leave")
    return [members[country] for country in sorted(members)]


def _country(signed: SignedMember, what: str) -> str:
    return decoded(MemberRecord, signed.record, what).country


@app.command("sign")
def sign(
    file: File,
    *,
    root: PinnedRoot,
    key: Key,
    passphrase_file: KeyPassphraseFile = None,
    previous: Previous = None,
    as_json: JsonOption = False,
) -> None:
    """Add one steward's signature to a directory, once all else in it has been verified."""
    data = files.read(file)
    _held(root, [previous] if previous else []).verify_draft(data, _now_us())
    signed = decoded(SignedDirectory, data, str(file))
    pinned = files.read(root)
    private = files.private_key(key, passphrase_file)
    _steward_of(private, key, parse_root(followed(pinned, signed.roots)[-1]))
    signed = sign_directory(signed, private)
    files.replace(file, signed.SerializeToString())
    show(facts.directory_facts(signed, pinned), as_json)


@app.command("show")
def show_directory(file: File, root: PinnedRoot, as_json: JsonOption = False) -> None:
    """Print what a directory says and who has signed it, whether or not it would be accepted."""
    show(facts.directory_facts(decoded(SignedDirectory, files.read(file), str(file)), files.read(root)), as_json)


@app.command("verify")
def verify(
    file: File,
    root: PinnedRoot,
    previous: Annotated[
        list[Path] | None, typer.Option("--previous", help="Directories accepted before, oldest first.")
    ] = None,
    at: Annotated[str | None, typer.Option("--at", help="Verify for this time (RFC 3339) instead of now.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a directory as a node would that has pinned the root and accepted the previous directories."""
    now_us = _now_us() if at is None else files.parse_time(at)
    accepted = _held(root, previous or []).updated(files.read(file), now_us)
    show(
        {
            "accepted": True,
            "federation": accepted.federation,
            "version": accepted.version,
            "sha256": accepted.digest.hex(),
            "expires": time_text(accepted.expires_us),
            "members": [record.country for record in accepted.members()],
            "changed_root_keys": sorted(accepted.rerooted),
        },
        as_json,
    )


# --- shared -----------------------------------------------------------------------------------------------------------


def _now_us() -> int:
    return time.time_ns() // 1_000


def _held(root: Path, accepted: Iterable[Path]) -> TrustedDirectory:
    return TrustedDirectory.restored(files.read(root), [files.read(path) for path in accepted])


def _roots(root: Path, previous: Path | None, rotations: list[Path] | None) -> tuple[bytes, ...]:
    earlier = _held(root, [previous] if previous else []).signed
    chain = [*decoded(SignedDirectory, earlier, "the previous directory").roots]
    chain += [decoded(SignedRoot, files.read(path), str(path)) for path in rotations or []]
    return followed(files.read(root), chain)


def _stewards(pairs: Iterable[str]) -> dict[str, bytes]:
    stewards: dict[str, bytes] = {}
    for pair in pairs:
        name, separator, path = pair.partition("=")
        if not separator or name in stewards:
            raise UsageError(f"--steward {pair}: write NAME=FILE, each name once")
        stewards[name] = files.read_public_key(Path(path))
    return stewards


def _steward_of(private: bytes, path: Path, *roots: Root) -> None:
    own = public_key(private)
    if not any(key.public_key == own for root in roots for key in root.keys):
        raise UsageError(f"{path}: not the key of a steward of root {roots[-1].version}")
