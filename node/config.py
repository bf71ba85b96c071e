"""The node's configuration: one TOML file, read once, by the entry points alone.

There is no key that turns a safeguard off. Relative paths are relative to the folder of the file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

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


class Smtp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The server that takes the node's mail to its people; its certificate is always verified."""

    host: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]
    sender: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,253}$")]
    port: Annotated[int, Meta(ge=1, lt=_PORTS)] = 587
    security: Literal["starttls", "tls"] = "starttls"  # TLS from the start is usual at port 465
    user: str = ""
    password: Path | None = None  # file; its first line
    roots: Path | None = None  # PEM bundle, instead of the system's

    def __post_init__(self) -> None:
        """Check that who signs in has a password."""
        if bool(self.user) != (self.password is not None):
            raise ValueError("user and password go together")


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom the node tells by HTTPS, signed by the scheme of standardwebhooks.com; the certificate is verified."""

    url: Annotated[str, Meta(pattern=r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!-~]*)?$")]
    secret: Path  # file; its first line, "whsec_" and Base64 of 24 to 64 bytes
    roots: Path | None = None  # PEM bundle, instead of the system's


class Duty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the node calls who is on duty, and in which time they write their roster."""

    timezone: str = "UTC"  # of the IANA time zone database: "America/Guatemala"
    smtp: Smtp | None = None
    webhook: Webhook | None = None

    def __post_init__(self) -> None:
        """Check the time zone."""
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"this machine knows no time zone {self.timezone}") from error


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
    duty: Duty = Duty()
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
