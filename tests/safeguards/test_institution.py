"""What a running node keeps for the auditing institution: a key a day, and no longer than the law says."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import func, select, update

from node.cli.distributing import accept_directory
from node.cli.parts import Parts
from node.cli.serving import running
from node.errors import LedgerBrokenError, MalformedError, SignatureError, UsageError
from node.federation.lines import local_line
from node.identity.institution import sign_charter
from node.identity.keys import generate_private_key, public_key
from node.identity.members import sign_member
from node.store import institution
from node.store.covering import Terms
from node.store.erasures import erasures
from node.store.institution import DAY_US, copies, epochs
from node.store.ledger import verify_ledger
from node.store.lines import ledger_openings
from node.store.listing import list_lines, read_head
from node.wire.directory_pb2 import Audit, SignedMember
from node.wire.institution_pb2 import (
    ERASURE_GROUND_COURT_ORDER,
    ERASURE_GROUND_RETENTION_ENDED,
    Charter,
    Erasure,
    LineRange,
    SignedErasure,
)
from node.wire.ledger_pb2 import LEAF_KIND_ERASURE, LEAF_KIND_INSTITUTION, LEAF_KIND_READ, LeafPrivate
from tests.conftest import postgres_database
from tests.world import Place, World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="function")

PERIOD, RETENTION = 100, 30
ROOT = generate_private_key()


def named(place: Place, root_key: bytes | None) -> None:
    """Let the country's record name an institution, or none."""

    def member() -> SignedMember:
        record = place.record()
        if root_key is not None:
            audit = Audit(institution="Invented", root_key=root_key, period_days=PERIOD, retention_days=RETENTION)
            record.audit.CopyFrom(audit)
        return sign_member(record, place.root_key)

    place.record_number += 1
    place.member = member  # type: ignore[method-assign]


def charter(number: int, root: bytes = ROOT) -> bytes:
    made = Charter(
        country="MX",
        number=number,
        time_us=now_us(),
        encryption_key=X25519PrivateKey.generate().public_key().public_bytes_raw(),
        readings_key=public_key(generate_private_key()),
    )
    return sign_charter(made, root).SerializeToString()


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        databases = {}
        if request.param == "postgresql":
            databases = {"MX": stack.enter_context(postgres_database(request.getfixturevalue("postgres_server")))}
        yield World.make(tmp_path, ("GT", "MX"), databases=databases)


class Time:
    """What the node's two parts take for the time."""

    def __init__(self) -> None:
        self.ahead_us = 0

    def __call__(self) -> int:
        return now_us() + self.ahead_us


@asynccontextmanager
async def audited(world: World) -> AsyncIterator[tuple[Parts, Time]]:
    """MX's node, once its institution has brought its charter."""
    named(world["MX"], public_key(ROOT))
    async with running(world["MX"].config) as parts:
        time = Time()
        parts.institution.copying.clock = parts.institution.erasing.clock = time
        await parts.distribution.accept_directory(world.compose())
        await parts.institution.copying.accept_charter(charter(1), LeafPrivate())
        yield parts, time


def faults(parts: Parts) -> str:
    """What the verification of this node finds of openings and copies."""
    terms = Terms(RETENTION, PERIOD, [])
    with parts.database.reading() as connection:
        try:
            verify_ledger(connection, vault=parts.institution.erasing.vault, terms=terms)
        except LedgerBrokenError as error:
            return "; ".join(each for each in str(error).split("; ") if "opens it" in each or "tells of" in each)
    return ""


def counted(parts: Parts, table: object) -> int:
    with parts.database.reading() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[arg-type]


async def test_a_key_lives_for_a_day_and_a_charter(world: World) -> None:
    async with audited(world) as (parts, time):
        assert counted(parts, epochs) == 1
        await parts.institution.copying.look()
        assert counted(parts, epochs) == 1
        time.ahead_us = DAY_US
        await parts.institution.copying.look()
        await parts.institution.copying.accept_charter(charter(2), LeafPrivate(officer="auditor"))
        assert counted(parts, epochs) == 3
        with parts.database.reading() as connection:
            lines = list_lines(connection, kinds={LEAF_KIND_INSTITUTION}, vault=parts.institution.erasing.vault)
            size = read_head(connection).size
        assert len(lines) == 5
        assert {line.shared.peer for line in lines} == {""}
        for refused in (charter(2), charter(1)):
            with pytest.raises(UsageError, match="in force"):
                await parts.institution.copying.accept_charter(refused, LeafPrivate())
        with pytest.raises(SignatureError):
            await parts.institution.copying.accept_charter(charter(3, generate_private_key()), LeafPrivate())
        with pytest.raises(MalformedError):
            await parts.institution.copying.accept_charter(b"\xff", LeafPrivate())
        with parts.database.reading() as connection:
            assert read_head(connection).size == size
        assert faults(parts) == ""
        await _a_swapped_charter_changes_nothing(parts)


