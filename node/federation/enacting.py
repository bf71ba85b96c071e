"""Putting rulebooks in force, and noting that they are: each step is a ledger line, written with it or not at all.

What is in force follows from the time and the approved schedule alone (`Standing`); this keeps the schedule up to date,
takes the steps that change it, and tells when a layer has nothing in force.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256

import structlog
from sqlalchemy import Connection

from node.errors import ApprovalError, EnlaceError, ProverError, ReplayError
from node.federation.lines import line_of, local_line, shared_of_event
from node.federation.standing import OWN_LAYERS, Standing
from node.policy.rules import LAYERS, Layer, Rulebook
from node.store import focal_points, rulebook_steps, rulebooks
from node.store.database import Database
from node.store.lines import Line
from node.store.rulebook_steps import IN_FORCE, REPLAY_KEY, History, Schedule
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.ledger_pb2 import LeafKind, LeafPrivate
from node.wire.rulebook_pb2 import RulebookStep

log = structlog.get_logger()

LONGEST_REASON = 64  # of a line, in bytes


def reason_of(what: str, layer: str, name: str, version: int) -> str:
    """Return what a ledger line says of a rulebook's step, such as "IN_FORCE RELEASE 7 GT-RELEASE"."""
    return f"{what} {layer.upper()} {version} {name}"[:LONGEST_REASON]


