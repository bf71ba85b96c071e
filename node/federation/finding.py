"""Finding own entries by what a peer typed: normalised, keyed, looked up, decrypted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from node.errors import RecordError
from node.records.lookup import LookupKey, selector_tokens
from node.store.database import Database
from node.store.entries import Entries
from node.wire.entry_pb2 import Entry
from node.wire.exchange_pb2 import Selector


@dataclass(slots=True)
class Finding:
    """Looks own entries up; entries that are not active or past their review are not found."""

    database: Database
    entries: Entries
    keys: Sequence[LookupKey]  # every live epoch

    async def find(self, selectors: Iterable[Selector], region: str, *, now_us: int, limit: int) -> list[Entry]:
        """Return the entries that any selector matches, at most `limit`; `region` reads national numbers.

        A selector that can't be normalised matches nothing.
        """
        tokens: list[bytes] = []
        for selector in selectors:
            try:
                tokens.extend(selector_tokens(selector, self.keys, region))
            except RecordError:
                continue
        if not tokens:
            return []
        return await self.database.look_up(self.entries.find, tokens, now_us, limit)
