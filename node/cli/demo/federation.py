"""Three countries in a temporary folder: their nodes on disk, and a directory that two of three stewards signed.

Every step is the one that people take with `enlace` commands, on the same files; only nobody meets in person.
"""

import random
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from node.cli.client import desk
from node.cli.directory_files import parse_time, private_key, read, read_record
from node.cli.distributing import accept_directory
from node.cli.founding import Plan, make_node
from node.cli.home import Home
from node.cli.issuing import issue
from node.cli.pki_folder import PRIVATE, Folder, write
from node.cli.starting_files import starter_rulebook
from node.identity.approvals import build_pairing, sign_pairing
from node.identity.directory import build_directory, sign_directory
from node.identity.keys import generate_private_key, public_key
from node.identity.members import sign_member
from node.identity.rulebook_approvals import parse_signed_approval, sign_approval
from node.identity.spiffe import TrustDomain
from node.identity.stewards import build_root
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Rule
from node.wire.codes_pb2 import Crime, InstrumentKind, Obligation, UnitType
from node.wire.desk_pb2 import (
    EnrolOfficerRequest,
    ListPairingsRequest,
    OfficerRole,
    RehearsePairingRequest,
    SignPairingRequest,
)
from node.wire.directory_pb2 import Instrument, SignedMember
from node.wire.rulebook_pb2 import (
    GetRulebookRequest,
    ProposeRulebookRequest,
    ScheduleRulebookRequest,
    SignRulebookRequest,
)

FEDERATION: Final = "demo.example"
STEWARDS: Final = ("steward-1", "steward-2", "steward-3")
THRESHOLD: Final = 2
FOCAL: Final = ("focal-1", "focal-2")
ADMINISTRATOR: Final = "administrator"
COUNSEL: Final = "counsel"

# Reserved for fiction or not assigned; nobody is called by the demonstration.
COUNTRIES: Final[Mapping[str, tuple[str, str]]] = {
    "GT": ("Guatemala", "+502 0555 0199"),
    "MX": ("Mexico", "+52 000 555 0199"),
    "US": ("United States", "+1 956 555 0199"),
}

_POLICE: Final = UnitType.UNIT_TYPE_POLICE_INTELLIGENCE
OFFICERS: Final = {
    "analyst": (_POLICE, OfficerRole.OFFICER_ROLE_UNIT),
    "second": (_POLICE, OfficerRole.OFFICER_ROLE_UNIT),
    "supervisor": (_POLICE, OfficerRole.OFFICER_ROLE_SUPERVISOR),
    COUNSEL: (UnitType.UNIT_TYPE_CENTRAL_AUTHORITY, OfficerRole.OFFICER_ROLE_FOCAL_POINT),  # has no key to sign with
    "focal-1": (UnitType.UNIT_TYPE_CENTRAL_AUTHORITY, OfficerRole.OFFICER_ROLE_FOCAL_POINT),
    "focal-2": (UnitType.UNIT_TYPE_CENTRAL_AUTHORITY, OfficerRole.OFFICER_ROLE_FOCAL_POINT),
    "auditor": (UnitType.UNIT_TYPE_OVERSIGHT, OfficerRole.OFFICER_ROLE_AUDITOR),
}

_TRAFFICKING: Final = (Crime.CRIME_TRAFFICKING,)
_SMUGGLING: Final = (Crime.CRIME_SMUGGLING, Crime.CRIME_SMUGGLING_AGGRAVATED, Crime.CRIME_DOCUMENT_FRAUD)
# Id, title, when it entered into force (United Nations Treaty Collection, ch. XVIII 12, 12-a, 12-b), crimes covered.
INSTRUMENTS: Final = (
    ("UNTOC", "United Nations Convention against Transnational Organized Crime", "2003-09-29", ()),
    (
        "TRAFFICKING-PROTOCOL",
        "Protocol to Prevent, Suppress and Punish Trafficking in Persons",
        "2003-12-25",
        _TRAFFICKING,
    ),
    ("SMUGGLING-PROTOCOL", "Protocol against the Smuggling of Migrants by Land, Sea and Air", "2004-01-28", _SMUGGLING),
)
_NO_END: Final = "2100-01-01"


@dataclass(frozen=True, slots=True)
class Country:
    """One country of the demonstration."""

    code: str
    name: str
    home: Home
    passphrase: bytes
    unit: str

    @property
    def passphrase_file(self) -> Path:
        """Where the authority's passphrase is kept, which in earnest is in people's heads."""
        return self.home.path / "ca" / "passphrase"

    def rules(self) -> dict[str, Rule]:
        """Return the country's release rules by id."""
        return {rule.id: rule for rule in _book(starter_rulebook(self.code, "release"))}


def floor_rules() -> dict[str, Rule]:
    """Return the rules of the multilateral floor by id."""
    return {rule.id: rule for rule in _book(_floor())}


def make_countries(folder: Path, units: Mapping[str, str]) -> list[Country]:
    """Make a node for each country, down as yet, with the directory in force; `units` are the analysts' units."""
    stewards = {name: generate_private_key() for name in STEWARDS}
    root = build_root(
        federation=FEDERATION,
        version=1,
        threshold=THRESHOLD,
        stewards={name: public_key(key) for name, key in stewards.items()},
    )
    ports = iter(free_ports(3 * len(COUNTRIES)))
    countries = []
    for code, (name, telephone) in COUNTRIES.items():
        country = Country(code, name, Home(folder / code.lower()), secrets.token_hex(16).encode(), units[code])
        _make(country, root, telephone, [f"127.0.0.1:{next(ports)}" for _ in range(3)])
        countries.append(country)
    directory = _directory(countries, root, [stewards[name] for name in STEWARDS[:THRESHOLD]])
    for country in countries:
        accept_directory(country.home, directory)
    return countries


