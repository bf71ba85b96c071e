"""`enlace pki`: a country's certification authority, in a folder (see node.cli.pki_folder).

Needs no node and no network: the ceremony of certs/README.md runs these commands on a machine that has neither.
"""

import os
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from node.cli.directory_files import read
from node.cli.pki_facts import issued_facts, list_facts, overview, say
from node.cli.pki_folder import PRIVATE, Folder, Index, Issued, entry, now, write
from node.errors import NotFoundError, UsageError
from node.identity.authority import (
    LEAF_VALIDITY,
    LIST_VALIDITY,
    Authority,
    Curve,
    build_crl,
    create_issuing,
    create_root,
    generate_key,
    issue_desk,
    issue_node,
    key_pem,
    parse_request,
)
from node.identity.certificates import parse_chain, verify_chain
from node.identity.spiffe import Kind, TrustDomain

app = typer.Typer(help="Run your country's certification authority.", no_args_is_help=True)

PASSPHRASE_VARIABLE: Final = "ENLACE_CA_PASSPHRASE"  # noqa: S105 the variable's name
# The key file's encryption slows guessing only 2,048-fold, so the passphrase itself has to be beyond guessing.
MIN_PASSPHRASE: Final = 20

Where = Annotated[Path, typer.Option("--dir", help="The authority's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help=f"Where the CA key's passphrase is written; else ${PASSPHRASE_VARIABLE}."),
]
CurveName = Annotated[Curve, typer.Option("--curve", help="Of the authority's key.")]
Days = Annotated[int, typer.Option("--days", min=1, max=398, help="How long it is valid.")]
Request = Annotated[Path | None, typer.Option("--csr", help="A signing request; the key then stays where it was made.")]
Out = Annotated[Path | None, typer.Option("--out", help="The folder for certificate.pem and key.pem.")]


@dataclass(frozen=True, slots=True)
class _Order:
    """How a certificate was asked for."""

    days: int
    csr: Path | None
    out: Path | None
    passphrase_file: Path | None


@app.command("init-ca")
def init_ca(
    *,
    country: Annotated[str, typer.Option("--country", help="ISO 3166-1 alpha-2.")],
    federation: Annotated[str, typer.Option("--federation", help="As in spiffe://gt.FEDERATION.")],
    issuing: Annotated[bool, typer.Option("--issuing", help="Also make an authority below it.")] = False,
    curve: CurveName = "P-384",
    where: Where = Path(),
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Make the country's root, and with --issuing the authority that issues below it while the root rests."""
    folder, at = Folder(where), now()
    domain = TrustDomain(country.upper(), federation)
    key = generate_key(curve)
    certificate = create_root(domain, key, at)  # before anybody types a passphrase: it checks country and federation
    with folder.locked():
        if folder.root.exists() or folder.key_files():
            raise UsageError(f"there is an authority in {where} already")
        passphrase = _passphrase(passphrase_file, new=True)
        folder.write_authority(folder.root, certificate, key_pem(key, passphrase))
        write(folder.bundle, certificate)
        folder.write_index(Index(country=domain.country, federation=federation))
        if issuing:
            _make_issuing(folder, passphrase, curve)
        _publish(folder, folder.authority(passphrase), LIST_VALIDITY)
    say(overview(folder, at), as_json)


@app.command("new-issuing")
def new_issuing(
    *,
    curve: CurveName = "P-384",
    where: Where = Path(),
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Make the next issuing authority, with the root's key; list it in the directory before it issues."""
    folder = Folder(where)
    with folder.locked():
        _make_issuing(folder, _passphrase(passphrase_file), curve)
    say(overview(folder, now()), as_json)


@app.command("issue-node")
def issue_node_certificate(
    name: Annotated[str, typer.Argument(help="As in spiffe://gt.FEDERATION/node/NAME.")],
    *,
    dns_names: Annotated[list[str], typer.Option("--dns", help="What peers call it by; may be repeated.")],
    days: Days = LEAF_VALIDITY.days,
    csr: Request = None,
    out: Out = None,
    where: Where = Path(),
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Issue a node's certificate, for serving and for asking."""
    folder = Folder(where)
    with folder.locked():
        _verify_free(folder, f"node/{name}")
        say(_issue(folder, "node", name, tuple(dns_names), _Order(days, csr, out, passphrase_file)), as_json)


@app.command("issue-desk")
def issue_desk_certificate(
    officer: Annotated[str, typer.Argument(help="The officer's pseudonymous id; never a name.")],
    *,
    days: Days = LEAF_VALIDITY.days,
    csr: Request = None,
    out: Out = None,
    where: Where = Path(),
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Issue an officer's certificate, for asking their own node only."""
    folder = Folder(where)
    with folder.locked():
        _verify_free(folder, f"desk/{officer}")
        say(_issue(folder, "desk", officer, (), _Order(days, csr, out, passphrase_file)), as_json)


@app.command("renew")
def renew(
    identity: Annotated[str, typer.Argument(help="node/NAME or desk/OFFICER.")],
    *,
    days: Days = LEAF_VALIDITY.days,
    csr: Request = None,
    out: Out = None,
    where: Where = Path(),
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Issue the next certificate of a node or desk, with a new key; the old one counts until it ends or is revoked."""
    folder, order = Folder(where), _Order(days, csr, out, passphrase_file)
    with folder.locked():
        last = _known(folder.index(), identity)[-1]
        if last.kind == "issuing":
            raise UsageError("issuing authorities are replaced with `enlace pki new-issuing`")
        say(_issue(folder, last.kind, last.name, last.dns_names, order), as_json)


@app.command("revoke")
def revoke(
    what: Annotated[str, typer.Argument(help="node/NAME, desk/OFFICER, issuing/DATE (all it holds), or a serial.")],
    *,
    where: Where = Path(),
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Take certificates back, and write the revocation list that says so, for the node to push to its peers."""
    folder, at = Folder(where), now()
    with folder.locked():
        index = folder.index()
        taken = [each for each in _known(index, what) if each.state(at) == "valid"]
        if not taken:
            raise UsageError(f"{what} holds no certificate that still counts; `enlace pki crl` writes the list anew")
        # An issuing authority can't be believed about itself: the root takes it back.
        by_root = any(each.kind == "issuing" for each in taken)
        authority = folder.authority(_passphrase(passphrase_file), root=by_root)
        folder.write_index(index.revoking({each.serial for each in taken}, at))
        if by_root:
            folder.drop_issuing({int(each.serial, 16) for each in taken})
        _publish(folder, authority, LIST_VALIDITY)
    revoked = [each.serial for each in folder.index().issued if each.revoked == at]
    say({"revoked": revoked, **list_facts(folder)}, as_json)


@app.command("crl")
def crl(
    *,
    days: Annotated[int, typer.Option("--days", min=1, max=90, help="When the next is due.")] = LIST_VALIDITY.days,
    where: Where = Path(),
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Write the next revocation list, before the last one is due for replacement."""
    folder = Folder(where)
    with folder.locked():
        folder.index()
        _publish(folder, folder.authority(_passphrase(passphrase_file)), timedelta(days=days))
    say(list_facts(folder), as_json)


@app.command("show")
def show(*, where: Where = Path(), as_json: Json = False) -> None:
    """Show the authority and every certificate it has issued."""
    say(overview(Folder(where), now()), as_json)


def _issue(folder: Folder, kind: Kind, name: str, dns_names: tuple[str, ...], order: _Order) -> dict[str, object]:
    at, validity, index = now(), timedelta(days=order.days), folder.index()
    key = generate_key()
    public = key.public_key() if order.csr is None else parse_request(read(order.csr))
    authority = folder.authority(_passphrase(order.passphrase_file))
    if kind == "node":
        chain = issue_node(authority, name, public, dns_names=dns_names, now=at, validity=validity)
    else:
        chain = issue_desk(authority, name, public, now=at, validity=validity)
    leaf, *between = parse_chain(chain)
    # What peers would refuse must not be handed over.
    verify_chain(leaf, between, folder.certificates()[:1], at)
    issued = entry(leaf, authority, kind, name, at=at, dns_names=dns_names)
    folder.write_index(index.adding(issued))
    place = order.out or folder.holder(issued.identity)
    key_file = place / "key.pem" if order.csr is None else None
    if key_file is not None:
        write(key_file, key_pem(key, None), PRIVATE)
    write(place / "certificate.pem", chain)
    return {
        **issued_facts(issued, at),
        "certificate": str(place / "certificate.pem"),
        "key": str(key_file) if key_file else None,
    }


def _make_issuing(folder: Folder, passphrase: bytes, curve: Curve) -> None:
    at, index = now(), folder.index()
    key = generate_key(curve)
    authority = folder.authority(passphrase, root=True)
    pem = create_issuing(authority, key.public_key(), at)
    (certificate,) = parse_chain(pem)
    folder.write_index(index.adding(entry(certificate, authority, "issuing", f"{at:%Y-%m-%d}", at=at)))
    folder.write_authority(folder.issuing, pem, key_pem(key, passphrase))
    root, *others = folder.certificates()
    folder.write_bundle((root, certificate, *others))


def _publish(folder: Folder, authority: Authority, validity: timedelta) -> None:
    index = folder.index().numbering()
    # The number is used up before the list exists, so that two lists never share one, whatever crashes.
    folder.write_index(index)
    revoked = {int(each.serial, 16): each.revoked for each in index.issued if each.revoked is not None}
    write(folder.crl, build_crl(authority, index.crl_number, revoked, now(), validity))


def _verify_free(folder: Folder, identity: str) -> None:
    if any(each.state(now()) == "valid" for each in folder.index().of(identity)):
        raise UsageError(f"{identity} holds a certificate: renew it with `enlace pki renew {identity}`, or revoke it")


def _known(index: Index, what: str) -> tuple[Issued, ...]:
    found = index.of(what) or tuple(each for each in index.issued if each.serial == what.lower().lstrip("0"))
    if not found:
        raise NotFoundError(f"{what} was never issued here: `enlace pki show` lists what was")
    return found


def _passphrase(file: Path | None, *, new: bool = False) -> bytes:
    if file is not None:
        passphrase = read(file).rstrip(b"\r\n")
    elif PASSPHRASE_VARIABLE in os.environ:
        passphrase = os.environ[PASSPHRASE_VARIABLE].encode()
    elif sys.stdin.isatty():
        passphrase = typer.prompt("Passphrase of the CA key", hide_input=True, confirmation_prompt=new).encode()
    else:
        raise UsageError(f"give the CA key's passphrase with --passphrase-file or in {PASSPHRASE_VARIABLE}")
    if new and len(passphrase) < MIN_PASSPHRASE:
        raise UsageError(f"the passphrase needs {MIN_PASSPHRASE} characters; draw it by lot, don't think it up")
    return passphrase
