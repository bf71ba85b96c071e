"""What a witness remembers, on both databases."""

import base64
from hashlib import sha256

import pytest
from sqlalchemy import select

from node.ledger.checkpoint import Checkpoint
from node.ledger.rfc6962 import consistency_proof, root_of
from node.ledger.witness import Seen, Verdict
from node.store import epochs
from node.store.database import Database
from node.store.evidence import keep_split_view, list_split_views
from node.store.findings import list_findings
from node.store.receipts import Promise, keep_promises, promises, waiting
from node.store.witnessing import (
    all_seen,
    last_cosigned,
    last_seen,
    own_checkpoints,
    put_checkpoint,
    put_cosignature,
    thin_checkpoints,
    witness,
)
from tests.conftest import START_US
from tests.world import DAY_US

ORIGIN = "enlace.example/GT/gt-1"
HASHES = [sha256(bytes([n])).digest() for n in range(12)]
OTHER = [sha256(b"other%d" % n).digest() for n in range(12)]


def seen(size: int, hashes: list[bytes] = HASHES) -> Seen:
    return Seen(Checkpoint(ORIGIN, size, root_of(hashes[:size])), b"note %d" % size)


def shown(database: Database, size: int, old: int, hashes: list[bytes] = HASHES) -> Verdict:
    proof = consistency_proof(old, hashes[:size]) if old else []
    with database.engine.begin() as connection:
        return witness(connection, seen(size, hashes), old, proof, START_US)[0]


def test_a_witness_that_crashed_before_it_cosigned_cosigns_the_same_again(database: Database) -> None:
    assert shown(database, 5, 0) is Verdict.COSIGN  # stored, and the cosignature never left
    assert shown(database, 5, 0) is Verdict.STALE  # the ledger does not know that it was seen, and is told
    assert shown(database, 5, 5) is Verdict.COSIGN
    assert shown(database, 9, 5) is Verdict.COSIGN
    assert shown(database, 9, 9, OTHER) is Verdict.SPLIT
    with database.reading() as connection:
        assert all_seen(connection) == [seen(9)]


def test_a_witness_that_crashed_before_it_stored_has_seen_nothing(database: Database) -> None:
    def crash() -> None:
        with database.engine.begin() as connection:
            assert witness(connection, seen(5), 0, [], START_US)[0] is Verdict.COSIGN
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    with database.reading() as connection:
        assert last_seen(connection, ORIGIN) is None
    assert shown(database, 5, 0, OTHER) is Verdict.COSIGN  # nothing had left, so nothing contradicts it


def test_the_first_note_of_a_size_stays_and_the_last_cosignature_counts(database: Database) -> None:
    with database.engine.begin() as connection:
        assert put_checkpoint(connection, 5, b"first", START_US) == b"first"
        assert put_checkpoint(connection, 5, b"second", START_US + 1) == b"first"
        put_checkpoint(connection, 7, b"later", START_US)
        put_cosignature(connection, 5, "MX", b"one", START_US)
        put_cosignature(connection, 5, "MX", b"two", START_US + 1)
        put_cosignature(connection, 5, "US", b"us", START_US)
        put_cosignature(connection, 7, "US", b"us", START_US)
        assert last_cosigned(connection) == {"MX": b"first", "US": b"later"}
        five, seven = own_checkpoints(connection)
        assert five.lines == (("MX", b"two", START_US + 1), ("US", b"us", START_US))
        assert own_checkpoints(connection, 6) == [seven]


def test_evidence_is_kept_once_whoever_brings_it(database: Database) -> None:
    with database.engine.begin() as connection:
        assert keep_split_view(connection, "GT", seen(5), seen(5, OTHER), START_US)
        assert not keep_split_view(connection, "GT", seen(5, OTHER), seen(5), START_US + 1)
        assert keep_split_view(connection, "GT", seen(5), seen(6, OTHER), START_US + 2)
        assert [view.proved for view in list_split_views(connection)] == [True, False]
        assert {each.kind for each in list_findings(connection)} == {"SPLIT_VIEW", "UNLINKED_HISTORY"}


def test_a_promise_is_kept_once(database: Database) -> None:
    promise = Promise(bytes(16), "MX", 3, "mx-1", bytes(32), START_US)
    with database.engine.begin() as connection:
        keep_promises(connection, [promise, promise])
        keep_promises(connection, [promise])
        assert waiting(connection, 9) == [promise]
        assert len(connection.execute(select(promises)).all()) == 1


def test_old_checkpoints_are_thinned_to_one_a_day(database: Database) -> None:
    hour_us, days = DAY_US // 24, 10
    first_us = START_US // DAY_US * DAY_US
    with database.engine.begin() as connection:
        for at in range(days * 4):  # four a day, every second one cosigned
            put_checkpoint(connection, at + 1, b"note %d" % at, first_us + at * 6 * hour_us)
            if at % 2 == 0:
                put_cosignature(connection, at + 1, "MX", b"line", first_us)
        put_cosignature(connection, 2, "US", b"line", first_us)
        deleted = thin_checkpoints(connection, 1, first_us + days * DAY_US)
        kept = [each.size for each in own_checkpoints(connection)]
        # Three days are older than seven: of each, the last that was cosigned, and what US cosigned last.
        assert kept == [2, 3, 7, 11, *range(13, days * 4 + 1)]
        assert deleted == days * 4 - len(kept)
        assert thin_checkpoints(connection, 1, first_us + days * DAY_US) == 0
        assert last_cosigned(connection)["US"] == b"note 1"


def test_what_a_witness_holds_and_the_ledger_lost_stays_until_it_is_confessed(database: Database) -> None:
    def head(size: int) -> Seen:
        note = f"{ORIGIN}\n{size}\n{base64.b64encode(root_of(OTHER[:size])).decode()}\n\n-\n".encode()
        return Seen(Checkpoint(ORIGIN, size, root_of(OTHER[:size])), note)

    with database.engine.begin() as connection:
        assert not epochs.is_fenced(connection)
        assert epochs.note_lost(connection, "MX", head(9), 6, START_US)
        assert not epochs.note_lost(connection, "MX", head(9), 6, START_US)
        assert epochs.is_fenced(connection)
        fence = epochs.build_fence(connection, ["US"])
        assert (fence.epoch, fence.kept) == (2, 6)
        data = epochs.propose_epoch(connection, fence, proposer="a", reason="why", now_us=START_US)
        assert epochs.note_lost(connection, "CA", head(5), 6, START_US)
        assert not epochs.open_epoch(connection, data, bytes(16), START_US)  # there is more to confess

        fence = epochs.build_fence(connection, ["US"])
        assert (fence.epoch, fence.kept, len(fence.heads)) == (2, 4, 2)  # no line is vouched for that was lost
        data = epochs.propose_epoch(connection, fence, proposer="a", reason="why", now_us=START_US)
        assert epochs.epoch_of(connection) == 1
        assert epochs.open_epoch(connection, data, bytes(16), START_US)
        assert not epochs.open_epoch(connection, data, bytes(16), START_US)
        assert not epochs.is_fenced(connection)
        assert epochs.epoch_of(connection) == 2
        assert not epochs.note_lost(connection, "US", head(9), 6, START_US)  # it is confessed already
        assert not epochs.is_fenced(connection)
