"""Sealing and opening envelopes: a signed statement beside the bytes it is about.

The signature covers the statement, the statement names the SHA-256 of the body and of the sender's own ledger line, so
one signature serves message and receipt, and a bundle verifies without its contents. What is hashed and verified is
always the bytes that came, never a serialisation of ours.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from node.errors import ClockError, MalformedError, MisdirectedError, SignatureError
from node.identity.keys import sign, verify_signature
from node.wire.envelope_pb2 import Envelope, Statement, StatementType
from node.wire.exchange_pb2 import Body
from node.wire.ledger_pb2 import DIRECTION_SENT, LeafKind, LeafShared

STATEMENT_TYPE = "application/vnd.enlace.statement.v1+protobuf"
PROTOCOL = 1
SALT_BYTES = 32
EXCHANGE_ID_BYTES = 16
# Sizes that bodies are padded to, so that an answer's size doesn't tell a hit from a no-hit.
SIZE_CLASSES = (1_024, 4_096, 16_384, 65_536)

_PADDING_TAG = bytes([Body.PADDING_FIELD_NUMBER << 3 | 2])  # a field of bytes

KIND_OF_TYPE = {
    StatementType.STATEMENT_TYPE_QUERY: LeafKind.LEAF_KIND_ASKED,
    StatementType.STATEMENT_TYPE_ANSWER: LeafKind.LEAF_KIND_ANSWERED,
    StatementType.STATEMENT_TYPE_ACKNOWLEDGEMENT: LeafKind.LEAF_KIND_ACKNOWLEDGED,
    StatementType.STATEMENT_TYPE_RECEIPT: LeafKind.LEAF_KIND_RECEIVED,
    StatementType.STATEMENT_TYPE_RECONCILE_QUERY: LeafKind.LEAF_KIND_RECONCILE_ASKED,
    StatementType.STATEMENT_TYPE_RECONCILE_ANSWER: LeafKind.LEAF_KIND_RECONCILE_ANSWERED,
    StatementType.STATEMENT_TYPE_MAIL: LeafKind.LEAF_KIND_MAIL,
    StatementType.STATEMENT_TYPE_MAIL_RECEIPT: LeafKind.LEAF_KIND_MAIL_RECEIPT,
}
_NUMBERED = (StatementType.STATEMENT_TYPE_MAIL, StatementType.STATEMENT_TYPE_MAIL_RECEIPT)


@dataclass(frozen=True, slots=True)
class Signer:
    """What a node signs with: its country, name, key id (8 bytes) and Ed25519 private key (32 bytes)."""

    country: str
    node: str
    key_id: bytes
    private_key: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """An envelope made here, with what its ledger line needs."""

    envelope: Envelope
    statement: bytes
    shared: bytes  # LeafShared
    body: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """A verified envelope: the statement, its bytes and signature as received, and the body."""

    statement: Statement
    statement_bytes: bytes
    key_id: bytes
    signature: bytes
    body: Body
    body_bytes: bytes


def new_salt() -> bytes:
    """Return the 32 random bytes that keep a body's digest from being guessed back."""
    return os.urandom(SALT_BYTES)


