"""A federation for tests: countries with authorities, nodes on disk, a signed directory, pairings and officers.

`World` makes the files and databases; a test runs the real node over them with `node.cli.serving.running`, in its own
process or in another. Nothing in it is a stand-in: only the clock of the hostile peers is theirs.
"""

import fcntl
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import grpc
from sqlalchemy import Connection

from node.cli.home import Home
from node.config import Config, load_config
from node.identity.approvals import build_pairing, countersign, parse_pairing, sign_pairing
from node.identity.directory import TrustedDirectory, build_directory, sign_directory
from node.identity.keys import generate_private_key, private_key_pem, public_key
from node.identity.members import sign_member
from node.identity.spiffe import SpiffeId
from node.identity.stewards import build_root
from node.store import directories, focal_points, officers, pairings
from node.store.cases import Cases
from node.store.database import Database
from node.store.entries import Entries
from node.store.ids import new_id
from node.store.keystore import KeyStore
from node.store.officers import Officer
from node.store.vault import Vault, create_key_file, read_key_file
from node.store.writer import Writer
from node.wire.approval_pb2 import FocalEnrolment, SignedPairing
from node.wire.codes_pb2 import InstrumentKind, Obligation, UnitType
from node.wire.desk_pb2 import OfficerRole
from node.wire.directory_pb2 import Instrument, MemberRecord, Node, NodeKey, SignedMember
from node.wire.entry_pb2 import Case, Entry
from tests.pki import FEDERATION, Country, Holder, country, desk_certificate, node_certificate
from tests.rulebooks import enact

RULEBOOKS = Path(__file__).parent.parent / "node" / "policy" / "rulebooks"
FLOOR = (RULEBOOKS / "floor.yaml").read_bytes()
DAY_US = 86_400_000_000
STEWARDS = ("ana", "bea", "carlos")
FOCAL = ("focal-1", "focal-2")  # as focal points and as officers
ROLES = {
    "analyst": OfficerRole.OFFICER_ROLE_UNIT,
    "second": OfficerRole.OFFICER_ROLE_UNIT,
    "supervisor": OfficerRole.OFFICER_ROLE_SUPERVISOR,
    "focal": OfficerRole.OFFICER_ROLE_FOCAL_POINT,
    **dict.fromkeys(FOCAL, OfficerRole.OFFICER_ROLE_FOCAL_POINT),
    "auditor": OfficerRole.OFFICER_ROLE_AUDITOR,
    "administrator": OfficerRole.OFFICER_ROLE_ADMINISTRATOR,
}


def now_us() -> int:
    return time.time_ns() // 1_000


_SHARES, _SHARE = 32, 399  # above the ports that the demonstration takes, below those of outgoing connections


