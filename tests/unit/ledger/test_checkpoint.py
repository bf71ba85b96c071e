"""Checkpoints: read and written strictly, and believed only when the right key signed the right ledger."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from node.errors import NoteError
from node.ledger.checkpoint import (
    LARGEST_SIZE,
    Checkpoint,
    SignedCheckpoint,
    cosigner,
    format_checkpoint,
    open_checkpoint,
    origin_of,
    parse_checkpoint,
)
from node.ledger.note import (
    COSIGNATURE_V1,
    ED25519,
    Signature,
    VerifierKey,
    note_signer,
    parse_verifier_key,
    sign_note,
    signature_line,
)
from node.ledger.rfc6962 import EMPTY_ROOT, leaf_hash

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "ledger" / "notes.json").read_text(encoding="utf-8")
)
NOTES: dict[str, dict[str, Any]] = {note["name"]: note for note in VECTORS["notes"]}

ROOT = leaf_hash(b"the only line")
ROOT_TEXT = base64.b64encode(ROOT).decode()
ORIGIN = "enlace.example/GT/gt-1"
CHECKPOINT = Checkpoint(ORIGIN, 1, ROOT)
TEXT = format_checkpoint(CHECKPOINT)
NOW_US = 1_800_000_000_123_456

GT, MX, US = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3))
LOG = VerifierKey(ORIGIN, ED25519, bytes(GT.verify_key))
WITNESS_MX = VerifierKey("enlace.example/MX/mx-1", COSIGNATURE_V1, bytes(MX.verify_key))
WITNESS_US = VerifierKey("enlace.example/US/us-1", COSIGNATURE_V1, bytes(US.verify_key))


def signed(text: bytes, key: VerifierKey = LOG, secret: SigningKey = GT) -> bytes:
    return sign_note(text, note_signer(key.name, key.public_key, lambda message: secret.sign(message).signature))


def cosigned(text: bytes, key: VerifierKey, secret: SigningKey, now_us: int = NOW_US) -> bytes:
    signer = cosigner(key.name, key.public_key, lambda message: secret.sign(message).signature, now_us=now_us)
    return signature_line(text, signer)


# --- the text --------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_three_lines() -> None:
    assert f"{ORIGIN}\n1\n{ROOT_TEXT}\n".encode() == TEXT
    assert parse_checkpoint(TEXT) == CHECKPOINT


def test_the_specifications_checkpoint_reads() -> None:
    text = VECTORS["cosigned_message"]["text"].encode()
    checkpoint = parse_checkpoint(text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.root.hex() == "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"
    assert format_checkpoint(checkpoint) == text


@given(
    st.builds(
        Checkpoint,
        st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1),
        st.integers(1, LARGEST_SIZE),
        st.binary(min_size=32, max_size=32),
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1), max_size=3).map(tuple),
    )
)
def test_every_checkpoint_reads_back(checkpoint: Checkpoint) -> None:
    assert parse_checkpoint(format_checkpoint(checkpoint)) == checkpoint


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_read_back_or_are_refused_in_order(tail: bytes) -> None:
    for text in (tail, TEXT + tail, b"o\n1\n" + tail, f"o\n{tail!r}\n{ROOT_TEXT}\n".encode()):
        try:
            assert format_checkpoint(parse_checkpoint(text)) == text
        except NoteError:
            continue


def test_extension_lines_are_kept() -> None:
    checkpoint = parse_checkpoint(TEXT + b"one\ntwo\n")
    assert checkpoint == Checkpoint(ORIGIN, 1, ROOT, ("one", "two"))


MALFORMED = {
    "nothing": "",
    "line breaks": "\n\n\n",
    "two lines": f"{ORIGIN}\n1\n",
    "no final line break": TEXT.decode()[:-1],
    "no final line break after extensions": TEXT.decode() + "extension",
    "no origin": f"\n1\n{ROOT_TEXT}\n",
    "an empty extension": TEXT.decode() + "\n",
    "an empty line between extensions": TEXT.decode() + "one\n\ntwo\n",
    "no size": f"{ORIGIN}\n\n{ROOT_TEXT}\n",
    "a leading zero": f"{ORIGIN}\n01\n{ROOT_TEXT}\n",
    "zeros": f"{ORIGIN}\n00\n{base64.b64encode(EMPTY_ROOT).decode()}\n",
    "a plus sign": f"{ORIGIN}\n+1\n{ROOT_TEXT}\n",
    "a negative size": f"{ORIGIN}\n-1\n{ROOT_TEXT}\n",
    "a size with a space": f"{ORIGIN}\n1 \n{ROOT_TEXT}\n",
    "a size with an underscore": f"{ORIGIN}\n1_0\n{ROOT_TEXT}\n",
    "a hexadecimal size": f"{ORIGIN}\n0x1\n{ROOT_TEXT}\n",
    "a size in Arabic-Indic digits": f"{ORIGIN}\n\N{ARABIC-INDIC DIGIT ONE}\n{ROOT_TEXT}\n",
    "a size of 2**63": f"{ORIGIN}\n{LARGEST_SIZE + 1}\n{ROOT_TEXT}\n",
    "a size of 5,000 digits": f"{ORIGIN}\n{'9' * 5000}\n{ROOT_TEXT}\n",
    "no root": f"{ORIGIN}\n1\n\n",
    "a root too short": f"{ORIGIN}\n1\n{base64.b64encode(ROOT[:-1]).decode()}\n",
    "a root too long": f"{ORIGIN}\n1\n{base64.b64encode(ROOT + ROOT[:1]).decode()}\n",
    "a root in hexadecimal": f"{ORIGIN}\n1\n{ROOT.hex()}\n",
    "a root without padding": f"{ORIGIN}\n1\n{ROOT_TEXT[:-1]}\n",
    "a root with bits left over": f"{ORIGIN}\n1\n{ROOT_TEXT[:-2]}{chr(ord(ROOT_TEXT[-2]) + 1)}=\n",
    "a root for the empty tree that is not its own": f"{ORIGIN}\n0\n{ROOT_TEXT}\n",
    "carriage returns": TEXT.decode().replace("\n", "\r\n"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_checkpoint_is_refused_signed_or_not(kind: str) -> None:
    text = MALFORMED[kind].encode()
    with pytest.raises(NoteError):
        parse_checkpoint(text)
    line = signature_line(TEXT, note_signer(ORIGIN, LOG.public_key, lambda _: GT.sign(text).signature))
    with pytest.raises(NoteError):
        open_checkpoint(text + b"\n" + line, log=LOG)


def test_a_checkpoint_is_utf_8() -> None:
    with pytest.raises(NoteError, match="UTF-8"):
        parse_checkpoint(b"\xff" + TEXT)


def test_sizes_up_to_63_bits_are_read() -> None:
    assert parse_checkpoint(f"{ORIGIN}\n{LARGEST_SIZE}\n{ROOT_TEXT}\n".encode()).size == LARGEST_SIZE
    empty = f"{ORIGIN}\n0\n{base64.b64encode(EMPTY_ROOT).decode()}\n".encode()
    assert parse_checkpoint(empty) == Checkpoint(ORIGIN, 0, EMPTY_ROOT)


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [
        ("", 1, ROOT, ()),
        ("a\nb", 1, ROOT, ()),
        (ORIGIN, -1, ROOT, ()),
        (ORIGIN, LARGEST_SIZE + 1, ROOT, ()),
        (ORIGIN, 1, ROOT[:-1], ()),
        (ORIGIN, 1, b"", ()),
        (ORIGIN, 0, ROOT, ()),
        (ORIGIN, 1, ROOT, ("",)),
        (ORIGIN, 1, ROOT, ("a\n",)),
    ],
)
def test_what_would_not_read_back_is_never_a_checkpoint(
    origin: str, size: int, root: bytes, extensions: tuple[str, ...]
) -> None:
    with pytest.raises(NoteError):
        Checkpoint(origin, size, root, extensions)


def test_an_origin_names_federation_country_and_node() -> None:
    assert origin_of("enlace.example", "GT", "gt-1") == ORIGIN
    assert origin_of("a--b.c1", "MX", "N_1.x") == "a--b.c1/MX/N_1.x"


@pytest.mark.parametrize(
    ("federation", "country", "node"),
    [
        ("", "GT", "gt-1"),
        ("Enlace.example", "GT", "gt-1"),
        ("enlace.example/MX", "GT", "gt-1"),
        ("enlace..example", "GT", "gt-1"),
        ("enlace.example\n", "GT", "gt-1"),
        ("-enlace.example", "GT", "gt-1"),
        ("enlace.example", "gt", "gt-1"),
        ("enlace.example", "GTM", "gt-1"),
        ("enlace.example", "ÑÑ", "gt-1"),
        ("enlace.example", "GT", ""),
        ("enlace.example", "GT", ".."),
        ("enlace.example", "GT", "a/b"),
        ("enlace.example", "GT", "a b"),
        ("enlace.example", "GT", "a+b"),
        ("enlace.example", "GT", "gt-1\n"),
    ],
)
def test_what_could_name_another_ledger_is_no_origin(federation: str, country: str, node: str) -> None:
    with pytest.raises(NoteError, match="a ledger's name"):
        origin_of(federation, country, node)


# --- signed ----------------------------------------------------------------------------------------------------------


def test_a_signed_checkpoint_opens() -> None:
    assert open_checkpoint(signed(TEXT), log=LOG) == SignedCheckpoint(CHECKPOINT, TEXT, ())


def test_witnesses_cosign_by_appending_lines() -> None:
    data = signed(TEXT) + cosigned(TEXT, WITNESS_MX, MX) + cosigned(TEXT, WITNESS_US, US, now_us=1_000_000)
    opened = open_checkpoint(data, log=LOG, witnesses=iter([WITNESS_US, WITNESS_MX]))
    assert opened.checkpoint == CHECKPOINT
    assert opened.cosignatures == (Signature(WITNESS_MX, 1_800_000_000_000_000), Signature(WITNESS_US, 1_000_000))
    assert open_checkpoint(data, log=LOG, witnesses=[WITNESS_US]).cosignatures == (Signature(WITNESS_US, 1_000_000),)
    assert open_checkpoint(data, log=LOG).cosignatures == ()


def test_a_public_log_with_its_public_witnesses_opens() -> None:
    note = NOTES["staging-ct-log"]
    log, *witnesses = map(parse_verifier_key, note["keys"])
    data = f"{note['text']}\n{''.join(f'{line}{chr(10)}' for line in note['lines'])}".encode()
    opened = open_checkpoint(data, log=log, witnesses=witnesses)
    assert (opened.checkpoint.origin, opened.checkpoint.size) == (log.name, 1432088532)
    assert [cosignature.key for cosignature in opened.cosignatures] == witnesses


def test_witnesses_alone_do_not_make_a_checkpoint() -> None:
    forged = TEXT + b"\n" + cosigned(TEXT, WITNESS_MX, MX) + cosigned(TEXT, WITNESS_US, US)
    with pytest.raises(NoteError, match="the checkpoint is not signed by"):
        open_checkpoint(forged, log=LOG, witnesses=[WITNESS_MX, WITNESS_US])


def test_a_ledger_can_not_sign_for_another() -> None:
    other = VerifierKey("enlace.example/MX/mx-1", ED25519, bytes(MX.verify_key))
    with pytest.raises(NoteError, match="of another ledger"):
        open_checkpoint(signed(TEXT, other, MX), log=other)
    with pytest.raises(NoteError, match="no signature by a known key"):
        open_checkpoint(signed(TEXT, other, MX), log=LOG)


def test_the_go_checksum_database_names_its_key_otherwise_than_its_tree() -> None:
    """Its text is a checkpoint, yet not by the rule that key and ledger have one name."""
    note = NOTES["go-sum-database"]
    assert parse_checkpoint(note["text"].encode()).origin == "go.sum database tree"
    with pytest.raises(NoteError, match="of another ledger"):
        open_checkpoint(f"{note['text']}\n{note['lines'][0]}\n".encode(), log=parse_verifier_key(note["keys"][0]))


def test_one_false_cosignature_condemns_the_checkpoint() -> None:
    elsewhere = format_checkpoint(Checkpoint(ORIGIN, 2, ROOT))
    data = signed(TEXT) + cosigned(TEXT, WITNESS_MX, MX) + cosigned(elsewhere, WITNESS_US, US)
    with pytest.raises(NoteError, match="US/us-1 does not verify"):
        open_checkpoint(data, log=LOG, witnesses=[WITNESS_MX, WITNESS_US])
    assert open_checkpoint(data, log=LOG, witnesses=[WITNESS_MX]).checkpoint == CHECKPOINT


def test_extension_lines_are_cosigned_too() -> None:
    extended = TEXT + b"extension\n"
    line = cosigned(TEXT, WITNESS_MX, MX)
    with pytest.raises(NoteError, match="does not verify"):
        open_checkpoint(signed(extended) + line, log=LOG, witnesses=[WITNESS_MX])


def test_keys_of_the_wrong_type_are_refused() -> None:
    data = signed(TEXT) + cosigned(TEXT, WITNESS_MX, MX)
    with pytest.raises(NoteError, match="type 0x01"):
        open_checkpoint(data, log=LOG, witnesses=[VerifierKey(WITNESS_MX.name, ED25519, WITNESS_MX.public_key)])
    with pytest.raises(NoteError, match="type 0x01"):
        open_checkpoint(data, log=WITNESS_MX)


def test_a_witness_signs_nothing_but_checkpoints() -> None:
    for text in (b"a note\n", b"a\nb\nc\n", TEXT + b"\n"):
        with pytest.raises(NoteError):
            cosigned(text, WITNESS_MX, MX)


@pytest.mark.parametrize("now_us", [-1, (1 << 63) * 1_000_000])
def test_a_witness_signs_at_no_impossible_time(now_us: int) -> None:
    with pytest.raises(NoteError, match="can't have the time"):
        cosigned(TEXT, WITNESS_MX, MX, now_us=now_us)
