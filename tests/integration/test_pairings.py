import pytest
from sqlalchemy import Connection

from node.errors import NotPairedError
from node.store import pairings
from node.wire.approval_pb2 import Pairing
from tests.conftest import START_US

ROOT, OTHER = bytes(32), b"\1" * 32


def put(
    connection: Connection, signers: int, *, time_us: int = START_US, root: bytes = ROOT, peer: str = "MX"
) -> bytes:
    pairing = Pairing(country="GT", peer=peer, peer_root_key=root, time_us=time_us)
    signed = f"{peer} {root[0]} {time_us} {signers}".encode()
    pairings.put(connection, pairing, signed, signers=signers, now_us=START_US)
    return signed


def test_the_pairing_with_most_signatures_is_kept_for_each_peer(connection: Connection) -> None:
    assert pairings.signed(connection, "MX") is None
    one = put(connection, 1)
    assert pairings.signed(connection, "MX") == one
    two = put(connection, 2)
    assert put(connection, 2) == two  # the same again is no harm
    us = put(connection, 1, peer="US")
    assert pairings.list_signed(connection) == {"MX": two, "US": us}


def test_a_pairing_with_a_new_root_key_starts_with_its_own_signatures(connection: Connection) -> None:
    put(connection, 2)
    anew = put(connection, 1, time_us=START_US + 1, root=OTHER)
    assert pairings.list_signed(connection) == {"MX": anew}


@pytest.mark.parametrize(
    ("signers", "time_us", "root"),
    [
        (2, START_US - 1, OTHER),  # an old root key comes back
        (2, START_US - 1, ROOT),
        (1, START_US, ROOT),  # a signature goes missing
        (2, START_US, OTHER),  # another key under the same time
    ],
)
def test_an_older_pairing_or_one_with_less_never_comes_back(
    connection: Connection, signers: int, time_us: int, root: bytes
) -> None:
    held = put(connection, 2)
    with pytest.raises(NotPairedError):
        put(connection, signers, time_us=time_us, root=root)
    assert pairings.signed(connection, "MX") == held