def _own_ports() -> Iterator[int]:
    """Ports of this process of a test run alone, over and over, whoever else tests on the machine."""
    for number in range(_SHARES):
        held = os.open(Path(tempfile.gettempdir()) / f"enlace-test-ports-{number}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until this process ends
        except BlockingIOError:
            os.close(held)
            continue
        return cycle(range(20_000 + number * _SHARE, 20_000 + (number + 1) * _SHARE))
    raise RuntimeError(f"{_SHARES} processes test on this machine already")


_PORTS = _own_ports()


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens; each is given again only when all were, since its node may start anew."""
    found: list[int] = []
    while len(found) < count:
        port = next(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


@dataclass
class Place:
    """One country's node on disk, with all the secrets that its people hold."""

    code: str
    home: Home
    peer: str
    desk: str
    metrics: str
    ca: Country
    node: Holder
    signing_key: bytes = field(default_factory=generate_private_key)
    root_key: bytes = field(default_factory=generate_private_key)
    focal_keys: tuple[bytes, bytes] = field(default_factory=lambda: (generate_private_key(), generate_private_key()))
    record_number: int = 1
    since_us: int = field(default_factory=now_us)  # so that the record stays the same until something in it changes
    database: str = ""  # URL; empty: SQLite in the home
    more_nodes: tuple[Node, ...] = ()  # of the member's record, besides the one on disk
    rulebooks: Mapping[str, bytes] = field(default_factory=dict)  # text by layer, instead of what ships; empty: none
    accepted: tuple[Obligation.ValueType, ...] = tuple(value for value in Obligation.values() if value)

    @property
    def name(self) -> str:
        return f"{self.code.lower()}-1"

    @property
    def server_name(self) -> str:
        return f"{self.name}.{self.code.lower()}.{FEDERATION}"

    @property
    def config(self) -> Config:
        return load_config(self.home.config)

    def officer(self, name: str) -> Holder:
        return desk_certificate(self.ca, name)

    def record(self) -> MemberRecord:
        key = NodeKey(
            public_key=public_key(self.signing_key),
            valid_from_us=self.since_us - DAY_US,
            valid_until_us=self.since_us + 90 * DAY_US,
        )
        return MemberRecord(
            country=self.code,
            number=self.record_number,
            ca_certificates=self.ca.roots_der,
            nodes=[
                Node(name=self.name, endpoint=self.peer, server_name=self.server_name, signing_keys=[key]),
                *self.more_nodes,
            ],
            duty_telephone="+502 2411 9911",
            accepted=self.accepted,
            protocols=[1],
            treaties=["UNTOC"],
        )

    def member(self) -> SignedMember:
        return sign_member(self.record(), self.root_key)

    def desk_channel(self, officer: str = "analyst") -> grpc.aio.Channel:
        holder = self.officer(officer)
        credentials = grpc.ssl_channel_credentials(self.ca.roots_pem, holder.key_pem, holder.chain_pem)
        options = [("grpc.ssl_target_name_override", self.server_name), ("grpc.use_local_subchannel_pool", 1)]
        return grpc.aio.secure_channel(self.desk, credentials, options=options)

    def configure(self, *, log_level: str = "info", **limits: float) -> None:
        """Write the configuration file, with these limits."""
        home = self.home
        home.config.write_text(f"""
country = "{self.code}"
federation = "{FEDERATION}"
name = "{self.name}"
log_level = "{log_level}"
listen = {{ peer = "{self.peer}", desk = "{self.desk}", metrics = "{self.metrics}" }}
[tls]
certificate = "tls/node.pem"
key = "tls/node.key"
country_roots = "tls/roots.pem"
[store]
database = "{self.database or f"sqlite:///{home.data}/enlace.db"}"
keystore = "sqlite:///{home.data}/keys.db"
key_encryption_key = "keys/key-encryption.key"
[trust]
root = "trust/root.bin"
signing_key = "keys/signing.pem"
[limits]
{chr(10).join(f"{name} = {value}" for name, value in limits.items())}
""")

    def write(self, *pairs: tuple[Case, Iterable[Entry]]) -> None:
        """Store cases with entries, while the node is down."""
        self.write_many(pairs)

    def change(self, change: Callable[[Connection], object]) -> None:
        """Make a change in the database of a node that is down, with a line, as the node makes it."""
        with Database.open(self.config.store.database) as database, KeyStore.open(self.config.store.keystore) as keys:
            vault = Vault(keys, read_key_file(self.config.store.key_encryption_key))
            with Writer(database.engine, vault, f"{self.code}/{self.name}") as writer:
                writer.submit(change).result()

    def write_many(self, pairs: Iterable[tuple[Case, Iterable[Entry]]], at_once: int = 500) -> int:
        """Store cases with entries in transactions of so many cases, and return the number of entries."""
        written, pairs = 0, iter(pairs)
        with Database.open(self.config.store.database) as database, KeyStore.open(self.config.store.keystore) as keys:
            vault = Vault(keys, read_key_file(self.config.store.key_encryption_key))
            dossiers = Cases(vault)
            records = Entries(database, vault, vault.lookup_keys())

            def write(connection: Connection, batch: list[tuple[Case, Iterable[Entry]]]) -> int:
                for case, _ in batch:
                    dossiers.put(connection, case, now_us())
                new = [_in_case(entry, case) for case, entries in batch for entry in entries]
                return len(records.insert(connection, new, now_us()))

            with Writer(database.engine, vault, f"{self.code}/{self.name}") as writer:
                while batch := list(islice(pairs, at_once)):
                    for case, _ in batch:
                        case.case_id = case.case_id or new_id()
                    vault.ensure_keys([case.case_id for case, _ in batch])
                    written += writer.submit(partial(write, batch=batch)).result()
        return written


def _in_case(entry: Entry, case: Case) -> Entry:
    entry.case_id = case.case_id
    return entry


@dataclass(repr=False)  # asyncio writes out what a task returned, and this is long
class World:
    """Countries that know each other; `make` lays them out below a folder."""

    folder: Path
    places: dict[str, Place]
    stewards: dict[str, bytes]
    root: bytes
    version: int = 0
    directory: bytes = b""
    demonstration: bool = True
    floor: bytes = FLOOR  # of the next directory

    @classmethod
    def make(
        cls,
        folder: Path,
        codes: Iterable[str] = ("GT", "MX", "US"),
        *,
        paired: bool = True,
        databases: Mapping[str, str] | None = None,
        more_nodes: Mapping[str, tuple[Node, ...]] | None = None,
        rulebooks: Mapping[str, Mapping[str, bytes]] | None = None,
        demonstration: bool = True,
    ) -> "World":
        """Lay countries out; `databases` are URLs of empty databases, for those that don't have SQLite."""
        stewards = {name: generate_private_key() for name in STEWARDS}
        root = build_root(
            federation=FEDERATION,
            version=1,
            threshold=2,
            stewards={name: public_key(key) for name, key in stewards.items()},
        )
        places = {code: _place(folder / code, code) for code in codes}
        world = cls(folder, places, stewards, root, demonstration=demonstration)
        for code, url in (databases or {}).items():
            world[code].database = url
        for code, nodes in (more_nodes or {}).items():
            world[code].more_nodes = nodes
        for code, texts in (rulebooks or {}).items():
            world[code].rulebooks = texts
        world.compose()
        for place in world.places.values():
            world.found(place, paired=paired)
        return world

    def __getitem__(self, code: str) -> Place:
        return self.places[code]

    def compose(self, *, lifetime_us: int = 90 * DAY_US, issued_us: int = 0) -> bytes:
        """Make and sign the next version of the directory from the places as they are now."""
        self.version += 1
        self.directory = self.directory_of(self.version, lifetime_us=lifetime_us, issued_us=issued_us)
        return self.directory

    def directory_of(
        self,
        version: int,
        *,
        members: Iterable[SignedMember] | None = None,
        signers: Iterable[bytes] | None = None,
        root: bytes = b"",
        lifetime_us: int = 90 * DAY_US,
        issued_us: int = 0,
    ) -> bytes:
        """Return a directory of any version, with these members and steward keys; nothing here changes."""
        parties = sorted(self.places)
        instrument = Instrument(
            id="UNTOC",
            kind=InstrumentKind.INSTRUMENT_KIND_TREATY,
            title="United Nations Convention against Transnational Organized Crime",
            parties=parties,
            valid_from_us=now_us() - DAY_US,
            valid_until_us=now_us() + 365 * DAY_US,
        )
        signed = build_directory(
            root or self.root,
            version=version,
            issued_us=issued_us or now_us() - 1_000_000,
            members=[self.places[code].member() for code in parties] if members is None else members,
            floor_rulebook=self.floor,
            instruments=[instrument] if members is None else [],
            demonstration=self.demonstration,
            lifetime_us=lifetime_us,
        )
        for key in (self.stewards["ana"], self.stewards["bea"]) if signers is None else signers:
            signed = sign_directory(signed, key)
        return signed.SerializeToString()

    def found(self, place: Place, *, paired: bool) -> None:
        """Write the node's files and its database as they are after its people have done their part."""
        _write_files(place, self.root)
        config = place.config
        trusted = TrustedDirectory.pinned(self.root).updated(self.directory, now_us())
        with (
            Database.open(config.store.database, create=True) as database,
            KeyStore.open(config.store.keystore, create=True) as keystore,
        ):
            vault = Vault(keystore, read_key_file(config.store.key_encryption_key), create=True)

            def fill(connection: Connection) -> None:
                directories.put_directory(connection, trusted, now_us())
                enrolments = [
                    FocalEnrolment(name=name, public_key=public_key(key), time_us=now_us())
                    for name, key in zip(FOCAL, place.focal_keys, strict=True)
                ]
                first, second = place.focal_keys
                focal_points.found(
                    connection, vault, (countersign(enrolments[0], second), countersign(enrolments[1], first)), now_us()
                )
                focal = {name: public_key(key) for name, key in zip(FOCAL, place.focal_keys, strict=True)}
                for layer in ("release", "outbound"):
                    text = place.rulebooks.get(layer, _shipped(place.code, layer))
                    if text:
                        at_us = now_us() - 1_000_000
                        enact(connection, vault, text, focal=focal, keys=place.focal_keys, floor=FLOOR, at_us=at_us)
                for name, role in ROLES.items():
                    identity = SpiffeId(place.code, FEDERATION, "desk", name).uri
                    unit_type = UnitType.UNIT_TYPE_POLICE_INTELLIGENCE
                    officers.put_officer(
                        connection, Officer(name, identity, "UNIT-1", unit_type, frozenset({role})), now_us()
                    )
                for other in self.places.values() if paired else ():
                    if other is not place:
                        signed = signed_pairing(place, other).SerializeToString()
                        pairing = parse_pairing(SignedPairing.FromString(signed).pairing)
                        pairings.put(connection, pairing, signed, now_us=now_us())

            with Writer(database.engine, vault, f"{place.code}/{place.name}") as writer:
                writer.submit(fill).result()


def signed_pairing(place: Place, other: Place, signers: int = 2) -> SignedPairing:
    signed = build_pairing(
        country=place.code,
        peer=other.code,
        peer_root_key=public_key(other.root_key),
        time_us=now_us(),
        rehearsal_sha256=bytes(32),
    )
    for key in place.focal_keys[:signers]:
        signed = sign_pairing(signed, key)
    return signed


def _place(folder: Path, code: str) -> Place:
    ca = country(code)
    name = f"{code.lower()}-1"
    server_name = f"{name}.{code.lower()}.{FEDERATION}"
    peer, desk, metrics = (f"127.0.0.1:{port}" for port in free_ports(3))
    return Place(code, Home(folder), peer, desk, metrics, ca, node_certificate(ca, name, dns_names=(server_name,)))


def _shipped(code: str, layer: str) -> bytes:
    """The text of the country's own rulebook; of one that ships none, Mexico's in its name."""
    suffix = "" if layer == "release" else f"-{layer}"
    own = RULEBOOKS / f"{code.lower()}{suffix}.yaml"
    if own.exists():
        return own.read_bytes()
    return (RULEBOOKS / f"mx{suffix}.yaml").read_bytes().replace(b"\ncountry: MX\n", b"\ncountry: %b\n" % code.encode())


def _write_files(place: Place, root: bytes) -> None:
    home = place.home
    for folder in (home.tls, home.keys, home.trust, home.data):
        folder.mkdir(parents=True)
    write_identity(place)
    (home.tls / "roots.pem").write_bytes(place.ca.roots_pem)
    (home.keys / "signing.pem").write_bytes(private_key_pem(place.signing_key, None))
    create_key_file(home.keys / "key-encryption.key")
    (home.trust / "root.bin").write_bytes(root)
    place.configure()


def write_identity(place: Place) -> None:
    (place.home.tls / "node.pem").write_bytes(place.node.chain_pem)
    (place.home.tls / "node.key").write_bytes(place.node.key_pem)
