import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import (
    ClockError,
    EnlaceError,
    MalformedError,
    MisdirectedError,
    SignatureError,
    UnknownMemberError,
)
from node.federation.envelope import (
    SIZE_CLASSES,
    STATEMENT_TYPE,
    Opened,
    Sealed,
    Signer,
    new_salt,
    open_envelope,
    padded,
    seal,
)
from node.identity.keys import key_id, public_key, sign
from node.wire.envelope_pb2 import Envelope, Statement, StatementType
from node.wire.exchange_pb2 import Answer, Body, Query
from node.wire.ledger_pb2 import Direction, LeafKind, LeafShared

NOW_US = 1_790_000_000_000_000
WINDOW_US = 120_000_000
PRIVATE = {"GT": b"g" * 32, "MX": b"m" * 32}
QUERY, ANSWER = StatementType.STATEMENT_TYPE_QUERY, StatementType.STATEMENT_TYPE_ANSWER


def signer(country: str) -> Signer:
    private = PRIVATE[country]
    return Signer(country, f"{country.lower()}-1", key_id(public_key(private)), private)


def known_key(country: str, node: str, key: bytes, _: int) -> bytes:
    public = public_key(PRIVATE[country])
    if node != f"{country.lower()}-1" or key != key_id(public):
        raise UnknownMemberError("no such key")
    return public


def question(**changes: object) -> Sealed:
    values: dict[str, object] = {
        "statement_type": QUERY,
        "exchange_id": b"x" * 16,
        "recipient": "MX",
        "body": Body(salt=new_salt(), query=Query(case_reference="C-1")),
        "now_us": NOW_US,
        "directory_version": 7,
    }
    return seal(signer("GT"), **(values | changes))  # type: ignore[arg-type]


def answer_to(opened: Opened, **changes: object) -> Sealed:
    values: dict[str, object] = {
        "statement_type": ANSWER,
        "exchange_id": opened.statement.exchange_id,
        "recipient": "GT",
        "body": Body(salt=new_salt(), answer=Answer()),
        "now_us": NOW_US + 5,
        "directory_version": 7,
        "answered": opened,
    }
    return seal(signer("MX"), **(values | changes))  # type: ignore[arg-type]


def opened(envelope: Envelope, **changes: object) -> Opened:
    values: dict[str, object] = {
        "expected": QUERY,
        "sender": "GT",
        "recipient": "MX",
        "public_key": known_key,
        "now_us": NOW_US,
        "window_us": WINDOW_US,
    }
    return open_envelope(envelope, **(values | changes))  # type: ignore[arg-type]


def test_what_was_sealed_is_opened() -> None:
    sealed = question()
    found = opened(sealed.envelope)
    assert found.body.query.case_reference == "C-1"
    assert found.statement.directory_version == 7
    assert found.statement_bytes == sealed.statement
    assert found.statement.body_sha256 == hashlib.sha256(sealed.body).digest()


def test_an_answer_proves_the_question_in_its_ledger_line() -> None:
    asked = question()
    heard = opened(asked.envelope)
    answer = answer_to(heard)
    got = opened(answer.envelope, expected=ANSWER, sender="MX", recipient="GT", answers=asked)
    assert got.body.HasField("answer")
    line = LeafShared.FromString(answer.shared)
    assert line.kind == LeafKind.LEAF_KIND_ANSWERED
    assert line.direction == Direction.DIRECTION_SENT
    assert line.counterpart_statement == asked.statement
    assert line.counterpart_signature == asked.envelope.signature


