"""Who may connect, and for how long: certificates, their revocation and their renewal."""

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from node.cli.parts import Parts
from node.cli.serving import running
from node.errors import IdentityError
from node.federation.channels import GET_DIRECTORY, PUSH_REVOCATIONS
from node.wire.desk_pb2 import GetStatusRequest, GetStatusResponse, PeerOutcome
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.exchange_pb2 import GetDirectoryRequest, PushRevocationsRequest, PushRevocationsResponse
from tests.federation.support import Book, refused, rejected, still_answers, told
from tests.peer_simulator import channel_to, hostile_server, request, sealed_answer, sealed_query, send, telephone_query
from tests.peer_simulator import opened_query as opened
from tests.pki import EVIL, Holder, country, desk_certificate, forge, node_certificate
from tests.world import Place, World, write_identity

pytestmark = pytest.mark.asyncio(loop_scope="module")

Status = grpc.StatusCode


def question(world: World, asker: str = "GT", answerer: str = "MX") -> bytes:
    return request(sealed_query(world[asker], answerer, telephone_query()))


async def is_not_identified(world: World, holder: Holder | None) -> None:
    """The caller gets nothing, neither by a handshake nor by a call; nobody was identified, so there is no line."""
    book = Book(world["MX"], world)
    before = book.size
    async with channel_to(world["MX"], holder) as channel:
        for data, method in ((question(world), None), (b"", GET_DIRECTORY), (b"", PUSH_REVOCATIONS)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await (send(channel, data, method) if method else send(channel, data))
            if caught.value.code() is Status.UNAVAILABLE:  # in the handshake already
                break
            assert (caught.value.code(), caught.value.details()) == (Status.UNAUTHENTICATED, IdentityError.public)
    assert book.size == before
    book.verify()


# --- whom a certificate identifies -----------------------------------------------------------------------------------


async def test_without_a_certificate_there_is_no_connection(world: World, mx: Parts) -> None:
    del mx
    await is_not_identified(world, None)
    await still_answers(world)


@pytest.mark.parametrize("fault", EVIL)
async def test_an_evil_certificate_identifies_nobody(world: World, mx: Parts, fault: str) -> None:
    del mx
    await is_not_identified(world, EVIL[fault]())
    await still_answers(world)


CLAIMS = {
    "another country, by one's own authority": lambda: forge(
        country("GT").root, "spiffe://us.enlace.example/node/us-1"
    ),
    "a country that is no member": lambda: node_certificate(country("BR")),
    "a country that is no member, by a member's authority": lambda: forge(
        country("GT").root, "spiffe://br.enlace.example/node/br-1"
    ),
    "another federation": lambda: node_certificate(country("GT", "other.example")),
    "another federation, by a member's authority": lambda: forge(
        country("GT").root, "spiffe://gt.other.example/node/gt-1"
    ),
    "an officer": lambda: desk_certificate(country("GT")),
    "an officer of the answering country": lambda: desk_certificate(country("MX")),
    "a trust domain": lambda: forge(country("GT").root, "spiffe://gt.enlace.example"),
    "no SPIFFE id": lambda: forge(country("GT").root, "https://gt.enlace.example/node/gt-1"),
}


@pytest.mark.parametrize("claim", CLAIMS)
async def test_a_certificate_that_claims_what_it_may_not_identifies_nobody(world: World, mx: Parts, claim: str) -> None:
    del mx
    await is_not_identified(world, CLAIMS[claim]())
    await still_answers(world)


async def test_who_is_not_identified_is_counted(world: World, mx: Parts) -> None:
    from node.federation.metrics import UNIDENTIFIED

    del mx
    before = counted(UNIDENTIFIED)
    await is_not_identified(world, desk_certificate(country("GT")))
    assert counted(UNIDENTIFIED) > before


def counted(counter: object) -> float:
    from prometheus_client import Counter

    assert isinstance(counter, Counter)
    return next(iter(counter.collect())).samples[0].value


# --- the desk's port -------------------------------------------------------------------------------------------------


async def status(place: Place, holder: Holder | None) -> GetStatusResponse:
    credentials = grpc.ssl_channel_credentials(
        place.ca.roots_pem, holder.key_pem if holder else None, holder.chain_pem if holder else None
    )
    options = [("grpc.ssl_target_name_override", place.server_name), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(place.desk, credentials, options=options) as channel:
        stub: DeskStub = DeskStub(channel)
        answer: GetStatusResponse = await stub.GetStatus(GetStatusRequest(), timeout=5.0)  # type: ignore[misc]
        return answer


DESK_REFUSED: dict[str, Callable[[World], Holder | None]] = {
    "nobody": lambda _: None,
    "the node itself": lambda world: world["MX"].node,
    "a peer's node": lambda world: world["GT"].node,
    "a peer's officer": lambda world: world["GT"].officer("administrator"),
    "one's own officer, by a peer's authority": lambda _: forge(
        country("GT").root, "spiffe://mx.enlace.example/desk/administrator"
    ),
}


@pytest.mark.parametrize("who", DESK_REFUSED)
async def test_the_desk_serves_officers_of_its_country_alone(world: World, mx: Parts, who: str) -> None:
    del mx
    book = Book(world["MX"], world)
    before = book.size
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await status(world["MX"], DESK_REFUSED[who](world))
    assert caught.value.code() in (Status.UNAUTHENTICATED, Status.UNAVAILABLE)
    assert book.size == before
    assert (await status(world["MX"], world["MX"].officer("administrator"))).country == "MX"


async def test_an_officer_who_was_never_enrolled_is_denied_with_a_line(world: World, mx: Parts) -> None:
    del mx
    book = Book(world["MX"], world)
    before = book.size
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await status(world["MX"], world["MX"].officer("stranger"))
    assert caught.value.code() is Status.PERMISSION_DENIED
    (line,) = book.lines(before)
    assert told(line) == ("DENIED", "", "NO_SUCH_OFFICER")
    book.verify()


# --- revocation ------------------------------------------------------------------------------------------------------


async def push(channel: grpc.aio.Channel, crl: bytes) -> int:
    data = PushRevocationsRequest(crl=crl).SerializeToString()
    return PushRevocationsResponse.FromString(await send(channel, data, PUSH_REVOCATIONS)).crl_number


async def test_a_revocation_counts_from_the_next_call_on_also_on_open_connections(fresh: World) -> None:
    gt, mx = fresh["GT"], fresh["MX"]
    renewed = node_certificate(gt.ca, "gt-1")
    async with running(mx.config), channel_to(mx, gt.node) as old, channel_to(mx, renewed) as new:
        await send(old, question(fresh))
        assert await push(new, gt.ca.crl(1, [gt.node.serial])) == 1
        await refused(
            fresh,
            send(old, question(fresh)),
            Status.UNAUTHENTICATED,
            rejected("CertificateRevokedError"),
            words=IdentityError.public,
        )
        get_directory = send(old, GetDirectoryRequest().SerializeToString(), GET_DIRECTORY)
        await refused(fresh, get_directory, Status.UNAUTHENTICATED, rejected("CertificateRevokedError"))
        # It can't take itself back into trust either.
        await refused(
            fresh,
            send(old, PushRevocationsRequest(crl=gt.ca.crl(2)).SerializeToString(), PUSH_REVOCATIONS),
            Status.UNAUTHENTICATED,
            rejected("CertificateRevokedError"),
        )
        async with channel_to(mx, gt.node) as again:
            await refused(
                fresh, send(again, question(fresh)), Status.UNAUTHENTICATED, rejected("CertificateRevokedError")
            )
        assert await send(new, question(fresh))
    async with running(mx.config), channel_to(mx, gt.node) as after_restart:
        await refused(
            fresh, send(after_restart, question(fresh)), Status.UNAUTHENTICATED, rejected("CertificateRevokedError")
        )


async def test_a_revocation_is_a_line(fresh: World) -> None:
    async with running(fresh["MX"].config), channel_to(fresh["MX"], fresh["GT"].node) as channel:
        await push(channel, fresh["GT"].ca.crl(7))
        book = Book(fresh["MX"], fresh)
        assert told(book.lines()[-1]) == ("REVOCATIONS", "GT", "CRL 7")
        book.verify()


async def test_with_an_authority_all_it_issued_is_revoked(fresh: World) -> None:
    gt, mx = fresh["GT"], fresh["MX"]
    below = node_certificate(gt.ca, "gt-1", issuer=gt.ca.issuing)
    async with running(mx.config), channel_to(mx, gt.node) as own, channel_to(mx, below) as channel:
        await send(channel, question(fresh))
        await push(own, gt.ca.crl(1, [gt.ca.issuing.certificate.serial_number]))
        call = send(channel, question(fresh))
        await refused(fresh, call, Status.UNAUTHENTICATED, rejected("CertificateRevokedError"))
        await still_answers(fresh)


async def test_a_country_revokes_nobody_but_its_own(fresh: World) -> None:
    us, mx = fresh["US"], fresh["MX"]
    async with running(mx.config), channel_to(mx, fresh["GT"].node) as gt, channel_to(mx, us.node) as channel:
        for crl in (us.ca.crl(9, [us.node.serial]), mx.ca.crl(9, [us.node.serial])):
            call = send(gt, PushRevocationsRequest(crl=crl).SerializeToString(), PUSH_REVOCATIONS)
            await refused(fresh, call, Status.UNAUTHENTICATED, rejected("CertificateInvalidError"))
        # A number that stands on GT's own list stands for GT's certificates.
        await push(gt, fresh["GT"].ca.crl(9, [us.node.serial]))
        assert await send(channel, question(fresh, "US"))


async def test_a_revocation_list_never_goes_back(fresh: World) -> None:
    gt, mx = fresh["GT"], fresh["MX"]
    stolen = node_certificate(gt.ca, "gt-1")
    async with running(mx.config), channel_to(mx, gt.node) as channel, channel_to(mx, stolen) as thief:
        await push(channel, gt.ca.crl(5, [stolen.serial]))
        for crl in (gt.ca.crl(4), gt.ca.crl(5)):
            call = send(channel, PushRevocationsRequest(crl=crl).SerializeToString(), PUSH_REVOCATIONS)
            await refused(fresh, call, Status.FAILED_PRECONDITION, rejected("DirectoryRollbackError"))
        await refused(fresh, send(thief, question(fresh)), Status.UNAUTHENTICATED, rejected("CertificateRevokedError"))


async def test_a_node_brings_its_country_s_list_to_every_peer(fresh: World) -> None:
    gt = fresh["GT"]
    lost = node_certificate(gt.ca, "gt-1")
    async with running(fresh["MX"].config), running(gt.config) as parts, channel_to(fresh["MX"], lost) as channel:
        await send(channel, question(fresh))
        ended = await parts.distribution.push_revocations(gt.ca.crl(1, [lost.serial]))
        assert ended == {"MX": PeerOutcome.PEER_OUTCOME_ANSWERED, "US": PeerOutcome.PEER_OUTCOME_UNREACHABLE}
        await refused(
            fresh, send(channel, question(fresh)), Status.UNAUTHENTICATED, rejected("CertificateRevokedError")
        )


# --- renewal ---------------------------------------------------------------------------------------------------------


def served_serial(place: Place, holder: Holder, folder: Path) -> int:
    """Shake hands with the peer port, and return the serial number of the certificate that is shown there."""
    path = folder / "client.pem"
    path.write_bytes(holder.key_pem + holder.chain_pem)
    tls = ssl.create_default_context(cadata=place.ca.roots_pem.decode())
    tls.load_cert_chain(path)
    tls.set_alpn_protocols(["h2"])
    host, _, port = place.peer.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=5) as plain,
        tls.wrap_socket(plain, server_hostname=place.server_name) as secure,
    ):
        shown = secure.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


