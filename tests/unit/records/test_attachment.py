"""Pictures are copied without anything but the picture; what is damaged, cut off or something else is refused."""

import struct
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import RecordError
from node.records.attachment import LARGEST, cleaned
from node.wire.entry_pb2 import MEDIA_TYPE_JPEG, MEDIA_TYPE_PNG

SECRET = b"GPS 14.6349N 90.5069W, taken by Ana"


def read_of(data: bytes, step: int = 1 << 20) -> Callable[[int], bytes]:
    def pieces() -> Iterator[bytes]:
        for at in range(0, len(data), step):
            yield data[at : at + step]

    left = pieces()
    return lambda _: next(left, b"")


def clean(data: bytes, step: int = 1 << 20) -> bytes:
    return b"".join(cleaned(read_of(data, step))[1])


# --- JPEG ------------------------------------------------------------------------------------------------------------


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


SOI, EOI = b"\xff\xd8", b"\xff\xd9"
JFIF = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
DQT = segment(0xDB, b"\0" + bytes(range(1, 65)))
DHT = segment(0xC4, b"\0" + bytes([1]) + bytes(15) + b"\0")
SOF = segment(0xC0, b"\x08" + struct.pack(">HH", 8, 8) + b"\1\1\x11\0")
SOS = segment(0xDA, b"\1\1\0\0\x3f\0")
SCAN = b"\x12\xff\x00\x34\xff\xd0\x56"
JPEG = SOI + JFIF + DQT + SOF + DHT + SOS + SCAN + EOI


def test_a_clean_jpeg_stays_as_it_is() -> None:
    kind, pieces = cleaned(read_of(JPEG))
    assert kind == MEDIA_TYPE_JPEG
    assert b"".join(pieces) == JPEG


@given(
    marker=st.sampled_from([*range(0xE1, 0xF0), 0xFE]),
    before=st.binary(max_size=40),
    place=st.sampled_from([SOI, DQT, SOF, DHT]),
    step=st.integers(1, 40),
)
def test_nothing_of_what_applications_wrote_into_a_jpeg_survives(
    marker: int, before: bytes, place: bytes, step: int
) -> None:
    at = JPEG.index(place) + len(place)
    dirty = JPEG[:at] + segment(marker, before + SECRET) + JPEG[at:] + SECRET
    assert clean(dirty, step) == JPEG


def test_thumbnails_fill_bytes_and_what_follows_the_picture_are_left_behind() -> None:
    thumbnail = segment(0xE0, b"JFIF\0\1\2\1\0\x48\0\x48\x01\x01" + SECRET)
    dirty = SOI + thumbnail + segment(0xE0, b"JFXX\0" + SECRET) + JPEG[2 + len(JFIF) : -2] + b"\xff\xff" + EOI + JPEG
    assert clean(dirty) == JPEG
    adobe = segment(0xEE, b"Adobe\0\x64\x80\0\0\0\1")
    told = segment(0xEE, b"Adobe\0\x64\0\0\0\0\1")
    assert clean(SOI + adobe + JPEG[2:]) == SOI + told + JPEG[2:]


@pytest.mark.parametrize(
    "wrong",
    [
        segment(0xDB, b"\0" + bytes(range(1, 65)) + SECRET),
        segment(0xC4, b"\0" + bytes(16) + SECRET[:3]),
        segment(0xDD, b"\0\1" + SECRET),
        segment(0xC0, b"\x08" + struct.pack(">HH", 8, 8) + b"\1\1\x11\0" + SECRET),
        segment(0xDA, b"\1\1\0\0\x3f\0" + SECRET),
        segment(0xC9, SECRET),
        segment(0xDC, b"\0\1"),
        b"\xff\x02" + SECRET,
        b"\xff\xd8",
        SECRET,
    ],
)
def test_a_segment_that_is_filled_with_something_else_is_refused(wrong: bytes) -> None:
    with pytest.raises(RecordError):
        clean(SOI + DQT + wrong + SOF + DHT + SOS + SCAN + EOI)


@given(st.integers(1, len(JPEG) - 1))
def test_a_jpeg_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(RecordError):
        clean(JPEG[:length])


def test_a_jpeg_without_a_picture_or_of_no_size_is_refused() -> None:
    for wrong in (
        SOI + EOI,
        SOI + SOS + SCAN + EOI,
        JPEG.replace(struct.pack(">HH", 8, 8), bytes(4)),
        SOI + SOF + JPEG[2:],
    ):
        with pytest.raises(RecordError):
            clean(wrong)


# --- PNG -------------------------------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


SIGNATURE = b"\x89PNG\r\n\x1a\n"
RAW = b"".join(b"\0" + bytes([row] * 12) for row in range(4))  # 4 by 4 pixels of 3 bytes


