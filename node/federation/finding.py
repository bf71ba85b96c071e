"""Finding own entries by selectors: keys, look-up, decryption."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from node.records.lookup import selector_tokens
from node.store.database import Database
from node.store.vault import Vault
from node.wire.entry_pb2 import Entry
from node.wire.exchange_pb2 import Selector
