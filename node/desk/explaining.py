"""Why something left, or did not: past answers replayed as they were decided, and queries that nobody has put.

A past decision is replayed with the facts that were kept beside its ledger line, under the rulebooks that the line
names and the acceptance that the directory of that time holds. That somebody looks is a line of its own first.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import Connection

from node.desk.officers import private_of_officer
from node.desk.what_if import facts_of, query_of
from node.errors import NotFoundError, PolicyError, RulebookError, UnknownMemberError, UsageError
from node.federation.lines import local_line
from node.federation.standing import Standing
from node.identity.directory import TrustedDirectory
from node.ledger.leaf import parse_private, unpad, verify_opening
from node.policy.decision import ENTRY, HIT, PENDING
from node.policy.explain import explain
from node.policy.facts import parse_facts
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Layer, Rulebook
from node.policy.vocabulary import Obligation
from node.records.labels import LANGUAGES
from node.store import directories, freezes, rulebooks
from node.store.database import Database
from node.store.entries import Entries
from node.store.ids import ID_BYTES
from node.store.listing import ListedLine, list_lines
from node.store.officers import Officer
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.codes_pb2 import Outcome
from node.wire.directory_pb2 import Directory, SignedDirectory
from node.wire.entry_pb2 import Entry
from node.wire.envelope_pb2 import Statement
from node.wire.explaining_pb2 import ExplainedEntry, ExplainRequest, ExplainResponse, Explanation, WhatIf
from node.wire.ledger_pb2 import (
    ENTRY_OUTCOME_NEXT_PAGE,
    Decisions,
    Direction,
    EntryDecision,
    LeafKind,
    LeafPrivate,
)

_PAGE: Final = 100  # entries of a response; some 3 kB each
_REFUSED: Final = {
    "PURPOSE": "its purpose, or the kind of unit that asked, is never lawful here",
    "NO_INSTRUMENT": "the instrument that it named was not in force between the two countries",
}
_LEVELS: Final = {
    "released": Outcome.OUTCOME_RELEASE,
    "generalised": Outcome.OUTCOME_GENERALISE,
    "pseudonymised": Outcome.OUTCOME_PSEUDONYMISE,
    "masked": Outcome.OUTCOME_MASK,
    "withheld": Outcome.OUTCOME_WITHHOLD,
}


class _Then(NamedTuple):
    """What decided then."""

    floor: Rulebook | None
    release: Rulebook | None
    accepted: frozenset[Obligation]


@dataclass(slots=True)
class Explaining:
    """Serves focal points and auditors."""

    standing: Standing
    database: Database
    vault: Vault
    entries: Entries
    writer: Writer
    clock: Callable[[], int]

    async def explain(self, request: ExplainRequest, officer: Officer) -> AsyncIterator[ExplainResponse]:
        """Explain what was decided in a past answer, or what would be decided on a query that nobody puts.

        The first response says all that is said of the whole; entries come in as many as it takes.

        Raises:
            UsageError: the request is not complete, or names what there is not.
            NotFoundError: no such answer was given, its opening was erased, or there is no such entry.
            LedgerError: a line is damaged, or does not fit what opens it.
        """
        language = request.language or "en"
        if language not in LANGUAGES:
            raise UsageError(f"language: is one of {', '.join(LANGUAGES)}")
        if request.HasField("what_if"):
            members = {record.country for record in self.standing.trust.directory.members()} - {self.standing.country}
            if request.what_if.recipient not in members:
                raise UsageError(f"peer: is none of the other members, which are {', '.join(sorted(members))}")
            await self._log_read(officer, request.what_if.entry_id, f"WHAT_IF {request.what_if.recipient}")
            response = await self.database.read(self._what_if, request.what_if, language)
        else:
            if len(request.exchange_id) != ID_BYTES:
                raise UsageError("name an exchange, or ask what if")
            await self._log_read(officer, request.exchange_id, "EXPLAIN")
            response = await self.database.read(self._past, request, language)
        entries = list(response.entries)
        response.ClearField("entries")
        for at in range(0, max(1, len(entries)), _PAGE):
            response.entries.extend(entries[at : at + _PAGE])
            yield response
            response = ExplainResponse()

    async def _log_read(self, officer: Officer, subject: bytes, reason: str) -> None:
        if len(subject) not in {0, ID_BYTES}:
            raise UsageError(f"an id has {ID_BYTES} bytes")
        private = private_of_officer(officer, subject=subject, reason=reason)
        await self.writer.append(local_line(LeafKind.LEAF_KIND_READ, private, self.standing.signer, self.clock()))

    # --- past answers ------------------------------------------------------------------------------------------------

    def _past(self, connection: Connection, request: ExplainRequest, language: str) -> ExplainResponse:
        line = self._line(connection, request.exchange_id, request.peer)
        assert line.opening is not None
        verify_opening(line.leaf, line.opening)
        private = parse_private(line.opening.private)
        shared = line.shared
        response = ExplainResponse(exchange_id=shared.exchange_id, peer=shared.peer, time_us=shared.time_us)
        decided = Decisions.FromString(unpad(line.opening.decisions)).entries if line.opening.decisions else ()
        if private.reason:
            why = _REFUSED.get(private.reason, private.reason)
            response.remark = f"The query was refused as a whole: {why}."
        elif not decided:
            response.remark = "Nothing here matched what was asked."
        wanted = [each for each in decided if request.entry_id in {b"", each.entry_id}]
        if request.entry_id and not wanted:
            raise NotFoundError("nothing was decided on this entry in that exchange")
        try:
            then = self._then(connection, line, private)
        except (NotFoundError, RulebookError, UnknownMemberError) as error:
            response.remark = f"It can't be replayed: {error}"
            response.entries.extend(_unexplained(each, "") for each in wanted)
            return response
        for each in wanted:
            response.entries.append(_replayed(each, then, shared.time_us, language))
        return response

    def _line(self, connection: Connection, exchange_id: bytes, peer: str) -> ListedLine:
        found = [
            line
            for line in list_lines(
                connection,
                exchange_id=exchange_id,
                kinds=(LeafKind.LEAF_KIND_ANSWERED,),
                peer=peer or None,
                vault=self.vault,
            )
            if line.shared.direction == Direction.DIRECTION_SENT
        ]
        if not found:
            raise NotFoundError("this node gave no answer in such an exchange")
        if len(found) > 1:
            peers = ", ".join(sorted({line.shared.peer for line in found}))
            raise UsageError(f"{peers} chose the same exchange id: name the peer too")
        if found[0].opening is None:
            raise NotFoundError("what opens this line was erased, and with it what was decided")
        return found[0]

    def _then(self, connection: Connection, line: ListedLine, private: LeafPrivate) -> _Then:
        """Return what was in force for this line.

        Raises:
            NotFoundError: a rulebook or the directory is not kept.
            RulebookError: a rulebook was written for another vocabulary than this node's.
            UnknownMemberError: the peer was no member.
        """
        version = Statement.FromString(line.statement).directory_version
        directory = self._directory(connection, version)

        def rulebook(layer: Layer, digest: bytes) -> Rulebook | None:
            if not digest:
                return None
            content = rulebooks.by_digest(connection, layer, digest)
            return parse_rulebook(content, demonstration=directory.demonstration)

        floor, release = rulebook("floor", private.floor_sha256), rulebook("release", private.release_sha256)
        return _Then(floor, release, directory.accepted(line.shared.peer))

    def _directory(self, connection: Connection, version: int) -> TrustedDirectory:
        held = [each for each in directories.accepted(connection) if _version_of(each) <= version]
        root = self.standing.trust.directory.steward_roots()[0]
        directory = TrustedDirectory.restored(root, held)
        if directory.version != version:
            raise NotFoundError(f"directory {version} is not kept here")
        return directory

    # --- what if -----------------------------------------------------------------------------------------------------

    def _what_if(self, connection: Connection, asked: WhatIf, language: str) -> ExplainResponse:
        now_us, peer = self.clock(), asked.recipient
        entry, remark = self._seen(connection, asked, now_us) if asked.entry_id else (Entry(), "")
        in_force = self.standing.instruments_with(peer, now_us)
        query = query_of(asked, entry, in_force)
        facts = facts_of(asked, query, entry, self.standing, now_us)
        policy = self.standing.policy_for(peer, now_us)
        told = explain(policy.floor, policy.release, facts, policy.accepted, now_us, language=language)
        response = ExplainResponse(peer=peer, time_us=now_us)
        response.entries.append(
            ExplainedEntry(entry_id=entry.entry_id, revision=entry.revision, explanation=told, remark=remark)
        )
        if query.instrument not in {each.id for each in in_force}:
            names = ", ".join(each.id for each in in_force) or "none"
            response.remark = f"Such a query would be refused as a whole: in force with {peer} are {names}."
        return response

    def _seen(self, connection: Connection, asked: WhatIf, now_us: int) -> tuple[Entry, str]:
        """Return an entry as the peer would find it, and what is to be said of that."""
        entry, until_us, remark = self.entries.get(connection, asked.entry_id), 0, ""
        for each in freezes.list_freezes(connection):
            if (each.entry_id, each.peer) == (asked.entry_id, asked.recipient):
                entry, until_us = self.entries.revision(connection, asked.entry_id, each.revision), each.until_us
                remark = f"{each.peer} goes on seeing revision {each.revision}, which is what is explained here."
        if (until_us or entry.review_us) <= now_us:
            remark = "It is past its review date, so that nobody finds it, whatever the rules say."
        return entry, remark


def _version_of(signed: bytes) -> int:
    return Directory.FromString(SignedDirectory.FromString(signed).directory).version


def _unexplained(decided: EntryDecision, remark: str) -> ExplainedEntry:
    fired = f"The rules that fired then: {', '.join(decided.rules) or 'none'}."
    return ExplainedEntry(
        entry_id=decided.entry_id,
        revision=decided.revision,
        logged=decided.outcome,
        remark=f"{remark} {fired}".strip(),
    )


def _replayed(decided: EntryDecision, then: _Then, at_us: int, language: str) -> ExplainedEntry:
    try:
        facts = parse_facts(decided.facts)
    except PolicyError:
        return _unexplained(decided, "The facts kept with it are of another vocabulary than this node's.")
    told = explain(then.floor, then.release, facts, then.accepted, at_us, language=language)
    return ExplainedEntry(
        entry_id=decided.entry_id,
        revision=decided.revision,
        logged=decided.outcome,
        explanation=told,
        remark="" if _is_alike(decided, told) else "The replay differs from what the ledger line says: look into it.",
    )


def _is_alike(decided: EntryDecision, told: Explanation) -> bool:
    """Tell whether a replay decides as was decided then."""
    visible = told.outcome in {ENTRY, HIT, PENDING}
    if decided.outcome != told.outcome and not (visible and decided.outcome == ENTRY_OUTCOME_NEXT_PAGE):
        return False
    return all(
        getattr(decided, name) == sum(1 << each.category for each in told.categories if each.outcome == level)
        for name, level in _LEVELS.items()
    )
