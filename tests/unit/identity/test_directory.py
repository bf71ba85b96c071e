"""What a directory must be to be believed; each way of not being so is a case of its own."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import (
    DirectoryError,
    DirectoryExpiredError,
    DirectoryMalformedError,
    DirectoryRollbackError,
    DirectorySignatureError,
    SignatureError,
    UnknownMemberError,
)
from node.identity.directory import (
    DAY_US,
    DIRECTORY_TYPE,
    LIFETIME_US,
    MAX_DIRECTORY_BYTES,
    TrustedDirectory,
    build_directory,
    sign_directory,
)
from node.identity.keys import key_id, public_key, sign
from node.identity.members import sign_member
from node.identity.stewards import ROOT_TYPE, build_root, sign_root
from node.wire.codes_pb2 import Crime, InstrumentKind, Obligation
from node.wire.directory_pb2 import (
    Directory,
    Instrument,
    MemberRecord,
    Node,
    NodeKey,
    Root,
    SignedDirectory,
    SignedMember,
    SignedRoot,
    StewardKey,
    StewardSignature,
)

FEDERATION = "enlace.example"
NOW_US = 1_772_000_000_000_000
FLOOR = b"rulebook: FLOOR\n"


def key(name: str) -> bytes:
    return name.encode().ljust(32, b".")


@cache
def authority(country: str, generation: int = 0) -> bytes:
    host = f"{country.lower()}.{FEDERATION}"
    private = ec.derive_private_key(int.from_bytes(f"{country}{generation}".encode()), ec.SECP256R1())
    return certificate(private, host)


def certificate(private: ec.EllipticCurvePrivateKey, host: str) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=3_650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, decipher_only=False, **usage),
            critical=True,
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{host}")]), critical=False
        )
        .add_extension(x509.NameConstraints([x509.UniformResourceIdentifier(host)], None), critical=True)
    )
    return built.sign(private, SHA256()).public_bytes(Encoding.DER)


def record(country: str, number: int = 1) -> MemberRecord:
    name = f"{country.lower()}-1"
    return MemberRecord(
        country=country,
        number=number,
        ca_certificates=[authority(country)],
        nodes=[
            Node(
                name=name,
                endpoint=f"{name}.example:7443",
                server_name=f"{name}.{country.lower()}.{FEDERATION}",
                signing_keys=[
                    NodeKey(
                        public_key=public_key(key(f"{country} node")),
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


def member(country: str, number: int = 1, root: str = "root") -> SignedMember:
    return sign_member(record(country, number), key(f"{country} {root}"))


def altered(country: str, alter: Callable[[MemberRecord], object]) -> SignedMember:
    changed = record(country, 2)
    alter(changed)
    return sign_member(changed, key(f"{country} root"))


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


# --- accepted ---------------------------------------------------------------------------------------------------------


def test_a_directory_answers_what_its_members_signed() -> None:
    assert HELD.version == 3
    assert HELD.federation == FEDERATION
    assert HELD.signed == FIRST
    assert HELD.floor_rulebook == FLOOR
    assert not HELD.demonstration
    assert HELD.expires_us == NOW_US + LIFETIME_US
    assert [each.country for each in HELD.members()] == ["GT", "MX", "US"]
    assert HELD.member("MX") == record("MX")
    assert HELD.root_key("MX") == public_key(key("MX root"))
    assert [each.public_bytes(Encoding.DER) for each in HELD.roots("MX")] == [authority("MX")]
    assert HELD.accepted("MX") == {Obligation.OBLIGATION_NO_ONWARD, Obligation.OBLIGATION_RETENTION}
    assert HELD.rerooted == frozenset()
    HELD.verify_in_force(NOW_US)


def test_strangers_are_unknown() -> None:
    for look_up in (HELD.member, HELD.root_key, HELD.roots, HELD.accepted):
        with pytest.raises(UnknownMemberError):
            look_up("BR")
    with pytest.raises(UnknownMemberError):
        HELD.signing_key("BR", "br-1", bytes(8), NOW_US)
    assert HELD.instruments_between("GT", "BR", NOW_US) == ()


@pytest.mark.parametrize(
    ("node", "owner", "at_us"),
    [
        pytest.param("gt-1", "GT", NOW_US - DAY_US - 1, id="not yet valid"),
        pytest.param("gt-1", "GT", NOW_US + DAY_US, id="no longer valid"),
        pytest.param("gt-2", "GT", NOW_US, id="another node"),
        pytest.param("gt-1", "MX", NOW_US, id="another country's key"),
    ],
)
def test_a_signing_key_is_of_one_node_and_time(node: str, owner: str, at_us: int) -> None:
    own = public_key(key("GT node"))
    assert HELD.signing_key("GT", "gt-1", key_id(own), NOW_US - DAY_US) == own
    assert HELD.signing_key("GT", "gt-1", key_id(own), NOW_US + DAY_US - 1) == own
    with pytest.raises(SignatureError):
        HELD.signing_key("GT", node, key_id(public_key(key(f"{owner} node"))), at_us)


def test_instruments_join_their_parties_for_their_time() -> None:
    for pair in (("GT", "MX"), ("MX", "GT")):
        assert [each.id for each in HELD.instruments_between(*pair, NOW_US)] == ["UNTOC"]
        assert HELD.instruments_between(*pair, NOW_US + DAY_US) == ()
        assert HELD.instruments_between(*pair, NOW_US - DAY_US - 1) == ()
    assert HELD.instruments_between("GT", "US", NOW_US) == ()
    assert HELD.instruments_between("GT", "GT", NOW_US) == ()


def test_more_signatures_than_needed_and_those_of_strangers_do_no_harm() -> None:
    accepted = PINNED.updated(directory(signers=["zoe", "ana", "bea", "caro"]), NOW_US)
    assert accepted.version == 4


def test_the_same_directory_comes_again_and_changes_nothing() -> None:
    again = HELD.updated(directory(3, signers=["bea", "caro"]), NOW_US)
    assert again.digest == HELD.digest


def test_versions_may_be_missed_but_rise() -> None:
    assert HELD.updated(directory(9), NOW_US).version == 9


def test_a_newer_record_of_a_member_is_taken() -> None:
    newer = altered("MX", lambda r: setattr(r.nodes[0], "endpoint", "elsewhere.example:1"))
    held = HELD.updated(directory(members=[member("GT"), newer]), NOW_US)
    assert held.member("MX").nodes[0].endpoint == "elsewhere.example:1"
    assert held.rerooted == frozenset()
    # And the value that it replaces is as it was.
    assert HELD.member("MX").nodes[0].endpoint == "mx-1.example:7443"


def test_a_changed_root_key_is_taken_and_marked_so_that_the_pairing_lapses() -> None:
    held = HELD.updated(directory(members=[member("GT"), member("MX", 2, root="new root")]), NOW_US)
    assert held.rerooted == {"MX"}
    assert held.root_key("MX") != HELD.root_key("MX")
    # The mark lasts as long as that directory, also when it comes again, and not longer.
    assert held.updated(held.signed, NOW_US).rerooted == {"MX"}
    later = directory(5, members=[member("GT"), member("MX", 2, root="new root")])
    assert held.updated(later, NOW_US).rerooted == frozenset()


def test_roots_rotate_by_old_and_new_threshold() -> None:
    second = directory(root=ROTATION.root, rotations=[ROTATION], signers=["caro", "dora"])
    for before in (PINNED, HELD):
        held = before.updated(second, NOW_US)
        assert held.steward_roots() == (ROOT, ROTATION.root)
    # A node founded later pins the newer root and passes over what came before.
    assert TrustedDirectory.pinned(ROTATION.root).updated(second, NOW_US).version == 4
    third = rotation(3, ["dora", "eva"], ["caro", "dora", "eva"])
    chain = directory(root=third.root, rotations=[ROTATION, third], signers=["dora", "eva"])
    for root in (ROOT, ROTATION.root, third.root):
        assert TrustedDirectory.pinned(root).updated(chain, NOW_US).version == 4


def test_a_restart_restores_what_was_known_though_it_expired() -> None:
    second = directory(4, members=[member("GT"), member("MX", 7)])
    third = directory(5, members=[member("GT")], instruments=[])
    restored = TrustedDirectory.restored(ROOT, [FIRST, second, third])
    assert restored.version == 5
    with pytest.raises(DirectoryExpiredError):
        restored.verify_in_force(NOW_US + LIFETIME_US)
    with pytest.raises(DirectoryRollbackError):
        restored.updated(second, NOW_US)
    # A country that left and comes back can't come back as it was before its last word.
    with pytest.raises(DirectoryRollbackError):
        restored.updated(directory(6, members=[member("GT"), member("MX", 6)]), NOW_US)


def test_nothing_is_in_force_before_the_first_directory() -> None:
    with pytest.raises(DirectoryError, match="import one"):
        PINNED.verify_in_force(NOW_US)
    assert PINNED.members() == ()


# --- refused: frame, signatures, time ---------------------------------------------------------------------------------


def duplicated(data: bytes) -> bytes:
    """Return a directory that one steward signed, with the signature in it twice."""
    signed = SignedDirectory.FromString(data)
    signed.signatures.append(signed.signatures[0])
    return signed.SerializeToString()


def forged(data: bytes) -> bytes:
    """Return the directory with a stranger's signature under the key id of a steward."""
    signed = SignedDirectory.FromString(data)
    fake = sign(key("zoe"), DIRECTORY_TYPE, signed.directory)
    signed.signatures.append(StewardSignature(key_id=key_id(public_key(key("caro"))), signature=fake))
    return signed.SerializeToString()