def ihdr(width: int = 4, height: int = 4, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


IDAT, IEND = chunk(b"IDAT", zlib.compress(RAW)), chunk(b"IEND", b"")
PNG = SIGNATURE + ihdr() + IDAT + IEND


def test_a_clean_png_stays_as_it_is() -> None:
    kind, pieces = cleaned(read_of(PNG, 3))
    assert kind == MEDIA_TYPE_PNG
    assert b"".join(pieces) == PNG
    packed = zlib.compress(RAW)
    split = SIGNATURE + ihdr() + chunk(b"IDAT", packed[:5]) + chunk(b"IDAT", b"") + chunk(b"IDAT", packed[5:]) + IEND
    assert clean(split) == split


@given(
    kind=st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"iCCP", b"pHYs", b"acTL", b"fdAT", b"abCd"]),
    before=st.binary(max_size=40),
    place=st.sampled_from([ihdr(), IDAT]),
    step=st.integers(1, 40),
)
def test_nothing_of_what_stands_beside_the_pixels_survives(kind: bytes, before: bytes, place: bytes, step: int) -> None:
    at = PNG.index(place) + len(place)
    dirty = PNG[:at] + chunk(kind, before + SECRET) + PNG[at:] + SECRET
    assert clean(dirty, step) == PNG


def test_palettes_transparency_and_interlacing_are_kept() -> None:
    raw = b"".join(b"\0" + bytes(4) for _ in range(4))
    made = SIGNATURE + ihdr(colour=3) + chunk(b"PLTE", bytes(6)) + chunk(b"tRNS", b"\1\2")
    made += chunk(b"IDAT", zlib.compress(raw)) + IEND
    assert clean(made) == made
    # 4 by 4 in Adam7: passes of 1, 1 by 0 (none), 1 by 0, 2 by 1 … as the standard's table 8.3 says for this size.
    passes = [(1, 1), (1, 1), (2, 1), (2, 2), (4, 2)]
    rows = b"".join(b"\0" + bytes(3 * columns) for columns, count in passes for _ in range(count))
    woven = SIGNATURE + ihdr(interlace=1) + chunk(b"IDAT", zlib.compress(rows)) + IEND
    assert clean(woven) == woven


@pytest.mark.parametrize(
    "wrong",
    [
        SIGNATURE + ihdr() + chunk(b"IDAT", zlib.compress(RAW) + SECRET) + IEND,
        SIGNATURE + ihdr() + chunk(b"IDAT", zlib.compress(RAW)) + chunk(b"IDAT", SECRET) + IEND,
        SIGNATURE + ihdr() + chunk(b"IDAT", zlib.compress(RAW + SECRET)) + IEND,
        SIGNATURE + ihdr() + chunk(b"IDAT", zlib.compress(RAW[:-1])) + IEND,
        SIGNATURE + ihdr() + chunk(b"IDAT", zlib.compress(bytes(10_000_000))) + IEND,
        SIGNATURE + ihdr() + chunk(b"IDAT", SECRET) + IEND,
        SIGNATURE + ihdr() + chunk(b"ABCD", SECRET) + IDAT + IEND,
        SIGNATURE + ihdr() + chunk(b"PLTE", SECRET) + IDAT + IEND,
        SIGNATURE + ihdr() + chunk(b"tRNS", SECRET) + IDAT + IEND,
        SIGNATURE + ihdr() + IDAT + chunk(b"IEND", SECRET),
        SIGNATURE + ihdr() + IEND,
        SIGNATURE + IDAT + IEND,
        SIGNATURE + ihdr() + ihdr() + IDAT + IEND,
        SIGNATURE + ihdr(width=0) + IDAT + IEND,
        SIGNATURE + ihdr(width=1 << 30, height=1 << 30) + IDAT + IEND,
        SIGNATURE + ihdr(depth=3) + IDAT + IEND,
        SIGNATURE + ihdr(colour=3) + IDAT + IEND,
        PNG[:-1] + b"\0",
    ],
)
def test_a_png_that_holds_anything_but_a_picture_is_refused(wrong: bytes) -> None:
    with pytest.raises(RecordError):
        clean(wrong)


@given(st.integers(1, len(PNG) - 1))
def test_a_png_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(RecordError):
        clean(PNG[:length])


# --- all else --------------------------------------------------------------------------------------------------------


@given(st.sampled_from([b"", SOI, SIGNATURE, SIGNATURE + ihdr(), SOI + SOF + SOS]), st.binary(max_size=200))
def test_whatever_comes_is_cleaned_or_refused(head: bytes, rest: bytes) -> None:
    try:
        made = clean(head + rest)
    except RecordError:
        return
    assert clean(made) == made


@given(st.sampled_from([JPEG, PNG]), st.data())
def test_a_byte_that_is_altered_makes_no_other_error(picture: bytes, data: st.DataObject) -> None:
    at, byte = data.draw(st.integers(0, len(picture) - 1)), data.draw(st.binary(min_size=1, max_size=1))
    try:
        clean(picture[:at] + byte + picture[at + 1 :])
    except RecordError:
        return


def test_a_pdf_says_why_it_is_refused_and_what_is_too_large_is_refused() -> None:
    with pytest.raises(RecordError, match="pages as JPEG"):
        clean(b"%PDF-1.7 ...")
    with pytest.raises(RecordError, match="neither"):
        clean(b"GIF89a" + bytes(100))
    large = SIGNATURE + ihdr() + chunk(b"tEXt", bytes(LARGEST)) + IDAT + IEND
    with pytest.raises(RecordError, match="more than"):
        clean(large)
