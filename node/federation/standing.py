"""What is in force in this node at the moment: trust, rulebooks, and the facts of the country itself."""

from dataclasses import dataclass, field

from node.federation.envelope import Signer
from node.federation.trust import Trust
from node.identity.directory import TrustedDirectory
from node.policy.decide import Policy
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Rulebook
from node.wire.directory_pb2 import Instrument


@dataclass(slots=True)
class Standing:
    """Each change makes a new `Trust` or rulebook and takes its place at once, for calls on open connections too."""

    signer: Signer
    trust: Trust
    release: Rulebook | None
    outbound: Rulebook | None
    floor: Rulebook | None = None
    _policies: dict[str, Policy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the floor from the directory in force."""
        self.floor = _floor_of(self.trust.directory)

    @property
    def country(self) -> str:
        """The country of this node."""
        return self.signer.country

    def policy_for(self, recipient: str) -> Policy:
        """Return the two layers bound to what this recipient has accepted; kept until any of them changes."""
        policy = self._policies.get(recipient)
        if policy is None:
            policy = Policy(self.floor, self.release, self.trust.directory.accepted(recipient))
            self._policies[recipient] = policy
        return policy

    def instruments_with(self, peer: str, now_us: int) -> tuple[Instrument, ...]:
        """Return the instruments in force between this country and the peer."""
        return self.trust.directory.instruments_between(self.country, peer, now_us)

    def follow(self, directory: TrustedDirectory) -> None:
        """Put a newer directory in force, with its floor and acceptances."""
        self.trust = Trust(self.country, directory, self.trust.revoked, self.trust.pairings)
        self.floor = _floor_of(directory)
        self._policies = {}

    def revoke(self, country: str, serials: frozenset[int]) -> None:
        """Put a country's revocation list in force."""
        revoked = {**self.trust.revoked, country: serials}
        self.trust = Trust(self.country, self.trust.directory, revoked, self.trust.pairings)

    def pair(self, peer: str, root_key: bytes) -> None:
        """Put a pairing in force that two focal points have signed."""
        pairings = {**self.trust.pairings, peer: root_key}
        self.trust = Trust(self.country, self.trust.directory, self.trust.revoked, pairings)


def _floor_of(directory: TrustedDirectory) -> Rulebook | None:
    """Read the multilateral floor; a directory without one denies everything."""
    if not directory.floor_rulebook:
        return None
    return parse_rulebook(directory.floor_rulebook, demonstration=directory.demonstration)
