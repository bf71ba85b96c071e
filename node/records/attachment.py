# ruff: noqa: PLR2004 - the numbers are those of the formats
"""What may be attached to a record, and how it is cleaned: JPEG and PNG, by copying what a picture needs and no more.

Nothing is decoded into pixels: a decoder of hostile pictures would be a way into the node. Segments and chunks are
copied that draw the picture, each checked to hold nothing else; whatever else there is - Exif, XMP, IPTC, colour
profiles, comments, thumbnails, what follows the picture - is left behind. So orientation and profile are lost too, and
what a steganographer writes into the pixels is not. Formats: ITU-T T.81 annex B; PNG third edition (W3C, 2025).
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from node.errors import RecordError
from node.wire.entry_pb2 import MEDIA_TYPE_JPEG, MEDIA_TYPE_PNG, MediaType

Read: TypeAlias = Callable[[int], bytes]
"""Returns at most so many of the next bytes; none at the end only."""

LARGEST: Final = 50 * 1024 * 1024
"""Bytes of an attachment."""
MOST_PIXELS: Final = 250_000_000
"""More than any camera takes; who shows a picture needs memory for each."""
SHA256_BYTES: Final = 32

_PIECE: Final = 65_536
_KEPT_OF_HEAD: Final = 16


def cleaned(read: Read) -> tuple[MediaType.ValueType, Iterator[bytes]]:
    """Return what a file is, by its bytes, and its clean copy, piece by piece.

    Raises:
        RecordError: it is of no kind that can be cleaned. Iterating raises it too, where the file is damaged, cut off
            or too large: then nothing of it is to be kept.
    """
    source = _Source(read)
    head = source.peek(_KEPT_OF_HEAD)
    if head.startswith(_SOI):
        return MEDIA_TYPE_JPEG, _jpeg(source)
    if head.startswith(_PNG):
        return MEDIA_TYPE_PNG, _png(source)
    if head.startswith(b"%PDF"):
        raise RecordError("attachment: a PDF can't be cleaned reliably; attach its pages as JPEG or PNG pictures")
    raise RecordError("attachment: is neither a JPEG nor a PNG picture, by its bytes")


class _Source:
    """Reads a file from its beginning to its end, once."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._held = b""
        self._taken = 0

    def peek(self, size: int) -> bytes:
        """Return at most so many of the next bytes, fewer at the end only."""
        while len(self._held) < size:
            more = self._read(max(_PIECE, size))
            if not more:
                break
            self._taken += len(more)
            if self._taken > LARGEST:
                raise RecordError(f"attachment: has more than {LARGEST} bytes")
            self._held += more
        return self._held[:size]

    def take(self, size: int) -> bytes:
        """Return the next bytes, exactly so many."""
        found = self.peek(size)
        if len(found) < size:
            raise RecordError("attachment: the file is cut off")
        self._held = self._held[size:]
        return found

    def some(self, most: int) -> bytes:
        """Return some of the next bytes, one at least."""
        found = self.peek(min(most, _PIECE))
        if not found:
            raise RecordError("attachment: the file is cut off")
        self._held = self._held[len(found) :]
        return found


def _require(condition: bool, what: str) -> None:  # noqa: FBT001
    if not condition:
        raise RecordError(f"attachment: {what}")


def _verify_size(width: int, height: int) -> None:
    _require(width > 0 and height > 0, "the picture has no size")
    _require(width * height <= MOST_PIXELS, f"the picture has more than {MOST_PIXELS} pixels")


# --- JPEG ------------------------------------------------------------------------------------------------------------

_SOI: Final = b"\xff\xd8"
_SOF: Final = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive, with Huffman codes: what is in use
_DHT, _EOI, _SOS, _DQT, _DRI, _APP0, _APP14, _COM = 0xC4, 0xD9, 0xDA, 0xDB, 0xDD, 0xE0, 0xEE, 0xFE
_LEFT_OUT: Final = frozenset({*range(0xE0, 0xF0), _COM})
_JFIF: Final = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_ADOBE_BYTES: Final = 12
_MOST_SCANS: Final = 128  # each is worked through from the first pixel to the last
_MOST_COMPONENTS: Final = 4
_ENDS_SCAN: Final = re.compile(rb"\xff[^\x00\xd0-\xd7]")


