"""The composition root of a serving node: opens what is on disk, puts the parts together, serves, and drains."""

import asyncio
import gc
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from node.config import Config
from node.desk.administration import Administration
from node.desk.approving import Approving
from node.desk.auditing import Auditing
from node.desk.importing import Importing
from node.desk.officers import Officers
from node.desk.recording import Recording
from node.desk.rehearsing import Rehearsing
from node.desk.searching import Searching
from node.desk.servicer import IN_FULL, DeskServicer
from node.errors import ConfigError, EnlaceError
from node.federation import metrics
from node.federation.acknowledging import Acknowledging
from node.federation.answering import Answering
from node.federation.asking import Asking
from node.federation.boundary import Boundary
from node.federation.channels import MAX_MESSAGE_BYTES, Channels
from node.federation.distribution import Distribution
from node.federation.enacting import Enacting
from node.federation.envelope import Signer
from node.federation.finding import Finding
from node.federation.servicer import ExchangeServicer
from node.federation.standing import Standing
from node.federation.tls import ServerTls, load_own_identity, pem_bundle
from node.federation.trust import Trust
from node.identity.approvals import verify_pairing
from node.identity.directory import TrustedDirectory
from node.identity.keys import key_id, parse_private_key, public_key
from node.policy.rules import LAYERS
from node.store import directories, focal_points, pairings
from node.store.database import Database
from node.store.entries import Entries
from node.store.keystore import KeyStore
from node.store.listing import read_head
from node.store.vault import Vault, read_key_file
from node.store.writer import Writer
from node.wire.desk_pb2_grpc import add_DeskServicer_to_server

log = structlog.get_logger()

RELOAD_S = 1.0  # how often files and gauges are looked at
FETCH_DIRECTORY_S = 3_600.0
PEER_SERVICE = "enlace.v1.Exchange"
DESK_SERVICE = "enlace.v1.Desk"
DESK_MESSAGE_BYTES = 4 * 1_048_576


def now_us() -> int:
    """This node's clock: UTC microseconds since 1970."""
    return time.time_ns() // 1_000


@dataclass(slots=True)
class Parts:
    """Everything a serving node is made of."""

    config: Config
    database: Database
    writer: Writer
    standing: Standing
    channels: Channels
    distribution: Distribution
    asking: Asking
    exchange: ExchangeServicer
    desk: DeskServicer
    roots: tuple[x509.Certificate, ...]  # of this country
    peer_tls: ServerTls
    desk_tls: ServerTls

    def peer_roots(self) -> bytes:
        """Return the union of all members' roots and this country's, as PEM."""
        members = self.standing.trust.directory.members()
        ders = [der for member in members for der in member.ca_certificates]
        return pem_bundle(ders) + _pem(self.roots)

    def follow_files(self) -> None:
        """Read the node's certificate again, and offer it to peers and desk from the next handshake on."""
        own = load_own_identity(self.config.tls.certificate, self.config.tls.key)
        self.channels.own = own
        self.desk_tls.replace(own, _pem(self.roots))


async def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT, then let calls under way end.

    Raises:
        ConfigError, StoreError, DirectoryError: the node can't start; the text says what to do.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(config):
        # What was made at the start stays; to look through it for garbage again and again costs every answer.
        gc.collect()
        gc.freeze()
        await stop.wait()
        log.info("draining")


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Parts]:
    """Serve while the block runs."""
    with ExitStack() as stack:
        parts = _composed(config, stack)
        peer_health, peer_server = _peer_server(parts)
        desk_health, desk_server = _desk_server(parts)
        healths = {PEER_SERVICE: peer_health, DESK_SERVICE: desk_health}
        await parts.distribution.enacting.enact()
        _serve_metrics(config, stack)  # before the others start: what started has to be stopped in order
        await peer_server.start()
        await desk_server.start()
        await _set_health(healths, serving=True)
        watch = asyncio.create_task(_watch(parts, healths))
        log.info("serving", country=config.country, node=config.name, peer=config.listen.peer, desk=config.listen.desk)
        try:
            yield parts
        finally:
            watch.cancel()
            # New calls are refused, those under way end; what was asked is logged before the store closes.
            for health_servicer in healths.values():
                await health_servicer.enter_graceful_shutdown()
            await asyncio.gather(
                peer_server.stop(config.limits.drain_s), desk_server.stop(config.limits.drain_s), parts.asking.drained()
            )
            await parts.channels.close()
            log.info("stopped")


