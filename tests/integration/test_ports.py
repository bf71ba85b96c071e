"""What a port gives to whom, and what one connection may cost, whoever opens it."""

import asyncio
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from node.cli.metrics_port import CONNECTIONS
from node.cli.ports import METADATA_BYTES, STREAMS, UNREAD_BYTES
from node.cli.serving import running
from node.federation.health import CHECK
from tests.federation.node_process import NodeProcess, node_process, shake_hands
from tests.peer_simulator import channel_to
from tests.pki import Holder, country, desk_certificate, forge, node_certificate
from tests.world import Place, World, write_identity

Frame = tuple[int, bytes]  # its type, and what it holds
SETTINGS, PING, GOAWAY = 4, 6, 7  # RFC 9113 §6
ENHANCE_YOUR_CALM = 11  # §7


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return World.make(tmp_path_factory.mktemp("ports"), ("GT", "MX"))["GT"]


@pytest.fixture(scope="module")
def node(place: Place) -> Iterator[NodeProcess]:
    with node_process(place) as node:
        yield node


# --- metrics ---------------------------------------------------------------------------------------------------------


def written(holder: Holder, folder: Path) -> Path:
    pem = folder / "reader.pem"
    pem.write_bytes(holder.chain_pem + holder.key_pem)
    return pem


def client(place: Place, pem: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=place.ca.roots_pem.decode())
    context.check_hostname = False  # the address is a number; the chain is checked
    context.load_cert_chain(pem)
    return context


def status_of(place: Place, holder: Holder, folder: Path) -> int:
    context = client(place, written(holder, folder))
    try:
        with urllib.request.urlopen(f"https://{place.metrics}/metrics", context=context, timeout=5) as answer:
            status, text = int(answer.status), answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    assert (b"enlace_ledger_size" in text) == (status == 200)
    return status


def connected(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=5)


@pytest.mark.usefixtures("node")
def test_metrics_speak_tls_1_3_alone(place: Place, tmp_path: Path) -> None:
    pem = written(place.officer("monitoring"), tmp_path)
    assert shake_hands(place, place.metrics, pem, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    with pytest.raises(ssl.SSLError):
        shake_hands(place, place.metrics, pem, ssl.TLSVersion.TLSv1_2)


READERS: dict[str, tuple[Callable[[], Holder], int]] = {
    "an officer": (lambda: desk_certificate(country("GT")), 200),
    "a node": (lambda: node_certificate(country("GT")), 403),
    "a desk that could serve as well": (
        lambda: forge(country("GT").root, "spiffe://gt.enlace.example/desk/officer-1"),
        403,
    ),
}


@pytest.mark.parametrize("who", READERS)
def test_metrics_are_for_desk_certificates(place: Place, node: NodeProcess, tmp_path: Path, who: str) -> None:
    made, status = READERS[who]
    assert status_of(place, made(), tmp_path) == status
    deadline = time.monotonic() + 5
    while status == 403 and '"metrics_refused"' not in node.log.splitlines()[-1]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.usefixtures("node")
def test_silent_and_chattering_strangers_keep_no_reader_out(place: Place, tmp_path: Path) -> None:
    with ExitStack() as stack:
        for number in range(3 * CONNECTIONS):
            stranger = stack.enter_context(connected(place.metrics))
            if number % 3 == 0:
                stranger.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        started = time.monotonic()
        assert status_of(place, place.officer("monitoring"), tmp_path) == 200
        assert time.monotonic() - started < 3
        # The oldest were let go, and not the newest.
        stranger.settimeout(0.2)
        with pytest.raises(TimeoutError):
            stranger.recv(1)


def test_open_connections_do_not_keep_it_from_ending(tmp_path: Path) -> None:
    place = World.make(tmp_path / "world", ("GT", "MX"))["GT"]
    with node_process(place) as node, ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(connected(place.metrics))
        officer = client(place, written(place.officer("monitoring"), tmp_path))
        stack.enter_context(officer.wrap_socket(connected(place.metrics)))  # and asks nothing
        node.terminate()
        assert node.wait(5) == 0
        assert "Traceback" not in node.log
        assert '"metrics_failed"' not in node.log


async def test_a_revoked_officer_reads_no_metrics(tmp_path: Path) -> None:
    place = World.make(tmp_path / "world", ("GT", "MX"))["GT"]
    gone, stays = place.officer("gone"), place.officer("stays")
    below = desk_certificate(place.ca, "below", place.ca.issuing)
    place.node = node_certificate(place.ca, place.name, dns_names=(place.server_name,), issuer=place.ca.issuing)
    write_identity(place)
    async with running(place.config) as parts:

        async def statuses() -> list[int]:
            return [await asyncio.to_thread(status_of, place, who, tmp_path) for who in (gone, stays, below)]

        assert await statuses() == [200, 200, 200]
        parts.standing.revoke("GT", frozenset({gone.serial}))
        assert await statuses() == [403, 200, 200]
        # With an authority, all that it issued is taken back.
        parts.standing.revoke("GT", frozenset({place.ca.issuing.certificate.serial_number}))
        assert await statuses() == [200, 200, 403]


def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    place = World.make(tmp_path / "world", ("GT", "MX"))["GT"]
    context = client(place, written(place.officer("monitoring"), tmp_path))

    def shown() -> int:
        with context.wrap_socket(connected(place.metrics)) as secure:
            return x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"").serial_number

    with node_process(place):
        assert shown() == place.node.serial
        place.node = node_certificate(place.ca, place.name, dns_names=(place.server_name,))
        write_identity(place)
        deadline = time.monotonic() + 5
        while shown() != place.node.serial:
            assert time.monotonic() < deadline
            time.sleep(0.1)


