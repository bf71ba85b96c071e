"""What a serving node is made of, for those that put it together, serve it and keep it up to date."""

import time
from asyncio import Task
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from node.config import Config
from node.desk.servicer import DeskServicer
from node.federation.asking import Asking
from node.federation.channels import Channels
from node.federation.distribution import Distribution
from node.federation.servicer import ExchangeServicer
from node.federation.standing import Standing
from node.federation.tls import ServerTls, load_own_identity, pem_bundle
from node.store.database import Database
from node.store.writer import Writer


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
    upkeep: Task[None] | None = None  # while it runs

    def peer_roots(self) -> bytes:
        """Return the union of all members' roots and this country's, as PEM."""
        members = self.standing.trust.directory.members()
        ders = [der for member in members for der in member.ca_certificates]
        return pem_bundle(ders) + pem_of(self.roots)

    def follow_files(self) -> None:
        """Read the node's certificate again, and offer it to peers and desk from the next handshake on."""
        own = load_own_identity(self.config.tls.certificate, self.config.tls.key)
        self.channels.own = own
        self.desk_tls.replace(own, pem_of(self.roots))


def pem_of(roots: Sequence[x509.Certificate]) -> bytes:
    """Return certificates as one PEM text."""
    return b"".join(root.public_bytes(Encoding.PEM) for root in roots)
