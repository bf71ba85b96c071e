"""Making a node: keys, certificates, configuration, databases, first people, in the layout of `node.cli.home`."""

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection

from node.cli.directory_files import create, public_path
from node.cli.home import Home
from node.cli.issuing import issue, make_root
from node.cli.pki_folder import PRIVATE, Folder, now, write
from node.cli.starting_files import CONFIG, MEMBER, starter_rulebook
from node.config import Config, load_config
from node.errors import UsageError
from node.federation.envelope import Signer
from node.federation.lines import local_line
from node.identity.approvals import FOUNDERS, countersign
from node.identity.keys import generate_private_key, key_id, private_key_pem, public_key
from node.identity.spiffe import SpiffeId, TrustDomain
from node.identity.stewards import parse_root
from node.store import focal_points, officers
from node.store.database import Database
from node.store.keystore import KeyStore
from node.store.officers import Officer
from node.store.vault import Vault, create_key_file, read_key_file
from node.store.writer import Writer
from node.wire.approval_pb2 import FocalEnrolment, SignedFocalEnrolment
from node.wire.codes_pb2 import UnitType
from node.wire.desk_pb2 import OfficerRole
from node.wire.ledger_pb2 import LeafKind, LeafPrivate

SIGNING_KEY_VALIDITY: Final = timedelta(days=365)
ADMINISTRATION: Final = "administration"  # unit of the first administrator
INIT: Final = "INIT"  # the ledger's reason of what was there from the start


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a node is to be.

    Attributes:
        home: A folder that is empty or does not exist.
        root: Root, as stewards handed it over.
        passphrase: Of the authority's key, and of the country's own root key that is made here.
        authority: The folder of the country's authority, where there is one already; else one is made in the home.
        endpoint: Where peers reach the node, "host:port".
        database: SQLAlchemy URL; empty for a SQLite file in the home. `keystore` likewise.
        focal: Names (pseudonyms) of the two first focal points.
        administrator: Name (pseudonym) of the first administrator.
        telephone: The duty telephone in international form; empty where it is yet to be filled in.
    """

    home: Home
    domain: TrustDomain
    name: str
    root: bytes
    passphrase: bytes
    authority: Path | None
    peer: str
    desk: str
    metrics: str
    endpoint: str
    database: str
    keystore: str
    focal: tuple[str, ...]
    administrator: str
    telephone: str

    @property
    def server_name(self) -> str:
        """The DNS name in the node's certificate."""
        return f"{self.name}.{self.domain.host}"


def make_node(plan: Plan) -> None:
    """Make everything that a node needs before it is in a directory.

    What was begun is taken away again when a step fails, so that the command can be repeated.

    Raises:
        UsageError, StoreError: a value is not allowed, or the home is not empty; the text says which.
    """
    path = plan.home.path
    _verify_empty(path)
    federation = parse_root(plan.root).federation
    if federation != plan.domain.federation:
        raise UsageError(f"the stewards' root is of {federation}, not of {plan.domain.federation}")
    if len(plan.focal) != FOUNDERS or len(set(plan.focal)) != FOUNDERS:
        raise UsageError("two focal points are enrolled together: give --focal twice, with two names")
    existed = path.exists()
    try:
        _make(plan)
    except BaseException:
        _clear(path)
        if not existed:
            with suppress(OSError):
                path.rmdir()
        raise


def _verify_empty(path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} is not empty: a node is made in a new folder")