def of_another_type(data: bytes) -> bytes:
    """Return the directory with signatures that stewards made over the same bytes as a root."""
    signed = SignedDirectory.FromString(data)
    signatures = [
        StewardSignature(key_id=key_id(public_key(key(name))), signature=sign(key(name), ROOT_TYPE, signed.directory))
        for name in ("ana", "bea")
    ]
    return SignedDirectory(directory=signed.directory, signatures=signatures).SerializeToString()


REFUSED = {
    "expired": (directory(issued_us=NOW_US - LIFETIME_US), DirectoryExpiredError, "has expired"),
    "not yet valid": (directory(issued_us=NOW_US + 1), DirectoryExpiredError, "not valid yet"),
    "rolled back": (directory(2), DirectoryRollbackError, "older than 3"),
    "same version, other bytes": (directory(3, floor=b"other"), DirectoryRollbackError, "two directories"),
    "under-signed": (directory(signers=["ana"]), DirectorySignatureError, "signed by 1 "),
    "unsigned": (directory(signers=[]), DirectorySignatureError, "signed by 0 "),
    "one steward twice": (duplicated(directory(signers=["ana"])), DirectorySignatureError, "signed by 1 "),
    "unknown steward": (directory(signers=["ana", "zoe"]), DirectorySignatureError, "signed by 1 "),
    "false signature": (forged(directory()), DirectorySignatureError, "of caro does not verify"),
    "signed as another kind": (of_another_type(directory()), DirectorySignatureError, "does not verify"),
    "altered byte": (directory(floor=b"AAAA").replace(b"AAAA", b"AAAB"), DirectorySignatureError, "does not verify"),
    "lives too long": (directory(lifetime_us=LIFETIME_US + 1), DirectoryMalformedError, "90 days"),
    "ends before it begins": (
        resigned(FIRST, lambda d: setattr(d, "expires_us", 1)),
        DirectoryMalformedError,
        "ends before",
    ),
    "no version": (directory(0), DirectoryMalformedError, "no version"),
    "the last version there is": (directory((1 << 64) - 1), DirectoryMalformedError, "too large"),
    "another federation": (
        resigned(FIRST, lambda d: setattr(d, "federation", "x.example")),
        DirectoryMalformedError,
        "not of enlace.example",
    ),
    "another root's": (resigned(FIRST, lambda d: setattr(d, "root_version", 2)), DirectoryMalformedError, "newest"),
    "turned into a demonstration": (directory(demonstration=True), DirectoryMalformedError, "demonstration"),
    "oversized": (bytes(MAX_DIRECTORY_BYTES + 1), DirectoryMalformedError, "larger"),
    "oversized floor": (directory(floor=bytes(140_000)), DirectoryMalformedError, "floor is larger"),
    "too many signatures": (
        SignedDirectory(signatures=[StewardSignature()] * 65).SerializeToString(),
        DirectoryMalformedError,
        "more than 64 signatures",
    ),
    "too many signatures on a root": (
        SignedDirectory(roots=[SignedRoot(signatures=[StewardSignature()] * 65)]).SerializeToString(),
        DirectoryMalformedError,
        "more than 64 signatures",
    ),
    "malformed": (b"\xff\xff", DirectoryMalformedError, "not a message"),
    "malformed within": (
        signed_by_two(SignedDirectory(directory=b"\xff")),
        DirectoryMalformedError,
        "not a message",
    ),
    "empty": (b"", DirectorySignatureError, "signed by 0 "),
}


