"""Facts that somebody is to determine for a life."""

from collections.abc import Callable
from dataclasses import dataclass

from node.desk.officers import private_of_officer
from node.federation.determining import Determining
from node.federation.lines import local_line
from node.federation.standing import Standing
from node.store.officers import Officer
from node.store.writer import Writer
from node.wire.ledger_pb2 import LeafKind
from node.wire.safeguard_pb2 import Determination


@dataclass(slots=True)
class Determinations:
    """Serves duty officers."""

    standing: Standing
    writer: Writer
    determining: Determining
    clock: Callable[[], int]

    async def list_determinations(self, officer: Officer) -> list[Determination]:
        """Return the facts to determine, the earliest due first; that they were read is logged before."""
        found = await self.determining.waiting()
        private = private_of_officer(officer, reason="DETERMINATIONS")
        await self.writer.append(local_line(LeafKind.LEAF_KIND_READ, private, self.standing.signer, self.clock()))
        return found
