"""Ids of records: UUIDv7, so that what is written together lies together in the index. They never leave the country."""

import os
import time
from typing import Final

ID_BYTES: Final = 16


def new_id(now_us: int | None = None) -> bytes:
    """Return a new id: 48 bits of milliseconds, 12 of the rest of the time, 62 random ones (RFC 9562 §5.7, §6.2).

    Args:
        now_us: UTC microseconds; the clock's where not given, since nothing depends on the time in an id.
    """
    millis, micros = divmod(time.time_ns() // 1_000 if now_us is None else now_us, 1_000)
    fraction = (micros << 12) // 1_000
    random = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    return ((millis & ((1 << 48) - 1)) << 80 | 7 << 76 | fraction << 64 | 2 << 62 | random).to_bytes(ID_BYTES, "big")
