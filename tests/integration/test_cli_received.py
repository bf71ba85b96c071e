"""Entries of other countries at the command line: kept, shown with their terms, found, held; reviews of own records."""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from node.errors import ForbiddenError, UsageError
from tests.command_line import QUESTION, Desk, start, wait_until_up
from tests.federation.support import case_record
from tests.safeguards.support import with_protection
from tests.world import World

SEEN = "+12025550170"
SOON = (datetime.now(UTC) + timedelta(days=20)).strftime("%Y-%m-%d")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World.make(tmp_path_factory.mktemp("world"), ("GT", "MX"))
    made["MX"].write((case_record(), [with_protection(SEEN)]))
    places = list(made.places.values())
    processes = [start(place) for place in places]
    try:
        for place, process in zip(places, processes, strict=True):
            wait_until_up(place, process)
        yield made
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            assert process.wait(30) == 0


@pytest.fixture(scope="module")
def gt(world: World) -> Desk:
    return Desk(world["GT"])


@pytest.fixture(scope="module")
def case(gt: Desk) -> str:
    return str(gt.json("case", "new", "C-1", "--title", "Invented", "--crime", "trafficking")["case"]["case_id"])


@pytest.fixture(scope="module")
def received(gt: Desk, case: str) -> str:
    text = gt.run("search", SEEN, *QUESTION)
    handle, exchange = (
        next(line.split()[1] for line in text.splitlines() if line.strip().startswith(name))
        for name in ("handle", "exchange")
    )
    (kept,) = gt.json("received", "keep", handle, "--exchange", exchange, "--case", case)
    return str(kept["received"]["received_id"])


def test_it_shows_with_all_that_binds_who_uses_it(gt: Desk, received: str) -> None:
    text = gt.run("received", "show", received, "--purpose", "investigate")
    assert SEEN in text
    for words in ("obligations", "granted by", "delete by", "MX's consent", "kept with    C-1", "kept until"):
        assert words in text, text
    listed = gt.run("received", "list", wide=True)
    assert SEEN not in listed
    assert received[:8] in listed
    (row,) = gt.json("received", "list")
    assert row["terms"]
    assert (row["from"], row["kind"], row["case"], row["source"]) == ("MX", "telecom", "C-1", "answer")


def test_it_is_found_for_a_purpose_that_its_terms_allow(gt: Desk, received: str) -> None:
    (found,) = gt.json("received", "find", SEEN, "--purpose", "investigate", "--case", "C-1")
    assert found["received"]["received_id"] == received
    assert gt.json("received", "find", SEEN, "--purpose", "immigration-enforcement", "--case", "C-1") == []
    with pytest.raises(UsageError, match="not lawful"):
        gt.run("received", "show", received, "--purpose", "immigration-enforcement")
    with pytest.raises(UsageError, match="--kind"):
        gt.run("received", "find", "?", "--purpose", "investigate", "--case", "C-1")


def test_it_is_reviewed_held_and_barred(world: World, gt: Desk, received: str) -> None:
    (reviewed,) = gt.json("received", "review", received, "--until", SOON, "--reason", "looked at again then")
    assert reviewed["received"]["review_us"]
    focal = Desk(world["GT"], "focal")
    assert "CPP art. 150" in focal.run("received", "hold", received, "--law", "CPP art. 150", "--until", SOON)
    (hold,) = focal.json("received", "holds")
    assert (hold["record"], hold["by"]) == (received, "focal")
    assert gt.json("received", "list")[0]["held"] == "held"
    assert "held by law" in gt.run("received", "show", received, "--purpose", "investigate")
    with pytest.raises(ForbiddenError):
        gt.run("received", "release-hold", received, "--reason", "not mine to release")
    assert "has ended" in focal.run("received", "release-hold", received, "--reason", "judgment is final")
    assert "Nothing is held" in focal.run("received", "holds")
    assert "no use any more" in gt.run("received", "bar", received, "--basis", "expert opinion 12")
    assert "Nothing of other countries" in gt.run("received", "list")


def test_own_records_are_reviewed(gt: Desk, case: str) -> None:
    day = (datetime.now(UTC) + timedelta(days=4 * 365)).strftime("%Y-%m-%d")
    assert day in gt.run("case", "review", case, "--until", day, "--reason", "trial goes on")
    with pytest.raises(UsageError):
        gt.run("case", "review", case, "--until", "2020-01-01", "--reason", "trial goes on")
    with pytest.raises(UsageError):
        gt.run("entry", "review", case, "--until", day, "--reason", "there is no such entry")
