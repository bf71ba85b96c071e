"""Directories for the other tests, good ones and evil ones: GT, MX and US, and three stewards of whom two sign."""

from collections.abc import Callable, Iterable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from node.identity.authority import create_root
from node.identity.directory import DAY_US, LIFETIME_US, TrustedDirectory, build_directory, sign_directory
from node.identity.keys import public_key
from node.identity.members import sign_member
from node.identity.spiffe import TrustDomain
from node.identity.stewards import build_root, sign_root
from node.wire.codes_pb2 import Crime, InstrumentKind, Obligation
from node.wire.directory_pb2 import (
    Directory,
    Instrument,
    MemberRecord,
    Node,
    NodeKey,
    SignedDirectory,
    SignedMember,
    SignedRoot,
)
from tests.pki import FEDERATION, NOW, country

NOW_US = 1_772_000_000_000_000
FLOOR = b"rulebook: FLOOR\n"


def key(name: str) -> bytes:
    return name.encode().ljust(32, b".")


def authority(code: str) -> bytes:
    """Return the CA certificate (DER) of a country."""
    return country(code).roots_der[0]


def again_certified(owner: str, code: str, federation: str = FEDERATION) -> bytes:
    """Return a CA certificate (DER) of a country for the key that is another one's CA."""
    made = create_root(TrustDomain(code, federation), country(owner).root.key, NOW)
    return x509.load_pem_x509_certificate(made).public_bytes(Encoding.DER)


def record(code: str, number: int = 1) -> MemberRecord:
    name = f"{code.lower()}-1"
    return MemberRecord(
        country=code,
        number=number,
        ca_certificates=[authority(code)],
        nodes=[
            Node(
                name=name,
                endpoint=f"{name}.example:7443",
                server_name=f"{name}.{code.lower()}.{FEDERATION}",
                signing_keys=[
                    NodeKey(
                        public_key=public_key(key(f"{code} node")),
                        valid_from_us=NOW_US - DAY_US,
                        valid_until_us=NOW_US + DAY_US,
                    )
                ],
            )
        ],
        duty_telephone="+502 2411 9911",
        accepted=[Obligation.OBLIGATION_NO_ONWARD, Obligation.OBLIGATION_RETENTION],
        protocols=[1],
        treaties=["UNTOC"],
    )


def member(code: str, number: int = 1, root: str = "root") -> SignedMember:
    return sign_member(record(code, number), key(f"{code} {root}"))


def altered(code: str, alter: Callable[[MemberRecord], object]) -> SignedMember:
    changed = record(code, 2)
    alter(changed)
    return sign_member(changed, key(f"{code} root"))


def unsigned_change() -> SignedMember:
    """Return what stewards could make of a record without the member."""
    own = member("MX")
    changed = record("MX", 2)
    changed.nodes[0].endpoint = "elsewhere.example:1"
    return SignedMember(record=changed.SerializeToString(), root_key=own.root_key, signature=own.signature)


def instrument(**changes: object) -> Instrument:
    values: dict[str, object] = {
        "id": "UNTOC",
        "kind": InstrumentKind.INSTRUMENT_KIND_TREATY,
        "title": "United Nations Convention against Transnational Organized Crime",
        "parties": ["GT", "MX"],
        "valid_from_us": NOW_US - DAY_US,
        "valid_until_us": NOW_US + DAY_US,
        "crimes": [Crime.CRIME_TRAFFICKING],
    }
    return Instrument(**{**values, **changes})  # type: ignore[arg-type]


def stewards(*names: str) -> dict[str, bytes]:
    return {name: public_key(key(name)) for name in names}


ROOT = build_root(federation=FEDERATION, version=1, threshold=2, stewards=stewards("ana", "bea", "caro"))


def rotation(version: int, names: Iterable[str], signers: Iterable[str], threshold: int = 2) -> SignedRoot:
    root = build_root(federation=FEDERATION, version=version, threshold=threshold, stewards=stewards(*names))
    signed = SignedRoot(root=root)
    for name in signers:
        signed = sign_root(signed, key(name))
    return signed


ROTATION = rotation(2, ["bea", "caro", "dora"], ["ana", "bea", "dora"])


def directory(
    version: int = 4,
    *,
    members: Iterable[SignedMember] | None = None,
    instruments: Iterable[Instrument] | None = None,
    signers: Iterable[str] = ("ana", "bea"),
    rotations: Iterable[SignedRoot] = (),
    root: bytes = ROOT,
    issued_us: int = NOW_US,
    lifetime_us: int = LIFETIME_US,
    floor: bytes = FLOOR,
    demonstration: bool = False,
) -> bytes:
    signed = build_directory(
        root,
        version=version,
        issued_us=issued_us,
        lifetime_us=lifetime_us,
        members=[member("GT"), member("MX"), member("US")] if members is None else members,
        instruments=[instrument()] if instruments is None else instruments,
        floor_rulebook=floor,
        demonstration=demonstration,
        rotations=rotations,
    )
    for name in signers:
        signed = sign_directory(signed, key(name))
    return signed.SerializeToString()


def resigned(data: bytes, alter: Callable[[Directory], object]) -> bytes:
    """Return the directory altered and signed anew by two stewards."""
    signed = SignedDirectory.FromString(data)
    inner = Directory.FromString(signed.directory)
    alter(inner)
    return signed_by_two(SignedDirectory(directory=inner.SerializeToString(), roots=signed.roots))


def signed_by_two(signed: SignedDirectory) -> bytes:
    return sign_directory(sign_directory(signed, key("ana")), key("bea")).SerializeToString()


PINNED = TrustedDirectory.pinned(ROOT)
FIRST = directory(3)
HELD = PINNED.updated(FIRST, NOW_US)
