"""The life of a country's own rulebook at the desk: proposed, signed, scheduled, revoked.

Two focal points approve, and the author is neither of them. Every step is a ledger line, also one that was refused; the
rulebook in force stays until another one's instant comes, or a focal point revokes it.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from node.desk.proposing import Proposing
from node.desk.rulebook_lines import line_of_step, log_read, private_of_step, refusing
from node.desk.rulebook_states import read_told, state_of
from node.errors import (
    ApprovalError,
    MalformedError,
    NotFoundError,
    UsageError,
)
from node.federation.enacting import Enacting
from node.federation.standing import OWN_LAYERS
from node.identity.rulebook_approvals import (
    approval_signers,
    parse_signed_approval,
    parse_signed_removal,
    removal_signers,
)
from node.policy.rules import Layer, Rulebook
from node.store import focal_points, rulebook_steps, rulebooks
from node.store.officers import Officer
from node.store.rulebook_steps import IN_FORCE, REVOKED, SCHEDULED, History
from node.store.rulebooks import Proposal
from node.store.vault import Vault
from node.wire.rulebook_pb2 import (
    GetRulebookResponse,
    ProposeRulebookResponse,
    RulebookState,
    RulebookStep,
)

LEAD_US: Final = 5_000_000
"""How far ahead an instant must be, at least: every process of the node learns within a second or two what comes."""

LONGEST_REASON: Final = 40  # with what else a line says, it fits
_SIGNED_OVER: Final = {
    "rules_sha256": "rules",
    "vocabulary": "words",
    "floor_sha256": "rules of the floor",
    "red_lines_sha256": "red lines",
    "proof_sha256": "proofs",
    "rehearsal_sha256": "rehearsals",
}


@dataclass(slots=True)
class Rulebooks:
    """Serves focal points."""

    enacting: Enacting
    proposing: Proposing

    async def propose(self, text: bytes, officer: Officer) -> ProposeRulebookResponse:
        """Take a rulebook in, and return its reports and how it stands; see `Proposing.propose`."""
        digest = await self.proposing.propose(text, officer)
        proposal = await self.enacting.database.read(rulebooks.found, digest)
        return ProposeRulebookResponse(
            rulebook=await self._state(digest), proof=proposal.proof, rehearsal=proposal.rehearsal
        )

    async def sign(self, signed_approval: bytes, signed_removal: bytes, officer: Officer) -> RulebookState:
        """Keep a focal point's signatures on a rulebook with those kept before, and return how it stands.

        Raises:
            NotFoundError: no such rulebook was proposed.
            ApprovalError: they are over other bytes than were proved and rehearsed, by its author, by nobody, or by
                another focal point than who brings them.
            MalformedError, SignatureError: it is no approval, or a signature is false.
        """
        digest = _about(signed_approval, signed_removal)
        async with refusing(self.enacting, "SIGN", digest, officer):
            if not digest:
                raise MalformedError("what is signed is no approval, or about two rulebooks")
            now_us = self.enacting.clock()
            proposal, focal = await self.enacting.database.read(_proposal_and_focal, self.enacting.vault, digest)
            if officer.name == proposal.author:
                raise ApprovalError("its author brings no signature on it: two focal points do, each in their own name")
            if signed_approval:
                _verify_same_approval(signed_approval, proposal.signed_approval)
            if signed_removal:
                _verify_same_removal(signed_removal, proposal.signed_removal)
            approving = approval_signers(signed_approval, focal) if signed_approval else {}
            removing = removal_signers(signed_removal, focal) if signed_removal else {}
            _verify_adds(approving, removing, rulebooks.signers(proposal, focal), officer)

            def change(connection: Connection) -> None:
                rulebooks.sign(connection, proposal.layer, digest, approval=approving, removal=removing, now_us=now_us)

            line = line_of_step(self.enacting, "SIGNED", proposal, officer)
            await asyncio.wrap_future(self.enacting.writer.submit(change, [line]))
        return await self._state(digest)

    async def schedule(self, digest: bytes, activates_us: int, officer: Officer) -> int:
        """Let an approved rulebook come into force at an instant (UTC microseconds; 0: the earliest), and return it.

        Raises:
            NotFoundError: no such rulebook was proposed.
            ApprovalError: it is not approved, or must not come into force then; the text says why.
            RulebookError: it can't be used here, such as an illustration outside a demonstration.
        """
        async with refusing(self.enacting, "SCHEDULE", digest, officer):
            proposal = await self.enacting.database.read(rulebooks.found, digest)
            past = await self._history(proposal.layer)
            book = await self.proposing.parsed(proposal.text)
            now_us = self.enacting.clock()
            activates_us = activates_us or max(now_us + LEAD_US, book.valid_from_us)
            self._verify_schedulable(book, proposal, past, activates_us, now_us)
            await self._verify_removal(book, proposal, await self._verify_order(book, past, activates_us))
            step = RulebookStep(
                layer=proposal.layer,
                kind=SCHEDULED,
                rules_sha256=digest,
                time_us=now_us,
                activates_us=activates_us,
                officer=officer.name,
            )

            def check(connection: Connection) -> None:
                focal = focal_points.by_name(connection, self.enacting.vault)
                rulebooks.verified(connection, digest, focal, self.enacting.standing.country)

            await self.enacting.take(step, past, private_of_step("SCHEDULED", book, officer), check=check)
        return activates_us

    async def revoke(self, digest: bytes, reason: str, officer: Officer) -> None:
        """Take a rulebook out of force, or let it never come into force; one focal point suffices, since it only stops.

        Where it is in force, its layer then denies everything: the one before does not come back.

        Raises:
            UsageError: the reason is missing or too long.
            NotFoundError: no such rulebook was proposed.
            ApprovalError: it was revoked or superseded before, or what comes after it was approved to follow it.
        """
        async with refusing(self.enacting, "REVOKE", digest, officer):
            if not 0 < len(reason.encode()) <= LONGEST_REASON:
                raise UsageError(f"say why, in up to {LONGEST_REASON} bytes")
            proposal = await self.enacting.database.read(rulebooks.found, digest)
            past = await self._history(proposal.layer)
            state = await self._state(digest)
            if state.ended_us:
                raise ApprovalError(f"{proposal.name} {proposal.version} is not in force any more")
            if max(self.enacting.clock(), past.reached_us) < state.activates_us:
                await self._verify_last(digest, past)
            step = RulebookStep(
                layer=proposal.layer,
                kind=REVOKED,
                rules_sha256=digest,
                time_us=self.enacting.clock(),
                officer=officer.name,
                reason=reason,
            )
            await self.enacting.take(step, past, private_of_step("REVOKED", proposal, officer), check=lambda _: None)

    async def list_rulebooks(self, layer: str, officer: Officer) -> list[RulebookState]:
        """Return the history of a layer, or of both, the newest proposal last.

        Raises:
            UsageError: there is no such layer.
        """
        if layer and layer not in OWN_LAYERS:
            raise UsageError(f"layer: is {' or '.join(OWN_LAYERS)}")
        await log_read(self.enacting, officer, f"RULEBOOKS {layer.upper()}".rstrip())
        return [each for each in await self._states() if layer in {"", each.layer}]

    async def get_rulebook(self, digest: bytes, officer: Officer) -> GetRulebookResponse:
        """Return a rulebook with its reports, how it stands, and what there is to sign.

        Raises:
            NotFoundError: no such rulebook was proposed.
        """
        proposal = await self.enacting.database.read(rulebooks.found, digest)
        await log_read(self.enacting, officer, "RULEBOOK", digest)
        return GetRulebookResponse(
            rulebook=await self._state(digest),
            text=proposal.text,
            proof=proposal.proof,
            rehearsal=proposal.rehearsal,
            signed_approval=proposal.signed_approval,
            signed_removal=proposal.signed_removal,
        )

    # --- scheduling --------------------------------------------------------------------------------------------------

    async def _verify_last(self, digest: bytes, past: History) -> None:
        """Check that nothing is to follow a rulebook that leaves its place before its instant.

        Which red lines go was compared with what is superseded: that must not become another one by itself.
        """
        order = [each.sha256 for each in rulebook_steps.activations(past)]
        later = order[order.index(digest) + 1 :] if digest in order else []
        if later:
            last = await self.enacting.database.read(rulebooks.found, later[-1])
            raise ApprovalError(f"{last.name} {last.version} was approved to come after it: revoke that one first")

    def _verify_schedulable(
        self, book: Rulebook, proposal: Proposal, past: History, activates_us: int, now_us: int
    ) -> None:
        called = f"{book.name} {book.version}"
        if past.of(book.sha256, REVOKED) is not None:
            raise ApprovalError(f"{called} was revoked: give its rules a new version")
        if now_us < past.reached_us:
            late = (past.reached_us - now_us) // 1_000_000 + 1
            raise ApprovalError(f"this node's clock is {late} s behind the last step of layer {book.layer}: set it")
        held = past.of(book.sha256, SCHEDULED)
        if past.of(book.sha256, IN_FORCE) is not None or (held is not None and held.activates_us < now_us + LEAD_US):
            raise ApprovalError(f"{called} is in force or was, or its instant is about to come")
        if activates_us <= now_us:
            raise ApprovalError("the instant is in the past: what was decided under other rules stays decided")
        if activates_us < now_us + LEAD_US:
            seconds = LEAD_US // 1_000_000
            raise ApprovalError(f"the instant is nearer than {seconds} s: every process of the node is to learn of it")
        if not book.is_valid_at(activates_us):
            raise ApprovalError(f"{called} is not valid at that instant")
        _, said = parse_signed_approval(proposal.signed_approval)
        floor = self.enacting.standing.rulebook("floor", now_us)
        if book.layer == "release" and (floor is None or floor.sha256 != said.floor_sha256):
            raise ApprovalError("it was proved with another floor than the one in force: propose it again")

    async def _verify_order(self, book: Rulebook, past: History, activates_us: int) -> bytes:
        """Check that versions and instants rise together, and return which rulebook it would supersede."""
        await self._verify_last(book.sha256, past)
        others = [each for each in rulebook_steps.activations(past) if each.sha256 != book.sha256]
        for each in others:
            other = await self.enacting.database.read(rulebooks.found, each.sha256)
            called = f"{other.name} {other.version}"
            if each.activates_us == activates_us:
                raise ApprovalError(f"two versions would be in force at once: that is the instant of {called}")
            if each.activates_us > activates_us:
                raise ApprovalError(f"{called} comes into force after that instant: revoke it, or choose a later one")
            if other.name == book.name and other.version >= book.version:
                raise ApprovalError(f"{book.name} {book.version} is not newer than {called}, which was scheduled")
        return others[-1].sha256 if others else b""

    async def _verify_removal(self, book: Rulebook, proposal: Proposal, before: bytes) -> None:
        """Check that no red line goes without an approval of its own, compared with what would be superseded."""
        gone = await self.proposing.removed(book, before) if before else []
        replaces, approved = rulebooks.removed(proposal)
        if gone and (replaces != before or not set(gone) <= set(approved)):
            raise ApprovalError(f"red lines {', '.join(gone)} would go, which nobody has approved: propose it again")

    # --- reading -----------------------------------------------------------------------------------------------------

    async def _history(self, layer: Layer) -> History:
        return await self.enacting.database.read(rulebook_steps.history, self.enacting.vault, layer)

    async def _states(self) -> list[RulebookState]:
        told = await self.enacting.database.read(read_told, self.enacting.vault, self.enacting.standing.country)
        return [state_of(each, told, self.enacting.clock()) for each in told.proposals]

    async def _state(self, digest: bytes) -> RulebookState:
        for state in await self._states():
            if state.sha256 == digest:
                return state
        raise NotFoundError("no rulebook of this digest was proposed here")


def _proposal_and_focal(connection: Connection, vault: Vault, digest: bytes) -> tuple[Proposal, Mapping[str, bytes]]:
    return rulebooks.found(connection, digest), focal_points.by_name(connection, vault)


def _about(signed_approval: bytes, signed_removal: bytes) -> bytes:
    """Return which rulebook the documents are about; empty where that is none, or two."""
    about: set[bytes] = set()
    with suppress(MalformedError):
        if signed_approval:
            about.add(parse_signed_approval(signed_approval)[1].rules_sha256)
        if signed_removal:
            about.add(parse_signed_removal(signed_removal)[1].rules_sha256)
        return about.pop() if len(about) == 1 else b""
    return b""


def _verify_same_approval(signed: bytes, held: bytes) -> None:
    (new, said), (old, kept) = parse_signed_approval(signed), parse_signed_approval(held)
    for field, what in _SIGNED_OVER.items():
        if getattr(said, field) != getattr(kept, field):
            raise ApprovalError(f"the approval is over other {what} than this rulebook's: read it again and sign")
    if new.approval != old.approval:
        raise ApprovalError("the approval is not the one of this rulebook: read it again and sign")


def _verify_adds(
    approving: Collection[str], removing: Collection[str], held: tuple[Sequence[str], ...], officer: Officer
) -> None:
    """Check that who brings it is who newly signed: else one officer with both keys would be two focal points."""
    if not approving and not removing:
        raise ApprovalError("no focal point of this node has signed it")
    if set(approving) <= set(held[0]) and set(removing) <= set(held[1]):
        who = ", ".join(sorted({*approving, *removing}))
        raise ApprovalError(f"{who} has signed it before, and nobody counts twice: another focal point must")
    new = (set(approving) - set(held[0])) | (set(removing) - set(held[1]))
    if others := sorted(new - {officer.name}):
        other = others[0]
        raise ApprovalError(f"a signature of {other} is brought by {other} alone: sign in with their certificate")


def _verify_same_removal(signed: bytes, held: bytes) -> None:
    if not held:
        raise ApprovalError("this rulebook removes no red line")
    if parse_signed_removal(signed)[0].removal != parse_signed_removal(held)[0].removal:
        raise ApprovalError("the removal is not the one of this rulebook: read it again and sign")
