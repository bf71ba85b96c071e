"""What commands do with a country's authority: its passphrase, a new root, issuing authorities, certificates, lists.

Whoever calls holds the folder's lock (`Folder.locked`), so that what was looked at is still so when it is changed.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from node.cli.directory_files import read
from node.cli.pki_facts import issued_facts
from node.cli.pki_folder import PRIVATE, Folder, Index, entry, now, write
from node.errors import CertificateInvalidError, UsageError
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
from node.identity.spiffe import Kind, TrustDomain, parse_trust_domain

PASSPHRASE_VARIABLE: Final = "ENLACE_CA_PASSPHRASE"  # noqa: S105 the variable's name
# The key file's encryption slows guessing only 2,048-fold, so the passphrase itself has to be beyond guessing.
MIN_PASSPHRASE: Final = 20

CaPassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help=f"Where the CA key's passphrase is written; else ${PASSPHRASE_VARIABLE}."),
]


def ca_passphrase(file: Path | None, *, new: bool = False) -> bytes:
    """Return the authority's passphrase: from the file, the environment, or the person at the terminal.

    Raises:
        UsageError: there is none, or a new one is too short.
    """
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


def domain_of(country: str, federation: str) -> TrustDomain:
    """Return a country's trust domain, checked before anybody types a passphrase.

    Raises:
        UsageError: the country or the federation has another form than in SPIFFE ids.
    """
    domain = TrustDomain(country.upper(), federation)
    try:
        parse_trust_domain(domain.uri)
    except CertificateInvalidError as error:
        raise UsageError(str(error)) from error
    return domain


def make_root(
    folder: Folder, domain: TrustDomain, passphrase: bytes, *, curve: Curve = "P-384", issuing: bool = False
) -> None:
    """Make a country's root in the folder, and where wanted an authority below it, with an empty revocation list."""
    at, key = now(), generate_key(curve)
    certificate = create_root(domain, key, at)
    folder.write_authority(folder.root, certificate, key_pem(key, passphrase))
    write(folder.bundle, certificate)
    folder.write_index(Index(country=domain.country, federation=domain.federation))
    if issuing:
        make_issuing(folder, passphrase, curve)
    publish(folder, folder.authority(passphrase))


def make_issuing(folder: Folder, passphrase: bytes, curve: Curve) -> None:
    """Make the next issuing authority, with the root's key.

    Raises:
        UsageError: the root's key is not here, or the passphrase is wrong.
    """
    at, index = now(), folder.index()
    key = generate_key(curve)
    authority = folder.authority(passphrase, root=True)
    pem = create_issuing(authority, key.public_key(), at)
    (certificate,) = parse_chain(pem)
    folder.write_index(index.adding(entry(certificate, authority, "issuing", f"{at:%Y-%m-%d}", at=at)))
    folder.write_authority(folder.issuing, pem, key_pem(key, passphrase))
    root, *others = folder.certificates()
    folder.write_bundle((root, certificate, *others))


def issue(
    folder: Folder,
    kind: Kind,
    name: str,
    passphrase: bytes,
    *,
    dns_names: tuple[str, ...] = (),
    days: int = LEAF_VALIDITY.days,
    csr: Path | None = None,
    out: Path | None = None,
) -> dict[str, object]:
    """Issue a certificate, and return what there is to tell of it.

    Args:
        folder: Of the authority.
        kind: Of the holder.
        name: Of the node, or the officer's pseudonym.
        passphrase: Of the authority's key.
        dns_names: What peers call a node by.
        days: How long it is valid.
        csr: A signing request; without one a key is made and put beside the certificate.
        out: The folder for certificate.pem and key.pem; else the holder's below the authority's.

    Raises:
        UsageError: the authority's key is not here, the passphrase is wrong, or a name can't stand in a certificate.
    """
    at, validity, index = now(), timedelta(days=days), folder.index()
    key = generate_key()
    public = key.public_key() if csr is None else parse_request(read(csr))
    authority = folder.authority(passphrase)
    if kind == "node":
        chain = issue_node(authority, name, public, dns_names=dns_names, now=at, validity=validity)
    else:
        chain = issue_desk(authority, name, public, now=at, validity=validity)
    leaf, *between = parse_chain(chain)
    # What peers would refuse must not be handed over.
    verify_chain(leaf, between, folder.certificates()[:1], at)
    issued = entry(leaf, authority, kind, name, at=at, dns_names=dns_names)
    folder.write_index(index.adding(issued))
    place = out or folder.holder(issued.identity)
    key_file = place / "key.pem" if csr is None else None
    if key_file is not None:
        write(key_file, key_pem(key, None), PRIVATE)
    write(place / "certificate.pem", chain)
    return {
        **issued_facts(issued, at),
        "certificate": str(place / "certificate.pem"),
        "key": str(key_file) if key_file else None,
    }


def publish(folder: Folder, authority: Authority, validity: timedelta = LIST_VALIDITY) -> None:
    """Write the next revocation list."""
    index = folder.index().numbering()
    # The number is used up before the list exists, so that two lists never share one, whatever crashes.
    folder.write_index(index)
    revoked = {int(each.serial, 16): each.revoked for each in index.issued if each.revoked is not None}
    write(folder.crl, build_crl(authority, index.crl_number, revoked, now(), validity))


def is_held(folder: Folder, identity: str) -> bool:
    """Tell whether "node/NAME" or "desk/NAME" holds a certificate that counts."""
    return any(each.state(now()) == "valid" for each in folder.index().of(identity))
