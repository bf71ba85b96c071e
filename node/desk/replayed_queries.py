"""What one rehearsal of an outbound rulebook has found so far, over the queries that this node sent."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from node.errors import DeniedError, UnknownMemberError
from node.federation.standing import Standing
from node.policy.outbound import decide_outbound
from node.policy.rules import Rulebook
from node.store.decided import Asked
from node.wire.exchange_pb2 import Body, Query


@dataclass(slots=True)
class ReplayedQueries:
    """Queries of the past under two outbound rulebooks."""

    standing: Standing
    old: Rulebook | None
    new: Rulebook
    now_us: int
    at_us: int  # when the other one is tried
    _sent: Counter[str] = field(default_factory=Counter)
    _newly_denied: Counter[tuple[str, str]] = field(default_factory=Counter)  # by peer and why
    _newly_allowed: Counter[str] = field(default_factory=Counter)

    def take(self, asked: Asked) -> None:
        """Decide again whether a query may be sent."""
        query = Body.FromString(asked.body).query
        before = self._denial(self.old, query, asked.peer, self.now_us)
        after = self._denial(self.new, query, asked.peer, self.at_us)
        self._sent[asked.peer] += 1
        if after and not before:
            self._newly_denied[asked.peer, after] += 1
        elif before and not after:
            self._newly_allowed[asked.peer] += 1

    def lines(self) -> Iterator[str]:
        """Yield the report's lines on what was found."""
        yield ""
        yield "Queries that this node sent, decided again; of those that were refused at home, no text is kept"
        for peer, number in sorted(self._sent.items()):
            yield f"{peer}: queries: {number:,}"
            for (country, why), denied in sorted(self._newly_denied.items()):
                if country == peer:
                    yield f"{peer}: would not be sent: {denied:,}, since {why}"
            if self._newly_allowed[peer]:
                yield f"{peer}: would be sent again, and are not now: {self._newly_allowed[peer]:,}"
        if not self._sent:
            yield "none was sent"

    def _denial(self, book: Rulebook | None, query: Query, peer: str, at_us: int) -> str:
        """Return why a query may not be sent; empty where it may."""
        try:
            decide_outbound(
                book,
                query,
                recipient=peer,
                instruments=[each.kind for each in self.standing.instruments_with(peer, at_us)],
                paired=True,
                now_us=at_us,
            )
        except (DeniedError, UnknownMemberError) as error:
            return str(error)
        return ""
