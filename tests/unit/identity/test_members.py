"""What a member says in the directory, and what nobody can say in its place."""

from collections.abc import Callable

import pytest

from node.errors import DirectoryMalformedError, DirectoryRollbackError, DirectorySignatureError
from node.identity.keys import public_key
from node.identity.members import sign_member
from node.wire.codes_pb2 import Crime, InstrumentKind, Obligation
from node.wire.directory_pb2 import Audit, Instrument, MemberRecord, SignedMember
from tests.directories import (
    HELD,
    NOW_US,
    again_certified,
    altered,
    authority,
    directory,
    instrument,
    key,
    member,
    record,
    unsigned_change,
)


def mx(alter: Callable[[MemberRecord], object]) -> list[SignedMember]:
    return [member("GT"), altered("MX", alter)]


def signing_with(owner: str) -> list[SignedMember]:
    return mx(lambda r: setattr(r.nodes[0].signing_keys[0], "public_key", public_key(key(owner))))


FORGED: dict[str, list[SignedMember]] = {
    "changed without its own signature": [member("GT"), unsigned_change()],
    "no signature": [SignedMember(record=record("MX").SerializeToString())],
    "another member's signature under its own key": [
        SignedMember(record=member("MX").record, root_key=member("MX").root_key, signature=member("GT").signature)
    ],
}


@pytest.mark.parametrize("members", FORGED.values(), ids=FORGED.keys())
def test_stewards_can_not_speak_for_a_member(members: list[SignedMember]) -> None:
    with pytest.raises(DirectorySignatureError, match="the record of MX is not signed by its own root key"):
        HELD.updated(directory(members=members, instruments=[]), NOW_US)


def audited(**changes: object) -> list[SignedMember]:
    told = {
        "institution": "Invented",
        "root_key": public_key(key("institution")),
        "period_days": 90,
        "retention_days": 30,
    }
    return mx(lambda r: r.audit.CopyFrom(Audit(**{**told, **changes})))  # type: ignore[arg-type]


def test_a_country_names_who_audits_it_and_for_how_long() -> None:
    held = HELD.updated(directory(members=audited(), instruments=[]), NOW_US)
    assert held.member("MX").audit.period_days == 90
    assert not held.member("GT").HasField("audit")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"institution": ""}, "no proper name"),
        ({"root_key": b"short"}, "key is not 32 bytes"),
        ({"root_key": public_key(key("GT root"))}, "the same Ed25519 key"),
        ({"period_days": 0}, "not a number of days"),
        ({"period_days": 40_000}, "not a number of days"),
        ({"retention_days": 91}, "ends before openings are erased"),
    ],
)
def test_an_institution_that_could_not_audit_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(DirectoryMalformedError, match=says):
        HELD.updated(directory(members=audited(**changes), instruments=[]), NOW_US)


def called_elsewhere() -> SignedMember:
    changed = record("MX", 5)
    changed.duty_telephone = "+52 555 000 0000"
    return sign_member(changed, key("MX root"))


REPEATED: dict[str, tuple[SignedMember, str]] = {
    "number fell": (member("MX", 4), "has the number 4, after 5"),
    "changed without a new number": (called_elsewhere(), "without a new number"),
    "root key changed without a new number": (member("MX", 5, root="other"), "without a new number"),
}


@pytest.mark.parametrize(("repeated", "reason"), REPEATED.values(), ids=REPEATED.keys())
def test_a_record_never_goes_back(repeated: SignedMember, reason: str) -> None:
    held = HELD.updated(directory(members=[member("GT"), member("MX", 5)]), NOW_US)
    with pytest.raises(DirectoryRollbackError, match=reason):
        held.updated(directory(5, members=[member("GT"), repeated], instruments=[]), NOW_US)


