"""Signed notes: what the specifications, golang.org/x/mod/sumdb/note and real logs wrote; then forgeries."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from node.errors import NoteError
from node.ledger.note import (
    COSIGNATURE_V1,
    ED25519,
    LATEST_TIME_S,
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Note,
    Signature,
    Signer,
    VerifierKey,
    cosigned_message,
    note_signer,
    open_note,
    parse_verifier_key,
    sign_note,
    signature_line,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "ledger" / "notes.json").read_text(encoding="utf-8")
)
NOTES: dict[str, dict[str, Any]] = {note["name"]: note for note in VECTORS["notes"]}

TEXT = b"Ledgers are kept for the day\n\nwhen nobody remembers.\n"
NAME = "enlace.example/GT/gt-1"
SECRET = SigningKey(bytes(range(32)))
PUBLIC = bytes(SECRET.verify_key)
KEY = VerifierKey(NAME, ED25519, PUBLIC)
STRANGER = SigningKey(bytes(range(32, 64)))


def sign(message: bytes) -> bytes:
    return SECRET.sign(message).signature


SIGNER = note_signer(NAME, PUBLIC, sign)
LINE = signature_line(TEXT, SIGNER)
NOTE = sign_note(TEXT, SIGNER)


def written(note: dict[str, Any]) -> bytes:
    lines = "".join(f"{line}\n" for line in note["lines"])
    return f"{note['text']}\n{lines}".encode()


def cosignature(key: SigningKey, name: str, text: bytes, time_s: int) -> bytes:
    signature = time_s.to_bytes(8, "big") + key.sign(cosigned_message(text, time_s)).signature
    key_id = VerifierKey(name, COSIGNATURE_V1, bytes(key.verify_key)).key_id
    return f"— {name} {base64.b64encode(key_id + signature).decode()}\n".encode()


def line(name: str, blob: bytes) -> bytes:
    return f"— {name} {base64.b64encode(blob).decode()}\n".encode()


# --- known answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NOTES)
def test_notes_of_others_open(name: str) -> None:
    note = NOTES[name]
    keys = [parse_verifier_key(key) for key in note["keys"]]
    opened = open_note(written(note), keys)
    assert opened.text == note["text"].encode()
    assert [signature.key for signature in opened.signatures] == keys


@pytest.mark.parametrize("name", NOTES)
def test_each_of_their_keys_alone_opens_them(name: str) -> None:
    note = NOTES[name]
    for text in note["keys"]:
        key = parse_verifier_key(text)
        assert [signature.key for signature in open_note(written(note), [key]).signatures] == [key]
        assert str(key) == text


@pytest.mark.parametrize("name", NOTES)
def test_none_of_their_keys_opens_another_text(name: str) -> None:
    note = NOTES[name]
    altered = {**note, "text": note["text"].replace("e", "a", 1)}
    for text in note["keys"]:
        with pytest.raises(NoteError, match="does not verify"):
            open_note(written(altered), [parse_verifier_key(text)])


def test_a_note_is_signed_as_the_reference_signs_it() -> None:
    known = VECTORS["signing"]
    note = NOTES[known["note"]]
    key = parse_verifier_key(known["key"])
    secret = SigningKey(base64.b64decode(known["seed_base64"]))
    signer = note_signer(key.name, key.public_key, lambda message: secret.sign(message).signature)
    assert bytes(secret.verify_key) == key.public_key
    assert signature_line(note["text"].encode(), signer).decode() == f"{note['lines'][known['line']]}\n"


def test_the_message_of_a_cosignature_is_that_of_the_specification() -> None:
    known = VECTORS["cosigned_message"]
    assert cosigned_message(known["text"].encode(), known["time_s"]) == known["message"].encode()
    blob = base64.b64decode(known["signature_base64"])
    assert (len(blob), int.from_bytes(blob[4:12], "big")) == (4 + 8 + 64, known["time_s"])


def test_a_cosignature_tells_its_time() -> None:
    note = NOTES["staging-ct-log"]
    log, *witnesses = map(parse_verifier_key, note["keys"])
    signatures = open_note(written(note), [log, *witnesses]).signatures
    assert signatures == (Signature(log, None), *(Signature(key, 1_779_573_024_000_000) for key in witnesses))


# --- which signatures count ------------------------------------------------------------------------------------------


def test_a_note_opens_with_the_text_as_it_was() -> None:
    assert open_note(NOTE, [KEY]) == Note(TEXT, (Signature(KEY, None),))


def test_signatures_by_others_are_ignored() -> None:
    others = [
        line("witness.example/w1", b"\1\2\3\4 of a type that nobody here knows"),
        line(NAME, b"\1\2\3\4" + bytes(64)),  # the name of the known key with another id
        line("enlace.example/GT/gt-2", KEY.key_id + bytes(64)),  # and its id with another name
    ]
    text = NOTE.removesuffix(LINE)
    for lines in ([*others, LINE], [LINE, *others], [others[0], LINE, *others[1:]]):
        assert open_note(text + b"".join(lines), [KEY]) == Note(TEXT, (Signature(KEY, None),))
    with pytest.raises(NoteError, match="no signature by a known key"):
        open_note(text + b"".join(others), [KEY])


def test_without_keys_nothing_opens() -> None:
    with pytest.raises(NoteError, match="no signature by a known key"):
        open_note(NOTE, [])


def test_a_repeated_signature_counts_once() -> None:
    assert open_note(NOTE + LINE + LINE, [KEY, KEY]).signatures == (Signature(KEY, None),)


def test_a_witness_that_cosigns_twice_counts_once() -> None:
    witness = VerifierKey("witness.example/w1", COSIGNATURE_V1, PUBLIC)
    lines = [cosignature(SECRET, witness.name, TEXT, time_s) for time_s in (1_700_000_000, 1_800_000_000)]
    opened = open_note(TEXT + b"\n" + b"".join(lines), [witness])
    assert opened.signatures == (Signature(witness, 1_700_000_000_000_000),)


def test_a_false_signature_by_a_known_key_condemns_the_note() -> None:
    false = line(NAME, KEY.key_id + STRANGER.sign(TEXT).signature)
    text = NOTE.removesuffix(LINE)
    for lines in ((false,), (LINE, false), (false, LINE)):  # also as a repetition of a good one
        with pytest.raises(NoteError, match="does not verify"):
            open_note(text + b"".join(lines), [KEY])


def test_a_false_signature_by_one_known_key_condemns_that_of_another() -> None:
    other = VerifierKey("enlace.example/MX/mx-1", ED25519, bytes(STRANGER.verify_key))
    with pytest.raises(NoteError, match="mx-1 does not verify"):
        open_note(NOTE + line(other.name, other.key_id + sign(TEXT)), [KEY, other])


@pytest.mark.parametrize("length", [1, 63, 65, 72])
def test_a_signature_of_wrong_length_is_false(length: int) -> None:
    with pytest.raises(NoteError, match="wrong length"):
        open_note(TEXT + b"\n" + line(NAME, KEY.key_id + bytes(length)), [KEY])
    witness = VerifierKey(NAME, COSIGNATURE_V1, PUBLIC)
    if length != 72:
        with pytest.raises(NoteError, match="wrong length"):
            open_note(TEXT + b"\n" + line(NAME, witness.key_id + bytes(length)), [witness])


def test_a_signature_is_good_for_one_type_only() -> None:
    """Forgeries by relabelling: a log's signature as a cosignature, and a cosignature as a log's."""
    witness = VerifierKey(NAME, COSIGNATURE_V1, PUBLIC)
    assert witness.key_id != KEY.key_id
    with pytest.raises(NoteError, match="does not verify"):
        open_note(TEXT + b"\n" + line(NAME, witness.key_id + (1).to_bytes(8, "big") + sign(TEXT)), [witness])
    with pytest.raises(NoteError, match="does not verify"):
        open_note(TEXT + b"\n" + line(NAME, KEY.key_id + sign(cosigned_message(TEXT, 1))), [KEY])


def test_a_cosignature_does_not_verify_at_another_time() -> None:
    witness = VerifierKey(NAME, COSIGNATURE_V1, PUBLIC)
    signature = sign(cosigned_message(TEXT, 1_700_000_000))
    for time_s in (0, 1_700_000_001, LATEST_TIME_S):
        with pytest.raises(NoteError, match="does not verify"):
            open_note(TEXT + b"\n" + line(NAME, witness.key_id + time_s.to_bytes(8, "big") + signature), [witness])


def test_a_cosignature_has_a_time_that_can_be_told() -> None:
    witness = VerifierKey(NAME, COSIGNATURE_V1, PUBLIC)
    latest = cosignature(SECRET, NAME, TEXT, LATEST_TIME_S)
    assert open_note(TEXT + b"\n" + latest, [witness]).signatures[0].time_us == LATEST_TIME_S * 1_000_000
    with pytest.raises(NoteError, match="can't have the time"):
        open_note(TEXT + b"\n" + line(NAME, witness.key_id + b"\x80" + bytes(71)), [witness])
    for time_s in (-1, LATEST_TIME_S + 1):
        with pytest.raises(NoteError, match="can't have the time"):
            cosigned_message(TEXT, time_s)


def test_two_keys_of_one_name_and_id_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real collision takes 2**32 tries; here the id is shortened to nothing."""
    monkeypatch.setattr(VerifierKey, "key_id", KEY.key_id)
    twin = VerifierKey(NAME, ED25519, bytes(STRANGER.verify_key))
    for keys in ([KEY, twin], [twin, KEY]):
        with pytest.raises(NoteError, match="two different keys are listed"):
            open_note(NOTE, keys)


