"""Finding own entries by what a peer typed: normalised, keyed, looked up, decrypted.

What is frozen for the peer is found as it was, by the selectors that it had; see `node.store.freezes`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy.engine.interfaces import DBAPICursor

from node.errors import RecordError
from node.records.lookup import LookupKey, selector_tokens
from node.store.database import Database
from node.store.entries import Entries
from node.store.freezes import MARK
from node.store.frozen import Frozen
from node.store.prepared import Prepared
from node.wire.entry_pb2 import Entry
from node.wire.exchange_pb2 import Selector


@dataclass(slots=True)
class Finding:
    """Looks own entries up; entries that are not active or past their review are not found."""

    database: Database
    entries: Entries
    keys: Sequence[LookupKey]  # every live epoch
    frozen: Frozen
    _mark: Prepared = field(init=False)

    def __post_init__(self) -> None:
        """Prepare to see what other processes froze."""
        self._mark = self.database.prepare(MARK)

    async def find(self, selectors: Iterable[Selector], peer: str, *, now_us: int, limit: int) -> list[Entry]:
        """Return the entries that any selector of a peer matches, at most `limit`; a national number is of its country.

        A selector that can't be normalised matches nothing.
        """
        tokens: list[bytes] = []
        for selector in selectors:
            try:
                tokens.extend(selector_tokens(selector, self.keys, peer))
            except RecordError:
                continue
        if not tokens:
            return []
        if self.database.is_sqlite:
            found = await self.database.look_up(self.entries.find, tokens, now_us, limit)
        else:
            found, mark = await self.database.look_up(self._find_with_mark, tokens, now_us, limit)
            if mark != self.frozen.mark:
                await self.database.read(self.frozen.load)
        return self.frozen.view(peer, found, tokens, now_us, limit)

    def _find_with_mark(
        self, cursor: DBAPICursor, tokens: Sequence[bytes], now_us: int, limit: int
    ) -> tuple[list[Entry], tuple[int, ...]]:
        """Find entries, and then tell what was frozen by then: several processes may serve one database."""
        found = self.entries.find(cursor, tokens, now_us, limit)
        return found, tuple(self._mark.run(cursor, {}).fetchone() or ())
