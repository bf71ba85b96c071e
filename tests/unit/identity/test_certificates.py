"""Each way in which a certificate can be wrong is refused, with a sentence for the operator."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import CertificateInvalidError, CertificateRevokedError, IdentityError
from node.identity.authority import Authority, create_root, generate_key
from node.identity.certificates import (
    Peer,
    claimed_identity,
    parse_certificate,
    parse_chain,
    verify_authority,
    verify_chain,
)
from node.identity.revocation import parse_crl, verify_not_revoked
from node.identity.spiffe import SpiffeId, TrustDomain, parse_spiffe_id, parse_trust_domain
from tests.pki import (
    CLIENT,
    DAY,
    EVIL,
    FEDERATION,
    NOW,
    SERVER,
    Holder,
    country,
    desk_certificate,
    forge,
    forged_authority,
    node_certificate,
    uri_names,
    usage,
)

GT, MX = country("GT"), country("MX")


def peer(holder: Holder, roots: tuple[x509.Certificate, ...] = GT.roots, now: datetime = NOW) -> Peer:
    return verify_chain(holder.certificate, holder.intermediates, roots, now)


# --- accepted --------------------------------------------------------------------------------------------------------


def test_a_node_is_whom_its_certificate_names() -> None:
    holder = node_certificate(GT, validity=30 * DAY)
    assert peer(holder) == Peer(
        country="GT",
        federation=FEDERATION,
        kind="node",
        name="gt-1",
        serial=holder.serial,
        fingerprint=holder.certificate.fingerprint(SHA256()),
        not_after_us=int((NOW + 30 * DAY).timestamp()) * 1_000_000,
        issuer_serials=frozenset({GT.root.certificate.serial_number}),
    )


def test_a_desk_is_whom_its_certificate_names() -> None:
    found = peer(desk_certificate(GT, "a7-42"))
    assert (found.country, found.kind, found.name) == ("GT", "desk", "a7-42")


def test_an_issuing_authority_below_the_root_vouches_too() -> None:
    found = peer(node_certificate(GT, issuer=GT.issuing))
    assert found.issuer_serials == {GT.issuing.certificate.serial_number, GT.root.certificate.serial_number}


def test_what_came_along_may_be_in_any_order_and_include_the_root_and_strangers() -> None:
    holder = node_certificate(GT, issuer=GT.issuing)
    along = (MX.root.certificate, GT.root.certificate, *holder.intermediates)
    assert verify_chain(holder.certificate, along, GT.roots, NOW).name == "gt-1"


def test_a_country_may_have_two_roots_while_it_changes_them() -> None:
    key = generate_key()
    new = Authority(x509.load_pem_x509_certificate(create_root(GT.domain, key, NOW)), key)
    roots = (new.certificate, *GT.roots)
    # Both are made on one day, so they share a name: the signature decides which of them issued.
    assert new.certificate.subject == GT.root.certificate.subject
    assert peer(node_certificate(GT), roots).name == "gt-1"
    assert peer(node_certificate(GT, issuer=new), roots).name == "gt-1"


def test_a_renewed_root_serves_where_the_old_one_with_the_same_key_has_expired() -> None:
    old = forged_authority(GT.root, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    renewed = forge(
        GT.root,
        key=old.key,
        subject=old.certificate.subject,
        without=[x509.ExtendedKeyUsage],
        replaced=[(each.value, each.critical) for each in old.certificate.extensions if each.oid.dotted_string in CA],
    ).certificate
    assert peer(forge(old), (old.certificate, renewed)).name == "gt-1"


CA = {"2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30"}


def test_the_chain_is_valid_only_as_long_as_all_of_it() -> None:
    short = forged_authority(GT.root, not_after=NOW + DAY)
    found = peer(forge(short, intermediates=short.chain))
    assert found.not_after_us == int((NOW + DAY).timestamp()) * 1_000_000


def test_a_certificate_of_a_larger_curve_is_accepted() -> None:
    key = generate_key("P-384")
    root = Authority(x509.load_pem_x509_certificate(create_root(GT.domain, key, NOW)), key)
    assert peer(node_certificate(GT, issuer=root), (root.certificate,)).name == "gt-1"


@pytest.mark.parametrize(
    ("at", "accepted"),
    [
        (timedelta(microseconds=-1), False),
        (timedelta(), True),
        (3 * DAY - timedelta(microseconds=1), True),
        (3 * DAY, False),
    ],
)
def test_validity_is_half_open(at: timedelta, *, accepted: bool) -> None:
    holder = forge(GT.root, not_before=NOW, not_after=NOW + 3 * DAY)
    if accepted:
        assert peer(holder, now=NOW + at)
    else:
        with pytest.raises(CertificateInvalidError, match=r"expired|not yet valid"):
            peer(holder, now=NOW + at)


def test_the_zone_of_the_clock_does_not_matter() -> None:
    holder = forge(GT.root, not_before=NOW, not_after=NOW + timedelta(hours=1))
    assert peer(holder, now=NOW.astimezone(timezone(timedelta(hours=-6))))


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", EVIL)
def test_refused(wrong: str) -> None:
    with pytest.raises(CertificateInvalidError) as refusal:
        peer(EVIL[wrong]())
    assert refusal.value.public == IdentityError.public  # a stranger learns nothing of what was wrong


SENTENCES = {
    "issued by another country's authority": "not issued by an authority of GT",
    "self-signed": "not issued by an authority of GT",
    "expired": "has expired",
    "not yet valid": "not yet valid",
    "two URI names": "2 URI names",
    "client only": "wrong extended key usage for a node",
    "key usage of an authority": "wrong key usage",
    "issued by an authority without the bit": "not a certification authority",
    "issued by a node": "not of the form",
    "issued by an authority two below the root": "not issued by an authority of GT",
    "issued by an authority confined to another country": "mx.enlace.example, not of GT",
}


@pytest.mark.parametrize("wrong", SENTENCES)
def test_the_operator_reads_what_is_wrong(wrong: str) -> None:
    with pytest.raises(CertificateInvalidError, match=SENTENCES[wrong]):
        peer(EVIL[wrong]())


def test_another_countrys_roots_never_vouch() -> None:
    # The caller mixed up countries: neither the one nor the other accepts.
    with pytest.raises(CertificateInvalidError, match=r"mx\.enlace\.example, not of GT"):
        peer(node_certificate(GT), MX.roots)
    with pytest.raises(CertificateInvalidError, match=r"gt\.enlace\.example, not of MX"):
        peer(node_certificate(MX), GT.roots)


def test_a_union_of_roots_is_refused_even_for_an_honest_certificate() -> None:
    with pytest.raises(CertificateInvalidError, match="not of GT"):
        peer(node_certificate(GT), GT.roots + MX.roots)


def test_no_roots_no_peer() -> None:
    with pytest.raises(CertificateInvalidError, match="no roots of GT"):
        peer(node_certificate(GT), ())


def test_the_same_country_of_another_federation_is_a_stranger() -> None:
    with pytest.raises(CertificateInvalidError, match="not of GT"):
        peer(node_certificate(country("GT", "other.example")))


def test_a_leaf_that_names_another_country_is_refused_by_its_own_issuer() -> None:
    with pytest.raises(CertificateInvalidError):
        peer(forge(GT.root, "spiffe://mx.enlace.example/node/mx-1"))


@pytest.mark.parametrize(
    "replaced",
    [[SERVER, CLIENT], [SERVER]],
)
def test_a_desk_may_only_ask(replaced: list[x509.ObjectIdentifier]) -> None:
    desk = forge(GT.root, "spiffe://gt.enlace.example/desk/a1", replaced=[(x509.ExtendedKeyUsage(replaced), False)])
    with pytest.raises(CertificateInvalidError, match="wrong extended key usage for a desk"):
        peer(desk)


def test_the_root_itself_is_no_peer() -> None:
    with pytest.raises(CertificateInvalidError):
        verify_chain(GT.root.certificate, (), GT.roots, NOW)


def test_a_flood_of_intermediates_is_refused_before_any_signature_is_checked() -> None:
    with pytest.raises(CertificateInvalidError, match="more than 4"):
        verify_chain(node_certificate(GT).certificate, (GT.root.certificate,) * 5, GT.roots, NOW)


def signed_bytes(der: bytes, signature: bytes) -> st.SearchStrategy[int]:
    """Choose a position but for the count of unused bits before the signature, which the library overlooks."""
    return st.integers(0, len(der) - 1).filter(lambda position: position != len(der) - len(signature) - 1)


HOLDER = node_certificate(GT)
DER = HOLDER.certificate.public_bytes(Encoding.DER)


@settings(max_examples=400, deadline=None)
@given(position=signed_bytes(DER, HOLDER.certificate.signature), value=st.integers(1, 255))
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_any_altered_byte_is_refused_with_the_error_meant_for_it(position: int, value: int) -> None:
    altered = bytearray(DER)
    altered[position] ^= value
    with pytest.raises(CertificateInvalidError):
        verify_chain(parse_certificate(bytes(altered)), (), GT.roots, NOW)


BELOW = node_certificate(GT, issuer=GT.issuing)
ISSUING = GT.issuing.certificate.public_bytes(Encoding.DER)


@settings(max_examples=400, deadline=None)
@given(position=signed_bytes(ISSUING, GT.issuing.certificate.signature), value=st.integers(1, 255))
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_any_altered_byte_of_an_issuing_authority_is_refused(position: int, value: int) -> None:
    altered = bytearray(ISSUING)
    altered[position] ^= value
    with pytest.raises(CertificateInvalidError):
        verify_chain(BELOW.certificate, (parse_certificate(bytes(altered)),), GT.roots, NOW)


# --- authorities -----------------------------------------------------------------------------------------------------

AUTHORITIES: dict[str, list[tuple[x509.ExtensionType, bool]]] = {
    "no authority": [(x509.BasicConstraints(ca=False, path_length=None), True)],
    "basic constraints not critical": [(x509.BasicConstraints(ca=True, path_length=0), False)],
    "may not sign certificates": [(usage(crl_sign=True), True)],
    "name constraint not critical": [
        (x509.NameConstraints([x509.UniformResourceIdentifier("gt.enlace.example")], None), False)
    ],
    "two hosts": [
        (
            x509.NameConstraints(
                [x509.UniformResourceIdentifier(host) for host in ("gt.enlace.example", "mx.enlace.example")], None
            ),
            True,
        )
    ],
    "excludes only": [(x509.NameConstraints(None, [x509.UniformResourceIdentifier("mx.enlace.example")]), True)],
    "constrains other names only": [(x509.NameConstraints([x509.DNSName("gt.enlace.example")], None), True)],
    "named like a node": [(uri_names("spiffe://gt.enlace.example/node/gt-1", dns=()), False)],
    "not for servers": [(x509.ExtendedKeyUsage([CLIENT]), False)],
    "a critical extension not understood": [
        (x509.PolicyConstraints(require_explicit_policy=0, inhibit_policy_mapping=None), True)
    ],
}


@pytest.mark.parametrize("wrong", AUTHORITIES)
def test_an_authority_is_refused(wrong: str) -> None:
    kinds = {type(each) for each, _ in AUTHORITIES[wrong]}
    without = {x509.ExtendedKeyUsage} - kinds
    authority = forge(
        GT.root,
        replaced=[
            *((each.value, each.critical) for each in GT.root.certificate.extensions if each.oid.dotted_string in CA),
            *AUTHORITIES[wrong],
        ],
        without=without,
    ).certificate
    with pytest.raises(CertificateInvalidError):
        verify_authority(authority, "GT", FEDERATION)


def test_an_authority_is_its_countrys_own() -> None:
    verify_authority(GT.root.certificate, "GT", FEDERATION)
    verify_authority(GT.issuing.certificate, "GT", FEDERATION)
    for code, federation in [("MX", FEDERATION), ("GT", "other.example")]:
        with pytest.raises(CertificateInvalidError, match="is an authority of"):
            verify_authority(GT.root.certificate, code, federation)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uri", ["spiffe://gt.enlace.example/node/gt-1", "spiffe://us.a.b-c.d/desk/0f-9"])
def test_names_round_trip(uri: str) -> None:
    assert parse_spiffe_id(uri).uri == uri
    assert parse_trust_domain(parse_spiffe_id(uri).domain.uri) == parse_spiffe_id(uri).domain


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://gt.enlace.example/node/gt-1",
        "SPIFFE://gt.enlace.example/node/gt-1",
        "spiffe://GT.enlace.example/node/gt-1",
        "spiffe://gt.Enlace.example/node/gt-1",
        "spiffe://gt.enlace.example/Node/gt-1",
        "spiffe://gt.enlace.example/node/GT-1",
        "spiffe://gt.enlace.example:8443/node/gt-1",
        "spiffe://user@gt.enlace.example/node/gt-1",
        "spiffe://user:word@gt.enlace.example/node/gt-1",
        "spiffe://gt.enlace.example/node/gt-1?a=b",
        "spiffe://gt.enlace.example/node/gt-1#part",
        "spiffe://gt.enlace.example/node/gt-1/",
        "spiffe://gt.enlace.example/node//gt-1",
        "spiffe://gt.enlace.example//node/gt-1",
        "spiffe://gt.enlace.example/node/",
        "spiffe://gt.enlace.example/node",
        "spiffe://gt.enlace.example/",
        "spiffe://gt.enlace.example",
        "spiffe:///node/gt-1",
        "spiffe://gt/node/gt-1",
        "spiffe://gt./node/gt-1",
        "spiffe://gt..example/node/gt-1",
        "spiffe://.gt.enlace.example/node/gt-1",
        "spiffe://gt.enlace.example./node/gt-1",
        "spiffe://gt.-enlace.example/node/gt-1",
        "spiffe://gtm.enlace.example/node/gt-1",
        "spiffe://g.enlace.example/node/gt-1",
        "spiffe://gt.enlace.example/node/../desk/a1",
        "spiffe://gt.enlace.example/node/.",
        "spiffe://gt.enlace.example/node/gt%2d1",
        "spiffe://gt.enlace.example/auditor/a1",
        "spiffe://gt.enlace.example/node/gt-1\n",
        "spiffe://gt.enlace.example/node/gt-1 ",
        "spiffe://gt.enlace.example/node/" + "a" * 65,
        "spiffe://gt." + "abcdefg." * 32 + "example/node/gt-1",
    ],
)
def test_names_refused(uri: str) -> None:
    with pytest.raises(CertificateInvalidError):
        parse_spiffe_id(uri)
    if uri:
        with pytest.raises(CertificateInvalidError):
            claimed_identity(forge(GT.root, uri).certificate)


@pytest.mark.parametrize("uri", ["spiffe://gt.enlace.example/", "spiffe://GT.enlace.example", "spiffe://gt", ""])
def test_trust_domains_refused(uri: str) -> None:
    with pytest.raises(CertificateInvalidError):
        parse_trust_domain(uri)


def test_what_is_claimed_is_told_unverified() -> None:
    claimed = claimed_identity(EVIL["issued by another country's authority"]().certificate)
    assert claimed == SpiffeId("GT", FEDERATION, "node", "gt-1")
    assert claimed.domain == TrustDomain("GT", FEDERATION)


# --- revocation ------------------------------------------------------------------------------------------------------


def test_a_revocation_list_is_read() -> None:
    holder = node_certificate(GT)
    listed = parse_crl(GT.crl(7, [holder.serial, 5]), GT.roots)
    assert (listed.country, listed.number, listed.serials) == ("GT", 7, frozenset({holder.serial, 5}))
    assert listed.this_update_us <= int(NOW.timestamp()) * 1_000_000 < listed.next_update_us
    with pytest.raises(CertificateRevokedError, match="GT/gt-1 is revoked"):
        verify_not_revoked(peer(holder), listed.serials)
    verify_not_revoked(peer(node_certificate(GT)), listed.serials)


def test_revoking_an_issuing_authority_revokes_all_below_it() -> None:
    found = peer(node_certificate(GT, issuer=GT.issuing))
    with pytest.raises(CertificateRevokedError, match="authority that issued"):
        verify_not_revoked(found, {GT.issuing.certificate.serial_number})
    # Also where the directory lists the issuing authority itself, so that the path ends there.
    listed = peer(node_certificate(GT, issuer=GT.issuing), (GT.issuing.certificate,))
    with pytest.raises(CertificateRevokedError, match="authority that issued"):
        verify_not_revoked(listed, {GT.issuing.certificate.serial_number})


def crl(
    number: int | None = 1,
    *,
    until: timedelta = DAY,
    signer: Authority = GT.root,
    extra: x509.ExtensionType | None = None,
    entry: x509.ExtensionType | None = None,
) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(GT.root.certificate.subject)
    builder = builder.last_update(NOW).next_update(NOW + until)
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    if extra is not None:
        builder = builder.add_extension(extra, critical=True)
    revoked = x509.RevokedCertificateBuilder().serial_number(5).revocation_date(NOW)
    if entry is not None:
        revoked = revoked.add_extension(entry, critical=True)
    return builder.add_revoked_certificate(revoked.build()).sign(signer.key, SHA256()).public_bytes(Encoding.DER)


BY_MX_UNDER_THE_NAME_OF_GT = Authority(GT.root.certificate, MX.root.key)
PARTIAL = x509.IssuingDistributionPoint(
    full_name=None,
    relative_name=None,
    only_contains_user_certs=True,
    only_contains_ca_certs=False,
    only_some_reasons=None,
    indirect_crl=False,
    only_contains_attribute_certs=False,
)


@pytest.mark.parametrize(
    ("der", "sentence"),
    [
        pytest.param(b"", "can't be read", id="empty"),
        pytest.param(b"\x30\x00", "can't be read", id="not a list"),
        pytest.param(GT.crl(1)[:-1], "can't be read", id="cut off"),
        pytest.param(MX.crl(1), "not signed by an authority", id="another country's"),
        pytest.param(crl(signer=BY_MX_UNDER_THE_NAME_OF_GT), "not signed by", id="another's key under this name"),
        pytest.param(crl(None), "no number", id="no number"),
        pytest.param(crl(2**64), "no number that fits", id="number too large"),
        pytest.param(crl(extra=x509.DeltaCRLIndicator(1)), "complete list", id="only what changed"),
        pytest.param(crl(extra=PARTIAL), "complete list", id="only some certificates"),
        pytest.param(
            crl(entry=x509.CertificateIssuer([x509.DirectoryName(MX.root.certificate.subject)])),
            "complete list",
            id="another issuer's certificates",
        ),
    ],
)
def test_a_revocation_list_is_refused(der: bytes, sentence: str) -> None:
    with pytest.raises(CertificateInvalidError, match=sentence):
        parse_crl(der, GT.roots)


def test_a_list_by_the_issuing_authority_counts_when_the_country_lists_that_authority() -> None:
    signer = GT.issuing
    der = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(signer.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + DAY)
        .add_extension(x509.CRLNumber(3), critical=False)
        .sign(signer.key, SHA256())
        .public_bytes(Encoding.DER)
    )
    with pytest.raises(CertificateInvalidError):
        parse_crl(der, GT.roots)
    listed = parse_crl(der, (*GT.roots, signer.certificate))
    assert listed.number == 3
    # Numbers of different issuers are told apart, or a stolen authority could outnumber the root.
    assert listed.issuer != parse_crl(GT.crl(1), GT.roots).issuer == parse_crl(GT.crl(2), GT.roots).issuer


def test_an_authority_that_may_not_sign_lists_is_not_heard() -> None:
    mute = forged_authority(GT.root, replaced=[(usage(key_cert_sign=True), True)])
    der = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(mute.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + DAY)
        .add_extension(x509.CRLNumber(3), critical=False)
        .sign(mute.key, SHA256())
        .public_bytes(Encoding.DER)
    )
    with pytest.raises(CertificateInvalidError, match="not signed by"):
        parse_crl(der, (mute.certificate,))


CRL = GT.crl(9, [1, 2, 3])


@settings(max_examples=300, deadline=None)
@given(position=signed_bytes(CRL, x509.load_der_x509_crl(CRL).signature), value=st.integers(1, 255))
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_any_altered_byte_of_a_list_is_refused(position: int, value: int) -> None:
    altered = bytearray(CRL)
    altered[position] ^= value
    with pytest.raises(CertificateInvalidError):
        parse_crl(bytes(altered), GT.roots)


@pytest.mark.parametrize(
    "text", [b"", b"\xff", GT.roots_pem[:200], b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"]
)
def test_what_is_no_pem_is_refused(text: bytes) -> None:
    with pytest.raises(CertificateInvalidError, match="can't be read"):
        parse_chain(text)


def test_times_are_microseconds() -> None:
    assert datetime.fromtimestamp(peer(HOLDER).not_after_us / 1e6, UTC) == HOLDER.certificate.not_valid_after_utc
