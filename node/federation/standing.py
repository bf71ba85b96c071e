"""What is in force in this node at the moment: trust, rulebooks, and the facts of the country itself."""

from dataclasses import dataclass

from node.federation.envelope import Signer
from node.federation.trust import Trust
from node.policy.decide import Policy
from node.policy.rulebook import Rulebook
from node.wire.directory_pb2 import Instrument


@dataclass(slots=True)
class Standing:
    """Replaced part by part by the composition root when a directory, a revocation, a pairing or a rulebook arrives."""

    signer: Signer
    trust: Trust
    floor: Rulebook | None
    release: Rulebook | None
    outbound: Rulebook | None
    policies: dict[str, Policy]  # by recipient

    @property
    def country(self) -> str:
        """The country of this node."""
        return self.signer.country

    def policy_for(self, recipient: str) -> Policy:
        """Return the two layers bound to what this recipient has accepted; kept until any of them changes."""
        policy = self.policies.get(recipient)
        if policy is None:
            policy = Policy(self.floor, self.release, self.trust.directory.accepted(recipient))
            self.policies[recipient] = policy
        return policy

    def instruments_with(self, peer: str, now_us: int) -> tuple[Instrument, ...]:
        """Return the instruments in force between this country and the peer."""
        return self.trust.directory.instruments_between(self.country, peer, now_us)
