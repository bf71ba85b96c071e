"""Envelopes of an identified peer that are not accepted: refused, logged, and nothing is lost."""

import secrets
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import grpc
import pytest

from node.cli.serving import running
from node.errors import (
    ClockError,
    MisdirectedError,
    ReplayError,
    SignatureError,
)
from node.federation.envelope import STATEMENT_TYPE, Sealed, Signer, new_salt, seal
from node.identity.keys import generate_private_key, key_id, public_key, sign
from node.wire.directory_pb2 import Node, NodeKey
from node.wire.envelope_pb2 import Envelope, Statement, StatementType
from node.wire.exchange_pb2 import Answer, Body
from node.wire.ledger_pb2 import LeafShared
from tests.federation.support import (
    refused,
    rejected,
    still_answers,
)
from tests.peer_simulator import (
    channel_to,
    opened_answer,
    request,
    sealed_query,
    send,
    signer_of,
    telephone_query,
)
from tests.pki import node_certificate
from tests.world import DAY_US, World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

Status = grpc.StatusCode
HOUR_US = 3_600_000_000


# --- the envelope ----------------------------------------------------------------------------------------------------


def flipped(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def later(statement: bytes) -> bytes:
    changed = Statement.FromString(statement)
    changed.time_us += 1
    return changed.SerializeToString()


ALTERED: dict[str, Callable[[Envelope], None]] = {
    "statement": lambda envelope: setattr(envelope, "statement", later(envelope.statement)),
    "body": lambda envelope: setattr(envelope, "body", flipped(envelope.body, 5)),
    "padding": lambda envelope: setattr(envelope, "body", flipped(envelope.body)),
    "more padding": lambda envelope: setattr(envelope, "body", envelope.body + b"\x7a\x01\x00"),
    "ledger line": lambda envelope: setattr(envelope, "leaf_shared", flipped(envelope.leaf_shared)),
    "signature": lambda envelope: setattr(envelope, "signature", flipped(envelope.signature)),
    "no signature": lambda envelope: setattr(envelope, "signature", b""),
    "key id": lambda envelope: setattr(envelope, "key_id", flipped(envelope.key_id)),
}


@pytest.mark.parametrize("part", ALTERED)
async def test_an_altered_part_breaks_the_signature(world: World, channel: grpc.aio.Channel, part: str) -> None:
    sealed = sealed_query(world["GT"], "MX", telephone_query())
    ALTERED[part](sealed.envelope)
    await refused(
        world,
        send(channel, request(sealed)),
        Status.UNAUTHENTICATED,
        rejected("SignatureError"),
        words=SignatureError.public,
    )
    await still_answers(world)


@pytest.mark.parametrize("claimed", ["its own key id", "the member's key id"])
async def test_a_signature_by_another_key_is_refused(world: World, channel: grpc.aio.Channel, claimed: str) -> None:
    stranger = generate_private_key()
    signer = signer_of(world["GT"])
    identified = key_id(public_key(stranger)) if claimed == "its own key id" else signer.key_id
    sealed = sealed_by(Signer("GT", "gt-1", identified, stranger))
    await refused(world, send(channel, request(sealed)), Status.UNAUTHENTICATED, rejected("SignatureError"))


async def test_the_key_of_another_country_does_not_sign_for_this_one(world: World, channel: grpc.aio.Channel) -> None:
    other = signer_of(world["US"])
    sealed = sealed_by(Signer("GT", "gt-1", other.key_id, other.private_key))
    await refused(world, send(channel, request(sealed)), Status.UNAUTHENTICATED, rejected("SignatureError"))


async def test_a_signature_for_another_purpose_is_no_signature(world: World, channel: grpc.aio.Channel) -> None:
    sealed = sealed_query(world["GT"], "MX", telephone_query())
    sealed.envelope.signature = sign(world["GT"].signing_key, "application/vnd.enlace.other", sealed.statement)
    await refused(world, send(channel, request(sealed)), Status.UNAUTHENTICATED, rejected("SignatureError"))


def sealed_by(signer: Signer, **changes: object) -> Sealed:
    values: dict[str, object] = {
        "statement_type": StatementType.STATEMENT_TYPE_QUERY,
        "exchange_id": secrets.token_bytes(16),
        "recipient": "MX",
        "body": Body(salt=new_salt(), query=telephone_query()),
        "now_us": now_us(),
        "directory_version": 1,
    }
    return seal(signer, **(values | changes))  # type: ignore[arg-type]


def resigned(world: World, sealed: Sealed, change: Callable[[LeafShared], None]) -> Sealed:
    """Alter the sender's own ledger line and sign for it: every digest is right, only what it tells is not."""
    shared = LeafShared.FromString(sealed.shared)
    change(shared)
    statement = Statement.FromString(sealed.statement)
    sealed.envelope.leaf_shared = shared.SerializeToString()
    statement.leaf_sha256 = sha256(sealed.envelope.leaf_shared).digest()
    sealed.envelope.statement = statement.SerializeToString()
    sealed.envelope.signature = sign(world["GT"].signing_key, STATEMENT_TYPE, sealed.envelope.statement)
    return sealed


LYING: dict[str, Callable[[LeafShared], None]] = {
    "another peer": lambda shared: setattr(shared, "peer", "US"),
    "another time": lambda shared: setattr(shared, "time_us", shared.time_us - 1),
    "another exchange": lambda shared: setattr(shared, "exchange_id", secrets.token_bytes(16)),
    "another body": lambda shared: setattr(shared, "body_sha256", bytes(32)),
    "another node": lambda shared: setattr(shared, "node", "GT/gt-2"),
    "another kind": lambda shared: setattr(shared, "kind", 2),
    "another direction": lambda shared: setattr(shared, "direction", 2),
    "an answer to something": lambda shared: setattr(shared, "counterpart_statement", b"x"),
}


@pytest.mark.parametrize("lie", LYING)
async def test_a_ledger_line_that_tells_something_else_is_refused(
    world: World, channel: grpc.aio.Channel, lie: str
) -> None:
    sealed = resigned(world, sealed_query(world["GT"], "MX", telephone_query()), LYING[lie])
    await refused(world, send(channel, request(sealed)), Status.PERMISSION_DENIED, rejected("MisdirectedError"))


async def test_a_replay_is_refused(world: World, channel: grpc.aio.Channel) -> None:
    sealed = sealed_query(world["GT"], "MX", telephone_query())
    opened_answer(world, "MX", "GT", sealed, await send(channel, request(sealed)))
    for _ in range(2):
        await refused(
            world,
            send(channel, request(sealed)),
            Status.ALREADY_EXISTS,
            rejected("ReplayError"),
            words=ReplayError.public,
        )
    await still_answers(world)


async def test_another_question_under_a_used_exchange_id_is_a_replay(world: World, channel: grpc.aio.Channel) -> None:
    exchange_id = secrets.token_bytes(16)
    await send(channel, request(sealed_query(world["GT"], "MX", telephone_query(), exchange_id=exchange_id)))
    again = sealed_query(world["GT"], "MX", telephone_query("+12025550100"), exchange_id=exchange_id)
    await refused(world, send(channel, request(again)), Status.ALREADY_EXISTS, rejected("ReplayError"))


async def test_two_peers_may_choose_the_same_exchange_id(world: World, channel: grpc.aio.Channel) -> None:
    exchange_id = secrets.token_bytes(16)
    await send(channel, request(sealed_query(world["GT"], "MX", telephone_query(), exchange_id=exchange_id)))
    other = sealed_query(world["US"], "MX", telephone_query(), exchange_id=exchange_id)
    async with channel_to(world["MX"], world["US"].node) as us:
        opened_answer(world, "MX", "US", other, await send(us, request(other)))


async def test_a_replay_is_refused_after_a_restart(fresh: World) -> None:
    sealed = sealed_query(fresh["GT"], "MX", telephone_query())
    async with running(fresh["MX"].config), channel_to(fresh["MX"], fresh["GT"].node) as channel:
        await send(channel, request(sealed))
    async with running(fresh["MX"].config), channel_to(fresh["MX"], fresh["GT"].node) as channel:
        await refused(fresh, send(channel, request(sealed)), Status.ALREADY_EXISTS, rejected("ReplayError"))
        await still_answers(fresh)


@pytest.mark.parametrize("off_us", [-HOUR_US, HOUR_US], ids=["behind", "ahead"])
async def test_a_clock_off_by_an_hour_is_refused(world: World, channel: grpc.aio.Channel, off_us: int) -> None:
    sealed = sealed_query(world["GT"], "MX", telephone_query(), at_us=now_us() + off_us)
    await refused(
        world,
        send(channel, request(sealed)),
        Status.FAILED_PRECONDITION,
        rejected("ClockError"),
        words=ClockError.public,
    )


async def test_a_message_for_another_country_is_refused(world: World, channel: grpc.aio.Channel) -> None:
    sealed = sealed_query(world["GT"], "US", telephone_query())
    await refused(
        world,
        send(channel, request(sealed)),
        Status.PERMISSION_DENIED,
        rejected("MisdirectedError"),
        words=MisdirectedError.public,
    )


async def test_a_message_of_another_country_is_refused_though_well_signed(
    world: World, channel: grpc.aio.Channel
) -> None:
    sealed = sealed_query(world["US"], "MX", telephone_query())
    await refused(world, send(channel, request(sealed)), Status.PERMISSION_DENIED, rejected("MisdirectedError"))


async def test_an_answer_is_no_question(world: World, channel: grpc.aio.Channel) -> None:
    sealed = sealed_by(
        signer_of(world["GT"]),
        statement_type=StatementType.STATEMENT_TYPE_ANSWER,
        body=Body(salt=new_salt(), answer=Answer()),
    )
    await refused(world, send(channel, request(sealed)), Status.INVALID_ARGUMENT, rejected("MalformedError"))


async def test_a_question_that_carries_an_answer_is_refused(world: World, channel: grpc.aio.Channel) -> None:
    sealed = sealed_by(signer_of(world["GT"]), body=Body(salt=new_salt(), answer=Answer()))
    await refused(world, send(channel, request(sealed)), Status.INVALID_ARGUMENT, rejected("MalformedError"))


@pytest.mark.parametrize("salt", [b"", bytes(31), bytes(33)], ids=len)
async def test_a_body_without_its_salt_is_refused(world: World, channel: grpc.aio.Channel, salt: bytes) -> None:
    sealed = sealed_by(signer_of(world["GT"]), body=Body(salt=salt, query=telephone_query()))
    await refused(world, send(channel, request(sealed)), Status.INVALID_ARGUMENT, rejected("MalformedError"))


@pytest.mark.parametrize("exchange_id", [b"", bytes(15), bytes(17)], ids=len)
async def test_an_exchange_id_of_another_length_is_refused(
    world: World, channel: grpc.aio.Channel, exchange_id: bytes
) -> None:
    sealed = sealed_by(signer_of(world["GT"]), exchange_id=exchange_id)
    await refused(world, send(channel, request(sealed)), Status.INVALID_ARGUMENT, rejected("MalformedError"))


# --- two nodes of one country ----------------------------------------------------------------------------------------


async def test_a_node_does_not_speak_for_another_of_its_country(tmp_path: Path) -> None:
    key = generate_private_key()
    second = Node(
        name="gt-2",
        endpoint="127.0.0.1:9",
        server_name="gt-2.gt.enlace.example",
        signing_keys=[
            NodeKey(public_key=public_key(key), valid_from_us=now_us() - DAY_US, valid_until_us=now_us() + 90 * DAY_US)
        ],
    )
    world = World.make(tmp_path, ("GT", "MX"), more_nodes={"GT": (second,)})
    own = Signer("GT", "gt-2", key_id(public_key(key)), key)
    posing = Signer("GT", "gt-1", key_id(public_key(key)), key)
    async with running(world["MX"].config), channel_to(world["MX"], world["GT"].node) as channel:
        by_other = send(channel, request(sealed_by(own)))
        await refused(world, by_other, Status.PERMISSION_DENIED, rejected("MisdirectedError"))
        with_others_key = send(channel, request(sealed_by(posing)))
        await refused(world, with_others_key, Status.UNAUTHENTICATED, rejected("SignatureError"))
        async with channel_to(world["MX"], node_certificate(world["GT"].ca, "gt-2")) as its_own:
            sealed = sealed_by(own)
            assert await send(its_own, request(sealed))
            first = send(its_own, request(sealed_query(world["GT"], "MX", telephone_query())))
            await refused(world, first, Status.PERMISSION_DENIED, rejected("MisdirectedError"))
