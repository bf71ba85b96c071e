import os
from pathlib import Path

import pytest

from node.errors import DecryptionError, KeyErasedError, StoreError
from node.store import vault as vault_module
from node.store.keystore import KeyStore
from node.store.vault import Vault, create_key_file, key_id_of, read_key_file

CASE, OTHER = bytes(15) + b"\1", bytes(15) + b"\2"
TEXT = b"what must stay secret"


@pytest.fixture
def vault(vault: Vault) -> Vault:
    vault.ensure_keys((CASE, OTHER))
    return vault


def test_what_is_sealed_opens_and_hides_what_it_is(vault: Vault) -> None:
    sealed = vault.seal(CASE, b"context", TEXT)
    assert TEXT not in sealed
    assert vault.open(CASE, b"context", sealed) == TEXT


def test_sealing_the_same_twice_gives_two_ciphertexts(vault: Vault) -> None:
    assert len({vault.seal(CASE, b"context", TEXT) for _ in range(100)}) == 100


def test_every_altered_byte_is_noticed(vault: Vault) -> None:
    sealed = vault.seal(CASE, b"context", TEXT)
    for at in range(len(sealed)):
        altered = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(DecryptionError):
            vault.open(CASE, b"context", altered)


@pytest.mark.parametrize("length", [0, 1, 12, 13, 28])
def test_what_is_cut_short_is_noticed(vault: Vault, length: int) -> None:
    with pytest.raises(DecryptionError):
        vault.open(CASE, b"context", vault.seal(CASE, b"context", TEXT)[:length])


def test_what_is_swapped_does_not_open(vault: Vault) -> None:
    sealed = vault.seal(CASE, b"entry 1, revision 1", TEXT)
    for key_id, context in ((CASE, b"entry 1, revision 2"), (CASE, b""), (OTHER, b"entry 1, revision 1")):
        with pytest.raises(DecryptionError):
            vault.open(key_id, context, sealed)


def test_a_key_that_never_was_is_told_from_one_that_was_erased(vault: Vault) -> None:
    sealed = vault.seal(CASE, b"", TEXT)
    vault.erase_keys((CASE,), at_us=5)
    with pytest.raises(KeyErasedError):
        vault.open(CASE, b"", sealed)
    with pytest.raises(KeyErasedError):
        vault.seal(CASE, b"", TEXT)
    with pytest.raises(KeyErasedError):
        vault.ensure_keys((OTHER, CASE))
    with pytest.raises(DecryptionError, match="no key"):
        vault.open(bytes(16), b"", sealed)


def test_keys_survive_a_restart_and_need_the_right_key_encryption_key(keystore: KeyStore) -> None:
    own = os.urandom(32)
    sealed = first(keystore, own)
    again = Vault(keystore, own)
    assert again.open(CASE, b"", sealed) == TEXT
    with pytest.raises(StoreError, match="does not fit"):
        Vault(keystore, os.urandom(32))


def first(keystore: KeyStore, own: bytes) -> bytes:
    vault = Vault(keystore, own, create=True)
    vault.ensure_keys((CASE,))
    vault.ensure_keys((CASE,))
    return vault.seal(CASE, b"", TEXT)


def test_the_master_secret_is_made_once(keystore: KeyStore) -> None:
    own = os.urandom(32)
    with pytest.raises(StoreError, match="empty"):
        Vault(keystore, own)
    Vault(keystore, own, create=True)
    with pytest.raises(StoreError, match="exists"):
        Vault(keystore, own, create=True)


def test_the_cache_of_keys_is_bounded_and_what_fell_out_is_read_again(
    keystore: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_module, "CACHED_KEYS", 10)
    vault = Vault(keystore, os.urandom(32), create=True)
    ids = [number.to_bytes(16, "big") for number in range(100)]
    vault.ensure_keys(ids)
    assert len(vault._keys) == 10
    sealed = {key_id: vault.seal(key_id, b"", key_id) for key_id in ids}
    assert all(vault.open(key_id, b"", sealed[key_id]) == key_id for key_id in ids)
    vault.load_keys(ids[:8])
    assert set(ids[:8]) <= vault._keys.keys()


# --- messages with a key of their own --------------------------------------------------------------------------------