def _composed(config: Config, stack: ExitStack) -> Parts:
    database = stack.enter_context(Database.open(config.store.database))
    keystore = stack.enter_context(KeyStore.open(config.store.keystore))
    vault = Vault(keystore, read_key_file(config.store.key_encryption_key))
    writer = stack.enter_context(Writer(database.engine, vault))
    own = load_own_identity(config.tls.certificate, config.tls.key)
    standing = _standing(config, database)
    window_us = int(config.limits.clock_window_s * 1_000_000)
    channels = Channels(own)
    enacting = Enacting(standing, database, writer, now_us)
    distribution = Distribution(standing, channels, writer, enacting, now_us)
    acknowledging = Acknowledging(standing, channels, writer, now_us, window_us)
    asking = Asking(standing, channels, writer, now_us, window_us)
    lookup_keys = vault.lookup_keys()
    entries = Entries(database, vault, lookup_keys)
    finding = Finding(database, entries, lookup_keys)
    answering = Answering(standing, finding, vault, writer, now_us, window_us)
    exchange = ExchangeServicer(
        standing, writer, now_us, config.limits.calls_per_peer, answering, acknowledging, distribution
    )
    roots = _country_roots(config.tls.country_roots)
    recording = Recording(standing, database, vault, writer, now_us)
    rehearsing = Rehearsing(standing, database, entries, now_us)
    desk = DeskServicer(
        officers=Officers(standing, roots, database, writer, now_us),
        searching=Searching(standing, asking),
        recording=recording,
        importing=Importing(standing, recording, writer, now_us),
        approving=Approving(standing, database, writer, acknowledging, rehearsing, now_us),
        auditing=Auditing(standing, database, vault, writer, now_us),
        administration=Administration(
            standing, database, writer, distribution, channels, config.store.key_encryption_key.parent, now_us
        ),
    )
    own_roots = _pem(roots)
    parts = Parts(
        config=config,
        database=database,
        writer=writer,
        standing=standing,
        channels=channels,
        distribution=distribution,
        asking=asking,
        exchange=exchange,
        desk=desk,
        roots=roots,
        peer_tls=ServerTls(own, own_roots),
        desk_tls=ServerTls(own, own_roots),
    )
    parts.peer_tls.replace(own, parts.peer_roots())
    return parts


def _standing(config: Config, database: Database) -> Standing:
    root, private = _root(config.trust.root), _signing_key(config.trust.signing_key)
    with database.reading() as connection:
        directory = TrustedDirectory.restored(root, directories.accepted(connection))
        revoked = directories.revoked(connection)
        paired = _paired(config.country, directory, pairings.list_signed(connection), focal_points.keys(connection))
    return Standing(
        signer=Signer(config.country, config.name, key_id(public_key(private)), private),
        trust=Trust(config.country, directory, revoked, paired),
        release_text=_read(config.rulebooks.release),
        outbound_text=_read(config.rulebooks.outbound),
    )


def _paired(
    country: str, directory: TrustedDirectory, signed: Mapping[str, bytes], focal_keys: Sequence[bytes]
) -> dict[str, bytes]:
    """Return root keys by paired country; what the database holds is believed no more than what a peer sends."""
    paired = {}
    for peer, pairing in signed.items():
        try:
            root_key = directory.root_key(peer)
            verify_pairing(pairing, country, peer, root_key, focal_keys)
        except EnlaceError as error:
            log.warning("not_paired", peer=peer, reason=str(error))
        else:
            paired[peer] = root_key
    return paired


def _peer_server(parts: Parts) -> tuple[health.aio.HealthServicer, grpc.aio.Server]:
    limits = parts.config.limits
    server = grpc.aio.server(
        interceptors=[Boundary()],
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_concurrent_streams", 256),
            # Open connections outlive trust that was taken back; each call is checked, and none lives long.
            ("grpc.max_connection_age_ms", int(limits.connection_age_s * 1_000)),
            ("grpc.max_connection_age_grace_ms", int(limits.drain_s * 1_000)),
            ("grpc.so_reuseport", 0 if parts.database.is_sqlite else 1),
        ],
    )
    server.add_generic_rpc_handlers((parts.exchange.handlers(),))
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    _bind(server, parts.config.listen.peer, parts.peer_tls.credentials())
    return servicer, server


