"""Using a country's authority from another command: its passphrase, a new root, and certificates put where they go."""

import os
import sys
from pathlib import Path
from typing import Literal

import typer

from node.cli.directory_files import read
from node.cli.pki import MIN_PASSPHRASE, PASSPHRASE_VARIABLE
from node.cli.pki_folder import PRIVATE, Folder, Index, entry, now, write
from node.errors import UsageError
from node.identity.authority import build_crl, create_root, generate_key, issue_desk, issue_node, key_pem
from node.identity.certificates import parse_chain, verify_chain
from node.identity.spiffe import TrustDomain


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


def make_root(folder: Folder, domain: TrustDomain, passphrase: bytes) -> None:
    """Make a country's root in the folder, with an empty revocation list."""
    at, key = now(), generate_key("P-384")
    certificate = create_root(domain, key, at)
    with folder.locked():
        folder.write_authority(folder.root, certificate, key_pem(key, passphrase))
        write(folder.bundle, certificate)
        index = Index(country=domain.country, federation=domain.federation).numbering()
        folder.write_index(index)
        write(folder.crl, build_crl(folder.authority(passphrase), index.crl_number, {}, at))


def issue(
    folder: Folder,
    kind: Literal["node", "desk"],
    name: str,
    place: Path,
    passphrase: bytes,
    *,
    dns_names: tuple[str, ...] = (),
) -> None:
    """Issue a certificate with a new key, and put certificate.pem and key.pem into `place`.

    Raises:
        UsageError: the authority's key is not here, the passphrase is wrong, or a name can't stand in a certificate.
    """
    at, key = now(), generate_key()
    with folder.locked():
        index, authority = folder.index(), folder.authority(passphrase)
        if kind == "node":
            chain = issue_node(authority, name, key.public_key(), dns_names=dns_names, now=at)
        else:
            chain = issue_desk(authority, name, key.public_key(), now=at)
        leaf, *between = parse_chain(chain)
        # What peers would refuse must not be handed over.
        verify_chain(leaf, between, folder.certificates()[:1], at)
        folder.write_index(index.adding(entry(leaf, authority, kind, name, at=at, dns_names=dns_names)))
        write(place / "key.pem", key_pem(key, None), PRIVATE)
        write(place / "certificate.pem", chain)


def is_held(folder: Folder, identity: str) -> bool:
    """Tell whether "node/NAME" or "desk/NAME" holds a certificate that counts."""
    return any(each.state(now()) == "valid" for each in folder.index().of(identity))
