"""What has no way into force: a sentence, a line, and no change."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from node.identity.keys import generate_private_key
from node.identity.rulebook_approvals import parse_signed_approval, sign_approval
from node.wire.rulebook_pb2 import (
    RedLineRemoval,
    RulebookApproval,
    SignedRulebookApproval,
    SignRulebookRequest,
)
from tests.desk.rulebook_steps import (
    DAY_US,
    GT,
    RED_LINE,
    SECOND_US,
    acts_since,
    approved,
    held,
    history,
    in_force,
    propose,
    replaced,
    revoke,
    schedule,
    signing,
    stage,
    steps_since,
    until,
    with_version,
)
from tests.desk.support import Desks, Status, refused
from tests.rulebooks import read
from tests.world import RULEBOOKS, Place, now_us

if TYPE_CHECKING:
    from node.wire.desk_pb2_grpc import DeskAsyncStub

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shelf(desks: Desks) -> AsyncIterator["DeskAsyncStub"]:
    """Version 2 is in force, 3 revoked, 4 approved, 5 scheduled for next week; 6 has one signature, 7 none."""
    place, stub = desks.world["GT"], await desks("GT", "focal")
    for number in (2, 3):
        await approved(desks, with_version(number))
    await schedule(stub, with_version(2))
    await until(desks, with_version(2))
    await revoke(stub, with_version(3))
    for number in (4, 5):
        await approved(desks, with_version(number))
    await schedule(stub, with_version(5), NEXT_WEEK_US)
    for number in (6, 7):
        await propose(stub, with_version(number))
    await sign_with(await desks("GT", "focal-1"), with_version(6), place.focal_keys[0])
    yield stub
    await revoke(stub, with_version(5))


NEXT_WEEK_US = now_us() + 7 * DAY_US
Refusal = tuple[Callable[["DeskAsyncStub", Place], Awaitable[object]], Status, str]


def proposing(text: bytes) -> Callable[["DeskAsyncStub", Place], Awaitable[object]]:
    return lambda stub, _: propose(stub, text)


def scheduling(text: bytes, at_us: int) -> Callable[["DeskAsyncStub", Place], Awaitable[object]]:
    return lambda stub, _: schedule(stub, text, at_us)


async def sign_with(stub: "DeskAsyncStub", text: bytes, *keys: bytes) -> None:
    await stub.SignRulebook(await signing(stub, text, *keys))


async def sign_over(stub: "DeskAsyncStub", place: Place, **changes: object) -> None:
    """Both focal points sign other bytes than those that were proved and rehearsed."""
    signed, said = parse_signed_approval((await held(stub, with_version(7))).signed_approval)
    other = RulebookApproval()
    other.CopyFrom(said)
    for name, value in changes.items():
        setattr(other, name, value)
    signed = SignedRulebookApproval(approval=other.SerializeToString())
    for key in place.focal_keys:
        signed = sign_approval(signed, key)
    await stub.SignRulebook(SignRulebookRequest(signed_approval=signed.SerializeToString()))


async def sign_falsely(stub: "DeskAsyncStub", place: Place) -> None:
    request = await signing(stub, with_version(7), *place.focal_keys)
    signed = SignedRulebookApproval.FromString(request.signed_approval)
    signed.signatures[0].signature, signed.signatures[1].signature = (
        signed.signatures[1].signature,
        signed.signatures[0].signature,
    )
    await stub.SignRulebook(SignRulebookRequest(signed_approval=signed.SerializeToString()))


async def sign_a_removal(stub: "DeskAsyncStub", place: Place) -> None:
    request = await signing(stub, with_version(7), place.focal_keys[0])
    _, said = parse_signed_approval(request.signed_approval)
    removal = RedLineRemoval(
        country="GT",
        layer="release",
        rules_sha256=said.rules_sha256,
        replaces_sha256=bytes(32),
        red_lines=["R1"],
        author="focal",
        time_us=1,
    )
    request.signed_removal = SignedRemoval(removal)
    await stub.SignRulebook(request)


def SignedRemoval(removal: RedLineRemoval) -> bytes:  # noqa: N802 - as a message
    from node.wire.rulebook_pb2 import SignedRedLineRemoval

    return SignedRedLineRemoval(removal=removal.SerializeToString()).SerializeToString()


PROPOSALS: dict[str, Refusal] = {
    "no YAML": (proposing(b"a: [\n"), Status.INVALID_ARGUMENT, "1:4: |2:1: "),
    "every mistake at once": (
        proposing(replaced(replaced(GT, b"country: GT", b"country: GU1"), b"effect: hold", b"effect: halt")),
        Status.INVALID_ARGUMENT,
        "GU1.*\n.*halt",
    ),
    "another vocabulary": (
        proposing(replaced(GT, b"illustration: true\n", b"illustration: true\nvocabulary: sha256:00\n")),
        Status.INVALID_ARGUMENT,
        "written for another vocabulary",
    ),
    "another country's": (
        proposing((RULEBOOKS / "mx.yaml").read_bytes()),
        Status.FAILED_PRECONDITION,
        "it is of MX, and this node is of GT",
    ),
    "a floor": (
        proposing((RULEBOOKS / "floor.yaml").read_bytes()),
        Status.FAILED_PRECONDITION,
        "stewards' to sign",
    ),
    "over": (
        proposing(
            replaced(
                replaced(with_version(9), b'valid_from: "2026-', b'valid_from: "2020-'),
                b'valid_until: "2031-',
                b'valid_until: "2025-',
            )
        ),
        Status.FAILED_PRECONDITION,
        "its validity has ended",
    ),
    "another text of a version": (
        proposing(with_version(7) + b"# changed\n"),
        Status.FAILED_PRECONDITION,
        "GT-RELEASE 7 has another text already: give this one a new version",
    ),
    "what was scheduled before": (
        proposing(with_version(2)),
        Status.FAILED_PRECONDITION,
        "scheduled or revoked before",
    ),
    "what was revoked": (proposing(with_version(3)), Status.FAILED_PRECONDITION, "scheduled or revoked before"),
    "a red line that its own rules cross": (
        proposing(with_version(9) + RED_LINE % b"PREVENT"),
        Status.FAILED_PRECONDITION,
        "(?s)does not keep every red line:\nrelease red line GT-X: .*PREVENT",
    ),
}
SIGNATURES: dict[str, Refusal] = {
    "by nobody": (lambda stub, _: sign_with(stub, with_version(7)), Status.FAILED_PRECONDITION, "no focal point"),
    "by a stranger": (
        lambda stub, _: sign_with(stub, with_version(7), generate_private_key()),
        Status.FAILED_PRECONDITION,
        "no focal point of this node has signed it",
    ),
    "by one person twice": (
        lambda stub, place: sign_with(stub, with_version(6), place.focal_keys[0]),
        Status.FAILED_PRECONDITION,
        "focal-1 has signed it before, and nobody counts twice",
    ),
    "falsely": (sign_falsely, Status.UNAUTHENTICATED, "signature does not verify"),
    "other rules": (
        lambda stub, place: sign_over(stub, place, rules_sha256=read(with_version(6)).sha256),
        Status.FAILED_PRECONDITION,
        "over other",
    ),
    "another proof": (
        lambda stub, place: sign_over(stub, place, proof_sha256=bytes(32)),
        Status.FAILED_PRECONDITION,
        "over other proofs than this rulebook's",
    ),
    "another rehearsal": (
        lambda stub, place: sign_over(stub, place, rehearsal_sha256=bytes(32)),
        Status.FAILED_PRECONDITION,
        "over other rehearsals",
    ),
    "other red lines": (
        lambda stub, place: sign_over(stub, place, red_lines_sha256=bytes(32)),
        Status.FAILED_PRECONDITION,
        "over other red lines",
    ),
    "other words": (
        lambda stub, place: sign_over(stub, place, vocabulary="sha256:00"),
        Status.FAILED_PRECONDITION,
        "over other words",
    ),
    "another author": (
        lambda stub, place: sign_over(stub, place, author="nobody"),
        Status.FAILED_PRECONDITION,
        "not the one of this rulebook",
    ),
    "no such rulebook": (
        lambda stub, place: sign_over(stub, place, rules_sha256=bytes(32)),
        Status.NOT_FOUND,
        "no rulebook of this digest",
    ),
    "no message": (
        lambda stub, _: stub.SignRulebook(SignRulebookRequest(signed_approval=b"\xff" * 9)),
        Status.INVALID_ARGUMENT,
        "no approval",
    ),
    "nothing": (lambda stub, _: stub.SignRulebook(SignRulebookRequest()), Status.INVALID_ARGUMENT, "no approval"),
    "a removal of nothing": (sign_a_removal, Status.FAILED_PRECONDITION, "removes no red line"),
}
INSTANTS: dict[str, Refusal] = {
    "no such rulebook": (scheduling(with_version(99), 0), Status.NOT_FOUND, "no rulebook of this digest"),
    "nobody signed": (scheduling(with_version(7), NEXT_WEEK_US + 9), Status.FAILED_PRECONDITION, "signed by 0 focal"),
    "one signed": (scheduling(with_version(6), NEXT_WEEK_US + 9), Status.FAILED_PRECONDITION, "signed by 1 focal"),
    "in the past": (scheduling(with_version(4), now_us() - 1), Status.FAILED_PRECONDITION, "instant is in the past"),
    "too near": (
        lambda stub, _: schedule(stub, with_version(4), now_us() + SECOND_US),
        Status.FAILED_PRECONDITION,
        "nearer than 5 s",
    ),
    "not valid then": (
        scheduling(with_version(5), 2_000_000_000 * SECOND_US),
        Status.FAILED_PRECONDITION,
        "GT-RELEASE 5 is not valid at that instant",
    ),
    "two at once": (
        scheduling(with_version(4), NEXT_WEEK_US),
        Status.FAILED_PRECONDITION,
        "two versions would be in force at once: that is the instant of GT-RELEASE 5",
    ),
    "superseded by an older one": (
        scheduling(with_version(4), NEXT_WEEK_US + 1),
        Status.FAILED_PRECONDITION,
        "GT-RELEASE 4 is not newer than GT-RELEASE 5",
    ),
    "before another": (
        scheduling(with_version(4), NEXT_WEEK_US - 1),
        Status.FAILED_PRECONDITION,
        "GT-RELEASE 5 comes into force after that instant",
    ),
    "again": (scheduling(with_version(2), NEXT_WEEK_US), Status.FAILED_PRECONDITION, "is in force or was"),
    "revoked": (scheduling(with_version(3), NEXT_WEEK_US), Status.FAILED_PRECONDITION, "GT-RELEASE 3 was revoked"),
}
REVOCATIONS: dict[str, Refusal] = {
    "without a reason": (
        lambda stub, _: revoke(stub, with_version(5), ""),
        Status.INVALID_ARGUMENT,
        "say why, in up to 40 bytes",
    ),
    "at length": (lambda stub, _: revoke(stub, with_version(5), "x" * 41), Status.INVALID_ARGUMENT, "say why"),
    "no such rulebook": (lambda stub, _: revoke(stub, with_version(99)), Status.NOT_FOUND, "no rulebook"),
    "superseded": (lambda stub, _: revoke(stub, GT), Status.FAILED_PRECONDITION, "is not in force any more"),
    "again": (lambda stub, _: revoke(stub, with_version(3)), Status.FAILED_PRECONDITION, "is not in force any more"),
}
REFUSED = {
    f"{step}: {what}": (step, refusal)
    for step, refusals in {
        "PROPOSE": PROPOSALS,
        "SIGN": SIGNATURES,
        "SCHEDULE": INSTANTS,
        "REVOKE": REVOCATIONS,
    }.items()
    for what, refusal in refusals.items()
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_refused_is_a_line_and_changes_nothing(desks: Desks, shelf: "DeskAsyncStub", what: str) -> None:
    step, (attempt, code, words) = REFUSED[what]
    officer = "focal-1" if step == "SIGN" else "focal"
    stub, book = await desks("GT", officer), desks.book("GT")
    before, states, running_now = book.size, await history(shelf), await in_force(shelf)
    with pytest.raises(Exception, match=words) as caught:
        await attempt(stub, desks.world["GT"])
    assert caught.value.code() == code  # type: ignore[attr-defined]
    (line,) = steps_since(book, before)
    assert (line[0], line[2].split()[:2]) == ("RULEBOOK", ["REFUSED", step])
    assert acts_since(book, before)[0].officer == officer
    assert await history(shelf) == states
    assert await in_force(shelf) == running_now


async def test_nobody_approves_what_they_proposed(desks: Desks) -> None:
    place, book, text = desks.world["GT"], desks.book("GT"), with_version(20)
    author, other = await desks("GT", "focal-1"), await desks("GT", "focal-2")
    assert (await propose(author, text)).author == "focal-1"
    before = book.size
    words = "focal-1 is its author, and nobody approves what they have proposed"
    await refused(sign_with(other, text, *place.focal_keys), Status.FAILED_PRECONDITION, words)
    assert steps_since(book, before) == [("RULEBOOK", "", "REFUSED SIGN ApprovalError")]
    await sign_with(other, text, place.focal_keys[1])
    state = (await held(other, text)).rulebook
    assert (stage(state), list(state.signed_by)) == ("REHEARSED", ["focal-2"])


@pytest.mark.parametrize("keys", [(0,), (1,), (0, 1)], ids=["their own", "another's", "both"])
async def test_an_author_brings_no_signature(desks: Desks, keys: tuple[int, ...]) -> None:
    place, book, text = desks.world["GT"], desks.book("GT"), with_version(21)
    stub = await desks("GT", "focal-1")
    await propose(stub, text)
    before = book.size
    words = "its author brings no signature on it: two focal points do, each in their own name"
    attempt = sign_with(stub, text, *(place.focal_keys[number] for number in keys))
    await refused(attempt, Status.FAILED_PRECONDITION, words)
    assert steps_since(book, before) == [("RULEBOOK", "", "REFUSED SIGN ApprovalError")]
    assert list((await held(stub, text)).rulebook.signed_by) == []


async def test_a_focal_points_signature_is_brought_by_nobody_else(desks: Desks) -> None:
    place, book, text = desks.world["GT"], desks.book("GT"), with_version(22)
    one, two = place.focal_keys
    counsel = await desks("GT", "focal")
    await propose(counsel, text)
    words = "a signature of {0} is brought by {0} alone: sign in with their certificate"
    for officer, keys, whose in (
        ("focal-1", (two,), "focal-2"),
        ("focal-1", (one, two), "focal-2"),
        ("focal-2", (one, two), "focal-1"),
    ):
        stub, before = await desks("GT", officer), book.size
        await refused(sign_with(stub, text, *keys), Status.FAILED_PRECONDITION, words.format(whose))
        assert steps_since(book, before) == [("RULEBOOK", "", "REFUSED SIGN ApprovalError")]
        assert acts_since(book, before)[0].officer == officer
        assert list((await held(counsel, text)).rulebook.signed_by) == []
    await sign_with(await desks("GT", "focal-1"), text, one)
    await sign_with(await desks("GT", "focal-2"), text, one, two)  # the first is kept already
    assert list((await held(counsel, text)).rulebook.signed_by) == ["focal-1", "focal-2"]
