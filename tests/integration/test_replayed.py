"""What is remembered of records that are alike to the rules gives what asking each anew gives."""

import re

import pytest

from node.cli.serving import running
from node.desk.replayed import Replayed
from node.policy.rulebook import parse_rulebook
from node.wire.codes_pb2 import (
    CRIME_KIDNAPPING,
    HANDLING_CODE_H3,
    PURPOSE_DISRUPT,
    PURPOSE_INVESTIGATE,
    ROLE_VICTIM,
    TRI_UNKNOWN,
    TRI_YES,
)
from node.wire.entry_pb2 import Consent, Entry, Protection
from tests.federation.support import altered, person, protection, telephone
from tests.world import RULEBOOKS, World, now_us


def victim(*purposes: int, recipient: str = "GT") -> Entry:
    """A victim who has consented to these purposes."""
    consents = [Consent(recipient=recipient, purpose=each, given_us=now_us() - 1) for each in purposes]  # type: ignore[arg-type]
    return altered(
        person("Invented Victim"), roles=[ROLE_VICTIM], protection=protection(victim=TRI_YES, consents=consents)
    )


def records() -> list[Entry]:
    nothing = altered(person("Invented Unknown"), protection=Protection())
    return [
        telephone(),
        victim(),
        victim(PURPOSE_INVESTIGATE),
        victim(PURPOSE_DISRUPT, PURPOSE_INVESTIGATE),
        victim(PURPOSE_INVESTIGATE, recipient="US"),
        nothing,
        telephone(victim=True),
        altered(telephone(), handling=HANDLING_CODE_H3),
        altered(telephone(), crimes=[CRIME_KIDNAPPING]),
        altered(telephone(), protection=protection(origins=["GT"])),
        altered(telephone(), protection=protection(victim=TRI_UNKNOWN)),
        telephone(roles=False),
    ]


@pytest.mark.parametrize("order", [1, -1], ids=["in one order", "in the other"])
async def test_records_that_are_alike_are_asked_about_once(
    tmp_path_factory: pytest.TempPathFactory, order: int
) -> None:
    world = World.make(tmp_path_factory.mktemp("replayed"), ("GT", "MX", "US"))
    text = re.sub(r"(TELECOM|IDENTITY): release", r"\1: mask", (RULEBOOKS / "mx.yaml").read_text())
    text = text.replace("[VICTIM, PRESUMED_VICTIM, SMUGGLED_MIGRANT", "[PRESUMED_VICTIM, SMUGGLED_MIGRANT")
    book = parse_rulebook(text.encode(), demonstration=True)
    async with running(world["MX"].config) as parts:
        at_us = now_us()

        async def fresh() -> Replayed:
            return await parts.desk.replaying._run(book, at_us, at_us)

        every = [each for each in records() for _ in range(2)][::order]
        together, alone = await fresh(), []
        for number, entry in enumerate(every):
            entry.entry_id = number.to_bytes(16, "big")
            together.take_record(entry, {})
            one = await fresh()
            one.take_record(entry, {})
            alone.append(one)
        assert together.changed == [each for one in alone for each in one.changed]
        assert together.changed
        assert sum(one.changed_total for one in alone) == together.changed_total
        for which in (0, 1):
            assert together._blocked[which].records == sum(one._blocked[which].records for one in alone) > 0
