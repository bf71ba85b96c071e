"""Petitions, persons' requests about their own data (habeas data, ARCO rights), before the competent officer.

Each step commits with its ledger line, which is one of a record like any other: whoever copies the tree must not learn
that somebody has asked. The line's private part names the petition, and its file's number as the case.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from node.desk.masking import Names, Reading
from node.desk.officers import private_of_officer
from node.errors import KeyErasedError, NotFoundError, UsageError, WorkflowError
from node.federation.lines import local_line
from node.federation.standing import Standing
from node.records.lookup import LookupKey
from node.store import subjects
from node.store.database import Database
from node.store.entries import Entries
from node.store.ids import ID_BYTES, new_id
from node.store.lines import Line
from node.store.officers import Officer
from node.store.petitions import Petitions as Store
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.desk_pb2 import OfficerRole
from node.wire.ledger_pb2 import LeafKind
from node.wire.subject_pb2 import (
    PETITION_EVENT_ANSWER,
    PETITION_EVENT_CORRECT,
    PETITION_EVENT_ERASE,
    PETITION_EVENT_EXTEND,
    PETITION_EVENT_REFUSE,
    PETITION_EVENT_REVIEW,
    PETITION_EVENT_TAKE,
    PETITION_KIND_ACCESS,
    PETITION_KIND_CORRECTION,
    PETITION_KIND_ERASURE,
    PETITION_STATE_CLOSED,
    PETITION_STATE_RECEIVED,
    Mark,
    MarkItemRequest,
    OriginDecision,
    Petition,
    PetitionEvent,
    PetitionKind,
    PetitionState,
    PetitionStep,
    RegisterPetitionRequest,
    StepPetitionRequest,
    Telling,
)
from node.workflow.petitions import PETITION, Actor, Event, State

DAY_US: Final = 86_400_000_000
FURTHEST_US: Final = 366 * DAY_US
"""No law gives a country longer to answer; a date beyond is a slip of the pen."""
MOST_SELECTORS: Final = 50
MOST_ENTRIES: Final = 200
MOST_MARKS: Final = 5_000
LONGEST_NUMBER: Final = 64  # bytes: it is the case of a ledger line
LONGEST_WORDS: Final = 2_000  # characters

_ENDS: Final = {
    PETITION_EVENT_ANSWER: PETITION_KIND_ACCESS,
    PETITION_EVENT_CORRECT: PETITION_KIND_CORRECTION,
    PETITION_EVENT_ERASE: PETITION_KIND_ERASURE,
}


def event_of(event: PetitionEvent.ValueType) -> Event:
    """Return the workflow's word for an event of the contract.

    Raises:
        UsageError: there is none.
    """
    try:
        return Event[PetitionEvent.Name(event).removeprefix("PETITION_EVENT_")]
    except (KeyError, ValueError):
        raise UsageError("event: is none of a petition") from None


def state_of(petition: Petition) -> State:
    """Return the workflow's word for where a petition stands."""
    return State[PetitionState.Name(petition.state).removeprefix("PETITION_STATE_")]