def _flip(name: str) -> Callable[[Envelope], None]:
    def alter(envelope: Envelope) -> None:
        data = bytearray(getattr(envelope, name))
        data[len(data) // 2] ^= 1
        setattr(envelope, name, bytes(data))

    return alter


def _resigned(**changes: object) -> Callable[[Envelope], None]:
    def alter(envelope: Envelope) -> None:
        statement = Statement.FromString(envelope.statement)
        for name, value in changes.items():
            setattr(statement, name, value)
        envelope.statement = statement.SerializeToString()
        envelope.signature = sign(PRIVATE["GT"], STATEMENT_TYPE, envelope.statement)

    return alter


def _line(**changes: object) -> Callable[[Envelope], None]:
    """Alter the sender's ledger line, and sign for it as altered: only its contents are wrong."""

    def alter(envelope: Envelope) -> None:
        line = LeafShared.FromString(envelope.leaf_shared)
        for name, value in changes.items():
            setattr(line, name, value)
        envelope.leaf_shared = line.SerializeToString()
        _resigned(leaf_sha256=hashlib.sha256(envelope.leaf_shared).digest())(envelope)

    return alter


def _other_type(envelope: Envelope) -> None:
    envelope.signature = sign(PRIVATE["GT"], "application/vnd.enlace.directory.v1+protobuf", envelope.statement)


REFUSED: dict[str, tuple[Callable[[Envelope], None], type[EnlaceError]]] = {
    "body altered": (_flip("body"), SignatureError),
    "signature altered": (_flip("signature"), SignatureError),
    "line altered": (_flip("leaf_shared"), SignatureError),
    "signature of another type": (_other_type, SignatureError),
    "signature cut": (lambda e: setattr(e, "signature", e.signature[:63]), SignatureError),
    "no signature": (lambda e: e.ClearField("signature"), SignatureError),
    "unknown key": (lambda e: setattr(e, "key_id", b"12345678"), UnknownMemberError),
    "no statement": (lambda e: e.ClearField("statement"), MalformedError),
    "statement no message": (lambda e: setattr(e, "statement", b"\xff\xff\xff"), MalformedError),
    "another protocol": (_resigned(protocol=2), MalformedError),
    "short exchange id": (_resigned(exchange_id=b"x" * 15), MalformedError),
    "another type": (_resigned(type=ANSWER), MalformedError),
    "from another country": (_resigned(sender="MX"), MisdirectedError),
    "to another country": (_resigned(recipient="US"), MisdirectedError),
    "an hour early": (_resigned(time_us=NOW_US - 3_600_000_000), ClockError),
    "an hour late": (_resigned(time_us=NOW_US + 3_600_000_000), ClockError),
    "line of another exchange": (_line(exchange_id=b"y" * 16), MisdirectedError),
    "line of another kind": (_line(kind=LeafKind.LEAF_KIND_DENIED), MisdirectedError),
    "line about another body": (_line(body_sha256=b"b" * 32), MisdirectedError),
    "line with another peer": (_line(peer="US"), MisdirectedError),
    "line at another time": (_line(time_us=NOW_US + 1), MisdirectedError),
    "line that answers something": (_line(counterpart_statement=b"s"), MisdirectedError),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    alter, kind = REFUSED[name]
    envelope = question().envelope
    alter(envelope)
    with pytest.raises(kind):
        opened(envelope)


def test_the_edges_of_the_window_are_inside() -> None:
    envelope = question().envelope
    opened(envelope, now_us=NOW_US + WINDOW_US)
    opened(envelope, now_us=NOW_US - WINDOW_US)
    with pytest.raises(ClockError):
        opened(envelope, now_us=NOW_US + WINDOW_US + 1)


def test_an_answer_to_another_question_is_refused() -> None:
    mine, other = question(), question(exchange_id=b"y" * 16)
    answer = answer_to(opened(other.envelope))
    with pytest.raises(MisdirectedError):
        opened(answer.envelope, expected=ANSWER, sender="MX", recipient="GT", answers=mine)


def test_a_body_without_its_salt_is_refused() -> None:
    for salt in (b"", b"s" * 31, b"s" * 33):
        sealed = question(body=Body(salt=salt, query=Query()))
        with pytest.raises(MalformedError):
            opened(sealed.envelope)


@given(st.integers(0, 70_000))
def test_bodies_come_in_classes(size: int) -> None:
    data = padded(Body(salt=b"s" * 32, query=Query(case_reference="c" * size)))
    if len(data) <= SIZE_CLASSES[-1]:
        assert any(each - 1 <= len(data) <= each for each in SIZE_CLASSES)
    else:
        assert len(data) % SIZE_CLASSES[-1] - SIZE_CLASSES[-1] >= -1 or len(data) % SIZE_CLASSES[-1] == 0
    assert Body.FromString(data).query.case_reference == "c" * size


@given(st.binary(max_size=600))
def test_rubbish_is_refused_with_a_deliberate_error(data: bytes) -> None:
    envelope = question().envelope
    envelope.statement = data
    with pytest.raises(EnlaceError):
        opened(envelope)
