"""What is in force in this node at the moment: trust, rulebooks, and the facts of the country itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from node.errors import RulebookError
from node.federation.envelope import Signer
from node.federation.trust import Trust
from node.identity.directory import TrustedDirectory
from node.policy.decide import Policy
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Layer, Rulebook
from node.policy.vocabulary import UNKNOWN
from node.wire.directory_pb2 import Instrument

log = structlog.get_logger()


@dataclass(slots=True)
class Standing:
    """Each change makes a new `Trust` or rulebook and takes its place at once, for calls on open connections too.

    A layer whose rulebook can't be used is None, and denies everything.
    """

    signer: Signer
    trust: Trust
    release_text: bytes
    outbound_text: bytes
    floor: Rulebook | None = None
    release: Rulebook | None = None
    outbound: Rulebook | None = None
    reciprocity: Mapping[str, str] = field(default_factory=dict)  # by peer, as of the day's snapshot
    emergencies: Mapping[str, int] = field(default_factory=dict)  # by peer, until when (UTC microseconds)
    _policies: dict[str, Policy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the rulebooks under the directory in force."""
        self._read_rulebooks()

    @property
    def country(self) -> str:
        """The country of this node."""
        return self.signer.country

    def policy_for(self, recipient: str, now_us: int) -> Policy:
        """Return the two layers in force at the decision's time, bound to what this recipient has accepted."""
        del now_us
        policy = self._policies.get(recipient)
        if policy is None:
            policy = Policy(self.floor, self.release, self.trust.directory.accepted(recipient))
            self._policies[recipient] = policy
        return policy

    def reciprocity_of(self, peer: str) -> str:
        """Return whether the peer answers what this country asks: YES, NO or UNKNOWN."""
        return self.reciprocity.get(peer, UNKNOWN)

    def is_emergency(self, peer: str, now_us: int) -> bool:
        """Tell whether a focal point has declared an emergency towards the peer, and it has not ended."""
        return now_us < self.emergencies.get(peer, 0)

    def instruments_with(self, peer: str, now_us: int) -> tuple[Instrument, ...]:
        """Return the instruments in force between this country and the peer."""
        return self.trust.directory.instruments_between(self.country, peer, now_us)

    def follow(self, directory: TrustedDirectory) -> None:
        """Put a newer directory in force, with its floor and acceptances."""
        self.trust = Trust(self.country, directory, self.trust.revoked, self.trust.pairings)
        self._read_rulebooks()

    def revoke(self, country: str, serials: frozenset[int]) -> None:
        """Put a country's revocation list in force."""
        revoked = {**self.trust.revoked, country: serials}
        self.trust = Trust(self.country, self.trust.directory, revoked, self.trust.pairings)

    def pair(self, peer: str, root_key: bytes) -> None:
        """Put a pairing in force that two focal points have signed."""
        pairings = {**self.trust.pairings, peer: root_key}
        self.trust = Trust(self.country, self.trust.directory, self.trust.revoked, pairings)

    def unpair(self, peer: str) -> None:
        """End a pairing: from the next call on, this peer is neither answered nor asked."""
        pairings = {country: key for country, key in self.trust.pairings.items() if country != peer}
        self.trust = Trust(self.country, self.trust.directory, self.trust.revoked, pairings)

    def rulebook(self, layer: Layer, now_us: int) -> Rulebook | None:
        """Return the rulebook of a layer that is in force at a time (UTC microseconds); None denies everything."""
        del now_us
        return {"floor": self.floor, "release": self.release, "outbound": self.outbound}[layer]

    def text(self, layer: Layer) -> bytes:
        """Return the text that the layer's rulebook was read from."""
        texts = {"release": self.release_text, "outbound": self.outbound_text}
        return texts.get(layer, self.trust.directory.floor_rulebook)

    def drop(self, layer: Layer) -> None:
        """Take a layer's rulebook out of force."""
        if layer == "floor":
            self.floor = None
        elif layer == "release":
            self.release = None
        else:
            self.outbound = None
        self._policies = {}

    def _read_rulebooks(self) -> None:
        # Whether illustrations may be used is the directory's to say, so a new directory reads all layers again.
        directory = self.trust.directory
        self.floor = _rulebook("floor", directory.floor_rulebook, demonstration=directory.demonstration)
        self.release = _rulebook("release", self.release_text, demonstration=directory.demonstration)
        self.outbound = _rulebook("outbound", self.outbound_text, demonstration=directory.demonstration)
        self._policies = {}


def _rulebook(layer: str, text: bytes, *, demonstration: bool) -> Rulebook | None:
    if not text:
        return None
    try:
        return parse_rulebook(text, demonstration=demonstration)
    except RulebookError as error:
        log.error("rulebook_not_usable", layer=layer, reason=str(error))  # noqa: TRY400 - its text says all
        return None