async def eventually(look: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Look until what is wanted is seen; files are looked at once a second."""
    for _ in range(50):
        if await look() == wanted:
            return
        await asyncio.sleep(0.1)
    pytest.fail("not seen within five seconds")


def renew(place: Place) -> int:
    """Put another certificate and key where the node looks for them, and return its serial number."""
    place.node = node_certificate(place.ca, place.name, dns_names=(place.server_name,))
    write_identity(place)
    return place.node.serial


async def test_a_server_shows_its_renewed_certificate_without_a_restart(fresh: World, tmp_path: Path) -> None:
    mx, gt = fresh["MX"], fresh["GT"]
    first = mx.node.serial
    async with running(mx.config), channel_to(mx, gt.node) as open_before:
        await send(open_before, question(fresh))
        assert await asyncio.to_thread(served_serial, mx, gt.node, tmp_path) == first
        second = renew(mx)
        await eventually(lambda: asyncio.to_thread(served_serial, mx, gt.node, tmp_path), second)
        assert await send(open_before, question(fresh))
        await still_answers(fresh)


async def test_a_client_shows_its_renewed_certificate_without_a_restart(fresh: World) -> None:
    gt, mx = fresh["GT"], fresh["MX"]

    async def behave(data: bytes) -> bytes:
        from node.wire.exchange_pb2 import QueryResponse

        sealed = sealed_answer(mx, opened(fresh, "GT", "MX", data))
        return QueryResponse(envelope=sealed.envelope).SerializeToString()

    async with hostile_server(fresh, "MX", behave) as calls, running(gt.config) as parts:

        async def shown() -> bytes:
            async for response in parts.asking.ask(telephone_query(), ["MX"], 3.0):
                assert response.outcome == PeerOutcome.PEER_OUTCOME_ANSWERED
            return calls.certificates[-1]

        first = gt.node.certificate.public_bytes(Encoding.PEM)
        assert await shown() == first
        renew(gt)
        await eventually(shown, gt.node.certificate.public_bytes(Encoding.PEM))


async def test_half_written_files_change_nothing(fresh: World, tmp_path: Path) -> None:
    mx, gt = fresh["MX"], fresh["GT"]
    async with running(mx.config):
        (mx.home.tls / "node.key").write_bytes(gt.node.key_pem)
        os.truncate(mx.home.tls / "node.pem", 100)
        await asyncio.sleep(1.5)  # the files are looked at once a second
        assert await asyncio.to_thread(served_serial, mx, gt.node, tmp_path) == mx.node.serial
        await still_answers(fresh)


# --- the server's certificate, seen by who asks ----------------------------------------------------------------------


IMPOSTORS: dict[str, Callable[[World], Holder]] = {
    "of another country": lambda world: world["US"].node,
    "by another country's authority": lambda world: forge(
        world["US"].ca.root, "spiffe://mx.enlace.example/node/mx-1", replaced=()
    ),
    "for another host": lambda world: node_certificate(world["MX"].ca, "mx-1", dns_names=("elsewhere.example",)),
}


@pytest.mark.parametrize("impostor", IMPOSTORS)
async def test_no_question_reaches_an_impostor(fresh: World, impostor: str) -> None:
    async def behave(data: bytes) -> bytes:
        return data

    holder = IMPOSTORS[impostor](fresh)
    async with hostile_server(fresh, "MX", behave, holder=holder) as calls, running(fresh["GT"].config) as parts:
        (response,) = [each async for each in parts.asking.ask(telephone_query(), ["MX"], 1.0)]
        assert response.outcome in (PeerOutcome.PEER_OUTCOME_UNREACHABLE, PeerOutcome.PEER_OUTCOME_LATE)
        assert calls.requests == []
        book = Book(fresh["GT"], fresh)
        assert [told(line)[0] for line in book.lines(peer="MX")] == ["ASKED", "UNANSWERED"]
        book.verify()
