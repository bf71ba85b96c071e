"""The metrics port: Prometheus's text format over mutual TLS 1.3, for holders of this country's desk certificates.

Whoever reaches the port may open connections and say nothing. So each shakes hands in a thread of its own and in
bounded time; and when there are too many, the oldest goes, since a reader needs milliseconds and comes through.
"""

import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from socketserver import ThreadingTCPServer
from threading import Lock, Thread
from typing import Any, Final

import structlog
from prometheus_client import MetricsHandler

from node.cli.parts import Parts
from node.errors import ConfigError, IdentityError
from node.identity.certificates import parse_certificate, parse_chain

WAIT_S: Final = 10.0  # for a handshake, and for each part of a request
CONNECTIONS: Final = 16
POLL_S: Final = 0.1  # how soon the end is noticed

log = structlog.get_logger()


@contextmanager
def serving_metrics(parts: Parts) -> Iterator[None]:
    """Serve metrics while the block runs.

    Raises:
        ConfigError: the address can't be listened on.
    """
    address = parts.config.listen.metrics
    try:
        server = _Server(parts, address)
    except OSError as error:
        raise ConfigError(f"{address} can't be listened on: {error.strerror}") from error
    with server:
        # Connections that are open at the end are no reason to wait: their threads end with the process.
        Thread(target=server.serve_forever, args=(POLL_S,), name="metrics", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


class _Reader(MetricsHandler):
    """Serves one connection: HTTP/1.0, so one request."""

    timeout = WAIT_S
    server: "_Server"
    connection: ssl.SSLSocket

    def handle(self) -> None:
        self.connection.do_handshake()
        super().handle()

    def do_GET(self) -> None:  # noqa: N802 -- the standard library's name
        try:
            self.server.verify_reader(self.connection.getpeercert(binary_form=True) or b"")
        except IdentityError as error:
            log.warning("metrics_refused", kind=type(error).__name__, reason=str(error))
            self.send_error(HTTPStatus.FORBIDDEN)
        else:
            super().do_GET()


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, parts: Parts, address: str) -> None:
        host, _, port = address.rpartition(":")
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        self._parts = parts
        self._lock = Lock()
        self._open: dict[socket.socket, None] = {}  # oldest first
        super().__init__(found[0][4], _Reader)  # type: ignore[arg-type]  # an IPv6 address has four parts

    def verify_reader(self, certificate: bytes) -> None:
        """Check that a certificate (DER), which the handshake has accepted, is an officer's and was not taken back.

        Raises:
            CertificateInvalidError, CertificateRevokedError.
        """
        # `ssl` tells the leaf alone. Who issued it is among the country's roots, or has issued to this node as well.
        _, *issuers = parse_chain(self._parts.channels.own.chain)
        self._parts.desk.officers.identified((parse_certificate(certificate), *issuers))

    def get_request(self) -> tuple[ssl.SSLSocket, Any]:
        connection, address = super().get_request()
        connection.settimeout(WAIT_S)
        secure = self._parts.metrics_tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return secure, address

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 -- as in the standard library
        with self._lock:
            self._open[request] = None
            if len(self._open) > CONNECTIONS:
                oldest = next(iter(self._open))
                del self._open[oldest]
                with suppress(OSError):
                    # Not SSLSocket's own, which would go on without TLS. Its thread wakes, finds the end and closes it.
                    socket.socket.shutdown(oldest, socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 -- as in the standard library
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        del request, client_address
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):  # what strangers break off is not told, as on the other ports
            log.error("metrics_failed", exc_info=error)
