"""The composition root of a serving node: opens what is on disk, puts the parts together, serves, and drains."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import structlog
from cryptography import x509

from node.cli.corresponding import composed_correspondence
from node.cli.metrics_port import serving_metrics
from node.cli.on_call import composed_duty
from node.cli.parts import Parts, now_us, pem_of
from node.cli.petitioning import composed_subjects
from node.cli.ports import desk_server, peer_server, set_health
from node.cli.upkeep import keep_up, paired_peers
from node.config import Config
from node.desk.administration import Administration
from node.desk.approving import Approving
from node.desk.auditing import Auditing
from node.desk.determinations import Determinations
from node.desk.emergencies import Emergencies as EmergencyDesk
from node.desk.explaining import Explaining
from node.desk.fences import Fences
from node.desk.freezes import Freezes
from node.desk.importing import Importing
from node.desk.institution import InstitutionServicer
from node.desk.masking import Reading
from node.desk.officers import Officers
from node.desk.proposing import Proposing
from node.desk.reconciling import Reconciliation
from node.desk.recording import Recording
from node.desk.rehearsing import Rehearsing
from node.desk.replaying import Replaying
from node.desk.rulebooks import Rulebooks
from node.desk.sampling import Sampling
from node.desk.searching import Searching
from node.desk.servicer import DeskServicer
from node.desk.statistics import Statistics
from node.desk.tracing import Tracing
from node.errors import ConfigError, EnlaceError, StoreError
from node.federation.acknowledging import Acknowledging
from node.federation.answering import Answering
from node.federation.asking import Asking
from node.federation.channels import Channels
from node.federation.comparing import Comparing
from node.federation.copying import Copying
from node.federation.cosigning import Cosigning
from node.federation.determining import Determining
from node.federation.distribution import Distribution
from node.federation.emergencies import Emergencies
from node.federation.enacting import Enacting, schedules
from node.federation.envelope import Signer
from node.federation.erasing import Erasing
from node.federation.evidence import Evidence
from node.federation.fencing import Fencing
from node.federation.finding import Finding
from node.federation.freezing import Freezing
from node.federation.holding import Holding
from node.federation.receipts import Receipts
from node.federation.reciprocating import Reciprocating
from node.federation.reconciling import Reconciling
from node.federation.servicer import ExchangeServicer
from node.federation.standing import Standing
from node.federation.sweeping import Sweeping
from node.federation.tls import ServerTls, https_context, load_own_identity
from node.federation.trust import Trust
from node.federation.watching import Watching
from node.federation.witnessing import Witnessing
from node.identity.directory import TrustedDirectory
from node.identity.keys import key_id, parse_private_key, public_key
from node.store import directories, focal_points, pairings
from node.store.database import Database
from node.store.entries import Entries
from node.store.frozen import Frozen
from node.store.keystore import KeyStore
from node.store.received import ReceivedEntries
from node.store.vault import Vault, read_key_file
from node.store.writer import Writer

log = structlog.get_logger()


async def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT, then let calls under way end.

    Raises:
        ConfigError, StoreError, DirectoryError: the node can't start; the text says what to do.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(config) as parts:
        # What was made at the start stays; to look through it for garbage again and again costs every answer.
        gc.collect()
        gc.freeze()
        told = asyncio.create_task(stop.wait())
        assert parts.upkeep is not None
        await asyncio.wait({told, parts.upkeep}, return_when=asyncio.FIRST_COMPLETED)
        log.info("draining")
        if not told.done():
            # Without upkeep the node would go on with a directory and a certificate that nobody renews.
            log.error("upkeep_ended", exc_info=parts.upkeep.exception())
            raise StoreError("the node's upkeep ended by an error that nobody foresaw: its log says where")


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Parts]:
    """Serve while the block runs."""
    with ExitStack() as stack:
        parts = _composed(config, stack)
        to_peers, to_desk = peer_server(parts), desk_server(parts)
        await parts.institution.copying.look()  # no line without its copy
        await parts.distribution.enacting.enact()
        await parts.exchange.answering.holding.restore()
        await parts.exchange.answering.watching.restore()
        await parts.database.read(parts.freezing.frozen.load)
        await parts.correspondence.suspending.look()
        await parts.emergencies.follow()
        await parts.reciprocating.resume()
        await parts.correspondence.intake.reconsider()
        with suppress(EnlaceError):  # upkeep tries again, and logs why
            await parts.correspondence.reexamining.look()
        await parts.witnessing.fencing.recall()
        stack.enter_context(serving_metrics(parts))  # before the others start: what started has to be stopped in order
        await to_peers.start()
        await to_desk.start()
        await set_health(parts, serving=True)
        parts.upkeep = asyncio.create_task(keep_up(parts))
        log.info("serving", country=config.country, node=config.name, peer=config.listen.peer, desk=config.listen.desk)
        try:
            yield parts
        finally:
            parts.upkeep.cancel()
            # New calls are refused, those under way end; what was asked is logged before the store closes.
            await set_health(parts, serving=False)
            grace = config.limits.drain_s
            await asyncio.gather(to_peers.stop(grace), to_desk.stop(grace), parts.asking.drained())
            await parts.correspondence.delivering.stop()
            await parts.channels.close()
            log.info("stopped")


def _composed(config: Config, stack: ExitStack) -> Parts:
    database = stack.enter_context(Database.open(config.store.database))
    keystore = stack.enter_context(KeyStore.open(config.store.keystore))
    vault = Vault(keystore, read_key_file(config.store.key_encryption_key))
    writer = stack.enter_context(Writer(database.engine, vault, f"{config.country}/{config.name}", now_us))
    own = load_own_identity(config.tls.certificate, config.tls.key)
    standing = _standing(config, database, vault)
    window_us = int(config.limits.clock_window_s * 1_000_000)
    channels = Channels(own)
    enacting = Enacting(standing, database, vault, writer, now_us)
    distribution = Distribution(standing, channels, writer, database, enacting, now_us)
    acknowledging = Acknowledging(standing, channels, writer, now_us, window_us)
    received = ReceivedEntries(vault)
    watching = Watching(standing, database, vault, writer, now_us)
    asking = Asking(standing, channels, writer, now_us, window_us, received, vault, watching)
    lookup_keys = vault.lookup_keys()
    frozen = Frozen(vault, lookup_keys)
    entries = Entries(database, vault, lookup_keys, frozen)
    finding = Finding(database, entries, lookup_keys, frozen)
    holding = Holding(database, vault, writer, watching)
    answering = Answering(standing, finding, vault, writer, holding, now_us, window_us, watching)
    reconciling = Reconciling(standing, channels, database, writer, now_us, window_us)
    evidence = Evidence(standing, channels, database, writer, now_us)
    fencing = Fencing(standing, channels, database, writer, evidence, now_us)
    comparing = Comparing(standing, channels, database, writer, evidence, fencing, now_us)
    witnessing = Witnessing(standing, database, writer, evidence, fencing, comparing, now_us)
    receipts = Receipts(standing, channels, database, writer, now_us)
    correspondence = composed_correspondence(
        standing=standing,
        database=database,
        vault=vault,
        writer=writer,
        channels=channels,
        ticks=answering.ticks,
        clock=now_us,
        window_us=window_us,
        entries=entries,
        frozen=frozen,
        received=received,
    )
    asking.noted = correspondence.matching.note_asked
    exchange = ExchangeServicer(
        standing=standing,
        writer=writer,
        clock=now_us,
        calls_per_peer=config.limits.calls_per_peer,
        answering=answering,
        acknowledging=acknowledging,
        distribution=distribution,
        reconciling=reconciling,
        cosigning=Cosigning(standing, database, writer, evidence, fencing, now_us),
        receipts=receipts,
        intake=correspondence.intake,
        attaching=correspondence.attaching,
    )
    determining = Determining(standing, database, vault, writer, entries, now_us)
    freezing = Freezing(standing, database, vault, writer, entries, frozen, now_us)
    emergencies = Emergencies(standing, database, vault, writer, now_us)
    reciprocating = Reciprocating(standing, database, writer, freezing, now_us)
    roots = _country_roots(config.tls.country_roots)
    recording = Recording(standing, database, vault, writer, now_us, freezing)
    rehearsing = Rehearsing(standing, database, entries, now_us)
    replaying = Replaying(standing, database, vault, entries, writer, now_us)
    officers = Officers(standing, roots, database, writer, now_us)
    desk = DeskServicer(
        officers=officers,
        searching=Searching(standing, asking),
        recording=recording,
        importing=Importing(standing, recording, writer, now_us),
        approving=Approving(standing, database, vault, writer, acknowledging, rehearsing, now_us),
        auditing=Auditing(standing, database, vault, writer, now_us),
        reconciliation=Reconciliation(standing, database, writer, reconciling, now_us),
        tracing=Tracing(Reading(standing, writer, now_us), database, vault),
        statistics=Statistics(Reading(standing, writer, now_us), database, vault, now_us),
        sampling=Sampling(standing, database, vault, writer, now_us),
        rulebooks=Rulebooks(enacting, Proposing(enacting, replaying)),
        explaining=Explaining(standing, database, vault, entries, writer, now_us),
        replaying=replaying,
        administration=Administration(
            standing, database, writer, distribution, channels, _data_folder(database), now_us
        ),
        determinations=Determinations(standing, writer, determining, now_us),
        freezes=Freezes(standing, database, writer, frozen, vault, now_us),
        emergencies=EmergencyDesk(standing, database, writer, emergencies, now_us),
        fences=Fences(fencing, witnessing, database, writer, now_us),
    )
    copying = Copying(standing, database, writer, now_us)
    own_roots = pem_of(roots)
    parts = Parts(
        config=config,
        database=database,
        writer=writer,
        standing=standing,
        channels=channels,
        distribution=distribution,
        asking=asking,
        exchange=exchange,
        determining=determining,
        freezing=freezing,
        emergencies=emergencies,
        reciprocating=reciprocating,
        sweeping=Sweeping(standing, database, vault, writer, now_us),
        witnessing=witnessing,
        receipts=receipts,
        desk=desk,
        institution=InstitutionServicer(officers, copying, Erasing(standing, database, vault, writer, copying, now_us)),
        correspondence=correspondence,
        correspondence_desk=correspondence.servicer(officers, recording, watching),
        subjects=composed_subjects(officers, freezing, now_us),
        duty=composed_duty(config, officers, vault, now_us),
        roots=roots,
        peer_tls=ServerTls(own, own_roots),
        desk_tls=ServerTls(own, own_roots),
        metrics_tls=https_context(config.tls.certificate, config.tls.key, own_roots),
    )
    parts.peer_tls.replace(own, parts.peer_roots())
    return parts


def _standing(config: Config, database: Database, vault: Vault) -> Standing:
    root, private = _root(config.trust.root), _signing_key(config.trust.signing_key)
    with database.reading() as connection:
        directory = TrustedDirectory.restored(root, directories.accepted(connection))
        revoked = directories.revoked(connection)
        focal_keys = focal_points.keys(connection, vault)
        paired = paired_peers(config.country, directory, pairings.in_force(connection), focal_keys)
        in_force = schedules(connection, vault, config.country, now_us())
    return Standing(
        signer=Signer(config.country, config.name, key_id(public_key(private)), private),
        trust=Trust(config.country, directory, revoked, paired),
        schedules=in_force,
    )


def _data_folder(database: Database) -> Path | None:
    """Return the folder whose disk fills up; that of a PostgreSQL server is not seen from here."""
    return Path(str(database.url.database)).parent if database.is_sqlite else None


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


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
