"""Asking for more and deciding on it at the command line, against two nodes that run as in production."""

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from node.errors import UsageError
from node.identity.keys import private_key_pem
from tests.command_line import QUESTION, Desk, start, wait_until_up
from tests.desk.request_support import HELD, SUSPECTS, held_telephone
from tests.federation.support import case_record, telephone
from tests.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World.make(tmp_path_factory.mktemp("world"), ("GT", "MX"))
    made["MX"].write((case_record(), [telephone(SUSPECTS), held_telephone()]))
    made["MX"].home.path.joinpath("focal-1.pem").write_bytes(private_key_pem(made["MX"].focal_keys[0], None))
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


def until(look: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    for _ in range(150):
        if found := look():
            return found
        time.sleep(0.1)
    pytest.fail("it did not come to pass within 15 seconds")


def test_from_a_hit_to_what_was_granted(world: World) -> None:
    gt, focal = Desk(world["GT"]), Desk(world["MX"], "focal-1")
    key = str(world["MX"].home.path / "focal-1.pem")
    # A node that has just come up may not have reached its peer yet.
    (answer,) = until(
        lambda: [found for found in [gt.json("search", SUSPECTS, *QUESTION, "--peer", "MX")] if "answer" in found]
    )
    handle, exchange = answer["answer"]["hits"][0]["entry"]["handle"], answer["exchange_id"]
    sent = gt.json("request", "send", "MX", exchange, handle, "--why", "Invented need.", "--crime", "trafficking")
    assert (sent["state"], sent["due"]) == ("asked", "in 6 d 23 h")
    short = sent["request"][:8]

    until(lambda: focal.json("queue"))
    text = focal.run("queue", wide=True)
    assert "routine" in text
    assert "in 6 d 23 h" in text
    shown = focal.run("queue", "show", short, "--data", "telecom", wide=True)
    assert SUSPECTS in shown
    assert "Invented Holder" not in shown
    assert "The floor forbids, whoever approves:" in shown
    assert "Released to GT before, of this and of what is linked with it:" in shown
    taken = focal.json("queue", "take", short)
    assert (taken["state"], taken["taken by"]) == ("taken", "focal-1")

    digest = focal.json("queue", "show", short, "--data", "telecom")["message"]
    grant = ("grant", short, "--key", key, "--data", "telecom")
    with pytest.raises(UsageError, match="that is not the message that would leave now"):
        focal.json(*grant, "--message", "0" * 64)
    assert focal.json(*grant, "--message", digest[:16])["state"] == "partly granted"

    until(lambda: [each for each in gt.json("inbox") if each["state"] == "partly granted"])
    text = gt.run("request", "show", short, wide=True)
    assert SUSPECTS in text
    assert "Invented need." in text
    assert gt.json("request", "reply", short, "Invented thanks.")["said"] == "Invented thanks."
    again = gt.json("request", "again", short, "--data", "identity", "--why", "Invented other need.")
    assert again["state"] == "asked"

    until(lambda: focal.json("queue"))
    assert focal.json("refuse", again["request"][:8], "--reason", "court")["state"] == "refused"
    until(lambda: [each for each in gt.json("inbox") if each["state"] == "refused"])
    (numbers,) = Desk(world["MX"], "auditor").json("request", "numbers")
    assert (numbers["asked"], numbers["in part"], numbers["refused"]) == (2, 1, 1)
    assert numbers["refused for"] == ["court 1"]
    with pytest.raises(UsageError, match="no request has an id that begins with ffffffff"):
        gt.run("request", "show", "ffffffff")


def test_a_held_answer_shows_in_both_lists(world: World) -> None:
    gt, focal = Desk(world["GT"]), Desk(world["MX"], "focal-1")
    assert "held for the focal point" in gt.run("search", HELD, *QUESTION, "--peer", "MX", wide=True)
    (waiting,) = until(lambda: focal.json("queue"))
    assert (waiting["origin"], waiting["silent"]) == ("held", False)
    (own,) = gt.json("request", "list", "--open")
    assert own["request"] == waiting["request"]
    assert focal.json("queue", "escalate", waiting["request"])["state"] == "escalated"


def test_from_a_preview_to_a_deletion_receipt(world: World) -> None:
    gt, mx = Desk(world["GT"]), Desk(world["MX"])
    (case,) = mx.json("case", "list")
    entries = mx.json("case", "show", case["case_id"])["entries"]
    (entry,) = [each["entry_id"] for each in entries if each["telecom"]["telephone"] == SUSPECTS]
    wanted = (entry, "--crime", "trafficking", "--words", "Invented words.")
    (preview,) = mx.json("share", "preview", *wanted)
    assert (preview["peer"], preview["would get"], preview["first"]) == ("GT", "1 of 1", "")
    assert SUSPECTS in mx.run("share", "preview", *wanted, wide=True)
    (sent,) = mx.json("share", "send", *wanted, "--yes")
    assert (sent["peer"], sent["state"], sent["entries"]) == ("GT", "sent", 1)
    until(lambda: [each for each in gt.json("share", "list") if each["share"] == sent["share"]])
    (came,) = [each for each in gt.json("received", "list") if each["source"] == "share"]
    flagged = gt.json("flag", "send", came["received"], "wrong", "--data", "identity")
    assert (flagged["kind"], flagged["data"]) == ("wrong", "identity")
    until(lambda: [each for each in mx.json("inbox") if each.get("flagged by") == "them"])

    (updated,) = mx.json("update", entry, "--reason", "invented correction")
    assert (updated["peer"], updated["sent"]) == ("GT", True)
    (recalled,) = mx.json("recall", "send", entry, "--reason", "invented mistake")
    assert (recalled["peer"], recalled["sent"]) == ("GT", True)
    (done,) = until(lambda: [each for each in mx.json("recall", "list") if each["state"] == "deleted"])
    assert "RECEIVED_ENTRY" in done["the peer says"]
    assert "A receipt proves that the peer says so, not that it is so." in mx.run("recall", "list", wide=True)
    assert mx.json("recall", "proposed") == []
    assert gt.json("received", "list") == []  # what was granted went with it


def test_an_alert_is_set_shown_ended_and_what_is_wrong_with_one_is_said(world: World) -> None:
    gt, focal = Desk(world["GT"]), Desk(world["MX"], "focal-1")
    (made,) = gt.json("alert", "set", "+12025550159", *QUESTION, "--peer", "MX", "--days", "30")
    short = made["alert"][:8]
    until(lambda: [each for each in gt.json("alert", "list", "--standing") if each["state"] == "standing"])
    text = gt.run("alert", "show", short, wide=True)
    assert "telephone: +12025550159" in text
    theirs = focal.json("alert", "show", short)
    assert (theirs["set by"], theirs["told"], theirs["looks for"]) == ("them", [], ["telephone: +12025550159"])
    assert gt.json("alert", "end", short)["state"] == "ended"
    until(lambda: [each for each in focal.json("alert", "list") if each["state"] == "ended"])
    assert "erased when it ended" in focal.run("alert", "show", short, wide=True)
    assert made["alert"] in [each.get("alert") for each in gt.json("inbox")]
    assert "ended" in gt.run("inbox", wide=True)
    with pytest.raises(UsageError, match="no alert has an id that begins with ffff"):
        gt.json("alert", "show", "ffffffff")
    gt.json("alert", "set", "+12025550159", *QUESTION, "--peer", "US")
    assert gt.status == 1