@dataclass(slots=True)
class Petitions:
    """Serves focal points, and auditors who look."""

    standing: Standing
    reading: Reading
    database: Database
    vault: Vault
    writer: Writer
    entries: Entries
    clock: Callable[[], int]
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        """Open the aggregate over the database."""
        self.store = Store(self.vault)

    async def register(self, request: RegisterPetitionRequest, officer: Officer) -> Petition:
        """Keep a new petition, which this officer handles until somebody else takes it.

        Raises:
            UsageError: number, kind, selectors, entries or dates are missing, too many or wrong.
        """
        now_us = self.clock()
        petition = Petition(
            petition_id=new_id(now_us),
            number=_text(request.number, "number", LONGEST_NUMBER),
            kind=request.kind,
            state=PETITION_STATE_RECEIVED,
            received_us=request.received_us or now_us,
            due_us=request.due_us,
            handler=officer.name,
            changed_us=now_us,
            selectors=request.selectors,
            entry_ids=dict.fromkeys(request.entry_ids),
        )
        self._verify(petition, now_us)
        if petition.number in {each.number for each in await self.database.read(self.store.list_all)}:
            raise UsageError("number: another petition has it")
        # Off the writer's thread: a new key is a write to the disk of its own.
        await asyncio.to_thread(self.vault.ensure_keys, (petition.petition_id,))
        line = self.line(petition, officer, f"PETITION {PetitionKind.Name(petition.kind)[14:]}")
        change = self.writer.submit(lambda connection: self.store.insert(connection, petition), [line])
        await asyncio.wrap_future(change)
        return petition

    async def list_petitions(self, officer: Officer, *, closed: bool, unmask: str) -> list[Petition]:
        """Return petitions, the earliest due first, without what tells of the person; names masked to an auditor.

        Raises:
            UsageError: no reason for unmasking.
        """
        names: Names = await self.reading.begin(officer, "PETITIONS", unmask=unmask)
        if OfficerRole.OFFICER_ROLE_FOCAL_POINT in officer.roles:
            names = str
        found = await self.database.read(self.store.list_all)
        return [_told(each, names) for each in found if closed or each.state != PETITION_STATE_CLOSED]

    async def get(self, petition_id: bytes, officer: Officer) -> Petition:
        """Return one whole.

        Raises:
            NotFoundError: there is none.
        """
        petition, _ = await self.database.read(self.store.get, _id(petition_id))
        await self.log_read(petition, officer, "PETITION")
        return petition

    async def step(self, request: StepPetitionRequest, officer: Officer) -> Petition:
        """Take a step, as the workflow allows, and return the petition.

        Raises:
            NotFoundError: there is none.
            UsageError: it can't take this step now, somebody else handles it, or ground, law, date or words miss.
        """
        event, now_us = event_of(request.event), self.clock()

        def taken(connection: Connection, petition: Petition) -> None:
            if request.event != PETITION_EVENT_TAKE:
                _verify_handler(petition, officer)
            was = state_of(petition)
            try:
                state = PETITION.after(was, event, Actor.FOCAL_POINT)
            except WorkflowError as error:  # whose text the officer is to read
                raise UsageError(str(error)) from error
            self._verify_step(connection, petition, request, was)
            petition.state = PetitionState.Value(f"PETITION_STATE_{State(state).name}")
            if request.event == PETITION_EVENT_TAKE:
                petition.handler = officer.name
            if request.event == PETITION_EVENT_EXTEND:
                petition.due_us = request.due_us
            if request.event == PETITION_EVENT_REVIEW:
                known = set(petition.entry_ids)
                petition.entry_ids.extend(each for each in dict.fromkeys(request.entry_ids) if each not in known)
            step = PetitionStep(event=request.event, state=petition.state, officer=officer.name, at_us=now_us)
            step.ground, step.law, step.words = request.ground, request.law, request.words
            petition.steps.append(step)
            self._verify(petition, now_us)

        return await self.change(request.petition_id, officer, f"PETITION {event.name}", taken)

    async def mark(self, request: MarkItemRequest, officer: Officer) -> Petition:
        """Decide whether the person is told of an item of the report.

        Raises:
            NotFoundError: there is no such petition.
            UsageError: somebody else handles it, the decision is none, or there are too many.
        """
        if request.telling not in Telling.values() or not request.telling:
            raise UsageError("telling: is told, or why it is not")
        made = Mark(
            reference=_text(request.reference, "reference", LONGEST_NUMBER),
            telling=request.telling,
            officer=officer.name,
            at_us=self.clock(),
            words=_words(request.words),
        )

        def marked(_: Connection, petition: Petition) -> None:
            _verify_handler(petition, officer)
            kept = [each for each in petition.marks if each.reference != made.reference]
            if len(kept) >= MOST_MARKS:
                raise UsageError(f"marks: at most {MOST_MARKS:,}")
            del petition.marks[:]
            petition.marks.extend([*kept, made])

        reason = f"PETITION {Telling.Name(request.telling)}"
        return await self.change(request.petition_id, officer, reason, marked)

    async def decide_origin(self, petition_id: bytes, decision: OriginDecision, officer: Officer) -> Petition:
        """Keep counsel's decision whether a state that may be one of origin hears of a correction or an erasure.

        Raises:
            NotFoundError: there is no such petition.
            UsageError: somebody else handles it; the entry is none of its own, the peer no member; or no reason.
        """
        members = {each.country for each in self.standing.trust.directory.members()} - {self.standing.country}
        if decision.peer not in members:
            raise UsageError(f"peer: is none of the other members, which are {', '.join(sorted(members))}")
        _text(decision.words, "words: why", LONGEST_WORDS)
        made = OriginDecision()
        made.CopyFrom(decision)
        made.officer, made.at_us = officer.name, self.clock()

        def decided(_: Connection, petition: Petition) -> None:
            _verify_handler(petition, officer)
            if made.entry_id not in petition.entry_ids:
                raise UsageError("entry: is not named in this petition")
            same = (made.entry_id, made.peer)
            kept = [each for each in petition.origins if (each.entry_id, each.peer) != same]
            del petition.origins[:]
            petition.origins.extend([*kept, made])

        told = "NOTIFY" if made.notify else "KEEP_FROM"
        return await self.change(petition_id, officer, f"PETITION {told} {made.peer}", decided)

    async def change(
        self, petition_id: bytes, officer: Officer, reason: str, made: Callable[[Connection, Petition], None]
    ) -> Petition:
        """Change a petition together with its line, and return it.

        Raises:
            NotFoundError: there is none; or what the change raises.
        """
        petition, _ = await self.database.read(self.store.get, _id(petition_id))

        def change(connection: Connection) -> Petition:
            now, revision = self.store.get(connection, petition_id)
            made(connection, now)
            now.changed_us = self.clock()
            self.store.change(connection, now, revision)
            return now

        line = self.line(petition, officer, reason)
        return await asyncio.wrap_future(self.writer.submit(change, [line]))

    async def log_read(self, petition: Petition, officer: Officer, reason: str, *subjects: bytes) -> None:
        """Return when looks at the petition, or at records for it, are durably logged."""
        kind = LeafKind.LEAF_KIND_READ
        lines = [self.line(petition, officer, reason, kind, each) for each in subjects or (petition.petition_id,)]
        await asyncio.gather(*[self.writer.append(line) for line in lines])

    def line(
        self,
        petition: Petition,
        officer: Officer,
        reason: str,
        kind: LeafKind.ValueType = LeafKind.LEAF_KIND_RECORD,
        subject: bytes = b"",
    ) -> Line:
        """Make the line of something done for a petition."""
        private = private_of_officer(officer, subject=subject or petition.petition_id, reason=reason)
        private.case_reference = petition.number
        return local_line(kind, private, self.standing.signer, self.clock())

    # --- what is checked ---------------------------------------------------------------------------------------------

    def _verify(self, petition: Petition, now_us: int) -> None:
        if petition.kind not in _ENDS.values():
            raise UsageError("kind: is ACCESS, CORRECTION or ERASURE")
        if not petition.selectors and not petition.entry_ids:
            raise UsageError("selectors: the person's, or ids of own entries")
        if len(petition.selectors) > MOST_SELECTORS or len(petition.entry_ids) > MOST_ENTRIES:
            raise UsageError(f"at most {MOST_SELECTORS} selectors and {MOST_ENTRIES} entries")
        if any(len(each) != ID_BYTES for each in petition.entry_ids):
            raise UsageError(f"entry: an id has {ID_BYTES} bytes")
        keys = (LookupKey(0, bytes(32)),)
        if any(not subjects.tokens_of([each], keys, self.standing.country) for each in petition.selectors):
            raise UsageError("selectors: one can't be such a value")
        if not 0 < petition.received_us <= now_us:
            raise UsageError("received: is a time that has been")
        if not petition.received_us < petition.due_us <= now_us + FURTHEST_US:
            raise UsageError("due: the date by which the law of this country wants an answer, a year ahead at most")

    def _verify_step(
        self, connection: Connection, petition: Petition, request: StepPetitionRequest, was: State
    ) -> None:
        refuses, extends = request.event == PETITION_EVENT_REFUSE, request.event == PETITION_EVENT_EXTEND
        kind = _ENDS.get(request.event)
        if kind is not None and kind != petition.kind:
            raise UsageError("event: does not end a petition of this kind; what is not done is refused, with a ground")
        if bool(request.ground) != refuses:
            raise UsageError("ground: goes with a refusal, which needs one")
        if bool(request.law.strip()) != (refuses or extends):
            raise UsageError("law: goes with a refusal or an extension, which need one")
        _words(request.law)
        needs = refuses or extends or (request.event == PETITION_EVENT_REVIEW and was != State.IDENTITY_CHECKED)
        if needs and not _words(request.words).strip():
            raise UsageError("words: say why")
        if bool(request.due_us) != extends or (extends and request.due_us <= petition.due_us):
            raise UsageError("due: goes with an extension, and is later than before")
        if request.entry_ids and request.event != PETITION_EVENT_REVIEW:
            raise UsageError("entries: are named in a review")
        for entry_id in petition.entry_ids if request.event == PETITION_EVENT_ERASE else ():
            if self._stands(connection, entry_id):
                raise UsageError("an entry that the petition names still stands: erase it first")

    def _stands(self, connection: Connection, entry_id: bytes) -> bool:
        try:
            return self.entries.get(connection, entry_id).WhichOneof("entity") is not None
        except (NotFoundError, KeyErasedError):
            return False


def _told(petition: Petition, names: Names) -> Petition:
    """Return what lists say of a petition."""
    told = Petition()
    told.CopyFrom(petition)
    for name in ("selectors", "entry_ids", "marks", "origins"):
        told.ClearField(name)
    told.handler = names(told.handler)
    for step in told.steps:
        step.officer = names(step.officer)
        step.ClearField("words")
    return told


def _verify_handler(petition: Petition, officer: Officer) -> None:
    if petition.handler != officer.name:
        raise UsageError("somebody else handles this petition: take it first")


def _id(petition_id: bytes) -> bytes:
    if len(petition_id) != ID_BYTES:
        raise UsageError(f"petition: an id has {ID_BYTES} bytes")
    return petition_id


def _text(text: str, name: str, most: int) -> str:
    if not text.strip() or not text.isprintable() or len(text.encode()) > most:
        raise UsageError(f"{name}: is missing, longer than {most} bytes, or not one line")
    return text


def _words(text: str) -> str:
    if len(text) > LONGEST_WORDS:
        raise UsageError(f"words: at most {LONGEST_WORDS:,} characters")
    return text
