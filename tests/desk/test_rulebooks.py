"""A rulebook's way into force at the desk, and what it must not follow."""

import pytest

from node.cli.parts import Parts
from node.cli.serving import running
from node.identity.rulebook_approvals import parse_signed_approval, parse_signed_removal, sign_removal
from node.policy.vocabulary import vocabulary_digest
from node.wire.desk_pb2 import GetStatusRequest
from node.wire.rulebook_pb2 import (
    ProposeRulebookRequest,
    SignRulebookRequest,
)
from tests.desk.rulebook_steps import (
    DAY_US,
    GT,
    OUTBOUND,
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
    sign_as_each,
    signing,
    stage,
    steps_since,
    until,
    with_version,
)
from tests.desk.support import Desks, Status, refused
from tests.rulebooks import read
from tests.world import FLOOR, FOCAL, World, now_us

NOTHING_LEAVES = b"""- id: R-NONE
  title: No telephone number leaves for an investigation without a human's decision
  law: General Comment 25
  kind: never_without_approval
  data: [TELECOM]
  when: {purpose: [INVESTIGATE]}
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")

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

    for number, (name, key) in enumerate(zip(FOCAL, place.focal_keys, strict=True), start=1):
        state = (await (await desks("GT", name)).SignRulebook(await signing(stub, text, key))).rulebook
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

    assert steps_since(book, before) == [
        ("RULEBOOK", "", "PROPOSED RELEASE 2 GT-RELEASE"),
        ("RULEBOOK", "", "SIGNED RELEASE 2 GT-RELEASE"),
        ("RULEBOOK", "", "SIGNED RELEASE 2 GT-RELEASE"),
        ("RULEBOOK", "", "SCHEDULED RELEASE 2 GT-RELEASE"),
        ("RULEBOOK", "", "IN_FORCE RELEASE 2 GT-RELEASE"),
        ("RULEBOOK", "", "SUPERSEDED RELEASE 1 GT-RELEASE"),
    ]
    lines = acts_since(book, before)
    assert [line.officer for line in lines] == ["focal", "focal-1", "focal-2", "focal", "", ""]
    assert [line.subject for line in lines] == [digest] * 5 + [read(GT).sha256]
    book.verify()


async def test_an_outbound_rulebook_goes_the_same_way_without_proofs(desks: Desks) -> None:
    stub = await desks("GT", "focal")
    text = with_version(2, OUTBOUND)
    await approved(desks, text)
    assert "nothing to prove" in (await held(stub, text)).proof
    await schedule(stub, text)
    await until(desks, text)


async def test_one_that_is_revoked_before_its_instant_never_comes(desks: Desks) -> None:
    stub = await desks("GT", "focal")
    running_now = await in_force(stub)
    text = with_version(3)
    await approved(desks, text)
    await schedule(stub, text, now_us() + DAY_US)
    await schedule(stub, text, now_us() + 2 * DAY_US)  # another instant, before the first came
    await revoke(stub, text)
    state = (await history(stub))["release", 3]
    assert (stage(state), state.reason) == ("REVOKED", "an invented mistake")
    assert await in_force(stub) == running_now


# --- nodes of their own ----------------------------------------------------------------------------------------------


async def test_a_clock_that_went_back_schedules_nothing_and_what_is_in_force_stays(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    world = World.make(tmp_path_factory.mktemp("clock"), ("GT", "MX"))
    place = world["GT"]
    desks = Desks(world)
    async with running(place.config) as parts, desks.stack:
        stub, book, text = await desks("GT", "focal"), desks.book("GT"), with_version(2)
        await approved(desks, text)
        await schedule(stub, text)
        await until(desks, text)
        await approved(desks, with_version(3))
        before = book.size
        parts.desk.rulebooks.enacting.clock = lambda: now_us() - DAY_US
        with pytest.raises(Exception, match=r"this node's clock is \d+ s behind the last step of layer release"):
            await schedule(stub, with_version(3))
        assert steps_since(book, before) == [("RULEBOOK", "", "REFUSED SCHEDULE ApprovalError")]
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
        state = await sign_as_each(desks, text)
        assert (stage(state), list(state.signed_by)) == ("REHEARSED", ["focal-1", "focal-2"])
        words = "that it removes red lines is signed by 0 focal points, not by 2"
        assert state.fault == words
        await refused(schedule(stub, text), Status.FAILED_PRECONDITION, words)
        for number, (name, key) in enumerate(zip(FOCAL, place.focal_keys, strict=True), start=1):
            removal = sign_removal(removal, key)  # with what is kept already, which another one brought
            request = SignRulebookRequest(signed_removal=removal.SerializeToString())
            state = (await (await desks("GT", name)).SignRulebook(request)).rulebook
            assert list(state.removal_signed_by) == ["focal-1", "focal-2"][:number]
        assert stage(state) == "APPROVED"
        # One that says the same of its red lines needs nothing besides.
        kept = with_version(3, guarded)
        assert not (await propose(stub, kept)).removes_red_lines
        await sign_as_each(desks, kept)
        await schedule(stub, text)
        await until(desks, text)


async def test_that_a_red_line_goes_is_signed_by_each_in_their_own_name(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    rulebooks = {"GT": {"release": GT + RED_LINE % b"COMMERCIAL"}}
    world = World.make(tmp_path_factory.mktemp("names"), ("GT", "MX"), rulebooks=rulebooks)
    (one, two), desks = world["GT"].focal_keys, Desks(world)
    async with running(world["GT"].config), desks.stack:
        author, book, text = await desks("GT", "focal"), desks.book("GT"), with_version(2)
        await propose(author, text)
        await sign_as_each(desks, text)
        bare, _ = parse_signed_removal((await held(author, text)).signed_removal)
        alone = "a signature of {0} is brought by {0} alone: sign in with their certificate"
        for officer, keys, words in (
            ("focal", (one,), "its author brings no signature on it: two focal points do, each in their own name"),
            ("focal-1", (two,), alone.format("focal-2")),
            (
                "focal-2",
                (one, two),
                alone.format("focal-1"),
            ),
        ):
            removal, before = bare, book.size
            for key in keys:
                removal = sign_removal(removal, key)
            request = SignRulebookRequest(signed_removal=removal.SerializeToString())
            await refused((await desks("GT", officer)).SignRulebook(request), Status.FAILED_PRECONDITION, words)
            assert steps_since(book, before) == [("RULEBOOK", "", "REFUSED SIGN ApprovalError")]
        assert list((await held(author, text)).rulebook.removal_signed_by) == []


async def test_what_would_drop_red_lines_of_what_came_between_is_proposed_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    world = World.make(tmp_path_factory.mktemp("between"), ("GT", "MX"))
    place, desks = world["GT"], Desks(world)
    async with running(place.config), desks.stack:
        stub = await desks("GT", "focal")
        guarded, bare = with_version(2) + RED_LINE % b"COMMERCIAL", with_version(3)
        for text in (bare, guarded):  # neither drops a red line of what is in force
            await approved(desks, text)
        await schedule(stub, guarded, now_us() + DAY_US)
        words = "red lines GT-X would go, which nobody has approved: propose it again"
        await refused(schedule(stub, bare, now_us() + 2 * DAY_US), Status.FAILED_PRECONDITION, words)


async def test_with_another_floor_a_rulebook_is_proved_anew(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = World.make(tmp_path_factory.mktemp("floor"), ("GT", "MX"))
    place, desks, text = world["GT"], Desks(world), with_version(2)
    async with running(place.config) as parts, desks.stack:
        stub, book = await desks("GT", "focal"), desks.book("GT")
        await approved(desks, text)
        world.floor = with_version(2, FLOOR)
        before = book.size
        await parts.distribution.accept_directory(world.compose())
        assert steps_since(book, before)[1:] == [
            ("RULEBOOK", "", "IN_FORCE FLOOR 2 FLOOR"),
            ("RULEBOOK", "", "PROVED_ANEW RELEASE 1 GT-RELEASE"),
        ]
        assert await in_force(stub, "floor") == read(world.floor).sha256
        assert await in_force(stub) == read(GT).sha256
        words = "it was proved with another floor than the one in force: propose it again"
        await refused(schedule(stub, text), Status.FAILED_PRECONDITION, words)
        assert list((await propose(stub, text)).signed_by) == []  # what was signed was another proof
        await sign_as_each(desks, text)
        await schedule(stub, text)

        # A floor whose text changes under its version is not the one that was in force, and not a new one.
        world.floor += b"# changed\n"
        await parts.distribution.accept_directory(world.compose())
        states = {each.layer: each for each in (await stub.GetStatus(GetStatusRequest())).rulebooks}
        assert not states["floor"].in_force
        assert states["floor"].detail == "FLOOR 2 has another text already: give this one a new version"
        assert (
            _deciding(parts, now_us()) == read(GT).sha256
        )  # a release rulebook alone, without a floor, grants nothing
        assert parts.standing.policy_for("MX", now_us()).floor is None
        await refused(
            propose(stub, with_version(3)),
            Status.FAILED_PRECONDITION,
            "there is no floor to prove it with: a directory is to bring one first",
        )
        world.floor = FLOOR
        await parts.distribution.accept_directory(world.compose())
        states = {each.layer: each for each in (await stub.GetStatus(GetStatusRequest())).rulebooks}
        assert states["floor"].detail == "FLOOR 1 is older than the one that was in force"


async def test_a_rulebook_that_breaks_a_red_line_of_a_new_floor_goes_out_of_force(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    world = World.make(tmp_path_factory.mktemp("breaks"), ("GT", "MX"))
    desks = Desks(world)
    async with running(world["GT"].config) as parts, desks.stack:
        stub, book = await desks("GT", "focal"), desks.book("GT")
        world.floor = with_version(2, FLOOR) + NOTHING_LEAVES
        before = book.size
        await parts.distribution.accept_directory(world.compose())
        assert steps_since(book, before)[-1] == ("RULEBOOK", "", "BREAKS_FLOOR RELEASE 1 GT-RELEASE")
        state = {each.layer: each for each in (await stub.GetStatus(GetStatusRequest())).rulebooks}["release"]
        assert not state.in_force
        assert state.detail.startswith("with FLOOR 2, floor red line R-NONE: ")
        assert parts.standing.policy_for("MX", now_us()).release is None
        before = book.size
        await parts.distribution.enacting.enact()
        assert book.size == before  # it is judged once

        world.floor = with_version(3, FLOOR)
        await parts.distribution.accept_directory(world.compose())
        assert await in_force(stub) == read(GT).sha256


async def removing(desks: Desks, text: bytes) -> None:
    """Approve a rulebook without a red line that the one before has, and that it goes."""
    await propose(await desks("GT", "focal"), text)
    for name, key in zip(FOCAL, desks.world["GT"].focal_keys, strict=True):
        stub = await desks("GT", name)
        removal, _ = parse_signed_removal((await held(stub, text)).signed_removal)
        request = await signing(stub, text, key)
        request.signed_removal = sign_removal(removal, key).SerializeToString()
        state = (await stub.SignRulebook(request)).rulebook
    assert stage(state) == "APPROVED"


async def test_what_was_approved_to_follow_one_without_a_red_line_never_follows_the_one_that_has_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    guarded, other = GT + RED_LINE % b"COMMERCIAL", replaced(GT, b"rulebook: GT-RELEASE", b"rulebook: GT-OTHER")
    world = World.make(tmp_path_factory.mktemp("follow"), ("GT", "MX"), rulebooks={"GT": {"release": guarded}})
    place, desks = world["GT"], Desks(world)
    async with running(place.config), desks.stack:
        stub, two = await desks("GT", "focal"), with_version(2)
        await removing(desks, two)
        await schedule(stub, two, now_us() + DAY_US)
        await approved(desks, other)  # two has no such red line, so there is none to go
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
        assert steps_since(book, before) == [("RULEBOOK", "", "REFUSED PROPOSE RulebookError")]
        with pytest.raises(Exception, match="an illustration is usable in a demonstration federation only"):
            await schedule(stub, GT, now_us() + DAY_US)