def _jpeg(source: _Source) -> Iterator[bytes]:
    yield source.take(2)
    has_frame, scans = False, 0
    while True:
        marker = _marker(source)
        if marker == _EOI:
            _require(scans > 0, "the picture is empty")
            yield b"\xff\xd9"
            return
        _require(marker >= 0xC0 and not 0xD0 <= marker <= 0xD8, "has a marker where none belongs")
        data = _segment(source)
        if marker in _LEFT_OUT:
            yield _colours(marker, data)
            continue
        if marker in _SOF:
            _require(not has_frame, "holds several pictures")
            _verify_frame(data)
            has_frame = True
        elif marker == _SOS:
            scans += 1
            _require(has_frame and scans <= _MOST_SCANS, "has a scan without a frame, or too many")
            _require(len(data) > 0 and len(data) == 4 + 2 * data[0], "has a scan of a wrong length")
        else:
            _verify_table(marker, data)
        yield b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data
        if marker == _SOS:
            yield from _entropy_coded(source)


def _marker(source: _Source) -> int:
    _require(source.take(1) == b"\xff", "has bytes where a marker belongs")
    code = source.take(1)[0]
    while code == 0xFF:  # fill bytes
        code = source.take(1)[0]
    return code


def _segment(source: _Source) -> bytes:
    (length,) = struct.unpack(">H", source.take(2))
    _require(length >= 2, "has a segment of a wrong length")
    return source.take(length - 2)


def _colours(marker: int, data: bytes) -> bytes:
    """Return what says how colours are meant, written anew: that, and no more, is kept of applications' segments."""
    if marker == _APP0 and data.startswith(b"JFIF\0"):
        return _JFIF
    if marker == _APP14 and data.startswith(b"Adobe") and len(data) == _ADOBE_BYTES and data[-1] <= 2:
        return b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + data[-1:]
    return b""


def _verify_frame(data: bytes) -> None:
    _require(len(data) >= 6 and 1 <= data[5] <= _MOST_COMPONENTS, "has a frame of a wrong length")
    precision, height, width, components = struct.unpack(">BHHB", data[:6])
    _require(len(data) == 6 + 3 * components and precision in (8, 12), "has a frame of a wrong length")
    _verify_size(width, height)


def _verify_table(marker: int, data: bytes) -> None:
    """Check that a segment of tables is filled by them to the last byte."""
    if marker == _DRI:
        _require(len(data) == 2, "has a table of a wrong length")
        return
    _require(marker in (_DQT, _DHT), "is a JPEG of a kind that is not in use")
    at, end = 0, len(data)
    while at < end:
        if marker == _DQT:
            _require(data[at] >> 4 <= 1 and data[at] & 15 <= 3, "has a table of a wrong kind")
            at += 1 + 64 * (1 + (data[at] >> 4))
        else:
            _require(data[at] >> 4 <= 1 and data[at] & 15 <= 3, "has a table of a wrong kind")
            codes = sum(data[at + 1 : at + 17])
            _require(codes <= 256, "has a table of a wrong length")
            at += 17 + codes
    _require(at == end > 0, "has a table of a wrong length")


def _entropy_coded(source: _Source) -> Iterator[bytes]:
    """Copy a scan up to the marker that ends it; a byte 0xFF in it is followed by 0x00, or counts restarts."""
    while True:
        held = source.peek(_PIECE)
        _require(len(held) > 1, "the file is cut off")
        end = _ENDS_SCAN.search(held)
        if end is not None:
            yield source.take(end.start())
            return
        yield source.take(len(held) - held.endswith(b"\xff"))


# --- PNG -------------------------------------------------------------------------------------------------------------

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PALETTE: Final = 3
_TRANSPARENCY: Final = {0: 2, 2: 6}  # bytes; of a palette, one for each colour at most
_ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_ANCILLARY: Final = 0x20  # bit of the first letter
_MOST_DROPPED: Final = 1 << 31


