"""The steps of a rulebook's life that decide what is in force: scheduled, in force, revoked.

A layer's steps are a chain: each names the one before by SHA-256, and bears a tag under a secret that is not in the
database (HMAC-SHA-256, see `Vault.tag`). So SQL can neither write a step nor alter, swap or remove one before the last.
The last is held by the ledger: the line of a step has an exchange id that follows from the step before (`line_id`), so
where the ledger has the line of a step that is not here, the history was cut short. A layer with such a fault has
nothing in force: silence is denial.
"""

import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError
from sqlalchemy import Connection, insert, select

from node.errors import ApprovalError
from node.identity.rulebook_approvals import parse_signed_approval
from node.policy.rules import Layer
from node.store import rulebooks
from node.store.columns import as_bytes
from node.store.lines import ledger_lines
from node.store.tables import rulebook_steps
from node.store.vault import Vault
from node.wire.rulebook_pb2 import RulebookStep, RulebookStepKind

SCHEDULED: Final = RulebookStepKind.RULEBOOK_STEP_KIND_SCHEDULED
IN_FORCE: Final = RulebookStepKind.RULEBOOK_STEP_KIND_IN_FORCE
REVOKED: Final = RulebookStepKind.RULEBOOK_STEP_KIND_REVOKED

REPLAY_KEY: Final = b"rulebook-step"
"""Of the lines of steps, so that a second line of the same place is refused."""

UNDER_WAY_US: Final = 60_000_000
"""For so long after a rulebook came into force, what was asked before is decided on under the one before."""

_TAGGED: Final = "rulebook-step"


class History(NamedTuple):
    """The verified steps of a layer, oldest first, and the SHA-256 of the last (empty where there is none)."""

    steps: Sequence[RulebookStep]
    last_sha256: bytes

    def of(self, digest: bytes, kind: RulebookStepKind.ValueType) -> RulebookStep | None:
        """Return the last step of this kind that the rulebook took."""
        taken = [each for each in self.steps if each.rules_sha256 == digest and each.kind == kind]
        return taken[-1] if taken else None

    @property
    def reached_us(self) -> int:
        """The latest time that the layer's history knows of: this node's clock was there."""
        return max((each.time_us for each in self.steps), default=0)


class Activation(NamedTuple):
    """A rulebook and the instant from which it is the layer's own; it was revoked at `revoked_us`, unless that is 0."""

    sha256: bytes
    activates_us: int
    revoked_us: int


class Term(NamedTuple):
    """What is in force in a layer from an instant on, until the next term begins: a rulebook's text, or nothing."""

    begins_us: int
    sha256: bytes
    text: bytes  # empty: nothing is in force
    fault: str  # why not; empty where nothing is wrong
    floor_sha256: bytes = b""  # of a release rulebook: the floor that its red lines were proved with


class Schedule(NamedTuple):
    """The terms of a layer that may still matter, in order; the first holds from before any decision."""

    terms: Sequence[Term]
    fault: str  # of the whole layer; then there are no terms


def line_id(layer: str, last_sha256: bytes) -> bytes:
    """Return the exchange id of the ledger line of the step that comes next in a layer's history."""
    return sha256(b"enlace/v1/rulebook-step\0" + layer.encode() + b"\0" + last_sha256).digest()[:16]


