"""The institution's log of readings: nothing in it tells, nothing of it can be taken back."""

import os

import pytest
from nacl.signing import SigningKey

from node.errors import LedgerBrokenError, LedgerError, NoteError, ProofError
from node.ledger.checkpoint import Checkpoint, format_checkpoint
from node.ledger.note import ED25519, VerifierKey, note_signer, sign_note
from node.ledger.readings import (
    build_reading,
    log_root,
    open_reading,
    open_release,
    readings_origin,
    sealing_info,
    verify_commitments,
)
from node.wire.institution_pb2 import (
    Reading,
    ReadingLeaf,
    ReadingOpening,
    Release,
    ReleasedReading,
    SignedReading,
)

ORIGIN = readings_origin("enlace.example", "GT")
KEY = SigningKey(bytes(range(32)))
LOG = VerifierKey(ORIGIN, ED25519, KEY.verify_key.encode())


def line(what: str = "VERIFY") -> tuple[bytes, bytes]:
    reading = Reading(auditor="one", time_us=1, what=what, reason="Invented").SerializeToString()
    return build_reading(os.urandom(32), SignedReading(reading=reading, signature=bytes(64)))


def committed(leaves: list[bytes]) -> tuple[bytes, Checkpoint]:
    tree = log_root(leaves)
    checkpoint = Checkpoint(ORIGIN, tree.size, tree.root)
    signer = note_signer(ORIGIN, LOG.public_key, lambda text: KEY.sign(text).signature)
    return sign_note(format_checkpoint(checkpoint), signer), checkpoint


def released(lines: list[tuple[bytes, bytes]], opened: int) -> bytes:
    note, _ = committed([leaf for leaf, _ in lines])
    parts = [
        ReleasedReading(leaf=leaf, opening=opening if place < opened else b"")
        for place, (leaf, opening) in enumerate(lines)
    ]
    return Release(checkpoint=note, lines=parts).SerializeToString()


def test_no_node_can_be_called_as_the_log_is() -> None:
    assert ORIGIN == "enlace.example/GT/READINGS"


def test_a_line_opens_with_its_own_opening_alone() -> None:
    (leaf, opening), (other, _) = line(), line()
    assert len(leaf) == len(other) == 36
    assert open_reading(leaf, opening)[0].what == "VERIFY"
    assert len(line("VERIFY")[1]) == len(line("LIST 1234")[1])  # lengths tell nothing
    assert sealing_info(leaf) != sealing_info(other)
    with pytest.raises(ProofError):
        open_reading(other, opening)
    altered = ReadingOpening.FromString(opening)
    altered.padded = bytes(512)
    for bad in (b"\xff", b"", altered.SerializeToString()):
        with pytest.raises((LedgerBrokenError, ProofError)):
            open_reading(leaf, bad)
    with pytest.raises(LedgerBrokenError, match="format"):
        open_reading(ReadingLeaf(format=2).SerializeToString(), opening)
    with pytest.raises(LedgerError):
        build_reading(b"short", SignedReading())


def test_a_release_holds_every_line_that_was_committed_to() -> None:
    lines = [line() for _ in range(5)]
    leaves = [leaf for leaf, _ in lines]
    commitments = [committed(leaves[:size])[1] for size in (0, 2, 5)]
    release, checkpoint = open_release(released(lines, 3), LOG)
    assert checkpoint.size == 5
    assert [bool(each.opening) for each in release.lines] == [True, True, True, False, False]
    verify_commitments(release, commitments)

    without, _ = open_release(released([*lines[:1], *lines[2:]], 1), LOG)
    with pytest.raises(ProofError, match=r"first 2 readings.*5 readings were committed to, and 4 are there"):
        verify_commitments(without, commitments)
    swapped, _ = open_release(released([lines[1], lines[0], *lines[2:]], 1), LOG)
    with pytest.raises(ProofError, match="first 2 readings are not those"):
        verify_commitments(swapped, commitments)


def test_a_release_is_what_the_institution_signed() -> None:
    lines = [line() for _ in range(3)]
    release = Release.FromString(released(lines, 3))
    del release.lines[1]
    with pytest.raises(ProofError, match="not those"):
        open_release(release.SerializeToString(), LOG)
    with pytest.raises(NoteError):
        open_release(released(lines, 3), VerifierKey(ORIGIN, ED25519, bytes(31) + b"\1"))
    with pytest.raises(LedgerBrokenError):
        open_release(b"\xff", LOG)
