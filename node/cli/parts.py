"""What a serving node is made of, for those that put it together, serve it and keep it up to date."""

import ssl
import time
from asyncio import Task
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from grpc_health.v1 import health

from node.cli.corresponding import Correspondence
from node.cli.on_call import OnCall
from node.config import Config
from node.desk.correspondence import CorrespondenceServicer
from node.desk.institution import InstitutionServicer
from node.desk.servicer import DeskServicer
from node.desk.subjects_servicer import SubjectsServicer
from node.federation.asking import Asking
from node.federation.channels import Channels
from node.federation.determining import Determining
from node.federation.distribution import Distribution
from node.federation.emergencies import Emergencies
from node.federation.freezing import Freezing
from node.federation.receipts import Receipts
from node.federation.reciprocating import Reciprocating
from node.federation.servicer import ExchangeServicer
from node.federation.standing import Standing
from node.federation.sweeping import Sweeping
from node.federation.tls import ServerTls, https_context, load_own_identity, pem_bundle
from node.federation.witnessing import Witnessing
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
    determining: Determining
    freezing: Freezing
    emergencies: Emergencies
    reciprocating: Reciprocating
    sweeping: Sweeping
    witnessing: Witnessing
    receipts: Receipts
    desk: DeskServicer
    institution: InstitutionServicer
    correspondence: Correspondence
    correspondence_desk: CorrespondenceServicer
    subjects: SubjectsServicer
    duty: OnCall
    roots: tuple[x509.Certificate, ...]  # of this country
    peer_tls: ServerTls
    desk_tls: ServerTls
    metrics_tls: ssl.SSLContext  # of the next connection
    desk_health: health.aio.HealthServicer = field(default_factory=health.aio.HealthServicer)
    upkeep: Task[None] | None = None  # while it runs

    def peer_roots(self) -> bytes:
        """Return the union of all members' roots and this country's, as PEM."""
        members = self.standing.trust.directory.members()
        ders = [der for member in members for der in member.ca_certificates]
        return pem_bundle(ders) + pem_of(self.roots)

    def follow_files(self) -> None:
        """Read the node's certificate again, and offer it on all ports from the next handshake on.

        Raises:
            ConfigError: a file is missing, or they don't belong together; everything stays as it was.
        """
        tls = self.config.tls
        own = load_own_identity(tls.certificate, tls.key)
        self.metrics_tls = https_context(tls.certificate, tls.key, pem_of(self.roots))
        self.channels.own = own
        self.desk_tls.replace(own, pem_of(self.roots))


def pem_of(roots: Sequence[x509.Certificate]) -> bytes:
    """Return certificates as one PEM text."""
    return b"".join(root.public_bytes(Encoding.PEM) for root in roots)
