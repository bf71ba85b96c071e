"""What the tests of the federation share: invented records, ledgers read as an auditor reads them, refusals."""

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import grpc
import pytest
from google.protobuf.message import Message

from node.federation.envelope import STATEMENT_TYPE
from node.identity.directory import TrustedDirectory
from node.identity.keys import verify_signature
from node.ledger.bundle import StatementVerifier
from node.ledger.leaf import parse_private, unpad
from node.store.database import Database
from node.store.keystore import KeyStore
from node.store.ledger import Report, verify_ledger
from node.store.listing import ListedLine, list_lines, read_head
from node.store.vault import Vault, read_key_file
from node.wire.codes_pb2 import (
    AGE_CLASS_ADULT,
    ASYLUM_STATE_NONE,
    CRIME_TRAFFICKING,
    EXPOSURE_NONE,
    HANDLING_CODE_H0,
    INFORMATION_GRADE_3,
    ROLE_SUSPECT,
    ROLE_VICTIM,
    SOURCE_GRADE_B,
    TRI_NO,
    TRI_YES,
)
from node.wire.entry_pb2 import Case, Entry, PersonName, Protection
from node.wire.entry_pb2 import Person as PersonRecord
from node.wire.entry_pb2 import Telecom as TelecomRecord
from node.wire.envelope_pb2 import Statement
from node.wire.ledger_pb2 import Decisions, LeafKind, LeafPrivate
from tests.peer_simulator import channel_to, opened_answer, request, sealed_query, send, telephone_query
from tests.world import DAY_US, Place, World, now_us

# Numbers of ranges that are reserved for fiction.
SEEN = "+12025550143"
VICTIMS = "+12025550144"
NOBODYS = "+12025550199"

REJECTED = LeafKind.LEAF_KIND_REJECTED
DENIED = LeafKind.LEAF_KIND_DENIED
UNANSWERED = LeafKind.LEAF_KIND_UNANSWERED
ASKED = LeafKind.LEAF_KIND_ASKED
ANSWERED = LeafKind.LEAF_KIND_ANSWERED


M = TypeVar("M", bound=Message)


def altered(message: M, **fields: object) -> M:
    """Return a copy with these fields instead."""
    changed = type(message)()
    changed.CopyFrom(message)
    for name in fields:
        changed.ClearField(name)
    changed.MergeFrom(type(message)(**fields))
    return changed


# --- records ---------------------------------------------------------------------------------------------------------


def case_record() -> Case:
    return Case(
        unit="UNIT-1",
        title="Invented case",
        reference="CASE-1",
        review_us=now_us() + 365 * DAY_US,
        open=True,
        opened_us=now_us() - DAY_US,
    )


def protection(**changes: object) -> Protection:
    """Everything recorded, nothing to protect."""
    recorded = Protection(
        victim=TRI_NO,
        age=AGE_CLASS_ADULT,
        asylum=ASYLUM_STATE_NONE,
        witness_protection=TRI_NO,
        stateless=TRI_NO,
        exposure=EXPOSURE_NONE,
        origins=["MX"],
        origins_complete=True,
        torture_derived=TRI_NO,
    )
    return altered(recorded, **changes)


def telephone(number: str = SEEN, *, victim: bool = False, roles: bool = True, communications: str = "") -> Entry:
    role = ROLE_VICTIM if victim else ROLE_SUSPECT
    entry = Entry(
        originator="MX",
        unit="UNIT-1",
        review_us=now_us() + 365 * DAY_US,
        recorded_us=now_us() - DAY_US,
        roles=[role] if roles else [],
        crimes=[CRIME_TRAFFICKING],
        handling=HANDLING_CODE_H0,
        source_grade=SOURCE_GRADE_B,
        information_grade=INFORMATION_GRADE_3,
        invented=True,
        source="Invented informant",
        telecom=TelecomRecord(
            telephone=number, holder_name="Invented Holder", carrier_country="MX", communications=communications
        ),
    )
    if roles:
        entry.protection.CopyFrom(protection(victim=TRI_YES if victim else TRI_NO))
    return entry