@dataclass(slots=True)
class Enacting:
    """Keeps to the schedule, and records what comes into force."""

    standing: Standing
    database: Database
    vault: Vault
    writer: Writer
    clock: Callable[[], int]
    _floor: bytes = b""  # the last one that was looked at
    _recorded: dict[Layer, bytes] = field(default_factory=dict)  # what is known to be logged as in force
    _told: dict[Layer, tuple[Rulebook | None, str]] = field(default_factory=dict)  # of what is in force, or why not
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _one_reader: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def enact(self) -> None:
        """Look at what is in force now, and log what has come into force since the last look."""
        async with self._one_at_a_time:
            await self._enact_floor()
            await self.follow()
            await self._prove_anew()
            for layer in OWN_LAYERS:
                await self._enact_own(layer)

    async def follow(self) -> None:
        """Go by the schedule that the store holds, as far as signatures bear it out."""
        async with self._one_reader:  # or an older reading could take the place of a newer one
            self.standing.follow_schedules(
                await self.database.read(schedules, self.vault, self.standing.country, self.clock())
            )

    async def take(
        self,
        step: RulebookStep,
        past: History,
        private: LeafPrivate,
        *,
        check: Callable[[Connection], object],
        besides: tuple[Line, ...] = (),
    ) -> None:
        """Take a step that was decided on over this past, with its line, and go by it from now on.

        `check` raises where it may not be taken, on the state that it changes.

        Raises:
            ApprovalError: another step was taken meanwhile, or what `check` raises.
        """
        now_us = step.time_us
        exchange_id = rulebook_steps.line_id(step.layer, past.last_sha256)
        shared = shared_of_event(LeafKind.LEAF_KIND_RULEBOOK, self.standing.signer, now_us, exchange_id=exchange_id)
        line = line_of(shared, private, exchange_id=exchange_id, now_us=now_us, replay_key=REPLAY_KEY)

        def change(connection: Connection) -> None:
            check(connection)
            rulebook_steps.append(connection, self.vault, past, step)

        try:
            await asyncio.wrap_future(self.writer.submit(change, [line, *besides]))
        except ReplayError as error:
            raise ApprovalError(f"another step of layer {step.layer} was taken meanwhile: look again") from error
        await self.follow()

    async def _enact_floor(self) -> None:
        text, now_us = self.standing.trust.directory.floor_rulebook, self.clock()
        book = self.standing.rulebook("floor", now_us)
        if book is None or text == self._floor:
            return
        if await self.database.read(rulebooks.newest, "floor", book.name) != book.sha256:
            private = LeafPrivate(reason=reason_of("IN_FORCE", "floor", book.name, book.version), subject=book.sha256)
            line = local_line(LeafKind.LEAF_KIND_RULEBOOK, private, self.standing.signer, now_us)
            keep = partial(rulebooks.keep_floor, book=book, text=text, now_us=now_us)
            try:
                await asyncio.wrap_future(self.writer.submit(keep, [line]))
            except ApprovalError as error:
                # A text that changed under an old version is not what was in force, and not a new one.
                self.standing.withdraw_floor(str(error))
                return
        self._floor = text

    async def _prove_anew(self) -> None:
        """Prove release rulebooks that were approved under another floor; until one is, it releases nothing."""
        for floor, book in self.standing.unproved():
            fault, now_us = await asyncio.to_thread(_fault, floor, book), self.clock()
            if fault:
                log.error("rulebook_breaks_floor", name=book.name, version=book.version, reason=fault)
            private = LeafPrivate(
                reason=reason_of("BREAKS_FLOOR" if fault else "PROVED_ANEW", book.layer, book.name, book.version),
                subject=book.sha256,
            )
            exchange_id = sha256(b"enlace/v1/proved-anew\0" + floor.sha256 + book.sha256).digest()[:16]
            shared = shared_of_event(LeafKind.LEAF_KIND_RULEBOOK, self.standing.signer, now_us, exchange_id=exchange_id)
            line = line_of(shared, private, exchange_id=exchange_id, now_us=now_us, replay_key=REPLAY_KEY)
            with suppress(ReplayError):  # another process, or this node before it was started again, has noted it
                await self.writer.append(line)
            self.standing.judge(floor, book, fault)

    async def _enact_own(self, layer: Layer) -> None:
        """Log that the layer's rulebook came into force, once, whichever process of the node notices first."""
        now_us = self.clock()
        book = self.standing.rulebook(layer, now_us)
        if book is None or book.sha256 == self._recorded.get(layer):
            return
        past = await self.database.read(_history, self.vault, layer)
        if past is None:
            return
        if past.of(book.sha256, IN_FORCE) is not None:
            self._recorded[layer] = book.sha256
            return
        due = [each for each in rulebook_steps.activations(past) if each.activates_us <= now_us]
        if not due or due[-1].sha256 != book.sha256:
            return
        step = RulebookStep(
            layer=layer,
            kind=IN_FORCE,
            rules_sha256=book.sha256,
            time_us=now_us,
            activates_us=due[-1].activates_us,
        )
        private = LeafPrivate(reason=reason_of("IN_FORCE", layer, book.name, book.version), subject=book.sha256)
        ended = [each.sha256 for each in due[:-1][-1:] if not each.revoked_us]
        besides = tuple([await self._superseded(layer, digest, now_us) for digest in ended])
        try:
            await self.take(step, past, private, check=lambda _: None, besides=besides)
        except ApprovalError:
            await self.follow()  # another process was quicker

    async def _superseded(self, layer: Layer, digest: bytes, now_us: int) -> Line:
        proposal = await self.database.read(rulebooks.found, digest)
        reason = reason_of("SUPERSEDED", layer, proposal.name, proposal.version)
        private = LeafPrivate(reason=reason, subject=digest)
        return local_line(LeafKind.LEAF_KIND_RULEBOOK, private, self.standing.signer, now_us)

    def tell(self) -> None:
        """Log, once each, what is in force, and that a layer has nothing in force and why."""
        now_us = self.clock()
        for layer in LAYERS:
            book, fault = self.standing.rulebook(layer, now_us), self.standing.fault(layer, now_us)
            if self._told.get(layer) == (book, fault):
                continue
            self._told[layer] = book, fault
            if fault or book is None:
                log.error("no_rulebook_in_force", layer=layer, reason=fault)
            else:
                log.info("rulebook_in_force", layer=layer, name=book.name, version=book.version)


def _fault(floor: Rulebook, release: Rulebook) -> str:
    """Return why a release rulebook can't be used under a floor; empty where every red line holds."""
    from node.policy.prove.proof import prove  # noqa: PLC0415 - z3 is large, and a node seldom needs it

    try:
        broken = prove(floor, release).broken()
    except ProverError as error:
        return f"its red lines could not be proved with {floor.name} {floor.version}: {error}"
    return f"with {floor.name} {floor.version}, {broken[0]}" if broken else ""


def schedules(connection: Connection, vault: Vault, country: str, now_us: int) -> Mapping[Layer, Schedule]:
    """Return what is in force in the country's own layers, and what will be."""
    try:
        focal = focal_points.by_name(connection, vault)
    except EnlaceError as error:
        return dict.fromkeys(OWN_LAYERS, Schedule((), f"who may sign is not known: {error}"))
    return {
        layer: rulebook_steps.schedule(connection, vault, layer, focal=focal, country=country, now_us=now_us)
        for layer in OWN_LAYERS
    }


def _history(connection: Connection, vault: Vault, layer: Layer) -> History | None:
    try:
        return rulebook_steps.history(connection, vault, layer)
    except ApprovalError:
        return None  # the schedule says so, and `tell` why
