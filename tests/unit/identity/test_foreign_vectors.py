"""OpenSSL and gRPC's TLS library (BoringSSL) as independent judges: what they issue, accept and refuse."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from node.errors import CertificateInvalidError
from node.identity.certificates import parse_chain, verify_chain
from node.identity.revocation import parse_crl
from tests.pki import (
    EVIL,
    NOW,
    Holder,
    country,
    desk_certificate,
    forge,
    node_certificate,
    uri_names,
)

GT, MX = country("GT"), country("MX")


def openssl(arguments: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = ["openssl", *arguments.split(), *more]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def made(arguments: str, folder: Path, *more: str) -> None:
    done = openssl(arguments, folder, *more)
    assert done.returncode == 0, done.stderr


# --- OpenSSL issues, we judge ----------------------------------------------------------------------------------------

ROOT = {
    "basicConstraints": "critical,CA:TRUE,pathlen:1",
    "keyUsage": "critical,keyCertSign,cRLSign",
    "subjectAltName": "URI:spiffe://gt.enlace.example",
    "nameConstraints": "critical,permitted;URI:gt.enlace.example",
    "subjectKeyIdentifier": "hash",
}
LEAF = {
    "basicConstraints": "critical,CA:FALSE",
    "keyUsage": "critical,digitalSignature",
    "extendedKeyUsage": "serverAuth,clientAuth",
    "subjectAltName": "URI:spiffe://gt.enlace.example/node/gt-1,DNS:gt-1.example",
    "authorityKeyIdentifier": "keyid",
}
EC_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"


def issued_by_openssl(
    folder: Path, root: dict[str, str], leaf: dict[str, str], leaf_key: str = EC_KEY, root_key: str = EC_KEY
) -> tuple[x509.Certificate, x509.Certificate]:
    def extensions(values: dict[str, str]) -> str:
        return "\n".join(f"{name} = {value}" for name, value in values.items())

    (folder / "req.cnf").write_text("[req]\ndistinguished_name=dn\n[dn]\n[ext]\n" + extensions(root))
    (folder / "leaf.ext").write_text(extensions(leaf))
    made(
        f"req -x509 {root_key} -keyout root.key -out root.crt -days 30 -config req.cnf -extensions ext -subj",
        folder,
        "/C=GT/CN=foreign root",
    )
    made(f"req {leaf_key} -keyout leaf.key -out leaf.csr -config req.cnf -subj", folder, "/CN=gt-1")
    made("x509 -req -in leaf.csr -CA root.crt -CAkey root.key -days 9 -extfile leaf.ext -out leaf.crt", folder)
    (leaf_certificate,) = parse_chain((folder / "leaf.crt").read_bytes())
    (root_certificate,) = parse_chain((folder / "root.crt").read_bytes())
    return leaf_certificate, root_certificate


def test_what_openssl_issues_to_the_profile_is_accepted(tmp_path: Path) -> None:
    leaf, root = issued_by_openssl(tmp_path, ROOT, LEAF)
    assert verify_chain(leaf, (), (root,), datetime.now(UTC)).name == "gt-1"


def test_a_desk_by_openssl_is_accepted(tmp_path: Path) -> None:
    desk = LEAF | {"extendedKeyUsage": "clientAuth", "subjectAltName": "URI:spiffe://gt.enlace.example/desk/a1"}
    leaf, root = issued_by_openssl(tmp_path, ROOT, desk)
    assert verify_chain(leaf, (), (root,), datetime.now(UTC)).kind == "desk"


@pytest.mark.parametrize(
    ("root", "leaf"),
    [
        pytest.param({}, {"subjectAltName": "URI:spiffe://mx.enlace.example/node/mx-1"}, id="another country's name"),
        pytest.param({}, {"subjectAltName": "DNS:gt-1.example"}, id="no URI name"),
        pytest.param(
            {},
            {"subjectAltName": "URI:spiffe://gt.enlace.example/node/gt-1,URI:spiffe://gt.enlace.example/node/gt-2"},
            id="two URI names",
        ),
        pytest.param({}, {"subjectAltName": "URI:spiffe://gt.enlace.example:1/node/gt-1"}, id="a port"),
        pytest.param({}, {"extendedKeyUsage": "serverAuth"}, id="server only"),
        pytest.param({}, {"extendedKeyUsage": "clientAuth"}, id="client only"),
        pytest.param({}, {"keyUsage": "critical,keyCertSign"}, id="key usage of an authority"),
        pytest.param({}, {"basicConstraints": "critical,CA:TRUE"}, id="is an authority"),
        pytest.param({}, {"1.2.3.4": "critical,DER:0500"}, id="a critical extension not understood"),
        pytest.param({"basicConstraints": "critical,CA:FALSE"}, {}, id="root without the bit"),
        pytest.param({"nameConstraints": "critical,permitted;URI:.enlace.example"}, {}, id="root of the federation"),
        pytest.param({"nameConstraints": "critical,permitted;DNS:example"}, {}, id="root not confined by URI"),
        pytest.param({"keyUsage": "critical,cRLSign"}, {}, id="root that may not issue"),
    ],
)
def test_what_openssl_issues_beside_the_profile_is_refused(
    tmp_path: Path, root: dict[str, str], leaf: dict[str, str]
) -> None:
    leaf_certificate, root_certificate = issued_by_openssl(tmp_path, ROOT | root, LEAF | leaf)
    with pytest.raises(CertificateInvalidError):
        verify_chain(leaf_certificate, (), (root_certificate,), datetime.now(UTC))


@pytest.mark.parametrize("wrong", ["leaf_key", "root_key"])
@pytest.mark.parametrize("key", ["-newkey rsa:2048 -nodes", "-newkey ed25519 -nodes"])
def test_keys_of_another_kind_are_refused(tmp_path: Path, wrong: str, key: str) -> None:
    leaf, root = issued_by_openssl(tmp_path, ROOT, LEAF, **{wrong: key})
    with pytest.raises(CertificateInvalidError):
        verify_chain(leaf, (), (root,), datetime.now(UTC))


def test_a_signature_over_sha_1_is_refused(tmp_path: Path) -> None:
    issued_by_openssl(tmp_path, ROOT, LEAF)
    sha1 = "x509 -req -sha1 -in leaf.csr -CA root.crt -CAkey root.key -days 9 -extfile leaf.ext -out weak.crt"
    made(sha1, tmp_path)
    (leaf,), (root,) = (parse_chain((tmp_path / name).read_bytes()) for name in ("weak.crt", "root.crt"))
    with pytest.raises(CertificateInvalidError, match="not signed with ECDSA and SHA-2"):
        verify_chain(leaf, (), (root,), datetime.now(UTC))


def test_a_revocation_list_by_openssl_is_read(tmp_path: Path) -> None:
    leaf, root = issued_by_openssl(tmp_path, ROOT, LEAF)
    (tmp_path / "index.txt").touch()
    (tmp_path / "number").write_text("2A\n")
    (tmp_path / "ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=7\n"
    )
    made("ca -config ca.cnf -cert root.crt -keyfile root.key -revoke leaf.crt", tmp_path)
    made("ca -config ca.cnf -cert root.crt -keyfile root.key -gencrl -out crl.pem", tmp_path)
    made("crl -in crl.pem -outform DER -out crl.der", tmp_path)
    listed = parse_crl((tmp_path / "crl.der").read_bytes(), (root,))
    assert (listed.country, listed.number) == ("GT", 0x2A)
    assert listed.serials == frozenset({leaf.serial_number})


# --- we issue, OpenSSL judges ----------------------------------------------------------------------------------------


def verdict(folder: Path, holder: Holder, purpose: str, *options: str, roots: bytes = GT.roots_pem) -> str:
    (folder / "roots").write_bytes(roots)
    (folder / "chain").write_bytes(holder.chain_pem)
    arguments = f"verify -x509_strict -purpose {purpose} -CAfile roots -untrusted chain"
    done = openssl(arguments, folder, *options, "chain")
    return done.stdout + done.stderr


@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
@pytest.mark.parametrize("issuer", [GT.root, GT.issuing])
def test_openssl_accepts_our_nodes(tmp_path: Path, purpose: str, issuer: object) -> None:
    holder = node_certificate(GT, issuer=GT.issuing if issuer is GT.issuing else GT.root)
    assert verdict(tmp_path, holder, purpose) == "chain: OK\n"


def test_openssl_takes_our_desks_for_clients_only(tmp_path: Path) -> None:
    assert verdict(tmp_path, desk_certificate(GT), "sslclient") == "chain: OK\n"
    assert "suitable certificate purpose" in verdict(tmp_path, desk_certificate(GT), "sslserver")


def test_openssl_too_confines_an_authority_to_its_country(tmp_path: Path) -> None:
    union = GT.roots_pem + MX.roots_pem
    for wrong in ("issued by another country's authority", "issued below another country's issuing authority"):
        assert "permitted subtree violation" in verdict(tmp_path, EVIL[wrong](), "sslclient", roots=union)


def test_openssl_reads_our_revocation_list(tmp_path: Path) -> None:
    taken_back, kept = node_certificate(GT), node_certificate(GT)
    (tmp_path / "crl.der").write_bytes(GT.crl(3, [taken_back.serial]))
    made("crl -inform DER -in crl.der -out crl.pem", tmp_path)
    options = ("-crl_check", "-CRLfile", "crl.pem")
    assert "certificate revoked" in verdict(tmp_path, taken_back, "sslserver", *options)
    assert verdict(tmp_path, kept, "sslserver", *options) == "chain: OK\n"


# --- gRPC's handshake ------------------------------------------------------------------------------------------------


class _Identify(grpc.GenericRpcHandler):
    """Answers each call with a part of what the handshake told about the caller."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        wanted = handler_call_details.method.rpartition("/")[2]

        async def answer(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            return b"\n".join(context.auth_context().get(wanted, []))

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def calling(server: Holder, client: Holder, server_trusts: bytes) -> AsyncIterator[grpc.aio.Channel]:
    served = grpc.aio.server()
    served.add_generic_rpc_handlers((_Identify(),))
    pairs = [(server.key_pem, server.chain_pem)]
    port = served.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(pairs, server_trusts, True))
    await served.start()
    credentials = grpc.ssl_channel_credentials(GT.roots_pem, client.key_pem, client.chain_pem)
    options = (("grpc.ssl_target_name_override", "localhost"), ("grpc.use_local_subchannel_pool", 1))
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options) as channel:
        yield channel
    await served.stop(0)


