"""Who may sign directories: roots, thresholds, and how one root follows another.

A root names the stewards' keys and how many of them must sign. The first is pinned when a node is made; each later one
is signed by the threshold of the root before it and by its own (The Update Framework, specification 1.0.31, section
5.3), so that neither those who leave nor those who come can do it alone.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from node.errors import DirectoryMalformedError, DirectoryRollbackError, DirectorySignatureError, SignatureError
from node.identity.keys import PUBLIC_BYTES, key_id, public_key, sign, verify_signature
from node.wire.directory_pb2 import Root, SignedRoot, StewardKey, StewardSignature

ROOT_TYPE: Final = "application/vnd.enlace.root.v1+protobuf"
"""DSSE payload type of a root."""

MIN_THRESHOLD: Final = 2
"""Fewest stewards: with one, a single person could impersonate every country."""

MAX_NUMBER: Final = (1 << 53) - 1
"""Largest version or number: signed 64-bit columns and JSON keep it exactly."""

MAX_STEWARDS: Final = 32
MAX_ROOTS: Final = 128
MAX_NAME: Final = 64
"""Longest name of a steward, in characters."""

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
FEDERATION: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
MAX_FEDERATION: Final = 200
"""Longest federation name; with a country before it, still a DNS name of at most 253 characters."""

M = TypeVar("M", bound=Message)


def require(condition: object, text: str) -> None:
    """Refuse a directory, root or record that does not meet a condition.

    Raises:
        DirectoryMalformedError: the condition is false.
    """
    if not condition:
        raise DirectoryMalformedError(text)


def decoded(kind: type[M], data: bytes, what: str) -> M:
    """Return the message in the bytes.

    Raises:
        DirectoryMalformedError: they are no such message.
    """
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise DirectoryMalformedError(f"{what} is not a message of the contract") from error


def parse_root(data: bytes) -> Root:
    """Return the root in the bytes.

    Raises:
        DirectoryMalformedError: it is no root, or one that can't be held to: a threshold of less than two or of more
            than its keys, a key or a steward twice.
    """
    root = decoded(Root, data, "the root")
    what = f"root {root.version}"
    require(0 < root.version <= MAX_NUMBER, "the root has no version, or too large a one")
    require(len(root.federation) <= MAX_FEDERATION and FEDERATION.fullmatch(root.federation), f"{what}: no federation")
    require(len(root.keys) <= MAX_STEWARDS, f"{what} has more than {MAX_STEWARDS} stewards")
    for key in root.keys:
        require(len(key.public_key) == PUBLIC_BYTES, f"{what}: a key is not 32 bytes")
        require(key.steward.isprintable() and 0 < len(key.steward) <= MAX_NAME, f"{what}: a steward has no proper name")
    # One steward with two keys would count twice.
    require(len({key.steward for key in root.keys}) == len(root.keys), f"{what} names a steward twice")
    require(len({key.public_key for key in root.keys}) == len(root.keys), f"{what} has a key twice")
    require(MIN_THRESHOLD <= root.threshold <= len(root.keys), f"{what}: a threshold of {root.threshold} can't be held")
    return root


def signed_by(
    root: Root, payload_type: str, payload: bytes, signatures: Iterable[StewardSignature], what: str
) -> frozenset[str]:
    """Return the names of the root's stewards who signed the payload, each once; `what` names it in the error.

    Signatures by keys that the root does not name are passed over, since a rotation is signed by two sets of stewards.

    Raises:
        DirectorySignatureError: a signature under a steward's key id is false.
    """
    known = {key_id(key.public_key): key for key in root.keys}
    names = set()
    for signature in signatures:
        key = known.get(signature.key_id)
        if key is None:
            continue
        try:
            verify_signature(key.public_key, payload_type, payload, signature.signature)
        except SignatureError as error:
            raise DirectorySignatureError(f"{what}: the signature of {key.steward} does not verify") from error
        names.add(key.steward)
    return frozenset(names)


def verify_threshold(
    root: Root, payload_type: str, payload: bytes, signatures: Iterable[StewardSignature], what: str
) -> None:
    """Check that enough distinct stewards of the root signed the payload.

    Raises:
        DirectorySignatureError: too few did, or a signature under a steward's key id is false.
    """
    count = len(signed_by(root, payload_type, payload, signatures, what))
    if count < root.threshold:
        raise DirectorySignatureError(
            f"{what} is signed by {count} stewards of root {root.version}, which wants {root.threshold}"
        )


def followed(pinned: bytes, rotations: Iterable[SignedRoot]) -> tuple[bytes, ...]:
    """Return the roots from the pinned one to the newest, each verified by the one before it and by itself.

    `rotations` are in order and may begin before the pinned root: what came before it is passed over.

    Raises:
        DirectoryMalformedError: a root is malformed, out of sequence, or of another federation.
        DirectoryRollbackError: a root has the pinned one's version and other bytes.
        DirectorySignatureError: the old or the new threshold is not met.
    """
    roots = [pinned]
    trusted = parse_root(pinned)
    for rotation in rotations:
        root = parse_root(rotation.root)
        if len(roots) == 1 and root.version <= trusted.version:
            if root.version == trusted.version and rotation.root != pinned:
                raise DirectoryRollbackError(f"root {root.version} is not the one that was pinned")
            continue
        require(root.version == trusted.version + 1, f"root {root.version} can't follow root {trusted.version}")
        require(root.federation == trusted.federation, f"root {root.version} is of another federation")
        require(len(roots) < MAX_ROOTS, "there are too many roots")
        what = f"root {root.version}"
        verify_threshold(trusted, ROOT_TYPE, rotation.root, rotation.signatures, what)
        verify_threshold(root, ROOT_TYPE, rotation.root, rotation.signatures, what)
        roots.append(rotation.root)
        trusted = root
    return tuple(roots)


def with_signature(
    signatures: Iterable[StewardSignature], private_key: bytes, payload_type: str, payload: bytes
) -> list[StewardSignature]:
    """Return the signatures with this key's added, or in place of its earlier one."""
    own = key_id(public_key(private_key))
    kept = [signature for signature in signatures if signature.key_id != own]
    return [*kept, StewardSignature(key_id=own, signature=sign(private_key, payload_type, payload))]


def build_root(*, federation: str, version: int, threshold: int, stewards: Mapping[str, bytes]) -> bytes:
    """Return the bytes of a root, to be pinned when it is the first; `stewards` are public keys (32 bytes) by name.

    Raises:
        DirectoryMalformedError: nodes would not accept it.
    """
    keys = [StewardKey(public_key=key, steward=name) for name, key in stewards.items()]
    root = Root(version=version, threshold=threshold, keys=keys, federation=federation).SerializeToString()
    parse_root(root)
    return root


def sign_root(rotation: SignedRoot, private_key: bytes) -> SignedRoot:
    """Return the rotation with one more steward's signature; `private_key` is 32 bytes."""
    signatures = with_signature(rotation.signatures, private_key, ROOT_TYPE, rotation.root)
    return SignedRoot(root=rotation.root, signatures=signatures)
