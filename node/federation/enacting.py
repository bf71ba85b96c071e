"""Putting rulebooks in force: each is a ledger line, and is kept for as long as decisions under it may be replayed.

A rulebook whose text changed under an old version is not what was in force and not a new one: its layer then denies
everything until somebody gives it a new version.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from node.errors import RulebookError
from node.federation.lines import local_line
from node.federation.standing import Standing
from node.policy.rules import LAYERS
from node.store import rulebooks
from node.store.database import Database
from node.store.writer import Writer
from node.wire.ledger_pb2 import LeafKind, LeafPrivate

log = structlog.get_logger()


@dataclass(slots=True)
class Enacting:
    """Records which rulebooks are in force."""

    standing: Standing
    database: Database
    writer: Writer
    clock: Callable[[], int]

    async def enact(self) -> None:
        """Log and keep each layer's rulebook that is not the one in force already."""
        for layer in LAYERS:
            book, text = self.standing.rulebook(layer, self.clock()), self.standing.text(layer)
            if book is None or await self.database.read(rulebooks.active, layer) == text:
                continue
            now_us = self.clock()
            change = partial(
                rulebooks.activate,
                layer=layer,
                content=text,
                name=book.name,
                version=book.version,
                valid_from_us=book.valid_from_us,
                valid_until_us=book.valid_until_us,
                now_us=now_us,
            )
            private = LeafPrivate(reason=f"{layer.upper()} {book.name} {book.version}"[:64], subject=book.sha256)
            line = local_line(LeafKind.LEAF_KIND_RULEBOOK, private, self.standing.signer, now_us)
            try:
                await asyncio.wrap_future(self.writer.submit(change, [line]))
            except RulebookError as error:
                self.standing.drop(layer)
                log.exception("rulebook_not_enacted", layer=layer, reason=str(error))
