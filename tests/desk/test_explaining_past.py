"""What was known and in force then counts, not what is now; and what can't be replayed is said as such."""

import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest
import pytest_asyncio

from node.cli.parts import Parts
from node.cli.serving import running
from node.federation.lines import line_of
from node.identity.keys import public_key
from node.policy.decide import ENTRY, INVISIBLE
from node.policy.explain_text import sentences
from node.policy.facts import encode_facts
from node.store.database import Database
from node.store.keystore import KeyStore
from node.store.lines import Line
from node.store.vault import Vault, read_key_file
from node.wire.codes_pb2 import (
    CRIME_TRAFFICKING,
    PURPOSE_INVESTIGATE,
)
from node.wire.desk_pb2 import ImportDirectoryRequest
from node.wire.envelope_pb2 import Statement
from node.wire.explaining_pb2 import (
    ExplainRequest,
    RehearseRulebookRequest,
    WhatIf,
)
from node.wire.ledger_pb2 import (
    Decisions,
    Direction,
    EntryDecision,
    LeafKind,
    LeafPrivate,
    LeafShared,
)
from tests.desk.support import Desks, Status, asserted, desks_of, refused
from tests.desk.test_explaining import asked, explained, what_if
from tests.federation.support import SEEN, case_record, telephone
from tests.rulebooks import enact
from tests.unit.policy.situations import SUSPECT_PHONE
from tests.world import RULEBOOKS, Place, World, now_us

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRED = "The rules that fired then: X-1."


async def test_what_was_accepted_then_counts_and_not_what_is_now(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = World.make(tmp_path_factory.mktemp("accepted"), ("GT", "MX"))
    world["MX"].write((case_record(), [asserted(telephone(SEEN))]))
    async with desks_of(world) as desks:
        exchange_id = await asked(desks, SEEN)
        entry_id = (await explained(desks, ExplainRequest(exchange_id=exchange_id))).entries[0].entry_id
        world["GT"].record_number += 1
        world["GT"].accepted = ()
        await (await desks("MX", "administrator")).ImportDirectory(
            ImportDirectoryRequest(signed_directory=world.compose())
        )
        (entry,) = (await explained(desks, ExplainRequest(exchange_id=exchange_id))).entries
        assert (entry.remark, entry.explanation.outcome) == ("", ENTRY)
        asking = WhatIf(recipient="GT", purpose=PURPOSE_INVESTIGATE, crimes=[CRIME_TRAFFICKING], entry_id=entry_id)
        (now,) = (await explained(desks, ExplainRequest(what_if=asking))).entries
        assert now.explanation.outcome != ENTRY
        assert any("has not accepted" in text or "accepts" in text for text in sentences(now.explanation))


async def test_the_rulebook_of_then_counts_and_not_the_one_of_now(tmp_path_factory: pytest.TempPathFactory) -> None:
    world = World.make(tmp_path_factory.mktemp("superseded"), ("GT", "MX"))
    place = world["MX"]
    place.write((case_record(), [asserted(telephone(SEEN))]))
    async with desks_of(world) as desks:
        exchange_id = await asked(desks, SEEN)
    supersede(place)
    async with desks_of(world, "MX") as desks:
        (entry,) = (await explained(desks, ExplainRequest(exchange_id=exchange_id))).entries
        assert (entry.remark, entry.explanation.outcome) == ("", ENTRY)
        assert entry.explanation.rulebooks[1] == "MX-RELEASE 1"
        (now,) = (await what_if(desks, entry_id=entry.entry_id)).entries
        assert (now.explanation.outcome, now.explanation.rulebooks[1]) == (INVISIBLE, "MX-RELEASE 2")
        assert [each.rule for each in now.explanation.denials] == ["MX-98"]


def supersede(place: Place) -> None:
    """Put a rulebook in force that denies what is of suspects, while the node is down."""
    denial = "- {id: MX-98, title: Planted, law: UNTOC art. 27(1), effect: deny, when: {role: [SUSPECT]}}\n"
    text = (RULEBOOKS / "mx.yaml").read_text().replace("\nversion: 1\n", "\nversion: 2\n", 1)
    text = text.replace("\nrules:\n", f"\nrules:\n{denial}", 1)
    store = place.config.store
    with Database.open(store.database) as database, KeyStore.open(store.keystore) as keys:
        vault = Vault(keys, read_key_file(store.key_encryption_key))
        focal = {f"focal-{n}": public_key(key) for n, key in enumerate(place.focal_keys, 1)}
        with database.engine.begin() as connection:
            enact(
                connection,
                vault,
                text.encode(),
                focal=focal,
                keys=place.focal_keys,
                floor=(RULEBOOKS / "floor.yaml").read_bytes(),
                at_us=now_us(),
            )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def older(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Desks, Mapping[str, bytes]]]:
    """MX with lines as another version of the node may have written them, by what is wrong with each."""
    world = World.make(tmp_path_factory.mktemp("older"), ("GT", "MX"))
    ids = {name: secrets.token_bytes(16) for name in ("facts", "rulebook", "directory", "replay", "twice")}
    async with running(world["MX"].config) as parts:
        for name, exchange_id in ids.items():
            await parts.writer.append(older_line(parts, name, exchange_id))
        await parts.writer.append(older_line(parts, "twice", ids["twice"], peer="US"))
    async with desks_of(world, "MX") as desks:
        yield desks, ids