def person(name: str, **changes: object) -> Entry:
    entry = telephone()
    entry.protection.CopyFrom(protection(**changes))
    entry.person.CopyFrom(PersonRecord(names=[PersonName(full=name)]))
    return entry


# --- the ledger ------------------------------------------------------------------------------------------------------


@contextmanager
def opened_ledger(place: Place) -> Iterator[tuple[Database, Vault]]:
    config = place.config
    with (
        Database.open_read_only(config.store.database) as database,
        KeyStore.open(config.store.keystore) as keystore,
    ):
        yield database, Vault(keystore, read_key_file(config.store.key_encryption_key))


@dataclass(frozen=True)
class Book:
    """A country's ledger, read beside its node: `kind`, `peer` and the private part of each line."""

    place: Place
    world: World

    @property
    def size(self) -> int:
        with opened_ledger(self.place) as (database, _), database.reading() as connection:
            return read_head(connection).size

    def lines(self, start: int = 0, **filters: object) -> list[ListedLine]:
        with opened_ledger(self.place) as (database, vault), database.reading() as connection:
            return list_lines(connection, start, 100_000, vault=vault, **filters)  # type: ignore[arg-type]

    def verify(self) -> Report:
        """Check all of it, with the signatures of both sides under the directory's keys."""
        with opened_ledger(self.place) as (database, vault), database.reading() as connection:
            return verify_ledger(connection, vault=vault, verify_statement=directory_verifier(self.world))


def private_of(line: ListedLine) -> LeafPrivate:
    assert line.opening is not None
    return parse_private(line.opening.private)


def decisions_of(line: ListedLine) -> Decisions:
    assert line.opening is not None
    return Decisions.FromString(unpad(line.opening.decisions))


def told(line: ListedLine) -> tuple[str, str, str]:
    """What a line says: its kind, the peer, and the reason in its private part."""
    return LeafKind.Name(line.shared.kind).removeprefix("LEAF_KIND_"), line.shared.peer, private_of(line).reason


def directory_verifier(world: World) -> StatementVerifier:
    """Verify statements as anybody can who holds the stewards' root and the directory."""
    directory = TrustedDirectory.pinned(world.root).updated(world.directory, now_us())

    def verify(statement: bytes, key_id: bytes, signature: bytes) -> None:
        parsed = Statement.FromString(statement)
        key = directory.signing_key(parsed.sender, parsed.node, key_id, parsed.time_us)
        verify_signature(key, STATEMENT_TYPE, statement, signature)

    return verify


# --- refusals --------------------------------------------------------------------------------------------------------


async def still_answers(world: World, answerer: str = "MX", asker: str = "GT") -> None:
    """A proper question is answered: whatever came before has broken nothing."""
    async with channel_to(world[answerer], world[asker].node) as channel:
        sealed = sealed_query(world[asker], answerer, telephone_query(NOBODYS))
        opened_answer(world, answerer, asker, sealed, await send(channel, request(sealed)))


async def refused(
    world: World,
    call: Awaitable[bytes],
    code: grpc.StatusCode,
    *lines: tuple[str, str, str],
    words: str | None = None,
    answerer: str = "MX",
) -> list[ListedLine]:
    """Check that a call is refused with this status and these words, that exactly these lines were added (see `told`),
    and that the ledger verifies; return the lines. Where no peer was identified, there are none.
    """
    book = Book(world[answerer], world)
    before = book.size
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() == code, caught.value.details()
    if words is not None:
        assert caught.value.details() == words
    added = book.lines(before)
    assert [told(line) for line in added] == list(lines)
    assert book.verify().size == before + len(lines)
    return added


def rejected(reason: str, peer: str = "GT") -> tuple[str, str, str]:
    """The line of a refused message, as `told` tells it."""
    return ("REJECTED", peer, reason)