def _close_to_others(path: Path) -> None:
    """Make the home its owner's alone, also one that was there and open to others."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        path.chmod(0o700)
    except PermissionError as error:
        raise UsageError(f"{path} is another user's: make the node in a folder of its own") from error
    _verify_empty(path)  # until now, others may have put links there, for keys to be written through


def _clear(path: Path) -> None:
    for each in path.iterdir() if path.is_dir() else ():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()


def _make(plan: Plan) -> None:
    home = plan.home
    _close_to_others(home.path)
    officers = home.officer(plan.administrator).parent
    for folder in (home.tls, home.keys, home.focal, home.rulebooks, home.trust, home.data, officers):
        folder.mkdir(mode=0o700)
    _certificates(plan)
    signing = generate_private_key()
    _write_key(home.keys / "signing-key.pem", signing, None)
    # It changes the country's record and no node reads it: it goes into a safe, hence the passphrase.
    _write_key(home.keys / "member-root.pem", generate_private_key(), plan.passphrase)
    create_key_file(home.keys / "key-encryption-key")
    create(home.trust / "root.bin", plan.root)
    for layer in ("release", "outbound"):
        create(home.rulebooks / f"{layer}.yaml", starter_rulebook(plan.domain.country, layer))
    create(home.config, _config(plan).encode())
    create(home.path / "member.yaml", _member(plan).encode())
    focal_keys = {name: generate_private_key() for name in plan.focal}
    for name, key in focal_keys.items():
        _write_key(home.focal / f"{name}.pem", key, None)
    signer = Signer(plan.domain.country, plan.name, key_id(public_key(signing)), signing)
    _databases(load_config(home.config), plan, focal_keys, signer)


def _certificates(plan: Plan) -> None:
    folder = Folder(plan.authority or plan.home.path)
    if plan.authority is not None and folder.index().domain != plan.domain:
        raise UsageError(f"{plan.authority} is the authority of {folder.index().domain.uri}, not of {plan.domain.uri}")
    names = (plan.server_name, "localhost")  # the second serves whoever reads the metrics on the node's own machine
    with folder.locked():
        if plan.authority is None:
            make_root(folder, plan.domain, plan.passphrase)
        issue(folder, "node", plan.name, plan.passphrase, dns_names=names, out=plan.home.tls)
        place = plan.home.officer(plan.administrator)
        issue(folder, "desk", plan.administrator, plan.passphrase, out=place)
    write(plan.home.tls / "bundle.crt", folder.bundle.read_bytes())


def _write_key(path: Path, private: bytes, passphrase: bytes | None) -> None:
    create(path, private_key_pem(private, passphrase), PRIVATE)
    public = Ed25519PublicKey.from_public_bytes(public_key(private))
    create(public_path(path), public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def _config(plan: Plan) -> str:
    return CONFIG.substitute(
        country=plan.domain.country,
        federation=plan.domain.federation,
        name=plan.name,
        peer=plan.peer,
        desk=plan.desk,
        metrics=plan.metrics,
        database=plan.database or f"sqlite:///{plan.home.data / 'enlace.db'}",
        keystore=plan.keystore or f"sqlite:///{plan.home.data / 'keys.db'}",
    )


def _member(plan: Plan) -> str:
    at = now()
    return MEMBER.substitute(
        country=plan.domain.country,
        name=plan.name,
        endpoint=plan.endpoint,
        server_name=plan.server_name,
        valid_from=f"{at - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
        valid_until=f"{at + SIGNING_KEY_VALIDITY:%Y-%m-%dT%H:%M:%SZ}",
        telephone=plan.telephone,
    )


def _databases(config: Config, plan: Plan, focal_keys: dict[str, bytes], signer: Signer) -> None:
    """Make database and key store, and enrol the first people, with a ledger line for each."""
    now_us = time.time_ns() // 1_000
    founders = _founders(focal_keys, now_us)
    identity = SpiffeId(plan.domain.country, plan.domain.federation, "desk", plan.administrator).uri
    roles = frozenset({OfficerRole.OFFICER_ROLE_ADMINISTRATOR})
    # Who neither reads nor asks is of no unit type, which never helps release.
    administrator = Officer(plan.administrator, identity, ADMINISTRATION, UnitType.UNIT_TYPE_UNKNOWN, roles)
    lines = [
        local_line(LeafKind.LEAF_KIND_ENROLMENT, LeafPrivate(subject=name.encode(), reason=INIT), signer, now_us)
        for name in (*focal_keys, plan.administrator)
    ]

    with (
        Database.open(config.store.database, create=True) as database,
        KeyStore.open(config.store.keystore, create=True) as keystore,
    ):
        vault = Vault(keystore, read_key_file(config.store.key_encryption_key), create=True)

        def enrol(connection: Connection) -> None:
            focal_points.found(connection, vault, founders, now_us)
            officers.put_officer(connection, administrator, now_us)

        with Writer(database.engine, vault, f"{signer.country}/{signer.node}") as writer:
            writer.submit(enrol, lines).result()


def _founders(focal_keys: dict[str, bytes], now_us: int) -> tuple[SignedFocalEnrolment, SignedFocalEnrolment]:
    one, other = (
        FocalEnrolment(name=name, public_key=public_key(key), time_us=now_us) for name, key in focal_keys.items()
    )
    key_of_one, key_of_other = focal_keys.values()
    return countersign(one, key_of_other), countersign(other, key_of_one)
