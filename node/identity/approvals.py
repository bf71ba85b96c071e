"""What focal points sign with keys of their own: the enrolment of another one, and the pairing with a peer.

No directory widens release by itself: a country deals with a peer only after two of its focal points have signed for
that peer and that peer's root key. And no administrator can invent two focal points, because each after the first two
is countersigned by one who was there before.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from google.protobuf.message import DecodeError

from node.errors import MalformedError, NotPairedError, SignatureError
from node.identity.keys import PUBLIC_BYTES, key_id, public_key, sign, verify_signature
from node.wire.approval_pb2 import FocalEnrolment, FocalSignature, Pairing, SignedFocalEnrolment, SignedPairing

ENROLMENT_TYPE: Final = "application/vnd.enlace.enrolment.v1+protobuf"
"""DSSE payload type of an enrolment."""

PAIRING_TYPE: Final = "application/vnd.enlace.pairing.v1+protobuf"
"""DSSE payload type of a pairing."""

FOUNDERS: Final = 2
"""Focal points enrolled together when a node is made; each countersigns the other."""

SIGNERS: Final = 2
"""Focal points who must sign a pairing."""

MAX_SIGNATURES: Final = 32
MAX_NAME: Final = 64
SHA256_BYTES: Final = 32


def enrolled(enrolments: Sequence[bytes]) -> dict[str, bytes]:
    """Return the focal points' public keys (32 bytes) by name, from all enrolments (SignedFocalEnrolment) in order.

    The first two countersign each other; what makes them trusted is that they were present when the node was made, of
    which the store keeps a proof (`node.store.focal_points`).

    Raises:
        MalformedError: an enrolment is no message of the contract, or a name or key comes twice.
        SignatureError: an enrolment is not countersigned by a focal point who was there before.
    """
    signed = [_parse_signed_enrolment(data) for data in enrolments]
    entries = [_parse_enrolment(item.enrolment) for item in signed]
    focal: dict[str, bytes] = {}
    for place, (item, entry) in enumerate(zip(signed, entries, strict=True)):
        if entry.name in focal or entry.public_key in focal.values():
            raise MalformedError(f"enrolment {place + 1}: this name or key is already enrolled")
        if place < FOUNDERS:
            others = [other.public_key for other in entries[:FOUNDERS] if other is not entry]
        else:
            others = list(focal.values())
        _verify_countersignature(item, others, place)
        focal[entry.name] = entry.public_key
    return focal


def _verify_countersignature(item: SignedFocalEnrolment, others: Collection[bytes], place: int) -> None:
    signature = item.countersignature
    for key in others:
        if key_id(key) == signature.key_id:
            verify_signature(key, ENROLMENT_TYPE, item.enrolment, signature.signature)
            return
    raise SignatureError(f"enrolment {place + 1} is not countersigned by a focal point who was there before")


def _parse_signed_enrolment(data: bytes) -> SignedFocalEnrolment:
    try:
        return SignedFocalEnrolment.FromString(data)
    except DecodeError as error:
        raise MalformedError("an enrolment is not a message of the contract") from error


def _parse_enrolment(data: bytes) -> FocalEnrolment:
    try:
        entry = FocalEnrolment.FromString(data)
    except DecodeError as error:
        raise MalformedError("an enrolment is not a message of the contract") from error
    if not (0 < len(entry.name) <= MAX_NAME and entry.name.isprintable()):
        raise MalformedError("a focal point has no proper name")
    if len(entry.public_key) != PUBLIC_BYTES or not entry.time_us:
        raise MalformedError(f"the enrolment of {entry.name} lacks its key or its time")
    return entry


def countersign(enrolment: FocalEnrolment, private_key: bytes) -> SignedFocalEnrolment:
    """Return another focal point's enrolment, vouched for with one's own private key (32 bytes)."""
    data = enrolment.SerializeToString()
    return SignedFocalEnrolment(
        enrolment=data,
        countersignature=FocalSignature(
            key_id=key_id(public_key(private_key)), signature=sign(private_key, ENROLMENT_TYPE, data)
        ),
    )


def parse_pairing(data: bytes) -> Pairing:
    """Return the pairing in the bytes, signed or not.

    Raises:
        MalformedError: it is no message of the contract, or names no countries, root key, time or rehearsal.
    """
    try:
        pairing = Pairing.FromString(data)
    except DecodeError as error:
        raise MalformedError("the pairing is not a message of the contract") from error
    if not (pairing.country and pairing.peer and pairing.country != pairing.peer and pairing.time_us):
        raise MalformedError("the pairing does not name two countries and a time")
    # Who signs must have read what would leave: the rehearsal against this peer.
    if len(pairing.peer_root_key) != PUBLIC_BYTES or len(pairing.rehearsal_sha256) != SHA256_BYTES:
        raise MalformedError("the pairing does not name the peer's root key and the rehearsal")
    return pairing


def signers(signed_pairing: bytes, focal_keys: Iterable[bytes]) -> frozenset[bytes]:
    """Return the public keys of the focal points who signed a pairing, each counted once.

    Signatures by unknown keys are passed over.

    Raises:
        MalformedError: it is no message of the contract.
        SignatureError: a signature under a focal point's key id is false.
    """
    try:
        signed = SignedPairing.FromString(signed_pairing)
    except DecodeError as error:
        raise MalformedError("the pairing is not a message of the contract") from error
    if len(signed.signatures) > MAX_SIGNATURES:
        raise MalformedError(f"the pairing has more than {MAX_SIGNATURES} signatures")
    known = {key_id(key): key for key in focal_keys}
    found = set()
    for signature in signed.signatures:
        key = known.get(signature.key_id)
        if key is not None:
            verify_signature(key, PAIRING_TYPE, signed.pairing, signature.signature)
            found.add(key)
    return frozenset(found)


def focal_points_text(count: int) -> str:
    """Return how many focal points, in words."""
    return "1 focal point" if count == 1 else f"{count} focal points"


def verify_pairing(
    signed_pairing: bytes, country: str, peer: str, peer_root_key: bytes, focal_keys: Iterable[bytes]
) -> None:
    """Check that two focal points of the country signed for this peer and the root key that it has now.

    `focal_keys` are the public keys (32 bytes) of the country's focal points, from `enrolled`.

    Raises:
        NotPairedError: fewer signed, or for other countries or another root key.
    """
    try:
        found = signers(signed_pairing, focal_keys)
        pairing = parse_pairing(SignedPairing.FromString(signed_pairing).pairing)
    except (MalformedError, SignatureError) as error:
        raise NotPairedError(f"the pairing with {peer} is not valid: {error}") from error
    if (pairing.country, pairing.peer) != (country, peer):
        raise NotPairedError(f"the pairing is between {pairing.country} and {pairing.peer}, not {country} and {peer}")
    if pairing.peer_root_key != peer_root_key:
        raise NotPairedError(f"{peer} has another root key than the one the pairing was signed for")
    if len(found) < SIGNERS:
        raise NotPairedError(f"the pairing with {peer} is signed by {focal_points_text(len(found))}, not by {SIGNERS}")


def build_pairing(
    *, country: str, peer: str, peer_root_key: bytes, time_us: int, rehearsal_sha256: bytes
) -> SignedPairing:
    """Return a pairing that nobody has signed yet.

    Raises:
        MalformedError: a value is missing or of the wrong length.
    """
    pairing = Pairing(
        country=country, peer=peer, peer_root_key=peer_root_key, time_us=time_us, rehearsal_sha256=rehearsal_sha256
    ).SerializeToString()
    parse_pairing(pairing)
    return SignedPairing(pairing=pairing)


def sign_pairing(signed: SignedPairing, private_key: bytes) -> SignedPairing:
    """Return the pairing with one more focal point's signature; `private_key` is 32 bytes."""
    own = key_id(public_key(private_key))
    kept = [signature for signature in signed.signatures if signature.key_id != own]
    added = FocalSignature(key_id=own, signature=sign(private_key, PAIRING_TYPE, signed.pairing))
    return SignedPairing(pairing=signed.pairing, signatures=[*kept, added])
