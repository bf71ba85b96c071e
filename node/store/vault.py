"""Encryption at rest: AES-256-GCM under a data key for each case and each kept message.

    key-encryption key (a file) -> data keys, wrapped (the key store) -> records and messages (the database)

What is sealed is bound to its context (ids, revision, case), so a record that is swapped for another, or for an older
self, does not open. Nonces are random, 96 bits: NIST SP 800-38D §8.3 allows 2^32 seals under one key. A case would need
four thousand million revisions; the key-encryption key wraps once for each data key, so a node is to get a new one
before it has made that many.
"""

import base64
import hmac
import os
import stat
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from node.errors import DecryptionError, KeyErasedError, StoreError
from node.records.lookup import LookupKey
from node.store.keystore import KeyStore

KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 16
_NONCE: Final = 12
_FORMAT: Final = 1  # first byte of whatever is sealed: format, nonce, ciphertext, tag
_MARK: Final = bytes([_FORMAT])

FIRST_EPOCH: Final = 1
CACHED_KEYS: Final = 50_000
"""Unwrapped keys kept in memory, at some 220 bytes each: 11 MB."""
_STOCK: Final = 512  # keys made ahead in one durable write, so that a message costs no write of its own
CREDENTIAL_MODE: Final = 0o440
_MASTER: Final = b"node master secret"
_WRAPS: Final = b"enlace/v1/data-key\0"


