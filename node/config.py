"""The node's configuration: one TOML file, read once, by the entry points alone.

There is no key that turns a safeguard off. Relative paths are relative to the folder of the file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from node.errors import ConfigError

_PORTS: Final = 65_536


class Listen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses that the node serves, each as "host:port"; port 0 picks a free one."""

    peer: str
    desk: str
    metrics: str

    def __post_init__(self) -> None:
        """Check the ports, since gRPC takes a port that is too large for another one."""
        for name in self.__struct_fields__:
            host, _, port = getattr(self, name).rpartition(":")
            if not (host and port.isascii() and port.isdecimal() and int(port) < _PORTS):
                raise ValueError(f"{name} is not of the form host:port")


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The node's own certificate chain (PEM) and key (PEM, PKCS #8), read again when the files change."""

    certificate: Path
    key: Path
    country_roots: Path  # PEM bundle of this country's CA


class Store(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """SQLAlchemy URLs of the database and of the key store, which is kept and backed up apart from it."""

    database: str
    keystore: str
    key_encryption_key: Path  # 32 bytes, hexadecimal


class Trust(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the node believes before it has heard from anybody."""

    root: Path  # Root, pinned when the node is made
    signing_key: Path  # PEM, PKCS #8, Ed25519


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds on what a peer may cost, and on waiting."""

    clock_window_s: Annotated[float, Meta(gt=0, le=300)] = 120.0
    calls_per_peer: Annotated[int, Meta(ge=1, le=256)] = 32  # under way at once; their work fits one tick
    drain_s: Annotated[float, Meta(gt=0, le=600)] = 10.0  # SIGTERM: how long calls under way may take to end
    connection_age_s: Annotated[float, Meta(ge=10, le=86_400)] = 600.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything the node needs to be told."""

    country: Annotated[str, Meta(pattern=r"^[A-Z]{2}$")]
    federation: Annotated[str, Meta(pattern=r"^[a-z0-9.-]+$")]
    name: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}$")]
    listen: Listen
    tls: Tls
    store: Store
    trust: Trust
    limits: Limits = Limits()
    log_level: Literal["debug", "info", "warning", "error"] = "info"


def load_config(path: Path) -> Config:
    """Read the configuration file.

    Raises:
        ConfigError: the file is missing, is not TOML, has an unknown key or lacks one; the text names it.
    """
    try:
        config = msgspec.toml.decode(path.read_bytes(), type=Config, dec_hook=_path(path.parent.resolve()))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return config


def _path(base: Path) -> Callable[[type, object], object]:
    def hook(wanted: type, value: object) -> object:
        if wanted is Path and isinstance(value, str):
            return base / value
        raise ConfigError(f"expected a path, got {value!r}")

    return hook
