"""What those on duty are called by: a mail server and a webhook receiver on loopback, real ones, with TLS."""

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.pki import Country, country, node_certificate


@dataclass
class Mailbox:
    """What a mail server was handed, as bytes, with whom it was for."""

    port: int = 0
    mails: list[tuple[str, bytes]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # every command
    logins: int = 0


@dataclass
class Hook:
    """What was posted: headers in lower case, and the body."""

    port: int = 0
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)  # statuses of the next answers; 204 beyond them


def server_context(folder: Path, of: Country) -> ssl.SSLContext:
    holder = node_certificate(of, dns_names=("localhost",))
    path = folder / f"{of.code}-server.pem"
    path.write_bytes(holder.chain_pem + holder.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def roots_file(folder: Path, code: str) -> Path:
    path = folder / f"{code}-roots.pem"
    path.write_bytes(country(code).roots_pem)
    return path


@contextmanager
def mail_server(  # noqa: C901 - what a server says to each command
    context: ssl.SSLContext, *, tls: bool = False, offers: bool = True
) -> Iterator[Mailbox]:
    """A mail server (RFC 5321, 3207); `tls` from the start, or STARTTLS, unless it `offers` none."""
    box = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                with suppress(OSError):
                    if tls:
                        self.secure()
                    self.answer("220 localhost")
                    while line := self.rfile.readline():
                        box.said.append(line.decode().strip())
                        if not self.command(box.said[-1]):
                            return
            finally:
                self.request.close()

        def secure(self) -> None:
            self.request = context.wrap_socket(self.request, server_side=True)
            self.rfile.close()
            self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", 0)

        def answer(self, *lines: str) -> None:
            self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

        def command(self, said: str) -> bool:
            secure, verb = isinstance(self.request, ssl.SSLSocket), said.partition(" ")[0].upper()
            if verb == "EHLO":
                self.answer("250-localhost", "250 AUTH PLAIN" if secure else "250 STARTTLS" if offers else "250 HELP")
            elif verb == "STARTTLS":
                self.answer("220 go on")
                self.secure()
            elif verb == "AUTH":
                box.logins += 1
                self.answer("235 welcome")
            elif verb == "RCPT":
                self.recipient = said[len("RCPT TO:<") : -1]
                self.answer("250 fine")
            elif verb == "DATA":
                self.answer("354 go on")
                lines = list(iter(self.rfile.readline, b".\r\n"))
                box.mails.append((self.recipient, b"".join(lines)))
                self.answer("250 taken")
            elif verb == "QUIT":
                self.answer("221 bye")
                return False
            else:
                self.answer("250 fine")
            return True

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server, _serving(server):
        box.port = server.server_address[1]
        yield box


@contextmanager
def hook_server(context: ssl.SSLContext) -> Iterator[Hook]:
    """An HTTPS server that takes what is posted."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.posts.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(hook.answers.pop(0) if hook.answers else 204)
            self.send_header("Location", "https://elsewhere.example/")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        hook.port = server.server_address[1]
        with _serving(server):
            yield hook


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
