"""Upkeep of a serving node: certificate files, directory, other processes' changes, health, gauges."""

import asyncio
import time
from collections.abc import Mapping, Sequence

import structlog
from sqlalchemy import Connection

from node.cli.parts import Parts, now_us
from node.cli.ports import set_health
from node.config import Config
from node.errors import EnlaceError
from node.federation import metrics
from node.identity.approvals import verify_pairing
from node.identity.directory import TrustedDirectory
from node.policy.rules import LAYERS
from node.store import directories, focal_points, pairings
from node.store.listing import read_head
from node.store.mail_listing import queues
from node.store.tiles import Tiling
from node.store.vault import Vault
from node.wire.correspondence_pb2 import MailQueue

log = structlog.get_logger()

ROUND_S = 1.0  # how often everything is looked at
FETCH_S = 600.0  # directory and revocation lists of peers


async def keep_up(parts: Parts) -> None:
    """Go round for ever; a file that is missing or a database that is away costs one round, and is logged."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_keep_rulebooks(parts))
        tasks.create_task(_keep_rest(parts))
        tasks.create_task(_keep_witnessed(parts))
        tasks.create_task(_keep_mail(parts))
        tasks.create_task(_keep_notified(parts))


async def _keep_rulebooks(parts: Parts) -> None:
    """Follow the approved schedule, apart from all that waits for peers: an instant is only seconds ahead."""
    while True:
        await asyncio.sleep(ROUND_S)
        try:
            await parts.distribution.enacting.enact()
        except (EnlaceError, OSError):
            log.exception("upkeep_failed")
        parts.distribution.enacting.tell()


async def _keep_rest(parts: Parts) -> None:
    last_fetch: float | None = None
    seen = None
    tiling = Tiling(parts.database, parts.writer)
    while True:
        await asyncio.sleep(ROUND_S)
        if not parts.writer.is_running:
            # Nothing can be logged any more, so nothing leaves; whoever balances load should look elsewhere.
            await set_health(parts, serving=False)
        await _look_to_safeguards(parts)
        try:
            if seen != (marks := _marks(parts.config)):
                parts.follow_files()
                seen = marks
            if not parts.database.is_sqlite:
                await _follow_others(parts)
            parts.peer_tls.replace(parts.channels.own, parts.peer_roots())
            if last_fetch is None or time.monotonic() - last_fetch > FETCH_S:
                last_fetch = time.monotonic()
                await parts.distribution.fetch_directories()
            await parts.channels.close_retired()
            size = (await parts.database.read(read_head)).size
            metrics.LEDGER_SIZE.set(size)
            await tiling.follow(size)
        except (EnlaceError, OSError):
            log.exception("upkeep_failed")
        _set_gauges(parts)
        await _set_mail_gauges(parts)


async def _keep_witnessed(parts: Parts) -> None:
    """Have the ledger witnessed, apart from all else: a witness that does not answer costs its own deadline."""
    while True:
        await asyncio.sleep(ROUND_S)
        try:
            await parts.witnessing.look()
            await parts.receipts.look()
            await parts.correspondence.heads.look()
        except (EnlaceError, OSError):
            log.exception("witnessing_failed")


async def _keep_mail(parts: Parts) -> None:
    """Have mail delivered, as soon as it is written and as often as it takes."""
    delivering = parts.correspondence.delivering
    while True:
        try:
            await delivering.look(ROUND_S)
        except (EnlaceError, OSError):
            log.exception("mail_failed")
            await asyncio.sleep(ROUND_S)


async def _keep_notified(parts: Parts) -> None:
    """Have those on duty told, apart from all else: a mail server that does not answer costs its own time."""
    while True:
        await asyncio.sleep(ROUND_S)
        try:
            await parts.duty.notifying.deliver()
        except (EnlaceError, OSError):
            log.exception("notifying_failed")


async def _look_to_safeguards(parts: Parts) -> None:
    """Look to each, whatever hinders another: a life waits for the first, and an altered record must not hide it."""
    institution = parts.institution
    for each in (
        parts.correspondence.suspending,
        institution.copying,
        parts.determining,
        parts.freezing,
        parts.emergencies,
        parts.reciprocating,
        institution.erasing,
        parts.correspondence.purging,
        parts.correspondence.attaching,
        parts.correspondence.deadlines,
        parts.correspondence.matching,
        parts.exchange.answering.watching,
        parts.duty.paging,
        parts.correspondence.recalling,
        parts.correspondence.reexamining,
        parts.sweeping,
    ):
        try:
            await each.look()
        except (EnlaceError, OSError):
            log.exception("upkeep_failed")


async def _follow_others(parts: Parts) -> None:
    """Take over what another process of this node has stored: directories, revocations, pairings."""
    standing = parts.standing
    accepted, revoked, signed, focal_keys = await parts.database.read(_stored, parts.freezing.vault)
    directory = standing.trust.directory
    if len(accepted) and accepted[-1] != directory.signed:
        newer = TrustedDirectory.restored(directory.steward_roots()[0], accepted)
        if newer.version > directory.version:
            standing.follow(newer)
    for country, serials in revoked.items():
        if standing.trust.revoked.get(country) != serials:
            standing.revoke(country, serials)
    paired = paired_peers(standing.country, standing.trust.directory, signed, focal_keys)
    for peer in standing.trust.pairings.keys() - paired.keys():
        standing.unpair(peer)
    for peer, root_key in paired.items():
        if standing.trust.pairings.get(peer) != root_key:
            standing.pair(peer, root_key)


def _stored(
    connection: Connection, vault: Vault
) -> tuple[list[bytes], Mapping[str, frozenset[int]], Mapping[str, bytes], list[bytes]]:
    return (
        directories.accepted(connection),
        directories.revoked(connection),
        pairings.in_force(connection),
        focal_points.keys(connection, vault),
    )


async def _set_mail_gauges(parts: Parts) -> None:
    try:
        found = {queue.peer: queue for queue in await parts.database.read(queues)}
    except EnlaceError:
        log.exception("upkeep_failed")
        return
    for peer in parts.standing.trust.pairings.keys() | found.keys():
        queue = found.get(peer, MailQueue())
        metrics.MAIL_QUEUED.labels(peer).set(queue.queued)
        metrics.MAIL_OLDEST.labels(peer).set(queue.oldest_us / 1e6)
        metrics.MAIL_DEAD.labels(peer).set(queue.dead + queue.blocked)


def _set_gauges(parts: Parts) -> None:
    standing = parts.standing
    metrics.DIRECTORY_EXPIRES.set(standing.trust.directory.expires_us / 1e6)
    metrics.CERTIFICATE_EXPIRES.set(parts.channels.own.not_after_us / 1e6)
    for layer in LAYERS:
        book = standing.rulebook(layer, now_us())
        metrics.RULEBOOK_IN_FORCE.labels(layer).set(book is not None and book.is_valid_at(now_us()))
        metrics.RULEBOOK_EXPIRES.labels(layer).set(book.valid_until_us / 1e6 if book else 0)


def paired_peers(
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


def _marks(config: Config) -> tuple[int, int]:
    return config.tls.certificate.stat().st_mtime_ns, config.tls.key.stat().st_mtime_ns