async def told(channel: grpc.aio.Channel, wanted: str) -> bytes:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/test/{wanted}")
    return await call(b"", timeout=5)


UNION = GT.roots_pem + MX.roots_pem


async def test_grpc_tells_the_callers_certificate_and_name() -> None:
    caller = node_certificate(MX)
    async with calling(node_certificate(GT, issuer=GT.issuing), caller, UNION) as channel:
        assert await told(channel, "peer_spiffe_id") == b"spiffe://mx.enlace.example/node/mx-1"
        assert parse_chain(await told(channel, "x509_pem_cert")) == (caller.certificate,)
        assert await told(channel, "x509_pem_cert_chain") == b""


async def test_grpc_tells_what_lies_between_in_another_place_than_the_leaf() -> None:
    caller = node_certificate(MX, issuer=MX.issuing)
    async with calling(node_certificate(GT), caller, UNION) as channel:
        assert parse_chain(await told(channel, "x509_pem_cert")) == (caller.certificate,)
        assert parse_chain(await told(channel, "x509_pem_cert_chain")) == caller.intermediates


async def test_grpc_tells_no_name_where_there_are_two() -> None:
    names = uri_names("spiffe://mx.enlace.example/node/mx-1", "spiffe://mx.enlace.example/node/mx-2")
    async with calling(node_certificate(GT), forge(MX.root, replaced=[(names, False)]), UNION) as channel:
        assert await told(channel, "peer_spiffe_id") == b""


@pytest.mark.parametrize(
    "wrong", ["issued by another country's authority", "an Ed25519 key", "self-signed", "expired", "server only"]
)
async def test_grpc_refuses_already_in_the_handshake(wrong: str) -> None:
    async with calling(node_certificate(GT), EVIL[wrong](), UNION) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await told(channel, "peer_spiffe_id")
        assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_grpc_takes_no_desk_for_a_server() -> None:
    desk = desk_certificate(GT)
    async with calling(desk, node_certificate(GT), UNION) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await told(channel, "peer_spiffe_id")


def test_the_clock_of_these_tests_is_the_real_one() -> None:
    # Handshakes read the real clock; certificates are made around NOW.
    assert abs((datetime.now(UTC) - NOW).total_seconds()) < 3_600