def enrol(country: Country) -> None:
    """Enrol the officers of a running node."""
    folder = Folder(country.home.path)
    with folder.locked():
        for name in OFFICERS:
            issue(folder, "desk", name, country.passphrase, out=country.home.officer(name))
    with desk(country.home, ADMINISTRATOR) as stub:
        for name, (unit_type, role) in OFFICERS.items():
            unit = country.unit if unit_type == _POLICE else "Central authority (demo)"
            stub.EnrolOfficer(EnrolOfficerRequest(officer=name, unit=unit, unit_type=unit_type, roles=[role]))


def enact(country: Country) -> int:
    """Have counsel of a running node propose its rulebooks, and the two focal points approve them.

    Returns:
        When they come into force, in UTC microseconds: a few seconds from now.
    """
    in_force_us = 0
    with ExitStack() as stack:
        stubs = {name: stack.enter_context(desk(country.home, name)) for name in (COUNSEL, *FOCAL)}
        for layer in ("release", "outbound"):
            text = read(country.home.rulebooks / f"{layer}.yaml")
            digest = stubs[COUNSEL].ProposeRulebook(ProposeRulebookRequest(text=text)).rulebook.sha256
            for name in FOCAL:
                # Each signs what the node holds; in earnest they read it first: `enlace policy approve`.
                held = stubs[name].GetRulebook(GetRulebookRequest(sha256=digest))
                signed, _ = parse_signed_approval(held.signed_approval)
                signed = sign_approval(signed, private_key(country.home.focal / f"{name}.pem", None))
                stubs[name].SignRulebook(SignRulebookRequest(signed_approval=signed.SerializeToString()))
            scheduled = stubs[COUNSEL].ScheduleRulebook(ScheduleRulebookRequest(sha256=digest))
            in_force_us = max(in_force_us, scheduled.activates_us)
    return in_force_us


def pair(country: Country) -> None:
    """Have the two focal points of a running node sign the pairings with all peers, each after its rehearsal."""
    with ExitStack() as stack:
        stubs = {name: stack.enter_context(desk(country.home, name)) for name in FOCAL}
        for state in stubs[FOCAL[0]].ListPairings(ListPairingsRequest()).pairings:
            rehearsal = stubs[FOCAL[0]].RehearsePairing(RehearsePairingRequest(peer=state.peer))
            signed = build_pairing(
                country=country.code,
                peer=state.peer,
                peer_root_key=state.root_key,
                time_us=_now_us(),
                rehearsal_sha256=rehearsal.sha256,
            )
            for name, stub in stubs.items():
                signed = sign_pairing(signed, private_key(country.home.focal / f"{name}.pem", None))
                stub.SignPairing(SignPairingRequest(signed_pairing=signed.SerializeToString()))


def _make(country: Country, root: bytes, telephone: str, addresses: Sequence[str]) -> None:
    peer, desk_address, metrics = addresses
    make_node(
        Plan(
            home=country.home,
            domain=TrustDomain(country.code, FEDERATION),
            name=f"{country.code.lower()}-1",
            root=root,
            passphrase=country.passphrase,
            authority=None,
            peer=peer,
            desk=desk_address,
            metrics=metrics,
            endpoint=peer,
            database="",
            keystore="",
            focal=FOCAL,
            administrator=ADMINISTRATOR,
            telephone=telephone,
        )
    )
    write(country.passphrase_file, country.passphrase, PRIVATE)


def _directory(countries: Sequence[Country], root: bytes, signing: Sequence[bytes]) -> bytes:
    signed = build_directory(
        root,
        version=1,
        issued_us=_now_us(),
        members=[_member(country) for country in countries],
        floor_rulebook=_floor(),
        instruments=[
            Instrument(
                id=name,
                kind=InstrumentKind.INSTRUMENT_KIND_TREATY,
                title=title,
                parties=[country.code for country in countries],
                valid_from_us=parse_time(since),
                valid_until_us=parse_time(_NO_END),
                crimes=crimes,
            )
            for name, title, since, crimes in INSTRUMENTS
        ],
        demonstration=True,
    )
    for key in signing:
        signed = sign_directory(signed, key)
    return signed.SerializeToString()


def _member(country: Country) -> SignedMember:
    record = read_record(country.home.path / "member.yaml")
    record.treaties.extend(name for name, *_ in INSTRUMENTS)
    record.accepted.extend(number for number in Obligation.values() if number)
    return sign_member(record, private_key(country.home.keys / "member-root.pem", country.passphrase_file))


def _floor() -> bytes:
    return (files("node.policy") / "rulebooks" / "floor.yaml").read_bytes()


def _book(text: bytes) -> Sequence[Rule]:
    return parse_rulebook(text, demonstration=True).rules


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody listens on, below those that a system gives to outgoing connections.

    One of the latter could be gone again before its node listens. They begin at 32768 on Linux, at 49152 elsewhere (RFC
    6335 section 6).
    """
    found: list[int] = []
    # All are held until all are known, so that none is given twice.
    with ExitStack() as stack:
        for port in random.sample(range(10_240, 20_000), 9_760):
            if len(found) == count:
                break
            probe = stack.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
    return found


def _now_us() -> int:
    return time.time_ns() // 1_000
