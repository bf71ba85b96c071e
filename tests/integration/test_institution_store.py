"""Copies for the auditing institution, and erasures: what is missing beside a line is named, unless a line says why."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import delete, insert, select, text, update

from node.errors import DecryptionError, LedgerBrokenError, UsageError
from node.federation.copying import named_line
from node.federation.envelope import Signer
from node.federation.lines import local_line
from node.identity.institution import erasure_sha256, open_sealed, sign_charter, sign_erasure
from node.identity.keys import generate_private_key, key_id, public_key
from node.ledger.leaf import parse_opening, verify_opening
from node.store import erasures, institution
from node.store.covering import Terms
from node.store.database import Database
from node.store.institution import DAY_US, copies, copies_between, epochs, new_epoch, open_copies, put_charter
from node.store.keystore import KeyStore
from node.store.ledger import verify_ledger
from node.store.lines import ledger_openings, unpack_bodies
from node.store.listing import list_lines
from node.store.vault import Vault, key_id_of
from node.store.writer import Writer
from node.wire.institution_pb2 import (
    ERASURE_GROUND_AUDIT_PERIOD_ENDED,
    ERASURE_GROUND_COURT_ORDER,
    ERASURE_GROUND_RETENTION_ENDED,
    Charter,
    Erasure,
    ErasureGround,
    LineRange,
    SealedCopies,
    SignedErasure,
)
from node.wire.ledger_pb2 import LEAF_KIND_ERASURE, LEAF_KIND_INSTITUTION, LEAF_KIND_READ, LeafPrivate
from tests.conftest import START_US, Clock
from tests.ledger_lines import new_line

PERIOD, RETENTION = 100, 30
FOCAL = (generate_private_key(), generate_private_key())
TERMS = Terms(RETENTION, PERIOD, [public_key(key) for key in FOCAL])
NODE = generate_private_key()
SIGNER = Signer("GT", "gt-1", key_id(public_key(NODE)), NODE)


@dataclass
class Kept:
    """A ledger that an institution has copies of."""

    database: Database
    vault: Vault
    writer: Writer
    clock: Clock
    root: bytes = field(default_factory=generate_private_key)
    key: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)

    def charter(self, number: int = 1) -> Charter:
        return Charter(
            country="GT",
            number=number,
            time_us=self.clock(),
            encryption_key=self.key.public_key().public_bytes_raw(),
            readings_key=public_key(generate_private_key()),
        )

    def bring(self, number: int = 1) -> None:
        charter = self.charter(number)
        signed = sign_charter(charter, self.root).SerializeToString()
        line = named_line(LEAF_KIND_INSTITUTION, signed, LeafPrivate(), SIGNER, self.clock())
        self.writer.submit(lambda connection: put_charter(connection, charter, signed, self.clock()), [line]).result(20)
        self.begin(charter)

    def begin(self, charter: Charter) -> None:
        epoch = new_epoch(charter, PERIOD, self.clock())

        def change(connection: object) -> None:
            institution.put_epoch(connection, epoch)  # type: ignore[arg-type]
            self.writer.copy_under(epoch)

        line = named_line(LEAF_KIND_INSTITUTION, epoch.data, LeafPrivate(), SIGNER, self.clock())
        self.writer.submit(change, [line]).result(20)

    def append(self, count: int = 1) -> None:
        for _ in range(count):
            private = LeafPrivate(officer="analyst", reason="LEDGER")
            line = local_line(LEAF_KIND_READ, private, SIGNER, self.clock())
            self.writer.submit(lambda _: None, [line]).result(20)

    def log(self, erasure: Erasure, keys: tuple[bytes, ...] = ()) -> bytes:
        made = SignedErasure(erasure=erasure.SerializeToString())
        for key in keys:
            made = sign_erasure(made, key)
        signed = made.SerializeToString()
        line = named_line(LEAF_KIND_ERASURE, made.erasure, LeafPrivate(), SIGNER, self.clock())
        self.writer.submit(lambda connection: erasures.put_erasure(connection, signed, self.clock()), [line]).result(20)
        return signed

    def erase(self, *ranges: tuple[int, int], ground: ErasureGround.ValueType, keys: tuple[bytes, ...] = ()) -> None:
        reference = "C 1/26" if ground == ERASURE_GROUND_COURT_ORDER else ""
        lines = [LineRange(first=first, last=last) for first, last in ranges]
        erasure = Erasure(node="GT/gt-1", ground=ground, lines=lines, time_us=self.clock(), reference=reference)
        signed = self.log(erasure, keys)
        with self.database.reading() as connection:
            found, key_ids = erasures.keys_to_erase(connection, erasure)
        self.vault.erase_keys(key_ids, self.clock())
        self.writer.submit(lambda connection: erasures.drop_rows(connection, found)).result(20)
        self.writer.submit(lambda connection: erasures.mark_done(connection, signed, self.clock())).result(20)

    def faults(self, terms: Terms | None = TERMS) -> str:
        with self.database.reading() as connection:
            try:
                verify_ledger(connection, vault=self.vault, terms=terms)
            except LedgerBrokenError as error:
                return str(error)
        return ""

    def sql(self, *statements: object) -> None:
        with self.database.engine.begin() as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]


@pytest.fixture
def kept(database: Database, vault: Vault, clock: Clock) -> Iterator[Kept]:
    with Writer(database.engine, vault) as writer:
        made = Kept(database, vault, writer, clock)
        made.append(2)
        made.bring()
        clock.advance(seconds=11)
        made.append(6)
        yield made


def test_the_institution_opens_its_copies_and_nobody_else_does(kept: Kept) -> None:
    with kept.database.reading() as connection:
        rows = list(copies_between(connection, 0, 1_000))
        lines = {line.index: line for line in list_lines(connection, vault=kept.vault)}
        (epoch,) = connection.execute(select(epochs)).all()
    assert [line.index for line in lines.values() if line.shared.kind == LEAF_KIND_INSTITUTION] == [2, 3]
    key = open_sealed(
        [generate_private_key(), kept.key.private_bytes_raw()], institution.wrapping_info(epoch.epoch_id), epoch.wrapped
    )
    opened = {row.first + place: each for row in rows for place, each in enumerate(open_copies(key, row))}
    assert sorted(opened) == list(range(3, 10))  # from the line of the key itself on
    for index, (opening, bodies) in opened.items():
        verify_opening(lines[index].leaf, parse_opening(opening))
        assert parse_opening(opening) == lines[index].opening
        assert bodies == b""
    with pytest.raises(DecryptionError):
        open_sealed([generate_private_key()], institution.wrapping_info(epoch.epoch_id), epoch.wrapped)
    with pytest.raises(DecryptionError):
        open_copies(key, SealedCopies(first=4, count=1, epoch_id=rows[0].epoch_id, sealed=rows[0].sealed))
    assert kept.faults() == ""


def test_kept_messages_are_copied_too(kept: Kept) -> None:
    kept.writer.submit(lambda _: None, [new_line(bodies=(("answer", b"text\0\0"),))] * 1).result(20)
    with kept.database.reading() as connection:
        *_, row = copies_between(connection, 0, 1_000)
        (epoch,) = connection.execute(select(epochs)).all()
    key = open_sealed([kept.key.private_bytes_raw()], institution.wrapping_info(epoch.epoch_id), epoch.wrapped)
    ((_, bodies),) = open_copies(key, row)
    assert unpack_bodies(bodies) == {"answer": b"text\0\0"}


def test_a_batch_that_fails_leaves_no_key_behind(kept: Kept) -> None:
    epoch = new_epoch(kept.charter(), PERIOD, kept.clock())

    def change(connection: object) -> None:
        institution.put_epoch(connection, epoch)  # type: ignore[arg-type]
        institution.put_epoch(connection, epoch)  # type: ignore[arg-type]
        kept.writer.copy_under(epoch)

    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        kept.writer.submit(change).result(20)
    kept.append()
    with kept.database.reading() as connection:
        *_, row = copies_between(connection, 0, 1_000)
    assert row.epoch_id != epoch.record.epoch_id
    assert kept.faults() == ""


def test_a_copy_deleted_by_sql_is_named(kept: Kept) -> None:
    kept.sql(delete(copies).where(copies.c.first == 7))
    assert kept.faults() == "line 7 is damaged: the institution's copy of what opens it is gone"
    assert kept.faults(None) == kept.faults()


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (lambda: delete(institution.charters), "line 2 is damaged: what it tells of is not there any more"),
        (lambda: update(institution.charters).values(signed=b"other"), "no line tells of charter 1"),
        (lambda: delete(epochs), "line 3 is damaged: what it tells of is not there any more"),
        (lambda: update(epochs).values(wrapped=os.urandom(80)), "is not the one that a line tells of"),
        (lambda: update(epochs).values(wrapped=None), "the institution's copy of what opens it is gone"),
        (lambda: update(epochs).values(epoch=b""), "no line tells of the key of copies"),
        (
            lambda: text("UPDATE institution_copies SET count = 100000"),
            "the institution's copy of what opens it is gone",
        ),
        (
            lambda: insert(institution.commitments).values(size=1, note=b"note", stored_us=1),
            "no line tells of the commitment to 1 readings",
        ),
    ],
)
def test_what_is_kept_of_the_institution_is_held_to_lines(kept: Kept, what: Callable[[], object], says: str) -> None:
    kept.sql(what())
    assert says in kept.faults()


def test_an_opening_taken_away_without_a_line_is_named(kept: Kept) -> None:
    kept.sql(delete(ledger_openings).where(ledger_openings.c.idx == 6))
    assert kept.faults() == "line 6 is damaged: what opens it is gone, and no erasure says so"
    with kept.database.reading() as connection, pytest.raises(LedgerBrokenError, match="line 6"):
        verify_ledger(connection)  # by whoever has no keys, too


def test_a_key_taken_out_of_the_key_store_is_named(kept: Kept, keystore: KeyStore) -> None:
    with kept.database.reading() as connection:
        sealed = connection.execute(select(ledger_openings.c.sealed).where(ledger_openings.c.idx == 5)).scalar_one()
    keystore.erase([key_id_of(sealed)], 1)
    assert kept.faults() == "line 5 is damaged: what opens it is gone, and no erasure says so"


def test_an_erasure_by_two_focal_points_leaves_the_copy_and_the_tree(kept: Kept) -> None:
    kept.erase((4, 4), (6, 7), ground=ERASURE_GROUND_COURT_ORDER, keys=FOCAL)
    assert kept.faults() == ""
    with kept.database.reading() as connection:
        report = verify_ledger(connection, vault=kept.vault, terms=TERMS)
        found = [line.index for line in list_lines(connection, vault=kept.vault) if line.opening is None]
    assert (report.erased, found) == (3, [4, 6, 7])
    with kept.database.reading() as connection:
        copied = {row.first for row in copies_between(connection, 0, 1_000)}
    assert {4, 6, 7} <= copied


def test_an_erasure_with_a_false_ground_is_named(kept: Kept) -> None:
    kept.erase((4, 4), ground=ERASURE_GROUND_RETENTION_ENDED)
    assert kept.faults() == "line 4 is damaged: what opens it was erased as if its retention had ended, and it had not"
    kept.clock.advance(days=RETENTION + 2)
    kept.erase((5, 5), ground=ERASURE_GROUND_RETENTION_ENDED)
    assert "line 5" not in kept.faults()
    kept.erase((6, 6), ground=ERASURE_GROUND_COURT_ORDER, keys=FOCAL[:1])
    assert "an erasure has no ground" in kept.faults()
    assert "line 6 is damaged: what opens it is gone" in kept.faults()


def test_an_erasure_put_there_or_widened_by_sql_covers_nothing(kept: Kept) -> None:
    kept.erase((4, 4), ground=ERASURE_GROUND_COURT_ORDER, keys=FOCAL)
    wide = Erasure(
        node="GT/gt-1",
        ground=ERASURE_GROUND_RETENTION_ENDED,
        lines=[LineRange(first=0, last=9)],
        time_us=kept.clock(),
    )
    signed = SignedErasure(erasure=wide.SerializeToString()).SerializeToString()
    kept.sql(insert(erasures.erasures).values(erasure_sha256=erasure_sha256(signed), signed=signed, logged_us=1))
    assert "no line tells of the erasure of lines 0 to 9" in kept.faults()
    kept.sql(text("DELETE FROM opening_erasures"))
    assert "line 4 is damaged: what opens it is gone, and no erasure says so" in kept.faults()
    assert "line 10 is damaged: what it tells of is not there any more" in kept.faults()


def test_copies_go_when_the_audit_period_is_over_and_not_before(kept: Kept) -> None:
    def end() -> None:
        with kept.database.reading() as connection:
            (epoch_id,) = connection.execute(select(epochs.c.epoch_id)).scalars()
        erasure = Erasure(
            node="GT/gt-1",
            ground=ERASURE_GROUND_AUDIT_PERIOD_ENDED,
            lines=[LineRange(first=3, last=9)],
            time_us=kept.clock(),
            epoch_id=epoch_id,
        )
        kept.log(erasure)
        kept.writer.submit(lambda connection: erasures.drop_copies(connection, erasure)).result(20)

    with kept.database.reading() as connection:
        assert erasures.ended_epochs(connection, START_US + (PERIOD + 1) * DAY_US) == []
    end()
    assert "line 4 is damaged: the institution's copy of what opens it is gone" in kept.faults()


def test_after_the_audit_period_nothing_is_missed(kept: Kept) -> None:
    kept.clock.advance(days=PERIOD + 2)
    with kept.database.reading() as connection:
        ((epoch_id, first, last),) = erasures.ended_epochs(connection, kept.clock())
    assert (first, last) == (3, 9)
    kept.begin(kept.charter())
    erasure = Erasure(
        node="GT/gt-1",
        ground=ERASURE_GROUND_AUDIT_PERIOD_ENDED,
        lines=[LineRange(first=first, last=last)],
        time_us=kept.clock(),
        epoch_id=epoch_id,
    )
    kept.log(erasure)
    kept.writer.submit(lambda connection: erasures.drop_copies(connection, erasure)).result(20)
    kept.append()
    assert kept.faults() == ""
    with kept.database.reading() as connection:
        wrapped = {row.epoch_id: row.wrapped for row in connection.execute(select(epochs))}
    assert wrapped[epoch_id] is None
    assert len([each for each in wrapped.values() if each is not None]) == 1


def test_a_charter_follows_the_one_before(kept: Kept) -> None:
    with pytest.raises(UsageError, match="number 1 is in force"):
        kept.bring(1)
    kept.bring(3)
    kept.append(2)
    assert kept.faults() == ""