def history(connection: Connection, vault: Vault, layer: Layer) -> History:
    """Return the steps of a layer, verified.

    Raises:
        ApprovalError: a step was altered, or is missing; the text says which.
    """
    query = select(rulebook_steps).where(rulebook_steps.c.layer == layer).order_by(rulebook_steps.c.place)
    steps: list[RulebookStep] = []
    last = b""
    for row in connection.execute(query):
        where, data = f"step {row.place} of layer {layer}", as_bytes(row.step)
        if not hmac.compare_digest(as_bytes(row.tag), vault.tag(_TAGGED, data)):
            raise ApprovalError(f"{where} was not written by this node")
        try:
            step = RulebookStep.FromString(data)
        except DecodeError as error:
            raise ApprovalError(f"{where} is not a message of the contract") from error
        if (step.layer, step.place, step.previous_sha256) != (layer, len(steps), last) or row.place != step.place:
            raise ApprovalError(f"{where} does not follow the one before: a step was removed or swapped")
        steps.append(step)
        last = sha256(data).digest()
    held = ledger_lines.c
    beyond = select(held.idx).where(held.exchange_id == line_id(layer, last), held.replay_key == REPLAY_KEY)
    if connection.execute(beyond.limit(1)).first() is not None:
        raise ApprovalError(f"step {len(steps)} of layer {layer} is in the ledger and not in the database")
    return History(steps, last)


def append(connection: Connection, vault: Vault, past: History, step: RulebookStep) -> None:
    """Write a step behind the past that it was decided on, in one transaction with its ledger line.

    Raises:
        ApprovalError: another step was taken meanwhile.
    """
    query = select(rulebook_steps.c.place).where(rulebook_steps.c.layer == step.layer)
    if len(connection.execute(query.with_for_update()).all()) != len(past.steps):
        raise ApprovalError(f"another step of layer {step.layer} was taken meanwhile: look again")
    step.place, step.previous_sha256 = len(past.steps), past.last_sha256
    data = step.SerializeToString()
    row = {"layer": step.layer, "place": step.place, "step": data, "tag": vault.tag(_TAGGED, data)}
    connection.execute(insert(rulebook_steps).values(row))


def activations(past: History) -> list[Activation]:
    """Return what was scheduled, in the order of the instants; one revoked before its instant is left out."""
    found = []
    # Scheduled again before its instant, the later word counts.
    for digest, step in {each.rules_sha256: each for each in past.steps if each.kind == SCHEDULED}.items():
        revoked = past.of(digest, REVOKED)
        revoked_us = revoked.time_us if revoked else 0
        if not revoked_us or past.of(digest, IN_FORCE) or revoked_us >= step.activates_us:
            found.append(Activation(digest, step.activates_us, revoked_us))
    return sorted(found, key=lambda each: each.activates_us)


def schedule(
    connection: Connection, vault: Vault, layer: Layer, *, focal: Mapping[str, bytes], country: str, now_us: int
) -> Schedule:
    """Return what is in force in a layer, and what will be: as far as signatures and the history bear it out.

    What once came into force is not undone by a clock that goes back: terms before it are gone. A rulebook whose
    approval does not verify leaves its term empty, and so does a revoked one: the one before does not come back.
    """
    try:
        past = history(connection, vault, layer)
    except ApprovalError as error:
        return Schedule((), str(error))
    found = activations(past)
    reached_us = max(now_us, past.reached_us)
    begun = [each for each in found if each.activates_us <= reached_us]
    order = [(0, each) for each in begun[-1:]]
    if begun[:-1] and begun[-1].activates_us > reached_us - UNDER_WAY_US:
        # A question that came just before the instant is still answered as of then.
        order += [(begun[-1].activates_us - UNDER_WAY_US, begun[-2]), (begun[-1].activates_us, begun[-1])]
    order += [(each.activates_us, each) for each in found if each.activates_us > reached_us]
    texts = {each.sha256: _text(connection, each, focal, country) for _, each in order}
    return Schedule([Term(begins_us, each.sha256, *texts[each.sha256]) for begins_us, each in order], "")


def _text(
    connection: Connection, activation: Activation, focal: Mapping[str, bytes], country: str
) -> tuple[bytes, str, bytes]:
    if activation.revoked_us:
        return b"", "it was revoked", b""
    try:
        proposal = rulebooks.verified(connection, activation.sha256, focal, country)
    except ApprovalError as error:
        return b"", str(error), b""
    _, said = parse_signed_approval(proposal.signed_approval)
    return proposal.text, "", said.floor_sha256