# --- the form of a note ----------------------------------------------------------------------------------------------

GOOD = f"{TEXT.decode()}\n{LINE.decode()}"
BLOB = LINE.decode().rstrip("\n").rpartition(" ")[2]

MALFORMED = {
    "nothing": "",
    "a text alone": TEXT.decode(),
    "no signature lines": TEXT.decode() + "\n",
    "no text": LINE.decode(),
    "no line break before the empty line": "\n" + LINE.decode(),
    "no final line break": GOOD[:-1],
    "an empty line at the end": GOOD + "\n",
    "a line among the signatures": GOOD + "unexpected\n",
    "a line before the signatures": GOOD.replace("\n— ", "\nunexpected\n— "),
    "a hyphen for the dash": GOOD.replace("— ", "- "),
    "an en dash for the dash": GOOD.replace("—", "\N{EN DASH}"),
    "no space after the dash": GOOD.replace("— ", "—"),
    "two spaces after the dash": GOOD.replace("— ", "—  "),
    "a space before the dash": GOOD.replace("— ", " — "),
    "no name": GOOD.replace(NAME + " ", ""),
    "no signature": GOOD.replace(" " + BLOB, ""),
    "an empty signature": GOOD.replace(BLOB, ""),
    "two spaces before the signature": GOOD.replace(BLOB, " " + BLOB),
    "a space after the signature": GOOD.replace(BLOB, BLOB + " "),
    "a key id alone": GOOD.replace(BLOB, base64.b64encode(KEY.key_id).decode()),
    "a key id alone, of nobody known": GOOD + line("n", b"1234").decode(),
    "three bytes, of nobody known": GOOD + line("n", b"123").decode(),
    "a plus sign in a name": GOOD + LINE.decode().replace(NAME, "a+b"),
    "a space in a name": GOOD + LINE.decode().replace(NAME, "a b"),
    "a no-break space in a name": GOOD + LINE.decode().replace(NAME, "a\N{NO-BREAK SPACE}b"),
    "an ideographic space in a name": GOOD + LINE.decode().replace(NAME, "a\N{IDEOGRAPHIC SPACE}b"),
    "a line separator in a name": GOOD + LINE.decode().replace(NAME, "a\N{LINE SEPARATOR}b"),
    "a carriage return": GOOD.replace("\n", "\r\n"),
    "a tab in the text": GOOD.replace("Ledgers ", "Ledgers\t"),
    "a zero byte in the text": GOOD.replace("Ledgers", "Led\0gers"),
    "an escape in the text": GOOD.replace("Ledgers", "\x1b[2JLedgers"),
    "a unit separator in the text": GOOD.replace("Ledgers", "\x1fLedgers"),
    "base64 without padding": GOOD.replace(BLOB, BLOB.rstrip("=")),
    "base64 with too much padding": GOOD.replace(BLOB, BLOB + "="),
    "base64 with a whole group of padding": GOOD.replace(BLOB, BLOB + "===="),
    "base64 with padding inside": GOOD.replace(BLOB, "QUI=" + BLOB),
    "base64 with a line break inside": GOOD.replace(BLOB, BLOB[:8] + "\n" + BLOB[8:]),
    "base64 of the other alphabet": GOOD + line(NAME, b"\xfb\xff\xfe" * 4).decode().replace("/", "_").replace("+", "-"),
    "base64 with bits left over": GOOD + "— n AAAAAAB=\n",
    "base64 in letters that are not ASCII": GOOD.replace(BLOB, "é" + BLOB[1:]),
}


