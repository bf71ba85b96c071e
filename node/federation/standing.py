"""What is in force in this node at a time: trust, rulebooks, and the facts of the country itself.

Which rulebook decides is a function of the decision's time: every process of the node holds the same approved schedule,
so all of them switch at the stated instant, in the middle of whatever they do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import structlog

from node.errors import FencedError, RulebookError
from node.federation.envelope import Signer
from node.federation.trust import Trust
from node.identity.directory import TrustedDirectory
from node.policy.decide import Policy
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Layer, Rulebook
from node.policy.vocabulary import UNKNOWN
from node.store.rulebook_steps import Schedule, Term
from node.wire.directory_pb2 import Instrument

log = structlog.get_logger()

OWN_LAYERS: Final[tuple[Layer, ...]] = ("release", "outbound")
"""Layers that this country approves itself; the floor comes with the directory."""

_NEVER_US: Final = 2**63


class _Span(NamedTuple):
    """A stretch of time in which no rulebook changes, and the policies that answered in it, by recipient."""

    begins_us: int
    ends_us: int
    release: Rulebook | None
    outbound: Rulebook | None
    policies: dict[str, Policy]


@dataclass(slots=True)
class Standing:
    """Each change makes a new `Trust` or schedule and takes its place at once, for calls on open connections too.

    A layer whose rulebook can't be used is None, and denies everything.
    """

    signer: Signer
    trust: Trust
    schedules: Mapping[Layer, Schedule]  # of the country's own layers
    reciprocity: Mapping[str, str] = field(default_factory=dict)  # by peer, as of the day's snapshot
    emergencies: Mapping[str, int] = field(default_factory=dict)  # by peer, until when (UTC microseconds)
    fenced: bool = False  # lines of the ledger are lost that nothing confesses: nothing leaves
    _floor: Rulebook | None = None
    _floor_withdrawn: str = ""  # why
    _spans: tuple[_Span, ...] = ()
    _books: dict[tuple[Layer, bytes, bool], Rulebook | None] = field(default_factory=dict)  # with demonstration
    _proved: dict[tuple[bytes, bytes], str] = field(default_factory=dict)  # floor and release rulebook: why not, or ""

    def __post_init__(self) -> None:
        """Read the rulebooks under the directory in force."""
        self._read_rulebooks()

    @property
    def country(self) -> str:
        """The country of this node."""
        return self.signer.country

    def policy_for(self, recipient: str, now_us: int) -> Policy:
        """Return the two layers in force at the decision's time, bound to what this recipient has accepted."""
        span = self._span(now_us)
        policy = span.policies.get(recipient)
        if policy is None:
            policy = Policy(self._floor, span.release, self.trust.directory.accepted(recipient))
            span.policies[recipient] = policy
        return policy

    def rulebook(self, layer: Layer, now_us: int) -> Rulebook | None:
        """Return the rulebook that a layer has at a time (UTC microseconds); None denies everything.

        Whether it is still valid then is for whoever decides to see.
        """
        if layer == "floor":
            return self._floor
        span = self._span(now_us)
        return span.release if layer == "release" else span.outbound

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
        self.trust = Trust(self.country, directory, self.trust.revoked, self.trust.pairings, self.trust.suspended)
        self._floor_withdrawn = ""
        self._read_rulebooks()

    def follow_schedules(self, schedules: Mapping[Layer, Schedule]) -> None:
        """Go by another schedule of the country's own rulebooks, from the next decision on."""
        if schedules != self.schedules:
            self.schedules = schedules
            self._read_rulebooks()

    def withdraw_floor(self, reason: str) -> None:
        """Go without a floor, which denies everything, until another directory brings one."""
        self._floor_withdrawn = reason
        self._read_rulebooks()

    def unproved(self) -> Sequence[tuple[Rulebook, Rulebook]]:
        """Return the floor and each release rulebook that was approved under another one, until it is proved anew."""
        found = []
        for term in self.schedules["release"].terms if self._floor and "release" in self.schedules else ():
            book = self._book("release", term.text)
            if self._floor and book and self._is_apart(term) and (self._floor.sha256, book.sha256) not in self._proved:
                found.append((self._floor, book))
        return found

    def judge(self, floor: Rulebook, release: Rulebook, fault: str) -> None:
        """Use a release rulebook under a floor that it was not approved with, or, where `fault` says why, don't."""
        self._proved[floor.sha256, release.sha256] = fault
        self._read_rulebooks()

    def revoke(self, country: str, serials: frozenset[int]) -> None:
        """Put a country's revocation list in force."""
        revoked = {**self.trust.revoked, country: serials}
        self.trust = Trust(self.country, self.trust.directory, revoked, self.trust.pairings, self.trust.suspended)

    def pair(self, peer: str, root_key: bytes) -> None:
        """Put a pairing in force that two focal points have signed."""
        pairings = {**self.trust.pairings, peer: root_key}
        self.trust = Trust(self.country, self.trust.directory, self.trust.revoked, pairings, self.trust.suspended)

    def unpair(self, peer: str) -> None:
        """End a pairing: from the next call on, this peer is neither answered nor asked."""
        pairings = {country: key for country, key in self.trust.pairings.items() if country != peer}
        self.trust = Trust(self.country, self.trust.directory, self.trust.revoked, pairings, self.trust.suspended)

    def suspend(self, peers: frozenset[str]) -> None:
        """Deal with these peers no more, from the next call on, and with all others as they are paired."""
        trust = self.trust
        self.trust = Trust(self.country, trust.directory, trust.revoked, trust.pairings, peers)

    def fault(self, layer: Layer, now_us: int) -> str:
        """Return why a layer has no valid rulebook at a time; empty where it has."""
        book = self.rulebook(layer, now_us)
        if book is not None:
            ended = f"{book.name} {book.version} is not valid at this time"
            return "" if book.is_valid_at(now_us) else ended
        if layer == "floor":
            return self._floor_withdrawn or "the directory brings none that can be used"
        schedule = self.schedules.get(layer)
        if schedule is None or not (schedule.fault or schedule.terms):
            return "none was approved and scheduled"
        begun = [term for term in schedule.terms if term.begins_us <= now_us]
        if schedule.fault or not begun:
            return schedule.fault or "the first one is yet to come into force"
        return begun[-1].fault or self._proof_fault(begun[-1]) or "its text can't be read here any more"

    def verify_not_fenced(self) -> None:
        """Check that the ledger is whole, as far as its witnesses know.

        Raises:
            FencedError: it has lost lines; nothing may leave.
        """
        if self.fenced:
            raise FencedError("lines of the ledger are lost: nothing leaves until `enlace ledger fence` confesses it")

    def _span(self, now_us: int) -> _Span:
        for span in self._spans:
            if span.begins_us <= now_us < span.ends_us:
                return span
        raise ValueError("a time before 1970 or after all time")

    def _read_rulebooks(self) -> None:
        # Whether illustrations may be used is the directory's to say, so a new directory reads all layers again.
        floor = self.trust.directory.floor_rulebook
        self._floor = None if self._floor_withdrawn or not floor else self._book("floor", floor)
        begins: dict[Layer, list[tuple[int, Rulebook | None]]] = {}
        for layer in OWN_LAYERS:
            terms = self.schedules[layer].terms if layer in self.schedules else ()
            begins[layer] = [(term.begins_us, self._usable(layer, term)) for term in terms]
        instants = sorted({0, *(at for terms in begins.values() for at, _ in terms)})
        self._spans = tuple(
            _Span(at, until, _at(begins["release"], at), _at(begins["outbound"], at), {})
            for at, until in zip(instants, [*instants[1:], _NEVER_US], strict=True)
        )

    def _usable(self, layer: Layer, term: Term) -> Rulebook | None:
        if layer == "release" and self._proof_fault(term):
            return None
        return self._compiled(self._book(layer, term.text))

    def _is_apart(self, term: Term) -> bool:
        return self._floor is not None and bool(term.text) and term.floor_sha256 != self._floor.sha256

    def _proof_fault(self, term: Term) -> str:
        """Return why a release rulebook's red lines aren't known to hold under the floor; empty where they are."""
        if self._floor is None or not self._is_apart(term):
            return ""
        yet = f"its red lines are yet to be proved with {self._floor.name} {self._floor.version}"
        return self._proved.get((self._floor.sha256, term.sha256), yet)

    def _compiled(self, book: Rulebook | None) -> Rulebook | None:
        """Compile ahead of the instant, not at it; what does not compile to what it says is not used."""
        if book is not None and book.layer == "release" and self._floor is not None:
            try:
                Policy(self._floor, book, frozenset())
            except RulebookError as error:
                log.error("rulebook_not_usable", layer=book.layer, reason=str(error))  # noqa: TRY400 - its text says all
                return None
        return book

    def _book(self, layer: Layer, text: bytes) -> Rulebook | None:
        key = (layer, text, self.trust.directory.demonstration)
        if text and key not in self._books:
            self._books[key] = _parsed(*key)
        return self._books.get(key)


def _at(terms: list[tuple[int, Rulebook | None]], at_us: int) -> Rulebook | None:
    begun = [book for begins_us, book in terms if begins_us <= at_us]
    return begun[-1] if begun else None


def _parsed(layer: Layer, text: bytes, demonstration: bool) -> Rulebook | None:  # noqa: FBT001 - as the key has it
    try:
        book = parse_rulebook(text, demonstration=demonstration)
    except RulebookError as error:
        log.error("rulebook_not_usable", layer=layer, reason=str(error))  # noqa: TRY400 - its text says all
        return None
    return book if book.layer == layer else None
