"""What people do with a rulebook at the desk, for tests: propose, sign, schedule, revoke, and look."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from node.identity.rulebook_approvals import parse_signed_approval, sign_approval
from node.wire.desk_pb2 import GetStatusRequest
from node.wire.ledger_pb2 import LEAF_KIND_READ, LeafPrivate
from node.wire.rulebook_pb2 import (
    GetRulebookRequest,
    GetRulebookResponse,
    ListRulebooksRequest,
    ProposeRulebookRequest,
    RevokeRulebookRequest,
    RulebookStage,
    RulebookState,
    ScheduleRulebookRequest,
    SignedRulebookApproval,
    SignRulebookRequest,
)
from tests.desk.support import Desks, lines_since
from tests.federation.support import Book, private_of
from tests.rulebooks import read
from tests.world import FOCAL, RULEBOOKS

if TYPE_CHECKING:
    from node.wire.desk_pb2_grpc import DeskAsyncStub

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
GT = (RULEBOOKS / "gt.yaml").read_bytes()
OUTBOUND = (RULEBOOKS / "gt-outbound.yaml").read_bytes()
RED_LINE = b"""red_lines:
- id: GT-X
  title: {en: "Nothing for prevention"}
  law: LAIP arts. 9, 30
  kind: never_release
  data: [EVERYTHING]
  when: {purpose: [%b]}
"""


def with_version(number: int, text: bytes = GT) -> bytes:
    assert text.count(b"\nversion: 1\n") == 1
    return text.replace(b"\nversion: 1\n", b"\nversion: %d\n" % number)


def replaced(text: bytes, old: bytes, new: bytes) -> bytes:
    assert text.count(old) == 1
    return text.replace(old, new)


async def propose(stub: "DeskAsyncStub", text: bytes) -> RulebookState:
    return (await stub.ProposeRulebook(ProposeRulebookRequest(text=text))).rulebook


async def held(stub: "DeskAsyncStub", text: bytes) -> GetRulebookResponse:
    return await stub.GetRulebook(GetRulebookRequest(sha256=read(text).sha256))


async def signing(stub: "DeskAsyncStub", text: bytes, *keys: bytes) -> SignRulebookRequest:
    signed, _ = parse_signed_approval((await held(stub, text)).signed_approval)
    bare = SignedRulebookApproval(approval=signed.approval)
    for key in keys:
        bare = sign_approval(bare, key)
    return SignRulebookRequest(signed_approval=bare.SerializeToString())


async def sign_as_each(desks: Desks, text: bytes) -> RulebookState:
    """Have both focal points of GT sign, each in their own name."""
    for name, key in zip(FOCAL, desks.world["GT"].focal_keys, strict=True):
        stub = await desks("GT", name)
        state = (await stub.SignRulebook(await signing(stub, text, key))).rulebook
    return state


async def approved(desks: Desks, text: bytes) -> None:
    await propose(await desks("GT", "focal"), text)
    assert stage(await sign_as_each(desks, text)) == "APPROVED"


async def schedule(stub: "DeskAsyncStub", text: bytes, at_us: int = 0) -> int:
    request = ScheduleRulebookRequest(sha256=read(text).sha256, activates_at_us=at_us)
    return (await stub.ScheduleRulebook(request)).activates_us


async def revoke(stub: "DeskAsyncStub", text: bytes, reason: str = "an invented mistake") -> None:
    await stub.RevokeRulebook(RevokeRulebookRequest(sha256=read(text).sha256, reason=reason))


async def history(stub: "DeskAsyncStub", layer: str = "") -> dict[tuple[str, int], RulebookState]:
    states = (await stub.ListRulebooks(ListRulebooksRequest(layer=layer))).rulebooks
    return {(state.layer, state.version): state for state in states}


async def in_force(stub: "DeskAsyncStub", layer: str = "release") -> bytes:
    """Which rulebook the node says is in force."""
    books = (await stub.GetStatus(GetStatusRequest())).rulebooks
    return next(book.sha256 for book in books if book.layer == layer and book.in_force)


async def until(desks: Desks, text: bytes) -> None:
    """Wait until a rulebook is in force, and its line written, which comes a little later."""
    stub, book, wanted = await desks("GT", "focal"), desks.book("GT"), read(text)
    line = ("RULEBOOK", "", f"IN_FORCE {wanted.layer.upper()} {wanted.version} {wanted.name}")

    async def is_in_force() -> bool:
        return await in_force(stub, wanted.layer) == wanted.sha256 and line in lines_since(book, 0)

    await seen(is_in_force)


def steps_since(book: Book, before: int) -> list[tuple[str, str, str]]:
    """What the lines from an index on say, but those that say that somebody looked."""
    return [line for line in lines_since(book, before) if line[0] != "READ"]


def acts_since(book: Book, before: int) -> list[LeafPrivate]:
    """The private parts of those lines."""
    return [private_of(line) for line in book.lines(before) if line.shared.kind != LEAF_KIND_READ]


async def seen(look: Callable[[], Awaitable[bool]]) -> None:
    """Look until something has happened."""
    for _ in range(200):
        if await look():
            return
        await asyncio.sleep(0.1)
    raise TimeoutError


def stage(state: RulebookState) -> str:
    return RulebookStage.Name(state.stage).removeprefix("RULEBOOK_STAGE_")
