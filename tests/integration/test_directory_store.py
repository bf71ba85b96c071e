import pytest
from sqlalchemy import Connection

from node.errors import DirectoryRollbackError
from node.identity.authority import build_crl
from node.identity.directory import TrustedDirectory
from node.identity.revocation import parse_crl
from node.store import directories as store
from tests.conftest import START_US
from tests.directories import NOW_US, ROOT, directory
from tests.pki import NOW, country


def accepted(connection: Connection, *versions: int) -> list[TrustedDirectory]:
    trusted = TrustedDirectory.pinned(ROOT)
    found = []
    for version in versions:
        trusted = trusted.updated(directory(version), NOW_US)
        store.put_directory(connection, trusted, START_US)
        found.append(trusted)
    return found


def put_crl(connection: Connection, code: str, number: int, *serials: int) -> bytes:
    der = country(code).crl(number, serials)
    store.put_crl(connection, parse_crl(der, country(code).roots), der, START_US)
    return der


def test_what_was_accepted_is_trusted_again_after_a_restart(connection: Connection) -> None:
    assert store.accepted(connection) == []
    first, second = accepted(connection, 3, 7)
    restored = TrustedDirectory.restored(ROOT, store.accepted(connection))
    assert store.accepted(connection) == [first.signed, second.signed]
    assert (restored.version, restored.digest) == (7, second.digest)


@pytest.mark.parametrize("version", [2, 3])
def test_the_version_never_falls_and_never_stands_for_two(connection: Connection, version: int) -> None:
    accepted(connection, 3)
    again = TrustedDirectory.pinned(ROOT).updated(directory(version), NOW_US)
    with pytest.raises(DirectoryRollbackError):
        store.put_directory(connection, again, START_US)
    assert len(store.accepted(connection)) == 1


def test_each_country_has_its_newest_list(connection: Connection) -> None:
    assert store.revoked(connection) == {}
    put_crl(connection, "GT", 1, 11)
    put_crl(connection, "GT", 2, 11, 12)
    put_crl(connection, "MX", 1)
    assert store.revoked(connection) == {"GT": frozenset({11, 12}), "MX": frozenset()}


def test_a_list_number_never_falls_and_a_certificate_never_comes_back(connection: Connection) -> None:
    held = put_crl(connection, "GT", 9, 11)
    store.put_crl(connection, parse_crl(held, country("GT").roots), held, START_US)  # the same again is no harm
    for number, serials in ((8, (11, 12)), (9, ())):
        with pytest.raises(DirectoryRollbackError):
            put_crl(connection, "GT", number, *serials)
    assert store.revoked(connection) == {"GT": frozenset({11})}


def test_numbers_of_any_length_compare_as_numbers(connection: Connection) -> None:
    for number in (9, 10, 16, 255, 256, 2**63, 2**64 - 1):
        put_crl(connection, "GT", number, number + 1)
    with pytest.raises(DirectoryRollbackError):
        put_crl(connection, "GT", 2**63)
    assert store.revoked(connection) == {"GT": frozenset({2**64})}


def test_each_authority_of_a_country_has_a_list_of_its_own(connection: Connection) -> None:
    of = country("GT")
    authorities = (of.root.certificate, of.issuing.certificate)
    stolen = build_crl(of.issuing, 2**64 - 1, {13: NOW}, NOW)
    store.put_crl(connection, parse_crl(stolen, authorities), stolen, START_US)
    later = of.crl(1, [11])
    found = store.put_crl(connection, parse_crl(later, authorities), later, START_US)
    assert found == {11, 13}