# --- gRPC ------------------------------------------------------------------------------------------------------------


async def watched(place: Place) -> int:
    async with place.desk_channel() as channel:
        watch: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream("/grpc.health.v1.Health/Watch")
        call = watch(HealthCheckRequest().SerializeToString(), timeout=5)
        answer = await call.read()
        assert isinstance(answer, bytes)
        call.cancel()
        return HealthCheckResponse.FromString(answer).status


@pytest.mark.usefixtures("node")
def test_the_desk_s_health_can_be_watched(place: Place) -> None:
    assert asyncio.run(watched(place)) == HealthCheckResponse.SERVING


def frames(secure: ssl.SSLSocket, last: int) -> list[Frame]:
    """Read up to a frame of type `last`."""
    found: list[Frame] = []
    with secure.makefile("rb") as stream:
        while not found or found[-1][0] != last:
            head = stream.read(9)
            assert len(head) == 9, found
            found.append((head[3], stream.read(int.from_bytes(head[:3], "big"))))
    return found


@pytest.mark.parametrize("port", ["peer", "desk"])
@pytest.mark.usefixtures("node")
def test_one_connection_costs_so_much_and_no_more(place: Place, tmp_path: Path, port: str) -> None:
    context = client(place, written(place.officer("analyst"), tmp_path))
    context.set_alpn_protocols(["h2"])
    with context.wrap_socket(connected(getattr(place, port))) as secure:
        # The preface, then settings without any (RFC 9113 §3.4).
        secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, SETTINGS, 0, 0, 0, 0, 0)))
        (_, announced) = frames(secure, SETTINGS)[0]
        pairs = [announced[at : at + 6] for at in range(0, len(announced), 6)]
        settings = {int.from_bytes(pair[:2], "big"): int.from_bytes(pair[2:], "big") for pair in pairs}
        assert settings[3] == STREAMS
        assert port == "desk" or settings[4] == UNREAD_BYTES  # of a stream that nobody reads yet
        assert settings[6] == METADATA_BYTES
        # Who pings and asks nothing is sent away.
        secure.sendall(bytes((0, 0, 8, PING, 0, 0, 0, 0, 0, *range(8))) * 8)
        (_, farewell) = frames(secure, GOAWAY)[-1]
        assert int.from_bytes(farewell[4:8], "big") == ENHANCE_YOUR_CALM


@pytest.mark.parametrize("port", ["peer", "desk"])
@pytest.mark.usefixtures("node")
def test_metadata_has_a_bound(place: Place, port: str) -> None:
    async def called(size: int) -> grpc.StatusCode:
        async with place.desk_channel() if port == "desk" else channel_to(place, place.node) as channel:
            check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CHECK)
            return await check(b"", metadata=[("x", "a" * size)], timeout=5).code()

    assert asyncio.run(called(METADATA_BYTES // 2)) is grpc.StatusCode.OK
    assert asyncio.run(called(METADATA_BYTES)) is grpc.StatusCode.RESOURCE_EXHAUSTED
