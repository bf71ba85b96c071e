"""TLS material of the node: read from files, read again when they change, given to gRPC on both sides.

gRPC's handshake takes the union of the members' roots, since a server can't know beforehand who calls. That union
decides nothing: `Trust.peer` validates each caller against the roots of its own country. A channel to a peer knows
that peer's roots only.
"""

import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from node.errors import ConfigError


@dataclass(frozen=True, slots=True)
class OwnIdentity:
    """The node's certificate chain and key, as PEM."""

    chain: bytes
    key: bytes

    @property
    def not_after_us(self) -> int:
        """When the certificate ends, in UTC microseconds."""
        return _not_after_us(self.chain)


def load_own_identity(certificate: Path, key: Path) -> OwnIdentity:
    """Read the node's chain and key, and check that they belong together.

    Raises:
        ConfigError: a file is missing or unreadable, or the key is another certificate's.
    """
    try:
        own = OwnIdentity(chain=certificate.read_bytes(), key=key.read_bytes())
        leaf = x509.load_pem_x509_certificates(own.chain)[0]
        private = load_pem_private_key(own.key, password=None)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{certificate} or {key} is not valid PEM, or the key is encrypted") from error
    if private.public_key() != leaf.public_key():
        raise ConfigError(f"{key} is not the key of {certificate}")
    return own


def pem_bundle(ders: Iterable[bytes]) -> bytes:
    """Return certificates given as DER as one PEM text."""
    return b"".join(_pem(der) for der in ders)


# Both are asked for each second, of what changes once in months.
@lru_cache(maxsize=1_024)
def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


@lru_cache(maxsize=8)
def _not_after_us(chain: bytes) -> int:
    return int(x509.load_pem_x509_certificates(chain)[0].not_valid_after_utc.timestamp() * 1_000_000)


def https_context(certificate: Path, key: Path, roots: bytes) -> ssl.SSLContext:
    """Return what an HTTPS server of the node needs: TLS 1.3, and clients with a certificate below `roots` (PEM).

    Raises:
        ConfigError: the certificate or the key can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # whoever comes again shows the certificate again
    context.load_verify_locations(cadata=roots.decode())
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # OpenSSL's errors are of this kind too
        raise ConfigError(f"{certificate} can't be used for HTTPS: {error}") from error
    return context


class ServerTls:
    """Server credentials that follow the files and the directory without a restart."""

    def __init__(self, own: OwnIdentity, roots: bytes) -> None:
        """Take the node's identity, and the PEM bundle that clients may chain to."""
        self._used = own, roots
        self._configuration = self._configured(own, roots)

    def replace(self, own: OwnIdentity, roots: bytes) -> None:
        """Use another identity or bundle from the next handshake on."""
        if self._used != (own, roots):
            self._configuration = self._configured(own, roots)
            self._used = own, roots

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that ask for the present configuration at each handshake."""
        # gRPC falls back to its previous configuration when the fetcher raises; this one only reads an attribute.
        fetch: Callable[[], grpc.ServerCertificateConfiguration] = lambda: self._configuration  # noqa: E731
        return grpc.dynamic_ssl_server_credentials(self._configuration, fetch, require_client_authentication=True)

    @staticmethod
    def _configured(own: OwnIdentity, roots: bytes) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(own.key, own.chain)], root_certificates=roots)
