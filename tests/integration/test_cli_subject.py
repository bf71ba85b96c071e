"""A person's request about their own data at the command line, from its coming in until it is closed."""

import json
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from node.errors import EnlaceError, ForbiddenError, UsageError
from tests.command_line import QUESTION, TELEPHONE, Desk, running
from tests.world import World

DUE = (datetime.now(UTC) + timedelta(days=20)).strftime("%Y-%m-%d")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def focal(world: World) -> Desk:
    return Desk(world["MX"], "focal")


def registered(focal: Desk, number: str, kind: str = "access", *more: str) -> str:
    options = ("--number", number, "--kind", kind, "--due", DUE, "--find", TELEPHONE)
    found = focal.json("ledger", "subject", "register", *options, *more)
    petition = found["petition"]
    assert isinstance(petition, str)
    return petition


def test_a_request_goes_its_way_and_the_report_is_for_review(world: World, focal: Desk, tmp_path: Path) -> None:
    Desk(world["GT"]).json("search", TELEPHONE, *QUESTION, "--peer", "MX")
    petition = registered(focal, "HD-1", "access", "--name", "Invented Person")
    assert "HD-1" in focal.run("ledger", "subject", "list", wide=True)
    focal.run("ledger", "subject", "step", petition, "check-identity")
    focal.run("ledger", "subject", "step", petition, "review")
    text = focal.run("ledger", "subject", "report", petition)
    assert text.startswith("FOR REVIEW BY THE COMPETENT OFFICER. NOT TO BE HANDED OUT AS IT IS.")
    for words in ("OWN ENTRY", "ASKED BY PEER", "RELEASED", "not decided, so not told", "telecom.telephone", "rules:"):
        assert words in text
    found = focal.json("ledger", "subject", "report", petition)
    item = found["items"][0]["reference"]
    focal.run("ledger", "subject", "mark", petition, item, "third-person", "--words", "a sister")
    out = tmp_path / "report.json"
    said = focal.run("ledger", "subject", "report", petition, "--json", "--out", str(out))
    assert said.endswith(f"items are in {out}, which only you can read.\n")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    written = json.loads(out.read_text())
    (marked,) = [each for each in written["items"] if each["reference"] == item]
    assert marked["mark"]["telling"] == "TELLING_THIRD_PERSON"
    with pytest.raises(UsageError, match="exists"):
        focal.run("ledger", "subject", "report", petition, "--out", str(out))
    focal.run("ledger", "subject", "step", petition, "answer")
    focal.run("ledger", "subject", "step", petition, "close")
    assert "closed" in focal.run("ledger", "subject", "show", petition)
    assert petition not in focal.run("ledger", "subject", "list", wide=True)
    assert petition in focal.run("ledger", "subject", "list", "--closed", wide=True)


def test_an_erasure_follows_a_request_and_takes_two_where_a_fact_protects(world: World, focal: Desk) -> None:
    petition = registered(focal, "HD-2", "erasure")
    items = focal.json("ledger", "subject", "report", petition)["items"]
    entries = [each["entry_id"] for each in items if each["kind"] == "REPORT_ITEM_KIND_OWN_ENTRY"]
    focal.run("ledger", "subject", "step", petition, "check-identity")
    named = [word for entry in entries for word in ("--entry", entry)]
    focal.run("ledger", "subject", "step", petition, "review", *named)
    plan = focal.json("ledger", "subject", "notices", petition)
    assert all(each["as"] == "recall" for each in plan)
    for each in plan:
        if each["may_be_origin"]:
            origin = (petition, each["entry"], each["peer"], "keep-from", "--words", "counsel, note 3")
            focal.run("ledger", "subject", "origin", *origin)
    done = [
        focal.json("ledger", "subject", "erase", entry, "--petition", petition, "--ground", "art. 17")
        for entry in entries
    ]
    waits = [each for each in done if each["state"] == "proposed"]
    assert waits, "one of them is a victim's"
    other = Desk(world["MX"], "focal-1")
    for each in waits:
        with pytest.raises(EnlaceError):
            focal.run("ledger", "subject", "confirm", each["erasure"])
        assert other.json("ledger", "subject", "confirm", each["erasure"])["state"] == "done"
    assert len(focal.json("ledger", "subject", "erasures")) == len(entries)
    assert "erased" in focal.run("ledger", "subject", "step", petition, "erase")
    Desk(world["MX"], "auditor").run("ledger", "verify")


def test_who_has_no_role_is_refused_and_an_auditor_lists_masks(world: World, focal: Desk) -> None:
    registered(focal, "HD-3")
    with pytest.raises(ForbiddenError):
        Desk(world["MX"]).run("ledger", "subject", "list")
    listed = Desk(world["MX"], "auditor").json("ledger", "subject", "list", "--closed")
    assert all(each["handler"].startswith("masked-") for each in listed)


def test_what_is_typed_wrongly_is_said(focal: Desk) -> None:
    for options in (("--kind", "everything"), ("--due", "soon"), ("--find", "???")):
        given = {"--number": "HD-9", "--kind": "access", "--due": DUE, "--find": TELEPHONE, options[0]: options[1]}
        with pytest.raises(UsageError):
            focal.run("ledger", "subject", "register", *[word for pair in given.items() for word in pair])


def test_doctor_says_by_when_to_answer(focal: Desk) -> None:
    registered(focal, "HD-4")
    said = {each["what"]: each for each in focal.json("doctor")}
    assert said["persons' requests"]["state"] == "green"
    assert "wait until" in said["persons' requests"]["finding"]