def padded(body: Body) -> bytes:
    """Serialise the body with zeros up to the next size class; larger ones go to a multiple of the largest class.

    The padding has the highest number of all fields, so it is written behind the others, whose bytes are the message's.
    """
    data = body.SerializeToString()
    size = len(data)
    # A field costs one byte of tag and one to three of length. At the one size where the length would have to grow by
    # a byte and shrink by two, the body stays a byte short of its class.
    wanted = next((c for c in SIZE_CLASSES if size + 4 <= c), None)
    if wanted is None:
        wanted = -(-(size + 4) // SIZE_CLASSES[-1]) * SIZE_CLASSES[-1]
    room = wanted - size - 2
    for length_bytes in (1, 2, 3):
        length = room - length_bytes + 1
        if length < 1 << (7 * length_bytes):
            return b"".join((data, _PADDING_TAG, _varint(length), bytes(length)))
    raise MalformedError("a body of more than 2 MiB can't be padded")


def _varint(number: int) -> bytes:
    """Encode a number as protobuf does, in as few bytes as it takes."""
    encoded = bytearray()
    while rest := number >> 7:
        encoded.append(number & 0x7F | 0x80)
        number = rest
    encoded.append(number)
    return bytes(encoded)


def seal(
    signer: Signer,
    *,
    statement_type: StatementType.ValueType,
    exchange_id: bytes,
    recipient: str,
    body: Body,
    now_us: int,
    directory_version: int,
    answered: Opened | None = None,
    mail_number: int = 0,
) -> Sealed:
    """Build the sender's ledger line, the statement over it and the body, and sign the statement.

    `answered` is the message that this one replies to: its statement and signature enter the ledger line.
    """
    body_bytes = padded(body)
    body_sha256 = hashlib.sha256(body_bytes).digest()
    shared = LeafShared(
        kind=KIND_OF_TYPE[statement_type],
        direction=DIRECTION_SENT,
        time_us=now_us,
        exchange_id=exchange_id,
        node=f"{signer.country}/{signer.node}",
        peer=recipient,
        body_sha256=body_sha256,
    )
    if answered is not None:
        shared.counterpart_statement = answered.statement_bytes
        shared.counterpart_key_id = answered.key_id
        shared.counterpart_signature = answered.signature
    shared_bytes = shared.SerializeToString()
    statement = Statement(
        type=statement_type,
        protocol=PROTOCOL,
        exchange_id=exchange_id,
        sender=signer.country,
        recipient=recipient,
        node=signer.node,
        time_us=now_us,
        body_sha256=body_sha256,
        leaf_sha256=hashlib.sha256(shared_bytes).digest(),
        directory_version=directory_version,
        mail_number=mail_number,
    ).SerializeToString()
    envelope = Envelope(
        statement=statement,
        key_id=signer.key_id,
        signature=sign(signer.private_key, STATEMENT_TYPE, statement),
        body=body_bytes,
        leaf_shared=shared_bytes,
    )
    return Sealed(envelope=envelope, statement=statement, shared=shared_bytes, body=body_bytes)


def open_envelope(
    envelope: Envelope,
    *,
    expected: StatementType.ValueType,
    sender: str,
    recipient: str,
    public_key: Callable[[str, str, bytes, int], bytes],
    now_us: int,
    window_us: int,
    age_us: int = 0,
    answers: Sealed | None = None,
) -> Opened:
    """Verify an envelope and return what it carries.

    `sender` is the country on the other end of the TLS connection; `public_key(country, node, key_id, at_us)` looks a
    signing key up in the directory in force. `answers` is the message of ours that this one must reply to. A message
    that may have waited to be delivered for `age_us` is verified by the key of the time at which it was signed.

    Raises:
        MalformedError, MisdirectedError, SignatureError, ClockError, IdentityError: in the order of the steps below.
    """
    # Each read of a field copies it, so each is read once.
    statement_bytes, body_bytes, shared_bytes = envelope.statement, envelope.body, envelope.leaf_shared
    key_id, signature = envelope.key_id, envelope.signature
    # 1. The statement is a message of the contract, of the type that this call carries.
    statement = _parse_statement(statement_bytes)
    if statement.type != expected:
        raise MalformedError("the statement is of another type than the call")
    # 2. It is from the country on the connection, to this country.
    if statement.sender != sender or statement.recipient != recipient:
        raise MisdirectedError(f"the statement names another sender or recipient than {sender} and {recipient}")
    # 3. The signature is by a key that the directory gives that node at this time.
    key = public_key(sender, statement.node, key_id, min(statement.time_us, now_us) if age_us else now_us)
    verify_signature(key, STATEMENT_TYPE, statement_bytes, signature)
    # 4. Body and ledger line are the ones signed for.
    if hashlib.sha256(body_bytes).digest() != statement.body_sha256:
        raise SignatureError("the body is not the one that was signed for")
    if hashlib.sha256(shared_bytes).digest() != statement.leaf_sha256:
        raise SignatureError("the ledger line is not the one that was signed for")
    # 5. The time is near ours: older messages are outside the replay memory's promise.
    if not -max(window_us, age_us) <= statement.time_us - now_us <= window_us:
        raise ClockError(f"the statement's time is {(statement.time_us - now_us) / 1e6:+.0f} s from this node's clock")
    # 6. The sender's line says what the statement says, so that both sides can prove the same.
    _verify_shared(shared_bytes, statement, answers)
    # 7. Only now is the content looked at.
    return Opened(statement, statement_bytes, key_id, signature, _parse_body(body_bytes), body_bytes)


def _parse_statement(data: bytes) -> Statement:
    try:
        statement = Statement.FromString(data)
    except DecodeError as error:
        raise MalformedError("the statement is not a message of the contract") from error
    _verify_bare(statement, data)
    if statement.protocol != PROTOCOL:
        raise MalformedError(f"protocol {statement.protocol} is not spoken here")
    if len(statement.exchange_id) != EXCHANGE_ID_BYTES:
        raise MalformedError("the exchange id is not 16 bytes")
    if (statement.type in _NUMBERED) != (0 < statement.mail_number < 1 << 63):
        raise MalformedError("the number of a mail is missing, too large, or where none belongs")
    return statement


def _parse_body(data: bytes) -> Body:
    try:
        body = Body.FromString(data)
    except DecodeError as error:
        raise MalformedError("the body is not a message of the contract") from error
    if len(body.salt) != SALT_BYTES:
        raise MalformedError("the body's salt is not 32 bytes")
    return body


def _verify_shared(data: bytes, statement: Statement, answers: Sealed | None) -> None:
    try:
        shared = LeafShared.FromString(data)
    except DecodeError as error:
        raise MalformedError("the ledger line is not a message of the contract") from error
    _verify_bare(shared, data)
    # A reply must be to exactly the statement sent, else an answer to another question could be passed off as ours.
    answered = (answers.statement, answers.envelope.key_id, answers.envelope.signature) if answers else (b"", b"", b"")
    told = (
        shared.kind == KIND_OF_TYPE[statement.type]
        and shared.direction == DIRECTION_SENT
        and shared.time_us == statement.time_us
        and shared.exchange_id == statement.exchange_id
        and shared.node == f"{statement.sender}/{statement.node}"
        and shared.peer == statement.recipient
        and shared.body_sha256 == statement.body_sha256
        and (shared.counterpart_statement, shared.counterpart_key_id, shared.counterpart_signature) == answered
    )
    if not told:
        raise MisdirectedError("the sender's ledger line does not describe this message")


def _verify_bare(message: Statement | LeafShared, data: bytes) -> None:
    """Check that the bytes say what the message says and nothing besides.

    They go into this node's ledger as they are and for ever, so an unknown field, or one that is said twice, would be a
    place for a peer to put a name where nobody can erase it.
    """
    message.DiscardUnknownFields()
    if message.SerializeToString() != data:
        raise MalformedError("the statement or the ledger line holds more than the contract's fields")