def older_line(parts: Parts, wrong: str, exchange_id: bytes, peer: str = "GT") -> Line:
    floor, release = parts.standing.rulebook("floor", now_us()), parts.standing.rulebook("release", now_us())
    assert floor is not None
    assert release is not None
    shared = LeafShared(
        kind=LeafKind.LEAF_KIND_ANSWERED,
        direction=Direction.DIRECTION_SENT,
        time_us=now_us(),
        exchange_id=exchange_id,
        node="MX/mx-1",
        peer=peer,
    )
    known = secrets.token_bytes(32) if wrong == "rulebook" else release.sha256
    facts = b"\x80" if wrong == "facts" else encode_facts(SUSPECT_PHONE)
    outcome = INVISIBLE if wrong == "replay" else ENTRY
    decided = EntryDecision(entry_id=exchange_id, revision=1, outcome=outcome, rules=["X-1"], facts=facts)
    line = line_of(
        shared.SerializeToString(),
        LeafPrivate(floor_sha256=floor.sha256, release_sha256=known),
        exchange_id=exchange_id,
        now_us=now_us(),
        decisions=Decisions(entries=[decided]),
        replay_key=peer.encode(),
    )
    version = parts.standing.trust.directory.version + (wrong == "directory")
    statement = Statement(directory_version=version).SerializeToString()
    return replace(line, statement=statement, key_id=bytes(8), signature=bytes(64))


@pytest.mark.parametrize(
    ("wrong", "remark", "of_entry"),
    [
        (
            "facts",
            "",
            "The facts kept with it are of another vocabulary than this node's. The rules that fired then: X-1.",
        ),
        ("rulebook", "It can't be replayed: no rulebook of this digest is kept here, or its text was altered", FIRED),
        ("directory", "It can't be replayed: directory 2 is not kept here", FIRED),
    ],
)
async def test_what_can_not_be_replayed_is_said_as_such(
    older: tuple[Desks, Mapping[str, bytes]], wrong: str, remark: str, of_entry: str
) -> None:
    desks, ids = older
    response = await explained(desks, ExplainRequest(exchange_id=ids[wrong]))
    (entry,) = response.entries
    assert (response.remark, entry.logged, entry.remark) == (remark, ENTRY, of_entry)
    assert not entry.HasField("explanation")


async def test_a_replay_that_differs_from_its_line_is_remarked(older: tuple[Desks, Mapping[str, bytes]]) -> None:
    desks, ids = older
    (entry,) = (await explained(desks, ExplainRequest(exchange_id=ids["replay"]))).entries
    assert (entry.logged, entry.explanation.outcome) == (INVISIBLE, ENTRY)
    assert entry.remark == "The replay differs from what the ledger line says: look into it."


async def test_where_two_peers_chose_one_id_the_peer_is_to_be_named(older: tuple[Desks, Mapping[str, bytes]]) -> None:
    desks, ids = older
    await refused(explained(desks, ExplainRequest(exchange_id=ids["twice"])), Status.INVALID_ARGUMENT)
    response = await explained(desks, ExplainRequest(exchange_id=ids["twice"], peer="GT"))
    assert (response.peer, len(response.entries)) == ("GT", 1)


async def test_a_rehearsal_sets_aside_what_it_can_not_decide_again(older: tuple[Desks, Mapping[str, bytes]]) -> None:
    desks, _ = older
    request = RehearseRulebookRequest(content=(RULEBOOKS / "mx.yaml").read_bytes())
    *_, last = [each async for each in (await desks("MX", "focal")).RehearseRulebook(request)]
    assert "answers: 6; decisions: 6\n" in last.report
    assert "decisions whose facts are of another vocabulary, which can't be made again: 1\n" in last.report
    assert "decisions for countries that are no members any more, which can't be made again: 1\n" in last.report
