"""`enlace pki`: a country's certification authority, in a folder (see node.cli.pki_folder).

Needs no node and no network: the ceremony of certs/README.md runs these commands on a machine that has neither.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from node.cli.issuing import (
    CaPassphraseFile,
    ca_passphrase,
    domain_of,
    is_held,
    issue,
    make_issuing,
    make_root,
    publish,
)
from node.cli.output import JsonOption, show, show_rows
from node.cli.pki_facts import issued_facts, list_facts, overview
from node.cli.pki_folder import Folder, Index, Issued, now
from node.errors import NotFoundError, UsageError
from node.identity.authority import LEAF_VALIDITY, LIST_VALIDITY, Curve

app = typer.Typer(help="Run your country's certification authority.", no_args_is_help=True)

Where = Annotated[Path, typer.Option("--dir", help="The authority's folder.")]
CurveName = Annotated[Curve, typer.Option("--curve", help="Of the authority's key.")]
Days = Annotated[int, typer.Option("--days", min=1, max=398, help="How long it is valid.")]
Request = Annotated[Path | None, typer.Option("--csr", help="A signing request; the key then stays where it was made.")]
Out = Annotated[Path | None, typer.Option("--out", help="The folder for certificate.pem and key.pem.")]


@app.command("init-ca")
def init_ca(
    *,
    country: Annotated[str, typer.Option("--country", help="ISO 3166-1 alpha-2.")],
    federation: Annotated[str, typer.Option("--federation", help="As in spiffe://gt.FEDERATION.")],
    issuing: Annotated[bool, typer.Option("--issuing", help="Also make an authority below it.")] = False,
    curve: CurveName = "P-384",
    where: Where = Path(),
    passphrase_file: CaPassphraseFile = None,
    as_json: JsonOption = False,
) -> None:
    """Make the country's root, and with --issuing the authority that issues below it while the root rests."""
    folder, domain = Folder(where), domain_of(country, federation)
    with folder.locked():
        if folder.root.exists() or folder.key_files():
            raise UsageError(f"there is an authority in {where} already")
        make_root(folder, domain, ca_passphrase(passphrase_file, new=True), curve=curve, issuing=issuing)
    _show(folder, as_json)


@app.command("new-issuing")
def new_issuing(
    *,
    curve: CurveName = "P-384",
    where: Where = Path(),
    passphrase_file: CaPassphraseFile = None,
    as_json: JsonOption = False,
) -> None:
    """Make the next issuing authority, with the root's key; list it in the directory before it issues."""
    folder = Folder(where)
    with folder.locked():
        make_issuing(folder, ca_passphrase(passphrase_file), curve)
    _show(folder, as_json)


@app.command("issue-node")
def issue_node_certificate(
    name: Annotated[str, typer.Argument(help="As in spiffe://gt.FEDERATION/node/NAME.")],
    *,
    dns_names: Annotated[list[str], typer.Option("--dns", help="What peers call it by; may be repeated.")],
    days: Days = LEAF_VALIDITY.days,
    csr: Request = None,
    out: Out = None,
    where: Where = Path(),
    passphrase_file: CaPassphraseFile = None,
    as_json: JsonOption = False,
) -> None:
    """Issue a node's certificate, for serving and for asking."""
    folder = Folder(where)
    with folder.locked():
        _verify_free(folder, f"node/{name}")
        passphrase = ca_passphrase(passphrase_file)
        names = tuple(dns_names)
        show(issue(folder, "node", name, passphrase, dns_names=names, days=days, csr=csr, out=out), as_json)


@app.command("issue-desk")
def issue_desk_certificate(
    officer: Annotated[str, typer.Argument(help="The officer's pseudonymous id; never a name.")],
    *,
    days: Days = LEAF_VALIDITY.days,
    csr: Request = None,
    out: Out = None,
    where: Where = Path(),
    passphrase_file: CaPassphraseFile = None,
    as_json: JsonOption = False,
) -> None:
    """Issue an officer's certificate, for asking their own node only."""
    folder = Folder(where)
    with folder.locked():
        _verify_free(folder, f"desk/{officer}")
        show(issue(folder, "desk", officer, ca_passphrase(passphrase_file), days=days, csr=csr, out=out), as_json)


@app.command("renew")
def renew(
    identity: Annotated[str, typer.Argument(help="node/NAME or desk/OFFICER.")],
    *,
    days: Days = LEAF_VALIDITY.days,
    csr: Request = None,
    out: Out = None,
    where: Where = Path(),
    passphrase_file: CaPassphraseFile = None,
    as_json: JsonOption = False,
) -> None:
    """Issue the next certificate of a node or desk, with a new key; the old one counts until it ends or is revoked."""
    folder = Folder(where)
    with folder.locked():
        last = _known(folder.index(), identity)[-1]
        if last.kind == "issuing":
            raise UsageError("issuing authorities are replaced with `enlace pki new-issuing`")
        passphrase = ca_passphrase(passphrase_file)
        facts = issue(folder, last.kind, last.name, passphrase, dns_names=last.dns_names, days=days, csr=csr, out=out)
    show(facts, as_json)


@app.command("revoke")
def revoke(
    what: Annotated[str, typer.Argument(help="node/NAME, desk/OFFICER, issuing/DATE (all it holds), or a serial.")],
    *,
    where: Where = Path(),
    passphrase_file: CaPassphraseFile = None,
    as_json: JsonOption = False,
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
        authority = folder.authority(ca_passphrase(passphrase_file), root=by_root)
        folder.write_index(index.revoking({each.serial for each in taken}, at))
        if by_root:
            folder.drop_issuing({int(each.serial, 16) for each in taken})
        publish(folder, authority)
    revoked = [each.serial for each in folder.index().issued if each.revoked == at]
    show({"revoked": revoked, **list_facts(folder)}, as_json)


@app.command("crl")
def crl(
    *,
    days: Annotated[int, typer.Option("--days", min=1, max=90, help="When the next is due.")] = LIST_VALIDITY.days,
    where: Where = Path(),
    passphrase_file: CaPassphraseFile = None,
    as_json: JsonOption = False,
) -> None:
    """Write the next revocation list, before the last one is due for replacement."""
    folder = Folder(where)
    with folder.locked():
        folder.index()
        publish(folder, folder.authority(ca_passphrase(passphrase_file)), timedelta(days=days))
    show(list_facts(folder), as_json)


@app.command("show")
def show_authority(*, where: Where = Path(), as_json: JsonOption = False) -> None:
    """Show the authority and every certificate it has issued."""
    _show(Folder(where), as_json)


def _show(folder: Folder, as_json: bool) -> None:
    facts, issued = overview(folder), [issued_facts(each, now()) for each in folder.index().issued]
    if as_json:
        show({**facts, "issued": issued}, as_json)
        return
    show(facts, as_json)
    show_rows(issued, as_json, empty="It has issued nothing yet.")


def _verify_free(folder: Folder, identity: str) -> None:
    if is_held(folder, identity):
        raise UsageError(f"{identity} holds a certificate: renew it with `enlace pki renew {identity}`, or revoke it")


def _known(index: Index, what: str) -> tuple[Issued, ...]:
    found = index.of(what) or tuple(each for each in index.issued if each.serial == what.lower().lstrip("0"))
    if not found:
        raise NotFoundError(f"{what} was never issued here: `enlace pki show` lists what was")
    return found
