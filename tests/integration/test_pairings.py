import pytest
from sqlalchemy import Connection

from node.errors import NotFoundError, NotPairedError
from node.store import pairings
from node.wire.approval_pb2 import Pairing
from tests.conftest import START_US


def made(time_us: int = START_US, peer: str = "MX") -> tuple[Pairing, bytes]:
    pairing = Pairing(country="GT", peer=peer, peer_root_key=bytes(32), time_us=time_us)
    return pairing, f"{peer} {time_us}".encode()


def put(connection: Connection, time_us: int = START_US, peer: str = "MX") -> bytes:
    pairing, signed = made(time_us, peer)
    pairings.put(connection, pairing, signed, now_us=START_US)
    return signed


def begin(connection: Connection, time_us: int = START_US, peer: str = "MX") -> bytes:
    pairing, signed = made(time_us, peer)
    pairings.begin(connection, pairing, signed, now_us=START_US)
    return signed


def test_a_pairing_begins_and_comes_into_force(connection: Connection) -> None:
    one, us = begin(connection), begin(connection, peer="US")
    assert pairings.begun(connection) == {"MX": one, "US": us}
    assert pairings.in_force(connection) == {}
    two = put(connection)
    assert pairings.in_force(connection) == {"MX": two}
    assert pairings.begun(connection) == {"US": us}
    assert put(connection) == two  # the same again is no harm


def test_one_signature_does_not_put_the_pairing_in_force_out_of_use(connection: Connection) -> None:
    held = put(connection)
    later = begin(connection, START_US + 1)
    assert pairings.in_force(connection) == {"MX": held}
    assert pairings.begun(connection) == {"MX": later}


@pytest.mark.parametrize("ended", [False, True])
def test_an_older_pairing_never_comes_back(connection: Connection, ended: bool) -> None:  # noqa: FBT001
    put(connection)
    if ended:
        pairings.end(connection, "MX", START_US)
    for again in (put, begin):
        with pytest.raises(NotPairedError):
            again(connection, START_US - 1)


def test_an_ended_pairing_does_not_come_back_by_its_signatures(connection: Connection) -> None:
    put(connection)
    pairings.end(connection, "MX", START_US)
    assert pairings.in_force(connection) == {}
    with pytest.raises(NotPairedError):
        put(connection)
    with pytest.raises(NotFoundError):
        pairings.end(connection, "MX", START_US)
    later = put(connection, START_US + 1)
    assert pairings.in_force(connection) == {"MX": later}
