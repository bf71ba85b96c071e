"""Proposing a rulebook: it is read, proved and rehearsed before anybody is asked to sign it."""

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from node.desk.replaying import Replaying
from node.desk.rulebook_lines import line_of_step, refusing
from node.errors import ApprovalError, RulebookError
from node.federation.enacting import Enacting
from node.federation.standing import OWN_LAYERS
from node.policy.red_lines import red_lines_digest, removed_red_lines
from node.policy.rulebook import parse_rulebook, read_rulebook
from node.policy.rules import Rulebook
from node.policy.vocabulary import vocabulary_digest
from node.store import rulebook_steps, rulebooks
from node.store.officers import Officer
from node.store.rulebook_steps import History
from node.wire.rulebook_pb2 import RedLineRemoval, RulebookApproval

_MOST_TEXT: Final = 4_000  # of a refusal, in characters: a call's status must not outgrow 8 KiB


@dataclass(slots=True)
class Proposing:
    """Takes rulebooks in."""

    enacting: Enacting
    replaying: Replaying

    async def propose(self, text: bytes, officer: Officer) -> bytes:
        """Read, prove and rehearse a rulebook, keep it for two focal points to sign, and return its SHA-256.

        Raises:
            RulebookError: it has mistakes; the text lists them.
            ApprovalError: it does not keep a red line, is not of this country, or its version was used.
        """
        digest = hashlib.sha256(text).digest()
        async with refusing(self.enacting, "PROPOSE", digest, officer):
            book = await self.parsed(text)
            past = await self._verify_proposable(book)
            proof, rehearsal = await self._proved(book), await self._rehearsed(text)
            removal = await self._removal(book, past, officer)
            approval = self._approval(book, proof, rehearsal, officer, removes=removal is not None)

            def change(connection: Connection) -> None:
                now = rulebook_steps.history(connection, self.enacting.vault, book.layer)
                if rulebook_steps.activations(now) != rulebook_steps.activations(past):
                    raise ApprovalError("another rulebook of this layer took a step meanwhile: propose this one again")
                rulebooks.propose(
                    connection,
                    book,
                    text,
                    approval=approval.SerializeToString(),
                    removal=removal.SerializeToString() if removal else b"",
                    proof=proof,
                    rehearsal=rehearsal,
                )

            line = line_of_step(self.enacting, "PROPOSED", book, officer)
            await asyncio.wrap_future(self.enacting.writer.submit(change, [line]))
        return digest

    async def parsed(self, text: bytes) -> Rulebook:
        """Return a rulebook that may be used here, read in a thread.

        Raises:
            RulebookError: it has mistakes, or is an illustration and this is no demonstration.
        """
        demonstration = self.enacting.standing.trust.directory.demonstration
        try:
            return await asyncio.to_thread(parse_rulebook, text, demonstration=demonstration)
        except RulebookError as error:
            raise RulebookError(_shortened(str(error))) from error

    async def removed(self, book: Rulebook, before: bytes) -> list[str]:
        """Return the ids of red lines that a rulebook has (`before`, SHA-256), and the one after it does not."""
        if book.layer != "release":
            return []
        text = await self.enacting.database.read(rulebooks.by_digest, book.layer, before)
        # It was in use, if under words that a newer node changed: what it can't be read as, the new one does not keep.
        old = (await asyncio.to_thread(read_rulebook, text)).book
        return removed_red_lines(old.red_lines, book.red_lines)

    async def _verify_proposable(self, book: Rulebook) -> History:
        country = self.enacting.standing.country
        if book.layer not in OWN_LAYERS:
            raise ApprovalError("the floor is the stewards' to sign: it comes with the directory")
        if book.country != country:
            raise ApprovalError(f"it is of {book.country}, and this node is of {country}")
        if book.valid_until_us <= self.enacting.clock():
            raise ApprovalError("its validity has ended")
        past = await self.enacting.database.read(rulebook_steps.history, self.enacting.vault, book.layer)
        if any(step.rules_sha256 == book.sha256 for step in past.steps):
            raise ApprovalError(f"{book.name} {book.version} was scheduled or revoked before: give it a new version")
        return past

    async def _proved(self, book: Rulebook) -> str:
        if book.layer == "outbound":
            return "An outbound rulebook has no red lines: there is nothing to prove.\n"
        floor = self.enacting.standing.rulebook("floor", self.enacting.clock())
        if floor is None:
            raise ApprovalError("there is no floor to prove it with: a directory is to bring one first")
        return await asyncio.to_thread(_proved, floor, book)

    async def _rehearsed(self, text: bytes) -> str:
        return (await self.replaying.rehearse_rulebook(text)).text

    def _approval(
        self, book: Rulebook, proof: str, rehearsal: str, officer: Officer, *, removes: bool
    ) -> RulebookApproval:
        now_us = self.enacting.clock()
        floor = self.enacting.standing.rulebook("floor", now_us) if book.layer == "release" else None
        return RulebookApproval(
            country=book.country,
            layer=book.layer,
            name=book.name,
            version=book.version,
            rules_sha256=book.sha256,
            vocabulary=vocabulary_digest(),
            floor_sha256=floor.sha256 if floor else b"",
            red_lines_sha256=red_lines_digest([*(floor.red_lines if floor else ()), *book.red_lines]),
            proof_sha256=hashlib.sha256(proof.encode()).digest(),
            rehearsal_sha256=hashlib.sha256(rehearsal.encode()).digest(),
            author=officer.name,
            time_us=now_us,
            removes_red_lines=removes,
        )

    async def _removal(self, book: Rulebook, past: History, officer: Officer) -> RedLineRemoval | None:
        """Return what else is to be signed where red lines of the rulebook before are gone or changed."""
        order = rulebook_steps.activations(past)
        gone = await self.removed(book, order[-1].sha256) if order else []
        if not gone:
            return None
        return RedLineRemoval(
            country=book.country,
            layer=book.layer,
            rules_sha256=book.sha256,
            replaces_sha256=order[-1].sha256,
            red_lines=gone,
            author=officer.name,
            time_us=self.enacting.clock(),
        )


def _proved(floor: Rulebook, release: Rulebook) -> str:
    """Return the report of the proofs.

    Raises:
        ApprovalError: a red line is not kept; the text tells a situation for each.
    """
    from node.policy.prove.proof import prove  # noqa: PLC0415 - z3 is large, and serving begins without it

    proof = prove(floor, release)
    if not proof.is_kept():
        raise ApprovalError(_shortened("\n".join(["it does not keep every red line:", *proof.broken()])))
    return proof.text().decode()


def _shortened(text: str) -> str:
    if len(text) <= _MOST_TEXT:
        return text
    kept = text[:_MOST_TEXT].rpartition("\n")[0]
    return f"{kept}\n… and {text[len(kept) + 1 :].count(chr(10)) + 1} more"