def test_the_good_note_is_good() -> None:
    assert open_note(GOOD.encode(), [KEY]).text == TEXT
    assert BLOB.endswith("=")
    assert GOOD.encode() == NOTE


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_note_is_refused_even_beside_a_good_signature(kind: str) -> None:
    assert MALFORMED[kind] != GOOD
    with pytest.raises(NoteError):
        open_note(MALFORMED[kind].encode(), [KEY])


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x80"])
def test_a_note_is_utf_8(bad: bytes) -> None:
    with pytest.raises(NoteError, match="UTF-8"):
        open_note(bad + NOTE, [KEY])
    with pytest.raises(NoteError, match="UTF-8"):
        signature_line(bad + TEXT, SIGNER)


def test_a_text_may_hold_what_looks_like_a_line_break_or_a_signature() -> None:
    for text in (
        "a\x85b\N{LINE SEPARATOR}c\n",
        "\n",
        "\n\n\n",
        f"{TEXT.decode()}\n{LINE.decode()}",
        "\N{REPLACEMENT CHARACTER}\x7f\n",
    ):
        assert open_note(sign_note(text.encode(), SIGNER), [KEY]).text == text.encode()


def test_the_last_empty_line_parts_text_and_signatures() -> None:
    """A good signature moved up into the text no longer counts as one."""
    with pytest.raises(NoteError):
        open_note(NOTE + b"\n" + line("n", b"12345"), [KEY])


