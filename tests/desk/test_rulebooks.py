"""A rulebook's way into force at the desk, and everything that has no way there: a sentence, a line, and no change."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from node.cli.parts import Parts
from node.cli.serving import running
from node.identity.keys import generate_private_key
from node.identity.rulebook_approvals import parse_signed_approval, parse_signed_removal, sign_approval, sign_removal
from node.policy.vocabulary import vocabulary_digest
from node.wire.codes_pb2 import UnitType
from node.wire.desk_pb2 import EnrolOfficerRequest, GetStatusRequest, OfficerRole
from node.wire.rulebook_pb2 import (
    GetRulebookRequest,
    GetRulebookResponse,
    ListRulebooksRequest,
    ProposeRulebookRequest,
    RedLineRemoval,
    RevokeRulebookRequest,
    RulebookApproval,
    RulebookStage,
    RulebookState,
    ScheduleRulebookRequest,
    SignedRulebookApproval,
    SignRulebookRequest,
)
from tests.desk.support import Desks, Status, desk_as, lines_since, refused
from tests.federation.support import private_of
from tests.rulebooks import read
from tests.world import RULEBOOKS, Place, World, now_us

if TYPE_CHECKING:
    from node.wire.desk_pb2_grpc import DeskAsyncStub

pytestmark = pytest.mark.asyncio(loop_scope="module")

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


# --- what people do --------------------------------------------------------------------------------------------------


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


async def approved(stub: "DeskAsyncStub", place: Place, text: bytes) -> None:
    await propose(stub, text)
    state = (await stub.SignRulebook(await signing(stub, text, *place.focal_keys))).rulebook
    assert state.stage == RulebookStage.RULEBOOK_STAGE_APPROVED


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


async def seen(look: Callable[[], Awaitable[bool]]) -> None:
    """Look until something has happened."""
    for _ in range(200):
        if await look():
            return
        await asyncio.sleep(0.1)
    raise TimeoutError


def stage(state: RulebookState) -> str:
    return RulebookStage.Name(state.stage).removeprefix("RULEBOOK_STAGE_")


# --- the way into force ----------------------------------------------------------------------------------------------


async def test_from_proposal_into_force(desks: Desks) -> None:
    place, book = desks.world["GT"], desks.book("GT")
    stub, auditor = await desks("GT", "focal"), await desks("GT", "auditor")
    states = await history(stub)
    assert {key: stage(state) for key, state in states.items()} == {("release", 1): "ACTIVE", ("outbound", 1): "ACTIVE"}
    text, before = with_version(2), book.size
    digest = read(text).sha256

    answer = await stub.ProposeRulebook(ProposeRulebookRequest(text=text))
    assert (answer.rulebook.author, stage(answer.rulebook)) == ("focal", "REHEARSED")
    assert answer.proof.startswith("enlace red lines v1\n")
    assert "GT-RELEASE" in answer.rehearsal
    assert not answer.rulebook.removes_red_lines
    _, said = parse_signed_approval((await held(stub, text)).signed_approval)
    assert (said.country, said.layer, said.name, said.version) == ("GT", "release", "GT-RELEASE", 2)
    assert (said.vocabulary, said.rules_sha256) == (vocabulary_digest(), digest)

    for number, key in enumerate(place.focal_keys, start=1):
        state = (await stub.SignRulebook(await signing(stub, text, key))).rulebook
        assert list(state.signed_by) == ["focal-1", "focal-2"][:number]
    assert stage(state) == "APPROVED"
    assert await in_force(stub) == read(GT).sha256
    instant = await schedule(stub, text)
    assert now_us() < instant < now_us() + 6 * SECOND_US
    states = await history(auditor, "release")
    assert [(stage(each), each.activates_us) for each in states.values()][1] == ("SCHEDULED", instant)
    assert await in_force(stub) == read(GT).sha256
    await until(desks, text)
    assert now_us() >= instant

    states = await history(auditor, "release")
    assert [(stage(each), each.ended_us) for each in states.values()] == [("SUPERSEDED", instant), ("ACTIVE", 0)]

    assert lines_since(book, before) == [
        ("RULEBOOK", "", "PROPOSED RELEASE 2 GT-RELEASE"),
        ("RULEBOOK", "", "SIGNED RELEASE 2 GT-RELEASE"),
        ("RULEBOOK", "", "SIGNED RELEASE 2 GT-RELEASE"),
        ("RULEBOOK", "", "SCHEDULED RELEASE 2 GT-RELEASE"),
        ("RULEBOOK", "", "IN_FORCE RELEASE 2 GT-RELEASE"),
        ("RULEBOOK", "", "SUPERSEDED RELEASE 1 GT-RELEASE"),
    ]
    lines = [private_of(line) for line in book.lines(before)]
    assert [line.officer for line in lines] == ["focal"] * 4 + ["", ""]
    assert [line.subject for line in lines] == [digest] * 5 + [read(GT).sha256]
    book.verify()


async def test_an_outbound_rulebook_goes_the_same_way_without_proofs(desks: Desks) -> None:
    place, stub = desks.world["GT"], await desks("GT", "focal")
    text = with_version(2, OUTBOUND)
    await approved(stub, place, text)
    assert "nothing to prove" in (await held(stub, text)).proof
    await schedule(stub, text)
    await until(desks, text)


async def test_one_that_is_revoked_before_its_instant_never_comes(desks: Desks) -> None:
    place, stub = desks.world["GT"], await desks("GT", "focal")
    running_now = await in_force(stub)
    text = with_version(3)
    await approved(stub, place, text)
    await schedule(stub, text, now_us() + DAY_US)
    await schedule(stub, text, now_us() + 2 * DAY_US)  # another instant, before the first came
    await revoke(stub, text)
    state = (await history(stub))["release", 3]
    assert (stage(state), state.reason) == ("REVOKED", "an invented mistake")
    assert await in_force(stub) == running_now


# --- what has no way there -------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shelf(desks: Desks) -> AsyncIterator["DeskAsyncStub"]:
    """Version 4 is approved, 5 is approved and scheduled for next week, 6 has one signature, 7 none."""
    place, stub = desks.world["GT"], await desks("GT", "focal")
    for number in (4, 5):
        await approved(stub, place, with_version(number))
    await schedule(stub, with_version(5), NEXT_WEEK_US)
    for number in (6, 7):
        await propose(stub, with_version(number))
    await stub.SignRulebook(await signing(stub, with_version(6), place.focal_keys[0]))
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
    book = desks.book("GT")
    before, states, running_now = book.size, await history(shelf), await in_force(shelf)
    with pytest.raises(Exception, match=words) as caught:
        await attempt(shelf, desks.world["GT"])
    assert caught.value.code() == code  # type: ignore[attr-defined]
    (line,) = lines_since(book, before)
    assert (line[0], line[2].split()[:2]) == ("RULEBOOK", ["REFUSED", step])
    assert private_of(book.lines(before)[0]).officer == "focal"
    assert await history(shelf) == states
    assert await in_force(shelf) == running_now


async def test_nobody_approves_what_they_proposed(desks: Desks) -> None:
    place, book = desks.world["GT"], desks.book("GT")
    administrator = await desks("GT", "administrator")
    await administrator.EnrolOfficer(
        EnrolOfficerRequest(
            officer="focal-1",
            unit="UNIT-1",
            unit_type=UnitType.UNIT_TYPE_CENTRAL_AUTHORITY,
            roles=[OfficerRole.OFFICER_ROLE_FOCAL_POINT],
        )
    )
    text = with_version(20)
    async with desk_as(place, place.officer("focal-1")) as stub:
        assert (await propose(stub, text)).author == "focal-1"
        before = book.size
        both = await signing(stub, text, *place.focal_keys)
        words = "focal-1 is its author, and nobody approves what they have proposed"
        await refused(stub.SignRulebook(both), Status.FAILED_PRECONDITION, words)
        assert lines_since(book, before) == [("RULEBOOK", "", "REFUSED SIGN ApprovalError")]
        state = (await stub.SignRulebook(await signing(stub, text, place.focal_keys[1]))).rulebook
        assert (stage(state), list(state.signed_by)) == ("REHEARSED", ["focal-2"])


# --- nodes of their own ----------------------------------------------------------------------------------------------


async def test_a_clock_that_went_back_schedules_nothing_and_what_is_in_force_stays(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    world = World.make(tmp_path_factory.mktemp("clock"), ("GT", "MX"))
    place = world["GT"]
    desks = Desks(world)
    async with running(place.config) as parts, desks.stack:
        stub, book, text = await desks("GT", "focal"), desks.book("GT"), with_version(2)
        await approved(stub, place, text)
        await schedule(stub, text)
        await until(desks, text)
        await approved(stub, place, with_version(3))
        before = book.size
        parts.desk.rulebooks.enacting.clock = lambda: now_us() - DAY_US
        with pytest.raises(Exception, match=r"this node's clock is \d+ s behind the last step of layer release"):
            await schedule(stub, with_version(3))
        assert lines_since(book, before) == [("RULEBOOK", "", "REFUSED SCHEDULE ApprovalError")]
        await parts.desk.rulebooks.enacting.follow()
        assert _deciding(parts, now_us() - DAY_US) == read(text).sha256
    async with running(place.config) as parts:
        assert _deciding(parts, now_us() - DAY_US) == _deciding(parts, now_us()) == read(text).sha256


def _deciding(parts: Parts, now_us: int) -> bytes:
    release = parts.standing.policy_for("MX", now_us).release
    return release.sha256 if release else b""


async def test_a_red_line_goes_only_by_an_approval_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    guarded = GT + RED_LINE % b"COMMERCIAL"
    folder = tmp_path_factory.mktemp("red lines")
    world = World.make(folder, ("GT", "MX"), rulebooks={"GT": {"release": guarded}})
    place, desks = world["GT"], Desks(world)
    async with running(place.config), desks.stack:
        stub, text = await desks("GT", "focal"), with_version(2)
        assert (await propose(stub, text)).removes_red_lines
        answer = await held(stub, text)
        removal, said = parse_signed_removal(answer.signed_removal)
        assert (said.replaces_sha256, list(said.red_lines)) == (read(guarded).sha256, ["GT-X"])
        state = (await stub.SignRulebook(await signing(stub, text, *place.focal_keys))).rulebook
        assert (stage(state), list(state.signed_by)) == ("REHEARSED", ["focal-1", "focal-2"])
        words = "that it removes red lines is signed by 0 focal points, not by 2"
        assert state.fault == words
        await refused(schedule(stub, text), Status.FAILED_PRECONDITION, words)
        for number, key in enumerate(place.focal_keys, start=1):
            removal = sign_removal(removal, key)
            request = SignRulebookRequest(signed_removal=removal.SerializeToString())
            state = (await stub.SignRulebook(request)).rulebook
            assert list(state.removal_signed_by) == ["focal-1", "focal-2"][:number]
        assert stage(state) == "APPROVED"
        # One that says the same of its red lines needs nothing besides.
        kept = with_version(3, guarded)
        assert not (await propose(stub, kept)).removes_red_lines
        await stub.SignRulebook(await signing(stub, kept, *place.focal_keys))
        await schedule(stub, text)
        await until(desks, text)


async def test_what_would_drop_red_lines_of_what_came_between_is_proposed_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    world = World.make(tmp_path_factory.mktemp("between"), ("GT", "MX"))
    place, desks = world["GT"], Desks(world)
    async with running(place.config), desks.stack:
        stub = await desks("GT", "focal")
        guarded, bare = with_version(2) + RED_LINE % b"COMMERCIAL", with_version(3)
        for text in (bare, guarded):  # neither drops a red line of what is in force
            await approved(stub, place, text)
        await schedule(stub, guarded, now_us() + DAY_US)
        words = "red lines GT-X would go, which nobody has approved: propose it again"
        await refused(schedule(stub, bare, now_us() + 2 * DAY_US), Status.FAILED_PRECONDITION, words)


async def removing(stub: "DeskAsyncStub", place: Place, text: bytes) -> None:
    """Approve a rulebook without a red line that the one before has, and that it goes."""
    await propose(stub, text)
    request = await signing(stub, text, *place.focal_keys)
    removal, _ = parse_signed_removal((await held(stub, text)).signed_removal)
    for key in place.focal_keys:
        removal = sign_removal(removal, key)
    request.signed_removal = removal.SerializeToString()
    assert stage((await stub.SignRulebook(request)).rulebook) == "APPROVED"


async def test_what_was_approved_to_follow_one_without_a_red_line_never_follows_the_one_that_has_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    guarded, other = GT + RED_LINE % b"COMMERCIAL", replaced(GT, b"rulebook: GT-RELEASE", b"rulebook: GT-OTHER")
    world = World.make(tmp_path_factory.mktemp("follow"), ("GT", "MX"), rulebooks={"GT": {"release": guarded}})
    place, desks = world["GT"], Desks(world)
    async with running(place.config), desks.stack:
        stub, two = await desks("GT", "focal"), with_version(2)
        await removing(stub, place, two)
        await schedule(stub, two, now_us() + DAY_US)
        await approved(stub, place, other)  # two has no such red line, so there is none to go
        await schedule(stub, other, now_us() + 2 * DAY_US)
        words = "GT-OTHER 1 was approved to come after it: revoke that one first"
        await refused(revoke(stub, two), Status.FAILED_PRECONDITION, words)
        await refused(schedule(stub, two, now_us() + 3 * DAY_US), Status.FAILED_PRECONDITION, words)
        await revoke(stub, other)
        await revoke(stub, two)
        assert await in_force(stub) == read(guarded).sha256


async def test_what_was_in_force_under_other_words_stops_nobody_from_proposing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    words = b"\nvocabulary: sha256:" + b"0" * 64
    worded = replaced(GT, b"\nlayer: release", words + b"\nlayer: release") + RED_LINE % b"COMMERCIAL"
    world = World.make(tmp_path_factory.mktemp("words"), ("GT", "MX"), rulebooks={"GT": {"release": worded}})
    desks = Desks(world)
    async with running(world["GT"].config) as parts, desks.stack:
        stub = await desks("GT", "focal")
        assert _deciding(parts, now_us()) == b""
        assert not (await propose(stub, with_version(2) + RED_LINE % b"COMMERCIAL")).removes_red_lines
        assert (await propose(stub, with_version(3))).removes_red_lines


async def test_an_illustration_is_for_demonstrations_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = World.make(tmp_path_factory.mktemp("earnest"), ("GT", "MX"), demonstration=False)
    desks = Desks(world)
    async with running(world["GT"].config) as parts, desks.stack:
        stub, book = await desks("GT", "focal"), desks.book("GT")
        # It was approved by two, and its instant has come: the federation is in earnest, so it counts for nothing.
        states = (await stub.GetStatus(GetStatusRequest())).rulebooks
        assert {each.layer: each.in_force for each in states} == dict.fromkeys(("floor", "release", "outbound"), False)
        assert _deciding(parts, now_us()) == b""
        before = book.size
        with pytest.raises(Exception, match="an illustration is usable in a demonstration federation only"):
            await propose(stub, with_version(2))
        assert lines_since(book, before) == [("RULEBOOK", "", "REFUSED PROPOSE RulebookError")]
        with pytest.raises(Exception, match="an illustration is usable in a demonstration federation only"):
            await schedule(stub, GT, now_us() + DAY_US)
