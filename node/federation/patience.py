"""How much of what a peer sends, and is refused, gets a ledger line of its own: it must not fill the disk."""

from dataclasses import dataclass

PATIENCE = 600  # refusals of one peer that get a line each, at once
PATIENCE_PER_S = 1.0  # and how many more a second: some 100 MB a day


@dataclass(slots=True)
class Patience:
    """How many more refusals of one peer get a ledger line of their own (a token bucket)."""

    left: float = PATIENCE
    at: float = 0.0
    unlogged: int = 0

    def is_over(self, now: float) -> bool:
        """Tell whether the peer's next call is refused unread; `now` is in seconds of a steady clock."""
        self.left = min(PATIENCE, self.left + (now - self.at) * PATIENCE_PER_S)
        self.at = now
        return self.left < 1

    def spend(self, now: float) -> bool:
        """Take one line's worth and return True, or count a refusal without a line and return False."""
        if self.is_over(now):
            self.unlogged += 1
            return False
        self.left -= 1
        return True

    def reported(self) -> int:
        """Return how many had no line since this was last asked."""
        unlogged, self.unlogged = self.unlogged, 0
        return unlogged