def create_key_file(path: Path) -> None:
    """Make a key-encryption key: 32 random bytes, hexadecimal, in a file that only its owner can read.

    Raises:
        StoreError: the file exists or can't be made.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{os.urandom(KEY_BYTES).hex()}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error


def read_key_file(path: Path) -> bytes:
    """Read a key-encryption key (32 bytes).

    Raises:
        StoreError: the file is missing, is not such a key, or others than its owner may read it.
    """
    try:
        with path.open() as file:
            mode = os.fstat(file.fileno()).st_mode
            # systemd shows a credential as 0440: the mask of its access list stands in the group's place.
            if stat.S_IMODE(mode) & 0o077 and stat.S_IMODE(mode) != CREDENTIAL_MODE:
                raise StoreError(f"{path} may be read by others: chmod 600 {path}")
            key = bytes.fromhex(file.read())
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise StoreError(f"{path} is not a hexadecimal key") from error
    if len(key) != KEY_BYTES:
        raise StoreError(f"{path} holds {len(key)} bytes, and a key-encryption key has {KEY_BYTES}")
    return key


class Vault:
    """Seals and opens, and knows what peers know our records by; usable from any thread."""

    def __init__(self, keystore: KeyStore, key_encryption_key: bytes, *, create: bool = False) -> None:
        """Open the vault; `create` makes the node's master secret, once.

        Raises:
            StoreError: the key store has no master secret, has one already and another was to be made, or the
                key-encryption key (32 bytes) is not the one that it is wrapped under.
        """
        self._keystore = keystore
        self._wrapping = AESGCM(key_encryption_key)
        self._keys: dict[bytes, bytes] = {}
        self._last: tuple[bytes, AESGCM] = (_MASTER, self._wrapping)  # what finds often opens many of one case
        self._stock: deque[tuple[bytes, bytes]] = deque()
        self._lock = threading.Lock()
        if create:
            keystore.put([(_MASTER, self._wrapped(_MASTER, os.urandom(KEY_BYTES)))])
        try:
            self._master = self._unwrapped(_MASTER, keystore.get(_MASTER))
        except DecryptionError as error:
            raise StoreError("the key-encryption key does not fit this key store, or the store is empty") from error
        self._handles: dict[str, tuple[CipherContext, CipherContext]] = {}
        self._pseudonyms: dict[str, bytes] = {}

    # --- data keys ---------------------------------------------------------------------------------------------------

    def ensure_keys(self, key_ids: Iterable[bytes]) -> None:
        """Make the data keys that are missing, ids of 16 bytes; they are durable when this returns.

        Raises:
            KeyErasedError: one of them was erased: its id can't be used again.
        """
        wanted = [key_id for key_id in dict.fromkeys(key_ids) if key_id not in self._keys]
        if not wanted:
            return
        found = self._keystore.get_many(wanted)
        if None in found.values():
            raise KeyErasedError("the key of this record was erased, and its id can't be used again")
        missing = [key_id for key_id in wanted if key_id not in found]
        if missing:
            for key_id, key in self._make(missing):
                self._remember(key_id, key)

    def load_keys(self, key_ids: Iterable[bytes]) -> None:
        """Bring keys into memory in one read, ahead of opening many records; what is missing stays missing."""
        wanted = [key_id for key_id in dict.fromkeys(key_ids) if key_id not in self._keys]
        if wanted:
            for key_id, wrapped in self._keystore.get_many(wanted).items():
                if wrapped is not None:
                    self._remember(key_id, self._unwrapped(key_id, wrapped))

    def erase_keys(self, key_ids: Iterable[bytes], at_us: int) -> None:
        """Erase data keys, so that what they sealed can't be opened again, from backups neither after 30 days."""
        erased = tuple(key_ids)
        self._keystore.erase(erased, at_us)
        with self._lock:
            for key_id in erased:
                self._keys.pop(key_id, None)
            self._last = (_MASTER, self._wrapping)

    # --- sealing -----------------------------------------------------------------------------------------------------

    def seal(self, key_id: bytes, context: bytes, data: bytes) -> bytes:
        """Encrypt under a data key, bound to a context that `open` must be given again.

        Raises:
            KeyErasedError, DecryptionError: there is no such key; see `ensure_keys`.
        """
        return _encrypted(AESGCM(self._key(key_id)), context, data)

    def open(self, key_id: bytes, context: bytes, sealed: bytes) -> bytes:
        """Decrypt what `seal` made.

        Raises:
            KeyErasedError: its key was erased.
            DecryptionError: it was altered, swapped, or sealed under another key or context.
        """
        last_id, cipher = self._last
        if last_id != key_id:
            cipher = AESGCM(self._key(key_id))
            self._last = (key_id, cipher)
        return _decrypted(cipher, context, sealed)

    def seal_alone(self, context: bytes, data: bytes) -> bytes:
        """Encrypt under a key of its own, whose id stands in front, so that this alone can be erased."""
        key_id, key = self._take()
        return _encrypted(AESGCM(key), context, data, before=key_id)

    def open_alone(self, context: bytes, sealed: bytes) -> bytes:
        """Decrypt what `seal_alone` made.

        Raises:
            KeyErasedError, DecryptionError: as of `open`.
        """
        key_id = key_id_of(sealed)
        key = self._keys.get(key_id)  # there after `load_keys`, and not kept otherwise: it opens nothing else
        if key is None:
            key = self._unwrapped(key_id, self._keystore.get(key_id))
        return _decrypted(AESGCM(key), context, sealed[KEY_ID_BYTES:])

    # --- what peers see ----------------------------------------------------------------------------------------------

    def handle_for(self, recipient: str, entry_id: bytes) -> bytes:
        """Return what a recipient knows an entry by: 16 bytes, the same each time, and no clue for another recipient.

        It is the AES-256 block of the entry's id (16 bytes) under the recipient's key: a permutation, so it needs no
        table and only its owner can turn it back.
        """
        return _block(self._handle_ciphers(recipient)[0], entry_id)

    def resolve_handle(self, recipient: str, handle: bytes) -> bytes:
        """Return the id that the handle would stand for; whether there is such an entry is for the caller to see."""
        return _block(self._handle_ciphers(recipient)[1], handle)

    def pseudonym(self, recipient: str, category: int, value: str) -> str:
        """Return what stands for a value in this recipient's view: 16 characters, 80 bits of HMAC-SHA-256.

        The same value of the same data category always gives the same pseudonym to one recipient, so that it can link
        what it got, and unlinkable ones to two.
        """
        key = self._pseudonyms.get(recipient)
        if key is None:
            key = self._pseudonyms[recipient] = self._derived(f"pseudonym/{recipient}")
        tag = hmac.digest(key, category.to_bytes(4, "big") + value.encode(), "sha256")
        return base64.b32encode(tag[:10]).decode()

    def lookup_key(self, epoch: int) -> LookupKey:
        """Return the key of an epoch, by which entries are found."""
        return LookupKey(epoch, self._derived(f"lookup/{epoch}"))

    def lookup_keys(self) -> tuple[LookupKey, ...]:
        """Return the keys of every epoch whose tokens are stored: so far, the first."""
        return (self.lookup_key(FIRST_EPOCH),)

    # --- what the node itself wrote ----------------------------------------------------------------------------------

    def tag(self, purpose: str, data: bytes) -> bytes:
        """Return HMAC-SHA-256 of data in the clear, by which the node knows for its own what SQL could write."""
        return hmac.digest(self._derived(f"tag/{purpose}"), data, "sha256")

    # --- inside ------------------------------------------------------------------------------------------------------

    def _key(self, key_id: bytes) -> bytes:
        key = self._keys.get(key_id)
        if key is None:
            key = self._unwrapped(key_id, self._keystore.get(key_id))
            self._remember(key_id, key)
        return key

    def _remember(self, key_id: bytes, key: bytes) -> None:
        with self._lock:
            if len(self._keys) >= CACHED_KEYS:
                del self._keys[next(iter(self._keys))]  # the oldest
            self._keys[key_id] = key

    def _make(self, key_ids: list[bytes]) -> list[tuple[bytes, bytes]]:
        random = os.urandom(KEY_BYTES * len(key_ids))  # one call into the kernel
        made = [(key_id, random[at * KEY_BYTES : (at + 1) * KEY_BYTES]) for at, key_id in enumerate(key_ids)]
        self._keystore.put([(key_id, self._wrapped(key_id, key)) for key_id, key in made])
        return made

    def _take(self) -> tuple[bytes, bytes]:
        while True:
            with suppress(IndexError):
                return self._stock.popleft()
            run = os.urandom(KEY_ID_BYTES - 2)  # ids that follow each other land on one page of the key store
            # Durable before one of them is taken.
            self._stock.extend(self._make([run + number.to_bytes(2, "big") for number in range(_STOCK)]))

    def _wrapped(self, key_id: bytes, key: bytes) -> bytes:
        return _encrypted(self._wrapping, _WRAPS + key_id, key)

    def _unwrapped(self, key_id: bytes, wrapped: bytes) -> bytes:
        return _decrypted(self._wrapping, _WRAPS + key_id, wrapped)

    def _handle_ciphers(self, recipient: str) -> tuple[CipherContext, CipherContext]:
        ciphers = self._handles.get(recipient)
        if ciphers is None:
            # A single block has no pattern that ECB could show; the context is kept, since making one costs 10 µs.
            cipher = Cipher(AES256(self._derived(f"handle/{recipient}")), ECB())  # noqa: S305 see above
            ciphers = self._handles[recipient] = (cipher.encryptor(), cipher.decryptor())
        return ciphers

    def _derived(self, purpose: str) -> bytes:
        """Derive a key by HKDF-SHA-256 (RFC 5869); the purposes are prefix-free."""
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=f"enlace/v1/{purpose}".encode()).derive(self._master)


def key_id_of(sealed: bytes) -> bytes:
    """Return the id of the key that `Vault.seal_alone` used, to be erased."""
    return sealed[:KEY_ID_BYTES]


def _block(cipher: CipherContext, block: bytes) -> bytes:
    if len(block) != KEY_ID_BYTES:  # the context would keep what is left over for the next call
        raise ValueError(f"an id or a handle has {KEY_ID_BYTES} bytes, not {len(block)}")
    return cipher.update(block)


def _encrypted(cipher: AESGCM, context: bytes, data: bytes, before: bytes = b"") -> bytes:
    nonce = os.urandom(_NONCE)
    return before + _MARK + nonce + cipher.encrypt(nonce, data, context)


def _decrypted(cipher: AESGCM, context: bytes, sealed: bytes) -> bytes:
    if sealed[:1] != _MARK:
        raise DecryptionError("what is sealed has a format that this node does not know")
    try:
        return cipher.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], context)
    except (InvalidTag, ValueError) as error:
        raise DecryptionError("what is sealed was altered, belongs elsewhere, or has another key") from error