@pytest.mark.parametrize(("data", "error", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_directory_is_refused(data: bytes, error: type[DirectoryError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        HELD.updated(data, NOW_US)


# --- refused: roots ---------------------------------------------------------------------------------------------------

SECOND = ["bea", "caro", "dora"]


def rooted(*rotations: SignedRoot, signers: Iterable[str] = ("bea", "caro")) -> bytes:
    signed = SignedDirectory.FromString(directory(signers=[]))
    inner = Directory.FromString(signed.directory)
    inner.root_version = len(rotations) + 1
    signed = SignedDirectory(directory=inner.SerializeToString(), roots=rotations)
    for name in signers:
        signed = sign_directory(signed, key(name))
    return signed.SerializeToString()


def rotated(
    *, version: int = 2, threshold: int = 2, federation: str = FEDERATION, keys: list[StewardKey] | None = None
) -> SignedRoot:
    """Return a root that everybody signed, whatever is in it."""
    own = keys_of(*((name, name) for name in SECOND)) if keys is None else keys
    root = Root(version=version, threshold=threshold, federation=federation, keys=own)
    signed = SignedRoot(root=root.SerializeToString())
    for name in ("ana", *SECOND):
        signed = sign_root(signed, key(name))
    return signed


def keys_of(*pairs: tuple[str, str]) -> list[StewardKey]:
    return [StewardKey(steward=name, public_key=public_key(key(owner))) for name, owner in pairs]


THIRD = rotation(3, ["caro", "dora"], SECOND)

ROOTS_REFUSED = {
    "without the old threshold": (
        rooted(rotation(2, SECOND, ["caro", "dora"])),
        DirectorySignatureError,
        "signed by 1 stewards of root 1,",
    ),
    "without the new threshold": (
        rooted(rotation(2, ["bea", "dora", "eva"], ["ana", "bea"])),
        DirectorySignatureError,
        "signed by 1 stewards of root 2,",
    ),
    "unsigned": (rooted(rotation(2, SECOND, [])), DirectorySignatureError, "signed by 0 "),
    "skipped": (rooted(THIRD), DirectoryMalformedError, "root 3 can't follow root 1"),
    "out of order": (rooted(ROTATION, THIRD, ROTATION), DirectoryMalformedError, "root 2 can't follow root 3"),
    "another federation's": (rooted(rotated(federation="x.example")), DirectoryMalformedError, "another federation"),
    "no federation": (rooted(rotated(federation="-")), DirectoryMalformedError, "no federation"),
    "another than was pinned": (rooted(rotation(1, SECOND, SECOND)), DirectoryRollbackError, "pinned"),
    "signed by those who left": (rooted(ROTATION, signers=["ana", "bea"]), DirectorySignatureError, "signed by 1 "),
    "no version": (rooted(rotated(version=0)), DirectoryMalformedError, "no version"),
    "threshold of one": (rooted(rotated(threshold=1)), DirectoryMalformedError, "threshold of 1"),
    "threshold of none": (rooted(rotated(threshold=0)), DirectoryMalformedError, "threshold of 0"),
    "threshold beyond its keys": (rooted(rotated(threshold=4)), DirectoryMalformedError, "threshold of 4"),
    "a key twice": (
        rooted(rotated(keys=keys_of(("bea", "bea"), ("caro", "bea")))),
        DirectoryMalformedError,
        "a key twice",
    ),
    "a steward with two keys": (
        rooted(rotated(keys=keys_of(("bea", "bea"), ("bea", "caro")))),
        DirectoryMalformedError,
        "a steward twice",
    ),
    "a steward without a name": (
        rooted(rotated(keys=keys_of(("", "bea"), ("caro", "caro")))),
        DirectoryMalformedError,
        "no proper name",
    ),
    "a short key": (rooted(rotated(keys=[StewardKey(public_key=b"x")])), DirectoryMalformedError, "32 bytes"),
    "malformed": (rooted(SignedRoot(root=b"\xff")), DirectoryMalformedError, "not a message"),
}


@pytest.mark.parametrize(("data", "error", "reason"), ROOTS_REFUSED.values(), ids=ROOTS_REFUSED.keys())
def test_a_root_is_refused(data: bytes, error: type[DirectoryError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        HELD.updated(data, NOW_US)


def test_a_root_once_seen_is_never_left_out_or_replaced() -> None:
    held = HELD.updated(rooted(ROTATION), NOW_US)
    with pytest.raises(DirectoryRollbackError):
        held.updated(directory(5), NOW_US)
    with pytest.raises(DirectoryRollbackError):
        held.updated(rooted(rotation(2, [*SECOND, "eva"], ["ana", *SECOND])), NOW_US)


# --- refused: members -------------------------------------------------------------------------------------------------


def unsigned_change() -> SignedMember:
    """Return what stewards could make of a record without the member."""
    own = member("MX")
    changed = record("MX", 2)
    changed.nodes[0].endpoint = "elsewhere.example:1"
    return SignedMember(record=changed.SerializeToString(), root_key=own.root_key, signature=own.signature)


def again_certified(country: str, host: str) -> bytes:
    """Return a certificate of `host` for the key that is another country's CA."""
    return certificate(ec.derive_private_key(int.from_bytes(f"{country}0".encode()), ec.SECP256R1()), host)


def mx(alter: Callable[[MemberRecord], object]) -> list[SignedMember]:
    return [member("GT"), altered("MX", alter)]


def signing_with(owner: str) -> list[SignedMember]:
    return mx(lambda r: setattr(r.nodes[0].signing_keys[0], "public_key", public_key(key(owner))))


FORGED: dict[str, list[SignedMember]] = {
    "changed without its own signature": [member("GT"), unsigned_change()],
    "no signature": [SignedMember(record=record("MX").SerializeToString())],
    "another member's signature under its own key": [
        SignedMember(record=member("MX").record, root_key=member("MX").root_key, signature=member("GT").signature)
    ],
}


@pytest.mark.parametrize("members", FORGED.values(), ids=FORGED.keys())
def test_stewards_can_not_speak_for_a_member(members: list[SignedMember]) -> None:
    with pytest.raises(DirectorySignatureError, match="the record of MX is not signed by its own root key"):
        HELD.updated(directory(members=members, instruments=[]), NOW_US)


def called_elsewhere() -> SignedMember:
    changed = record("MX", 5)
    changed.duty_telephone = "+52 555 000 0000"
    return sign_member(changed, key("MX root"))


REPEATED: dict[str, tuple[SignedMember, str]] = {
    "number fell": (member("MX", 4), "has the number 4, after 5"),
    "changed without a new number": (called_elsewhere(), "without a new number"),
    "root key changed without a new number": (member("MX", 5, root="other"), "without a new number"),
}


@pytest.mark.parametrize(("repeated", "reason"), REPEATED.values(), ids=REPEATED.keys())
def test_a_record_never_goes_back(repeated: SignedMember, reason: str) -> None:
    held = HELD.updated(directory(members=[member("GT"), member("MX", 5)]), NOW_US)
    with pytest.raises(DirectoryRollbackError, match=reason):
        held.updated(directory(5, members=[member("GT"), repeated], instruments=[]), NOW_US)


MEMBERS_REFUSED: dict[str, tuple[list[SignedMember], str]] = {
    "twice": ([member("MX"), member("MX", 2)], "MX is in the directory twice"),
    "two with one CA": (
        mx(lambda r: r.ca_certificates.append(again_certified("GT", f"mx.{FEDERATION}"))),
        "GT and MX have the same CA key",
    ),
    "another country's CA": (mx(lambda r: r.ca_certificates.append(authority("GT"))), "not MX's own"),
    "CA of another federation": (
        mx(lambda r: r.ca_certificates.append(again_certified("MX", "mx.x.example"))),
        "not MX's own",
    ),
    "two with one root key": (
        [sign_member(record("GT", 2), key("one")), sign_member(record("MX", 2), key("one"))],
        "GT and MX have the same Ed25519 key",
    ),
    "two with one signing key": (signing_with("GT node"), "GT and MX have the same Ed25519 key"),
    "one's signing key the other's root key": (signing_with("GT root"), "GT and MX have the same Ed25519 key"),
    "root key also signs for a node": (signing_with("MX root"), "MX has a node name or a key twice"),
    "two with one node name": (mx(lambda r: setattr(r.nodes[0], "name", "gt-1")), "have the same node name"),
    "one node twice": (mx(lambda r: r.nodes.append(r.nodes[0])), "MX has a node name or a key twice"),
    "no CA": (mx(lambda r: r.ClearField("ca_certificates")), "no CA certificate"),
    "unreadable CA": (mx(lambda r: r.ca_certificates.append(b"\x30\x00")), "not MX's own"),
    "huge CA": (mx(lambda r: r.ca_certificates.append(bytes(5_000))), "too large"),
    "no country": (mx(lambda r: setattr(r, "country", "mx")), "no country"),
    "no number": (mx(lambda r: setattr(r, "number", 0)), "no number"),
    "the last number there is": (mx(lambda r: setattr(r, "number", (1 << 64) - 1)), "too large"),
    "no node": (mx(lambda r: r.ClearField("nodes")), "no node"),
    "a node without a proper name": (mx(lambda r: setattr(r.nodes[0], "name", "MX 1\x1b")), "name is malformed"),
    "no port": (mx(lambda r: setattr(r.nodes[0], "endpoint", "mx-1.example")), "host:port"),
    "no such port": (mx(lambda r: setattr(r.nodes[0], "endpoint", "mx-1.example:70000")), "host:port"),
    "a wildcard": (mx(lambda r: setattr(r.nodes[0], "server_name", "*.example")), "no DNS name"),
    "no signing key": (mx(lambda r: r.nodes[0].ClearField("signing_keys")), "no signing key"),
    "short signing key": (
        mx(lambda r: setattr(r.nodes[0].signing_keys[0], "public_key", b"short")),
        "32 bytes",
    ),
    "signing key ends before it begins": (
        mx(lambda r: setattr(r.nodes[0].signing_keys[0], "valid_until_us", 1)),
        "ends before it begins",
    ),
    "no duty telephone": (mx(lambda r: setattr(r, "duty_telephone", "")), "telephone"),
    "no protocol": (mx(lambda r: r.ClearField("protocols")), "no protocol"),
    "an obligation without a name": (mx(lambda r: r.accepted.append(Obligation.OBLIGATION_UNKNOWN)), "no name"),
    "a treaty without an id": (mx(lambda r: r.treaties.append("")), "id is malformed"),
    "oversized": (mx(lambda r: r.treaties.append("x" * 40_000)), "larger than"),
    "malformed": ([SignedMember(record=b"\xff")], "not a message"),
    "too many": ([SignedMember()] * 65, "more than 64 members"),
}


@pytest.mark.parametrize(("members", "reason"), MEMBERS_REFUSED.values(), ids=MEMBERS_REFUSED.keys())
def test_a_member_is_refused(members: list[SignedMember], reason: str) -> None:
    with pytest.raises(DirectoryMalformedError, match=reason):
        HELD.updated(directory(members=members, instruments=[]), NOW_US)


# --- refused: instruments ---------------------------------------------------------------------------------------------

INSTRUMENTS_REFUSED = {
    "party that is no member": ([instrument(parties=["GT", "BR"])], "BR is not a member"),
    "one party": ([instrument(parties=["GT"])], "between two states"),
    "one party twice": ([instrument(parties=["GT", "GT"])], "between two states"),
    "party that does not say so itself": ([instrument(id="MLAT-GT-MX")], "GT does not say that it is party"),
    "no id": ([instrument(id="")], "no proper id"),
    "one id twice": ([instrument(), instrument()], "twice"),
    "no kind": ([instrument(kind=InstrumentKind.INSTRUMENT_KIND_UNKNOWN)], "no kind"),
    "crime without a name": ([instrument(crimes=[Crime.CRIME_UNKNOWN])], "crime that has no name"),
    "no title": ([instrument(title="")], "title"),
    "ends before it begins": ([instrument(valid_until_us=1)], "ends before"),
    "too many": ([instrument()] * 129, "more than 128 instruments"),
}


@pytest.mark.parametrize(("instruments", "reason"), INSTRUMENTS_REFUSED.values(), ids=INSTRUMENTS_REFUSED.keys())
def test_an_instrument_is_refused(instruments: list[Instrument], reason: str) -> None:
    with pytest.raises(DirectoryMalformedError, match=reason):
        HELD.updated(directory(instruments=instruments), NOW_US)


# --- every byte counts ------------------------------------------------------------------------------------------------

WHOLE = directory(root=ROTATION.root, rotations=[ROTATION], signers=["caro", "dora"])


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, len(WHOLE) - 1), flip=st.integers(1, 255))
def test_any_altered_byte_is_refused(place: int, flip: int) -> None:
    data = bytearray(WHOLE)
    data[place] ^= flip
    with pytest.raises(DirectoryError):
        PINNED.updated(bytes(data), NOW_US)


@given(st.binary(max_size=300))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(DirectoryError):
        HELD.updated(data, NOW_US)


def test_a_draft_is_judged_before_anybody_signs_it() -> None:
    HELD.verify_draft(directory(signers=[]), NOW_US)
    with pytest.raises(DirectoryRollbackError):
        HELD.verify_draft(directory(2, floor=b"other", signers=[]), NOW_US)
    with pytest.raises(DirectorySignatureError):
        HELD.verify_draft(directory(members=[unsigned_change()], instruments=[], signers=[]), NOW_US)
