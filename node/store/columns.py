"""What columns hold, whoever wrote there."""


def as_bytes(value: object) -> bytes:
    """Return what a column of bytes holds; on SQLite, SQL can put a value of any type there."""
    return value if isinstance(value, bytes) else str(value).encode()