async def _a_swapped_charter_changes_nothing(parts: Parts) -> None:
    before = counted(parts, epochs)
    with parts.database.engine.begin() as connection:
        connection.execute(update(institution.charters).values(signed=charter(9, generate_private_key())))
    await parts.institution.copying.look()
    assert counted(parts, epochs) == before
    assert "no line tells of charter" in faults(parts)


async def test_what_has_outlived_its_time_is_erased_with_a_line_and_no_sooner(world: World) -> None:
    async with audited(world) as (parts, time):
        erasing, openings = parts.institution.erasing, counted(parts, ledger_openings)
        await erasing.look()
        assert counted(parts, erasures) == 0
        early = Erasure(
            node="MX/mx-1", ground=ERASURE_GROUND_RETENTION_ENDED, lines=[LineRange(first=0, last=1)], time_us=now_us()
        )
        with pytest.raises(UsageError, match="still to be kept"):
            await erasing.erase(SignedErasure(erasure=early.SerializeToString()).SerializeToString(), LeafPrivate())
        early.ground, early.reference = ERASURE_GROUND_COURT_ORDER, "C 1/26"
        with pytest.raises(SignatureError, match="2 focal points"):
            await erasing.erase(SignedErasure(erasure=early.SerializeToString()).SerializeToString(), LeafPrivate())

        time.ahead_us = (RETENTION + 2) * DAY_US
        await parts.institution.copying.look()
        copied = counted(parts, copies)
        await erasing.look()
        assert counted(parts, ledger_openings) < openings
        assert counted(parts, copies) >= copied  # they outlive what they copy
        with parts.database.reading() as connection:
            (told,) = list_lines(connection, kinds={LEAF_KIND_ERASURE})
            row = connection.execute(select(erasures)).one()
        assert told.shared.body_sha256 == sha256(SignedErasure.FromString(row.signed).erasure).digest()
        assert row.done_us
        assert faults(parts) == ""

        time.ahead_us = (PERIOD + 3) * DAY_US
        await parts.institution.copying.look()
        await erasing.look()
        with parts.database.reading() as connection:
            left = connection.execute(select(epochs.c.wrapped).where(epochs.c.wrapped.is_not(None))).all()
        assert len(left) == 2  # of the day on which retention ended, and of today
        assert faults(parts) == ""


async def test_an_erasure_that_was_cut_off_is_taken_up_again(world: World) -> None:
    async with audited(world) as (parts, time):
        time.ahead_us = (RETENTION + 2) * DAY_US
        await parts.institution.erasing.look()
        with parts.database.engine.begin() as connection:
            connection.execute(update(erasures).values(done_us=None))
        await parts.institution.erasing.look()
        assert counted(parts, erasures) == 1
        with parts.database.reading() as connection:
            assert connection.execute(select(erasures.c.done_us)).scalar_one()


async def test_a_directory_brought_while_the_node_is_down_has_its_copy_too(world: World) -> None:
    async with audited(world) as (parts, _):
        before = counted(parts, copies)
    version = await asyncio.to_thread(accept_directory, world["MX"].home, world.compose())
    assert version == world.version
    async with running(world["MX"].config) as parts:
        assert counted(parts, epochs) == 3  # of each process one
        assert counted(parts, copies) >= before + 3
        assert faults(parts) == ""


async def test_copies_end_with_the_directory_that_names_nobody(world: World) -> None:
    async with audited(world) as (parts, _):
        named(world["MX"], None)
        await parts.distribution.accept_directory(world.compose())
        await parts.institution.copying.look()
        before = counted(parts, copies)
        await parts.institution.copying.look()
        await parts.writer.append(local_line(LEAF_KIND_READ, LeafPrivate(), parts.standing.signer, now_us()))
        assert counted(parts, copies) == before
        assert faults(parts) == ""