MEMBERS_REFUSED: dict[str, tuple[list[SignedMember], str]] = {
    "twice": ([member("MX"), member("MX", 2)], "MX is in the directory twice"),
    "two with one CA": (
        mx(lambda r: r.ca_certificates.append(again_certified("GT", "MX"))),
        "GT and MX have the same CA key",
    ),
    "another country's CA": (mx(lambda r: r.ca_certificates.append(authority("GT"))), "not MX's own"),
    "CA of another federation": (
        mx(lambda r: r.ca_certificates.append(again_certified("MX", "MX", "x.example"))),
        "not MX's own",
    ),
    "two with one root key": (
        [sign_member(record("GT", 2), key("one")), sign_member(record("MX", 2), key("one"))],
        "GT and MX have the same Ed25519 key",
    ),
    "two with one signing key": (signing_with("GT node"), "GT and MX have the same Ed25519 key"),
    "one's signing key the other's root key": (signing_with("GT root"), "GT and MX have the same Ed25519 key"),
    "root key also signs for a node": (signing_with("MX root"), "MX has a node name or a key twice"),
    "two with one node name": (mx(lambda r: setattr(r.nodes[0], "name", "gt-1")), "have the same node name"),
    "one node twice": (mx(lambda r: r.nodes.append(r.nodes[0])), "MX has a node name or a key twice"),
    "no CA": (mx(lambda r: r.ClearField("ca_certificates")), "no CA certificate"),
    "unreadable CA": (mx(lambda r: r.ca_certificates.append(b"\x30\x00")), "not MX's own"),
    "huge CA": (mx(lambda r: r.ca_certificates.append(bytes(5_000))), "too large"),
    "no country": (mx(lambda r: setattr(r, "country", "mx")), "no country"),
    "no number": (mx(lambda r: setattr(r, "number", 0)), "no number"),
    "the last number there is": (mx(lambda r: setattr(r, "number", (1 << 64) - 1)), "too large"),
    "no node": (mx(lambda r: r.ClearField("nodes")), "no node"),
    "a node without a proper name": (mx(lambda r: setattr(r.nodes[0], "name", "MX 1\x1b")), "name is malformed"),
    "no port": (mx(lambda r: setattr(r.nodes[0], "endpoint", "mx-1.example")), "host:port"),
    "no such port": (mx(lambda r: setattr(r.nodes[0], "endpoint", "mx-1.example:70000")), "host:port"),
    "a wildcard": (mx(lambda r: setattr(r.nodes[0], "server_name", "*.example")), "no DNS name"),
    "no signing key": (mx(lambda r: r.nodes[0].ClearField("signing_keys")), "no signing key"),
    "short signing key": (
        mx(lambda r: setattr(r.nodes[0].signing_keys[0], "public_key", b"short")),
        "32 bytes",
    ),
    "signing key ends before it begins": (
        mx(lambda r: setattr(r.nodes[0].signing_keys[0], "valid_until_us", 1)),
        "ends before it begins",
    ),
    "no duty telephone": (mx(lambda r: setattr(r, "duty_telephone", "")), "telephone"),
    "no protocol": (mx(lambda r: r.ClearField("protocols")), "no protocol"),
    "an obligation without a name": (mx(lambda r: r.accepted.append(Obligation.OBLIGATION_UNKNOWN)), "no name"),
    "a treaty without an id": (mx(lambda r: r.treaties.append("")), "id is malformed"),
    "oversized": (mx(lambda r: r.treaties.append("x" * 40_000)), "larger than"),
    "malformed": ([SignedMember(record=b"\xff")], "not a message"),
    "too many": ([SignedMember()] * 65, "more than 64 members"),
}


@pytest.mark.parametrize(("members", "reason"), MEMBERS_REFUSED.values(), ids=MEMBERS_REFUSED.keys())
def test_a_member_is_refused(members: list[SignedMember], reason: str) -> None:
    with pytest.raises(DirectoryMalformedError, match=reason):
        HELD.updated(directory(members=members, instruments=[]), NOW_US)


# --- refused: instruments ---------------------------------------------------------------------------------------------

INSTRUMENTS_REFUSED = {
    "party that is no member": ([instrument(parties=["GT", "BR"])], "BR is not a member"),
    "one party": ([instrument(parties=["GT"])], "between two states"),
    "one party twice": ([instrument(parties=["GT", "GT"])], "between two states"),
    "party that does not say so itself": ([instrument(id="MLAT-GT-MX")], "GT does not say that it is party"),
    "no id": ([instrument(id="")], "no proper id"),
    "one id twice": ([instrument(), instrument()], "twice"),
    "no kind": ([instrument(kind=InstrumentKind.INSTRUMENT_KIND_UNKNOWN)], "no kind"),
    "crime without a name": ([instrument(crimes=[Crime.CRIME_UNKNOWN])], "crime that has no name"),
    "no title": ([instrument(title="")], "title"),
    "ends before it begins": ([instrument(valid_until_us=1)], "ends before"),
    "too many": ([instrument()] * 129, "more than 128 instruments"),
}


@pytest.mark.parametrize(("instruments", "reason"), INSTRUMENTS_REFUSED.values(), ids=INSTRUMENTS_REFUSED.keys())
def test_an_instrument_is_refused(instruments: list[Instrument], reason: str) -> None:
    with pytest.raises(DirectoryMalformedError, match=reason):
        HELD.updated(directory(instruments=instruments), NOW_US)
