"""What `enlace doctor` looks at on this machine, whether or not the node runs."""

import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from sqlalchemy import Connection, select

from node.cli.home import Home
from node.cli.output import time_text
from node.cli.pki_folder import Folder
from node.config import Config
from node.errors import EnlaceError
from node.federation.enacting import schedules
from node.federation.standing import OWN_LAYERS
from node.federation.tls import load_own_identity
from node.identity.approvals import verify_pairing
from node.identity.certificates import parse_chain, verify_chain
from node.identity.directory import ALARM_US, DAY_US, TrustedDirectory
from node.identity.keys import parse_private_key
from node.ledger.leaf import parse_leaf
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Layer
from node.store import directories, focal_points, pairings
from node.store.database import Database
from node.store.engines import is_sqlite, parse_url, sqlite_path
from node.store.keystore import KeyStore
from node.store.lines import ledger_lines
from node.store.rulebook_steps import Schedule
from node.store.vault import CREDENTIAL_MODE, Vault, read_key_file

State = Literal["green", "yellow", "red", "hint"]

CERTIFICATE_ALARM_DAYS: Final = 14
RULEBOOK_ALARM_DAYS: Final = 30
LOW_DISK: Final = 5 * 2**30
NO_DISK: Final = 2**30
CLOCK_SLACK_US: Final = 120_000_000
_NOTHING: Final[Mapping[Layer, str]] = {"release": "nothing is released", "outbound": "nobody is asked"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `says` is a sentence that names what to do where it isn't green."""

    what: str
    state: State
    says: str


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store holds of trust."""

    directory: TrustedDirectory
    paired: dict[str, str]  # peer to why it is not paired; empty where it is
    revoked: frozenset[int]
    last_logged_us: int
    ledger_size: int
    schedules: Mapping[Layer, Schedule]  # of the country's own rulebooks


def examine_files(home: Home, config: Config, now_us: int) -> Iterator[Finding]:
    """Look at keys, certificates and disk."""
    yield from _keys(home, config)
    yield from _certificates(home, config, now_us)
    yield _disk(config)


def examine_store(config: Config, now_us: int) -> tuple[Stored | None, list[Finding]]:
    """Look at database and key store, read-only, and return what they hold, if they can be read."""
    findings = [_said("key store", "opens with the key-encryption key", lambda: _open_vault(config))]
    stored: list[Stored] = []
    read = _said(
        "database", "opens, and has the tables of this version", lambda: stored.append(_stored(config, now_us))
    )
    if not stored:
        return None, [*findings, read]
    held = stored[0]
    newest = max(held.last_logged_us, held.directory.issued_us)
    if now_us + CLOCK_SLACK_US < newest:
        clock = Finding(
            "clock", "red", f"behind the ledger by {(newest - now_us) // 1_000_000} s: set it before serving"
        )
    else:
        clock = Finding("clock", "green", f"{_day(now_us)}, not behind what was logged")
    return held, [*findings, read, clock]


def examine_trust(config: Config, held: Stored, now_us: int) -> Iterator[Finding]:
    """Look at directory, own standing in it, rulebooks and pairings."""
    directory = held.directory
    yield _directory(directory, now_us)
    yield from _rulebooks(held, now_us)
    if not directory.version:
        return
    if config.country not in {record.country for record in directory.members()}:
        yield Finding("membership", "red", f"{config.country} is not in the directory")
    for peer, reason in sorted(held.paired.items()):
        if reason:
            yield Finding(f"pairing {peer}", "yellow", f"{reason}: nothing is exchanged until two sign")
        else:
            yield Finding(f"pairing {peer}", "green", "signed by two focal points")


# --- keys and certificates -------------------------------------------------------------------------------------------


def _keys(home: Home, config: Config) -> Iterator[Finding]:
    yield _said(
        "signing key", "reads, and only its owner may", lambda: _private(config.trust.signing_key, _parse_signing)
    )
    yield _said(
        "key-encryption key", "reads, and only its owner may", lambda: read_key_file(config.store.key_encryption_key)
    )
    yield _said("TLS key", "fits its certificate; only its owner may read it", lambda: _tls(config))
    lying = [*Folder(home.path).key_files(), home.keys / "member-root.pem"]
    lying += sorted(home.focal.glob("*.pem")) if home.focal.is_dir() else []
    there = [str(path.relative_to(home.path)) for path in lying if path.is_file()]
    if there:
        yield Finding(
            "keys to take away", "yellow", f"{', '.join(there)} lie on the node's machine: give them their place"
        )


def _parse_signing(data: bytes) -> None:
    parse_private_key(data, None)


def _private(path: Path, parse: Callable[[bytes], None]) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        data = path.read_bytes()
    except OSError as error:
        raise WrongError(f"{path}: {error.strerror}") from error
    if mode & 0o077 and mode != CREDENTIAL_MODE:
        raise WrongError(f"others may read {path}: chmod 600 {path}")
    parse(data)


def _tls(config: Config) -> None:
    load_own_identity(config.tls.certificate, config.tls.key)
    # A group may read it where the node runs as a user of its own; the world may not.
    if stat.S_IMODE(config.tls.key.stat().st_mode) & 0o027:
        raise WrongError(f"others may read {config.tls.key}: chmod 600 {config.tls.key}")


def _certificates(home: Home, config: Config, now_us: int) -> Iterator[Finding]:
    now = datetime.fromtimestamp(now_us / 1e6, UTC)
    try:
        roots = parse_chain(config.tls.country_roots.read_bytes())
    except (OSError, EnlaceError) as error:
        yield Finding("country's roots", "red", f"{config.tls.country_roots} can't be read: {_text(error)}")
        return
    yield _certificate("node's certificate", config.tls.certificate, roots, now)
    for path in sorted((home.path / "officers").glob("*/certificate.pem")):
        yield _certificate(f"certificate of {path.parent.name}", path, roots, now)
    crl = Folder(home.path).crl
    if crl.is_file():
        due = x509.load_der_x509_crl(crl.read_bytes()).next_update_utc
        late = due is not None and due < now
        says = "is overdue: `enlace pki crl`, then `enlace pki push`" if late else f"next is due {due:%Y-%m-%d}"
        yield Finding("revocation list", "yellow" if late else "green", says)


def _certificate(what: str, path: Path, roots: tuple[x509.Certificate, ...], now: datetime) -> Finding:
    try:
        leaf, *between = parse_chain(path.read_bytes())
        verify_chain(leaf, between, roots, now)
    except (OSError, EnlaceError) as error:
        return Finding(what, "red", _text(error))
    days = (leaf.not_valid_after_utc - now).days
    until = f"valid until {leaf.not_valid_after_utc:%Y-%m-%d}"
    if days < CERTIFICATE_ALARM_DAYS:
        return Finding(what, "yellow", f"{until}: renew it with `enlace pki renew`")
    return Finding(what, "green", until)


def _disk(config: Config) -> Finding:
    url = parse_url(config.store.database)
    folder = sqlite_path(url).parent if is_sqlite(url) else config.store.key_encryption_key.parent
    free = shutil.disk_usage(folder).free
    state: State = "red" if free < NO_DISK else "yellow" if free < LOW_DISK else "green"
    says = f"{free / 2**30:.1f} GiB free" + ("" if state == "green" else ": without room to log, nothing is answered")
    return Finding("disk", state, says)


# --- the store -------------------------------------------------------------------------------------------------------


def _open_vault(config: Config) -> None:
    with KeyStore.open(config.store.keystore) as keystore:
        Vault(keystore, read_key_file(config.store.key_encryption_key))


def _stored(config: Config, now_us: int) -> Stored:
    root = config.trust.root.read_bytes()
    with Database.open_read_only(config.store.database) as database, database.reading() as connection:
        directory = TrustedDirectory.restored(root, directories.accepted(connection))
        focal_keys, signed = list(own_focal_points(config, connection).values()), pairings.in_force(connection)
        last = connection.execute(
            select(ledger_lines.c.idx, ledger_lines.c.leaf).order_by(ledger_lines.c.idx.desc()).limit(1)
        ).one_or_none()
        revoked = directories.revoked(connection).get(config.country, frozenset())
        scheduled = _schedules(config, connection, now_us)
    others = [record.country for record in directory.members() if record.country != config.country]
    return Stored(
        directory=directory,
        paired={peer: _why_unpaired(config.country, peer, directory, signed.get(peer), focal_keys) for peer in others},
        revoked=revoked,
        last_logged_us=parse_leaf(last.leaf).logged_us if last else 0,
        ledger_size=last.idx + 1 if last else 0,
        schedules=scheduled,
    )


def own_focal_points(config: Config, connection: Connection) -> Mapping[str, bytes]:
    """Return focal points' public keys by name; none where those in the database are not known to be this node's."""
    try:
        with KeyStore.open(config.store.keystore) as keystore:
            return focal_points.by_name(connection, Vault(keystore, read_key_file(config.store.key_encryption_key)))
    except EnlaceError:
        return {}


def _schedules(config: Config, connection: Connection, now_us: int) -> Mapping[Layer, Schedule]:
    try:
        with KeyStore.open(config.store.keystore) as keystore:
            vault = Vault(keystore, read_key_file(config.store.key_encryption_key))
            return schedules(connection, vault, config.country, now_us)
    except EnlaceError as error:
        return dict.fromkeys(OWN_LAYERS, Schedule((), f"whose they are can't be told: {error}"))


def _why_unpaired(
    country: str, peer: str, directory: TrustedDirectory, signed: bytes | None, focal_keys: Iterable[bytes]
) -> str:
    if signed is None:
        return "nobody has signed it"
    try:
        verify_pairing(signed, country, peer, directory.root_key(peer), focal_keys)
    except EnlaceError as error:
        return str(error)
    return ""


# --- trust -----------------------------------------------------------------------------------------------------------


def _directory(directory: TrustedDirectory, now_us: int) -> Finding:
    try:
        directory.verify_in_force(now_us)
    except EnlaceError as error:
        return Finding("directory", "red", str(error))
    days = (directory.expires_us - now_us) // DAY_US
    says = f"version {directory.version}, expires {_day(directory.expires_us)}, in {days} days"
    if directory.expires_us - now_us < ALARM_US:
        return Finding("directory", "yellow", f"{says}: ask the stewards for the next")
    return Finding("directory", "green", says)


def _rulebooks(held: Stored, now_us: int) -> Iterator[Finding]:
    if held.directory.version:
        yield _rulebook("floor", held.directory.floor_rulebook, held.directory, now_us)
    for layer in OWN_LAYERS:
        schedule = held.schedules[layer]
        begun = [term for term in schedule.terms if term.begins_us <= now_us]
        if begun and not begun[-1].fault:
            yield _rulebook(layer, begun[-1].text, held.directory, now_us)
        else:
            fault = schedule.fault or (begun[-1].fault if begun else "none was approved and scheduled")
            yield Finding(f"{layer} rulebook", "red", f"{fault}: {_NOTHING[layer]}; see `enlace policy history`")
        for term in schedule.terms[len(begun) :]:
            when = time_text(term.begins_us)
            if term.fault:
                yield Finding(f"next {layer} rulebook", "red", f"{term.fault}: from {when} {_NOTHING[layer]}")
            else:
                yield Finding(f"next {layer} rulebook", "green", f"comes into force at {when}")


def _rulebook(layer: str, text: bytes, directory: TrustedDirectory, now_us: int) -> Finding:
    what = f"{layer} rulebook"
    try:
        book = parse_rulebook(text, demonstration=directory.demonstration)
    except EnlaceError as error:
        return Finding(what, "red", str(error).partition("\n")[0])
    if not book.is_valid_at(now_us):
        return Finding(what, "red", f"{book.name} {book.version} is not in force: it denies everything")
    days = (book.valid_until_us - now_us) // DAY_US
    says = f"{book.name} {book.version}, valid until {_day(book.valid_until_us)}"
    return Finding(what, "yellow" if days < RULEBOOK_ALARM_DAYS else "green", says)


# --- saying it -------------------------------------------------------------------------------------------------------


class WrongError(EnlaceError):
    """Something that was looked at is not as it must be."""


def _said(what: str, well: str, look: Callable[[], object]) -> Finding:
    try:
        look()
    except (EnlaceError, OSError) as error:
        return Finding(what, "red", _text(error))
    return Finding(what, "green", well)


def _text(error: EnlaceError | OSError) -> str:
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)


def _day(time_us: int) -> str:
    return f"{datetime.fromtimestamp(time_us / 1e6, UTC):%Y-%m-%d}"