def test_a_message_has_a_key_of_its_own_that_is_erased_alone(vault: Vault) -> None:
    one, two = (vault.seal_alone(b"body 7", TEXT) for _ in range(2))
    assert key_id_of(one) != key_id_of(two)
    vault.erase_keys((key_id_of(one),), at_us=5)
    with pytest.raises(KeyErasedError):
        vault.open_alone(b"body 7", one)
    assert vault.open_alone(b"body 7", two) == TEXT
    with pytest.raises(DecryptionError):
        vault.open_alone(b"body 8", two)


def test_more_messages_than_are_stocked(vault: Vault, keystore: KeyStore) -> None:
    sealed = [vault.seal_alone(b"", bytes([number % 251])) for number in range(1_200)]
    assert [vault.open_alone(b"", each)[0] for each in sealed] == [number % 251 for number in range(1_200)]
    assert len({key_id_of(each) for each in sealed}) == 1_200
    kept = {key_id for key_id, _ in keystore.list_keys()}
    assert {key_id_of(each) for each in sealed} <= kept


# --- what peers see --------------------------------------------------------------------------------------------------


def test_a_handle_is_stable_and_leads_back_for_its_recipient_alone(vault: Vault) -> None:
    entries = [os.urandom(16) for _ in range(50)]
    for_mexico = [vault.handle_for("MX", entry) for entry in entries]
    for_america = [vault.handle_for("US", entry) for entry in entries]
    assert for_mexico == [vault.handle_for("MX", entry) for entry in entries]
    assert [vault.resolve_handle("MX", handle) for handle in for_mexico] == entries
    assert [vault.resolve_handle("US", handle) for handle in for_america] == entries
    assert not {*for_mexico} & {*for_america}
    assert {vault.resolve_handle("US", handle) for handle in for_mexico}.isdisjoint(entries)


@pytest.mark.parametrize("length", [0, 15, 17, 32])
def test_a_handle_of_another_length_disturbs_nothing(vault: Vault, length: int) -> None:
    entry = os.urandom(16)
    before = vault.handle_for("MX", entry)
    with pytest.raises(ValueError, match="16 bytes"):
        vault.handle_for("MX", bytes(length))
    with pytest.raises(ValueError, match="16 bytes"):
        vault.resolve_handle("MX", bytes(length))
    assert vault.handle_for("MX", entry) == before
    assert vault.resolve_handle("MX", before) == entry


def test_a_pseudonym_follows_from_recipient_category_and_value(vault: Vault) -> None:
    one = vault.pseudonym("MX", 30, "Ana")
    assert one == vault.pseudonym("MX", 30, "Ana")
    assert (
        len({one, *(vault.pseudonym(*each) for each in (("US", 30, "Ana"), ("MX", 31, "Ana"), ("MX", 30, "ana")))}) == 4
    )
    assert len(one) == 16
    assert "ANA" not in one


def test_two_nodes_share_no_handle_pseudonym_or_lookup_key(vault: Vault, tmp_path: Path) -> None:
    with KeyStore.open(f"sqlite:///{tmp_path / 'other.db'}", create=True) as keystore:
        other = Vault(keystore, os.urandom(32), create=True)
    assert vault.handle_for("MX", CASE) != other.handle_for("MX", CASE)
    assert vault.pseudonym("MX", 30, "Ana") != other.pseudonym("MX", 30, "Ana")
    assert vault.lookup_key(1).token(1, "x") != other.lookup_key(1).token(1, "x")


def test_epochs_have_lookup_keys_of_their_own(vault: Vault) -> None:
    assert vault.lookup_key(1) == vault.lookup_key(1)
    assert vault.lookup_key(1).key != vault.lookup_key(2).key
    assert vault.lookup_key(2).epoch == 2


# --- the file --------------------------------------------------------------------------------------------------------


def test_a_key_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    create_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(read_key_file(path)) == 32
    with pytest.raises(StoreError, match="exists"):
        create_key_file(path)


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    create_key_file(path)
    path.chmod(0o440)  # as systemd shows a credential
    read_key_file(path)
    path.chmod(0o640)
    with pytest.raises(StoreError, match="chmod 600"):
        read_key_file(path)


@pytest.mark.parametrize(
    ("text", "told"), [("", "0 bytes"), ("zz" * 32, "hexadecimal"), ("ab" * 31, "31 bytes"), ("ab" * 33, "33 bytes")]
)
def test_a_key_file_with_something_else_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(StoreError, match=told) as caught:
        read_key_file(path)
    assert not text or text not in str(caught.value)


def test_a_key_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        read_key_file(tmp_path / "key")
