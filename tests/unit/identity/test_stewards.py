"""How one root follows another, and how it does not."""

from collections.abc import Iterable

import pytest

from node.errors import DirectoryError, DirectoryMalformedError, DirectoryRollbackError, DirectorySignatureError
from node.identity.directory import sign_directory
from node.identity.keys import public_key
from node.identity.stewards import sign_root
from node.wire.directory_pb2 import Directory, Root, SignedDirectory, SignedRoot, StewardKey
from tests.directories import HELD, NOW_US, ROTATION, directory, key, rotation
from tests.pki import FEDERATION

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