def _png(source: _Source) -> Iterator[bytes]:
    yield source.take(len(_PNG))
    header = b""
    pixels: _Pixels | None = None
    colours = 0
    while True:
        length, kind = struct.unpack(">I4s", source.take(8))
        _require(length < _MOST_DROPPED and kind.isalpha(), "has a chunk of a wrong kind")
        if not header:
            _require(kind == b"IHDR" and length == 13, "does not begin with its header")
        if kind == b"IDAT":
            _require(header[9] != _PALETTE or colours > 0, "has no palette")
            pixels = pixels or _Pixels(_raw_size(header))
            yield from _idat(source, length, pixels)
            continue
        if kind[0] & _ANCILLARY and kind != b"tRNS":
            _skip(source, length, kind)
            continue
        _require(kind in (b"IHDR", b"PLTE", b"tRNS", b"IEND") and length <= 768, "has a chunk of a wrong kind")
        data = source.take(length)
        _verify_crc(source.take(4), zlib.crc32(kind + data))
        if kind == b"IHDR":
            _require(not header, "has two headers")
            _verify_header(data)
            header = data
        elif kind == b"PLTE":
            _require(pixels is None and not colours and length > 0 and length % 3 == 0, "has a palette of a wrong size")
            _require(header[9] in (2, _PALETTE, 6), "has a palette and no use for it")
            colours = length // 3
        elif kind == b"tRNS":
            most = _TRANSPARENCY.get(header[9], 0)
            fits = 0 < length <= colours if header[9] == _PALETTE else length == most > 0
            _require(pixels is None and fits, "has a transparency of a wrong size")
        yield struct.pack(">I4s", length, kind) + data + struct.pack(">I", zlib.crc32(kind + data))
        if kind == b"IEND":
            _require(length == 0 and pixels is not None and pixels.is_whole, "has an end before its pixels have one")
            return


def _verify_crc(found: bytes, expected: int) -> None:
    _require(found == struct.pack(">I", expected), "the file is damaged")


def _skip(source: _Source, length: int, kind: bytes) -> None:
    crc = zlib.crc32(kind)
    while length:
        piece = source.some(length)
        crc = zlib.crc32(piece, crc)
        length -= len(piece)
    _verify_crc(source.take(4), crc)


def _idat(source: _Source, length: int, pixels: "_Pixels") -> Iterator[bytes]:
    crc = zlib.crc32(b"IDAT")
    yield struct.pack(">I4s", length, b"IDAT")
    while length:
        piece = source.some(length)
        pixels.add(piece)
        crc = zlib.crc32(piece, crc)
        length -= len(piece)
        yield piece
    _verify_crc(source.take(4), crc)
    yield struct.pack(">I", crc)


class _Pixels:
    """Follows the compressed pixels, so that nothing else hides among them, and nobody is sent a bomb."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._inflating = zlib.decompressobj()

    @property
    def is_whole(self) -> bool:
        return self._left == 0 and self._inflating.eof

    def add(self, piece: bytes) -> None:
        while piece:
            _require(not self._inflating.eof, "has bytes behind its pixels")
            try:
                made = self._inflating.decompress(piece, _PIECE * 4)
            except zlib.error:
                raise RecordError("attachment: the file is damaged") from None
            self._left -= len(made)
            _require(self._left >= 0 and not self._inflating.unused_data, "has bytes behind its pixels")
            piece = self._inflating.unconsumed_tail
        while not self._inflating.eof and (made := self._flushed()):
            self._left -= len(made)
            _require(self._left >= 0, "has bytes behind its pixels")

    def _flushed(self) -> bytes:
        """Return pixels that the bytes given so far still hold back."""
        try:
            return self._inflating.decompress(b"", _PIECE * 4)
        except zlib.error:
            raise RecordError("attachment: the file is damaged") from None


def _verify_header(data: bytes) -> None:
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", data)
    _require(depth in _DEPTHS.get(colour, ()), "has a header of a wrong kind")
    _require(compression == filtering == 0 and interlace <= 1, "has a header of a wrong kind")
    _verify_size(width, height)


def _raw_size(header: bytes) -> int:
    """Return how many bytes the pixels have, each row with the byte that names its filter."""
    width, height, depth, colour, *_, interlace = struct.unpack(">IIBBBBB", header)
    passes = _ADAM7 if interlace else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * _SAMPLES[colour] * depth + 7) // 8)
    return total
