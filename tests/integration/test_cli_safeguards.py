"""What duty officers and focal points do at the command line, against two nodes that run as in production."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node.errors import EnlaceError, UsageError
from node.identity.keys import private_key_pem
from tests.command_line import QUESTION, Desk, start, wait_until_up
from tests.federation.support import case_record
from tests.safeguards.support import PLAIN, UNDECIDED, with_protection
from tests.safeguards.support import records as undecided
from tests.world import World

SEEN = "+12025550170"
LIFE = ("--urgency", "life", "--reason", "Invented: held for ransom", *QUESTION[2:], "--purpose", "protect-life")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World.make(tmp_path_factory.mktemp("world"), ("GT", "MX"))
    made["MX"].write(undecided())
    made["MX"].write((case_record(), [with_protection(SEEN, origins=["GT"])]))
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


@pytest.fixture
def gt(world: World) -> Desk:
    return Desk(world["GT"])


@pytest.fixture
def focal(world: World) -> Desk:
    return Desk(world["MX"], "focal")


def until(look: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    for _ in range(100):
        if found := look():
            return found
        time.sleep(0.1)
    pytest.fail("it did not come to pass within 10 seconds")


def findings(desk: Desk) -> dict[str, tuple[str, str]]:
    return {each["what"]: (each["state"], each["finding"]) for each in desk.json("doctor")}


def entry_id(world: World, number: str) -> str:
    desk = Desk(world["MX"])
    for case in desk.json("case", "list"):
        for entry in desk.json("case", "show", case["case_id"])["entries"]:
            if entry.get("telecom", {}).get("telephone") == number:
                return str(entry["entry_id"])
    raise AssertionError(number)


def test_a_node_that_nobody_waits_for_says_so(world: World, focal: Desk) -> None:
    found = findings(focal)
    assert [found[what][0] for what in ("facts for a life", "frozen views", "emergencies")] == ["green"] * 3
    assert "No fact waits" in focal.run("life", "facts")
    assert "No view is frozen" in focal.run("freeze", "list")
    assert "No emergency was ever declared" in focal.run("emergency", "list")
    assert world["MX"].code == "MX"


def test_the_duty_officer_sees_which_fact_is_to_be_determined(world: World, gt: Desk, focal: Desk) -> None:
    gt.run("search", UNDECIDED, *LIFE)
    (fact,) = until(lambda: focal.json("life", "facts"))
    assert (fact["peer"], fact["entry"]) == ("GT", entry_id(world, UNDECIDED))
    assert "witness" in fact["determine"]
    assert fact["entry"][:8] in focal.run("life", "facts", wide=True)
    (notice,) = focal.json("life", "list")
    assert notice["to_determine"] == 1
    state, says = findings(focal)["facts for a life"]
    assert (state, says[:14]) == ("yellow", "1 entries wait")


def test_a_focal_point_decides_how_a_view_ends(world: World, gt: Desk, focal: Desk) -> None:
    gt.run("search", SEEN, *QUESTION)
    analyst, entry = Desk(world["MX"]), entry_id(world, SEEN)
    kept = analyst.json("entry", "show", entry)
    kept["protection"]["asylum"] = "ASYLUM_STATE_CLAIMED"
    analyst.run("entry", "edit", "-", given=json.dumps(kept))
    (view,) = focal.json("freeze", "list")
    assert (view["entry"], view["peer"], view["state"], view["by"]) == (entry, "GT", "waiting", "")
    assert findings(focal)["frozen views"][0] == "yellow"
    assert "1 released" in gt.run("search", SEEN, *QUESTION)
    decided = focal.json(
        "freeze", "decide", entry, "gt", "freeze", "--until", "2028-01-31", "--reason", "It would tell"
    )
    assert (decided["state"], decided["until"][:10], decided["by"]) == ("freeze", "2028-01-31", "focal")
    assert "expiry" in focal.run("freeze", "decide", entry, "GT", "expiry", "--reason", "Invented")
    assert findings(focal)["frozen views"][0] == "green"
    with pytest.raises(UsageError, match="expiry comes at"):
        focal.run("freeze", "decide", entry, "GT", "expiry", "--until", "2028-01-31", "--reason", "Invented")
    with pytest.raises(UsageError, match="no view of this entry"):
        focal.run("freeze", "decide", entry_id(world, PLAIN), "GT", "expiry", "--reason", "Invented")


def test_an_emergency_is_declared_reviewed_and_ended(world: World, focal: Desk, tmp_path: Path) -> None:
    keys = [tmp_path / name for name in ("one.pem", "two.pem")]
    for path, key in zip(keys, world["MX"].focal_keys, strict=True):
        path.write_bytes(private_key_pem(key, None))
        path.chmod(0o600)
    because = ("--reason", "Invented: a child was taken")
    with pytest.raises(UsageError, match="MX is this country itself: name the peer"):
        focal.run("emergency", "declare", "MX", "--key", str(keys[0]), *because)
    with pytest.raises(EnlaceError, match="a signature of focal-1 is brought by focal-1 alone"):
        focal.run("emergency", "declare", "GT", "--key", str(keys[0]), *because)
    focal = Desk(world["MX"], "focal-1")
    declared = focal.json("emergency", "declare", "gt", "--key", str(keys[0]), "--hours", "2", *because)
    assert declared["peer"] == "GT"
    with pytest.raises(UsageError, match="end it first"):
        focal.run("emergency", "declare", "GT", "--key", str(keys[0]), "--hours", "3", *because)
    assert findings(focal)["emergency GT"][0] == "yellow"
    digits = declared["emergency"][:8]
    read = ("--reason", "Invented: read", "--uphold")
    with pytest.raises(UsageError, match="another focal point"):
        focal.run("emergency", "review", digits, "--key", str(keys[1]), *read)
    with pytest.raises(UsageError, match="no emergency has a digest"):
        focal.run("emergency", "review", "zz", "--key", str(keys[1]), *read)
    focal.run("emergency", "end", "GT", "--reason", "Invented: found")
    (listed,) = focal.json("emergency", "list")
    assert (listed["by"], listed["review"][:3], listed["reason"]) == ("focal-1", "due", "Invented: a child was taken")
    assert findings(focal)["emergencies"][0] == "green"
    other = Desk(world["MX"], "focal-2")
    assert other.json("emergency", "review", digits, "--key", str(keys[1]), *read)["upheld"]
    (listed,) = focal.json("emergency", "list")
    assert (listed["review"], listed["reviewed_by"]) == ("upheld", "focal-2")
    assert "upheld" in focal.run("emergency", "list", wide=True)
    with pytest.raises(UsageError, match="no emergency towards GT is in force"):
        focal.run("emergency", "end", "GT", "--reason", "Invented: found")


def test_who_is_on_call_is_set_swapped_and_reached(world: World, focal: Desk) -> None:
    assert "Nobody is on call" in focal.run("duty", "now")
    assert findings(focal)["on duty"][0] == "yellow"
    begin, end = (time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() + hours * 3_600)) for hours in (-1, 48))
    made = focal.json("duty", "set", begin, end, "focal-1", "focal-2")
    assert (made["on_duty"], made["deputies"], made["until"]) == ("focal-1", "focal-2", f"{end.replace('T', ' ')} UTC")
    focal.run("duty", "swap", made["turn"], "focal-1", "focal")
    supervisor = Desk(world["MX"], "supervisor")
    supervisor.run("duty", "contact", "focal", "--telephone", "+52 55 5555 0101", "--email", "one@unit.example")
    first, second = Desk(world["MX"]).json("duty", "now")
    assert (first["officer"], first["as"], first["telephone"]) == ("focal", "on duty", "+52 55 5555 0101")
    assert (second["officer"], second["as"], second["email"]) == ("focal-2", "deputy 1", "")
    (turn,) = focal.json("duty", "list")
    assert (turn["on_duty"], turn["set_by"]) == ("focal", "focal")
    assert findings(focal)["on duty"][0] == "green"
    assert focal.json("duty", "pages", "--closed") is not None
    with pytest.raises(UsageError, match="write 2026-11-23T08:00"):
        focal.run("duty", "set", "tomorrow", end, "focal-1")
    with pytest.raises(UsageError, match="analyst is no active focal point"):
        focal.run("duty", "set", begin, end, "analyst")
