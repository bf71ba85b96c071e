from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from node.errors import DecryptionError, KeyErasedError, NewerDatabaseError, StoreError
from node.store.keystore import KeyStore

WRAPPED = b"\1wrapped-key-that-must-vanish" * 2


def key_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


@pytest.fixture
def keystore(empty_url: str) -> Iterator[KeyStore]:
    """Of both kinds: the fixture that others use is of SQLite."""
    with KeyStore.open(empty_url, create=True) as opened:
        yield opened


def test_keys_are_there_after_opening_again(empty_url: str) -> None:
    with KeyStore.open(empty_url, create=True) as keystore:
        keystore.put([(key_id(number), b"%d" % number) for number in range(200)])
    with KeyStore.open(empty_url) as keystore:
        assert keystore.get(key_id(7)) == b"7"
        asked = [key_id(number) for number in range(150, 300)]
        assert keystore.get_many(asked) == {key_id(number): b"%d" % number for number in range(150, 200)}
        assert keystore.get_many(()) == {}


def test_what_was_put_is_in_the_file_before_put_returns(tmp_path: Path) -> None:
    with KeyStore.open(f"sqlite:///{tmp_path / 'keys.db'}", create=True) as keystore:
        keystore.put([(key_id(1), WRAPPED)])
        assert any(WRAPPED in path.read_bytes() for path in tmp_path.iterdir())


def test_no_key_replaces_another_and_a_failed_put_adds_none(keystore: KeyStore) -> None:
    keystore.put([(key_id(1), WRAPPED)])
    with pytest.raises(StoreError, match="exists"):
        keystore.put([(key_id(2), b"two"), (key_id(1), b"another")])
    assert keystore.get(key_id(1)) == WRAPPED
    assert key_id(2) not in keystore.get_many((key_id(2),))


def test_an_erased_key_is_gone_and_leaves_a_tombstone(keystore: KeyStore) -> None:
    keystore.put([(key_id(number), WRAPPED) for number in range(3)])
    assert keystore.erase((key_id(0), key_id(1), key_id(9)), at_us=77) == 2
    with pytest.raises(KeyErasedError):
        keystore.get(key_id(0))
    with pytest.raises(DecryptionError):
        keystore.get(key_id(9))
    assert keystore.get_many(map(key_id, range(3))) == {key_id(0): None, key_id(1): None, key_id(2): WRAPPED}
    assert list(keystore.list_keys()) == [(key_id(0), 77), (key_id(1), 77), (key_id(2), None)]


def test_erasing_again_changes_nothing(keystore: KeyStore) -> None:
    keystore.put([(key_id(0), WRAPPED)])
    keystore.erase((key_id(0),), at_us=77)
    assert keystore.erase((key_id(0),), at_us=99) == 0
    assert list(keystore.list_keys()) == [(key_id(0), 77)]
    with pytest.raises(StoreError, match="erased"):
        keystore.put([(key_id(0), WRAPPED)])


def test_the_bytes_of_an_erased_key_are_in_no_file(tmp_path: Path) -> None:
    with KeyStore.open(f"sqlite:///{tmp_path / 'keys.db'}", create=True) as keystore:
        keystore.put([(key_id(number), b"<%d>" % number + WRAPPED) for number in range(50)])
        assert keystore.get(key_id(7)).startswith(b"<7>")
        keystore.erase((key_id(7),), at_us=1)
        files = [path.read_bytes() for path in tmp_path.iterdir()]
    assert not any(b"<7>" in data for data in files)
    assert any(b"<8>" in data for data in files)


def test_a_key_store_that_is_not_there_is_not_made_by_chance(empty_url: str) -> None:
    with pytest.raises(StoreError):
        KeyStore.open(empty_url)


def test_opening_with_leave_to_create_keeps_what_is_there(empty_url: str) -> None:
    with KeyStore.open(empty_url, create=True) as keystore:
        keystore.put([(key_id(1), WRAPPED)])
    with KeyStore.open(empty_url, create=True) as keystore:
        assert keystore.get(key_id(1)) == WRAPPED


def test_a_newer_key_store_is_refused(empty_url: str) -> None:
    with KeyStore.open(empty_url, create=True) as keystore, keystore._engine.begin() as connection:
        connection.execute(text("UPDATE key_format SET format = 2"))
    with pytest.raises(NewerDatabaseError, match="format 2"):
        KeyStore.open(empty_url)


def test_its_files_are_private(tmp_path: Path) -> None:
    with KeyStore.open(f"sqlite:///{tmp_path / 'keys.db'}", create=True) as keystore:
        keystore.put([(key_id(1), WRAPPED)])
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