def test_a_note_has_at_most_a_hundred_signatures() -> None:
    other = line("witness.example/w1", bytes(64))
    assert open_note(NOTE + other * (MAX_SIGNATURES - 1), [KEY]).text == TEXT
    for surplus in (other, LINE):
        with pytest.raises(NoteError, match="more than 100 signatures"):
            open_note(NOTE + surplus * MAX_SIGNATURES, [KEY])


def test_a_note_has_at_most_half_a_mebibyte() -> None:
    room = MAX_NOTE_BYTES - len(LINE) - 2
    longest = sign_note(b"x" * room + b"\n", SIGNER)
    assert len(longest) == MAX_NOTE_BYTES
    assert len(open_note(longest, [KEY]).text) == room + 1
    with pytest.raises(NoteError, match="longer than"):
        open_note(b"x" + longest, [KEY])


def test_no_flipped_bit_goes_unnoticed() -> None:
    for at in range(len(NOTE)):
        for bit in range(8):
            altered = bytearray(NOTE)
            altered[at] ^= 1 << bit
            with pytest.raises(NoteError):
                open_note(bytes(altered), [KEY])


@given(st.binary() | st.text().map(str.encode), st.binary(max_size=40))
def test_any_bytes_open_or_are_refused_in_order(before: bytes, after: bytes) -> None:
    for data in (
        before,
        before + NOTE,
        NOTE + after,
        before + b"\n\n" + LINE,
        before + b"\n\n\xe2\x80\x94 " + after + b"\n",
    ):
        try:
            opened = open_note(data, [KEY])
        except NoteError:
            continue
        assert opened.text == TEXT


# --- keys and signers ------------------------------------------------------------------------------------------------


@given(
    st.from_regex(r"[a-z][a-z./0-9-]{0,40}", fullmatch=True),
    st.sampled_from([ED25519, COSIGNATURE_V1]),
    st.binary(min_size=32, max_size=32),
)
def test_every_key_reads_back(name: str, kind: int, public_key: bytes) -> None:
    key = VerifierKey(name, kind, public_key)
    assert parse_verifier_key(str(key)) == key
    assert str(key).startswith(f"{name}+{key.key_id.hex()}+")