def _desk_server(parts: Parts) -> tuple[health.aio.HealthServicer, grpc.aio.Server]:
    server = grpc.aio.server(
        interceptors=[Boundary(IN_FULL)],
        options=[
            ("grpc.max_receive_message_length", DESK_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0 if parts.database.is_sqlite else 1),
        ],
    )
    add_DeskServicer_to_server(parts.desk, server)
    names = (DESK_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection(names, server)
    _bind(server, parts.config.listen.desk, parts.desk_tls.credentials())
    return servicer, server


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials) -> None:
    try:
        server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ConfigError(f"{address} can't be listened on: is another node running there?") from error


def _serve_metrics(config: Config, stack: ExitStack) -> None:
    host, _, port = config.listen.metrics.rpartition(":")
    try:
        server, thread = start_http_server(
            int(port),
            host,
            certfile=str(config.tls.certificate),
            keyfile=str(config.tls.key),
            client_cafile=str(config.tls.country_roots),
            client_auth_required=True,
        )
    except OSError as error:
        raise ConfigError(f"{config.listen.metrics} can't be listened on: {error.strerror}") from error
    stack.callback(thread.join)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)


async def _set_health(healths: Mapping[str, health.aio.HealthServicer], *, serving: bool) -> None:
    status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
    for service, servicer in healths.items():
        await servicer.set(service, status)
        await servicer.set(health.OVERALL_HEALTH, status)


async def _watch(parts: Parts, healths: Mapping[str, health.aio.HealthServicer]) -> None:
    """Follow certificate files, the directory and the writer, and keep the gauges; an error of one round is logged."""
    last_fetch = 0.0
    seen = None
    while True:
        await asyncio.sleep(RELOAD_S)
        if not parts.writer.is_running:
            # Nothing can be logged any more, so nothing leaves; whoever balances load should look elsewhere.
            await _set_health(healths, serving=False)
        try:
            if seen != (marks := _marks(parts.config)):
                parts.follow_files()
                seen = marks
            parts.peer_tls.replace(parts.channels.own, parts.peer_roots())
            if time.monotonic() - last_fetch > FETCH_DIRECTORY_S:
                last_fetch = time.monotonic()
                await parts.distribution.fetch_directories()
            await parts.channels.close_retired()
            metrics.LEDGER_SIZE.set((await parts.database.read(read_head)).size)
        except EnlaceError as error:
            log.exception("upkeep_failed", kind=type(error).__name__, reason=str(error))
        _set_gauges(parts)


def _set_gauges(parts: Parts) -> None:
    standing = parts.standing
    metrics.DIRECTORY_EXPIRES.set(standing.trust.directory.expires_us / 1e6)
    metrics.CERTIFICATE_EXPIRES.set(parts.channels.own.not_after_us / 1e6)
    for layer in LAYERS:
        book = standing.rulebook(layer)
        metrics.RULEBOOK_IN_FORCE.labels(layer).set(book is not None and book.is_valid_at(now_us()))


def _root(path: Path) -> bytes:
    root = _read(path)
    try:
        TrustedDirectory.pinned(root)
    except EnlaceError as error:
        raise ConfigError(f"{path}: {error}") from error
    return root


def _signing_key(path: Path) -> bytes:
    try:
        return parse_private_key(_read(path), passphrase=None)
    except EnlaceError as error:
        raise ConfigError(f"{path}: {error}") from error


def _country_roots(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(_read(path)))
    except ValueError as error:
        raise ConfigError(f"{path} is not a PEM bundle of certificates") from error


def _pem(roots: Sequence[x509.Certificate]) -> bytes:
    return b"".join(root.public_bytes(Encoding.PEM) for root in roots)


def _marks(config: Config) -> tuple[int, int]:
    return config.tls.certificate.stat().st_mtime_ns, config.tls.key.stat().st_mtime_ns


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