def test_one_key_pair_has_another_id_for_each_name_and_type() -> None:
    ids = {VerifierKey(name, kind, PUBLIC).key_id for name in ("a", "b") for kind in (ED25519, COSIGNATURE_V1)}
    assert len(ids) == 4


def test_no_part_of_a_key_is_a_key() -> None:
    text = str(KEY)
    for start in range(len(text)):
        for end in range(start + 1, len(text) + 1):
            if (start, end) != (0, len(text)):
                with pytest.raises(NoteError):
                    parse_verifier_key(text[start:end])


def test_no_mistyped_key_is_a_key() -> None:
    text = str(KEY)
    for at in range(len(text)):
        for char in "+ A0f=\n\té":
            if char != text[at]:
                with pytest.raises(NoteError):
                    parse_verifier_key(text[:at] + char + text[at + 1 :])
    for bad in (
        text + "\n",
        " " + text,
        text + "=",
        text.replace("+", "-"),
        text.replace(KEY.key_id.hex(), KEY.key_id.hex().upper()),
    ):
        with pytest.raises(NoteError):
            parse_verifier_key(bad)


@pytest.mark.parametrize(
    "text",
    [
        # Of golang.org/x/mod/sumdb/note: a key too long and a type unknown, each with the id that fits.
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "",
        "name",
        "name+",
        "name++",
        "name+00000000+",
        "name+00000000",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+53 0d 90 3a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+0x530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        parse_verifier_key(text)


@given(st.text())
def test_any_text_is_a_key_or_is_refused_in_order(text: str) -> None:
    for attempt in (
        text,
        f"{text}{str(KEY).removeprefix(NAME)}",
        f"a+{text}",
        f"a+b+{text}",
    ):
        try:
            assert str(parse_verifier_key(attempt)) == attempt
        except NoteError:
            continue


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\tb", "a\x01b", "a\N{EM SPACE}b", "a\N{NEXT LINE}b"])
def test_a_key_and_a_signer_have_a_name_that_a_note_can_hold(name: str) -> None:
    with pytest.raises(NoteError, match="name is empty"):
        VerifierKey(name, ED25519, PUBLIC)
    with pytest.raises(NoteError, match="name is empty"):
        note_signer(name, PUBLIC, sign)
    with pytest.raises(NoteError, match="name is empty"):
        signature_line(TEXT, Signer(name, KEY.key_id, sign))


def test_a_key_is_of_a_type_and_length_that_is_used_here() -> None:
    for kind in (0, 2, 3, 5, 6, 0xFF):
        with pytest.raises(NoteError, match="signature type"):
            VerifierKey(NAME, kind, PUBLIC)
    for public_key in (b"", PUBLIC[:-1], PUBLIC + b"\0"):
        with pytest.raises(NoteError, match="no Ed25519 public key"):
            VerifierKey(NAME, ED25519, public_key)
    with pytest.raises(NoteError, match="a key id has 4 bytes"):
        signature_line(TEXT, Signer(NAME, b"\1\2\3", sign))


@pytest.mark.parametrize("text", [b"", b"no line break", b"a\tb\n", b"a\r\n", b"a\0\n"])
def test_what_can_not_be_a_note_is_not_signed(text: bytes) -> None:
    with pytest.raises(NoteError):
        sign_note(text, SIGNER)


def test_a_log_does_not_sign_what_would_be_a_cosignature() -> None:
    forged = cosigned_message(b"enlace.example/MX/mx-1\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", 1)
    with pytest.raises(NoteError, match="like a cosignature"):
        sign_note(forged, SIGNER)


def test_several_sign_by_appending_lines() -> None:
    other = note_signer("enlace.example/MX/mx-1", bytes(STRANGER.verify_key), lambda m: STRANGER.sign(m).signature)
    both = NOTE + signature_line(TEXT, other)
    keys = [VerifierKey(other.name, ED25519, bytes(STRANGER.verify_key)), KEY]
    assert [signature.key for signature in open_note(both, keys).signatures] == keys[::-1]
