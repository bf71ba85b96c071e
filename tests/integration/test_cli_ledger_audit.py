"""What auditors ask of the ledger at the command line."""

from collections.abc import Iterator

import pytest

from node.errors import ForbiddenError, UsageError
from tests.command_line import QUESTION, TELEPHONE, Desk, running
from tests.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def auditor(world: World) -> Desk:
    return Desk(world["MX"], "auditor")


def entries_given(world: World) -> dict[str, str]:
    """The entries of MX's last answer, by how they were decided, after GT asked about a telephone."""
    exchange = Desk(world["GT"]).json("search", TELEPHONE, *QUESTION, "--peer", "MX")["exchange_id"]
    explained = Desk(world["MX"], "focal").json("policy", "explain", exchange)["entries"]
    return {each["logged"]: each["entry_id"] for each in explained}


def test_a_trace_names_peers_rules_and_obligations_and_masks_who_asked(world: World, auditor: Desk) -> None:
    entry = entries_given(world)["ENTRY_OUTCOME_ENTRY"]
    text = auditor.run("ledger", "trace", entry, wide=True)
    assert text.startswith("GT got something of this entry, in ")
    for words in ("ENTRY, revision 1", "asked by masked-", "  released: ", "  rules: ", "  obligations: ", " days"):
        assert words in text
    assert auditor.last_reasons(1) == [("READ", "TRACE")]
    found = auditor.json("ledger", "trace", entry, "--unmask", "complaint 7")
    assert {line["officer"] for line in found["lines"]} == {"analyst"}
    assert auditor.last_reasons(1) == [("READ", "TRACE UNMASK complaint 7")]


def test_what_nobody_got_is_said(auditor: Desk) -> None:
    assert auditor.run("ledger", "trace", "0" * 32).startswith("Nobody got anything of this entry in any of ")


def test_units_are_refused_and_so_is_what_is_no_id(world: World, auditor: Desk) -> None:
    with pytest.raises(ForbiddenError):
        Desk(world["MX"]).run("ledger", "trace", "0" * 32)
    with pytest.raises(UsageError):
        auditor.run("ledger", "trace", "nothing")


# --- use and samples -------------------------------------------------------------------------------------------------


def test_use_is_counted_and_what_stands_out_is_told(world: World) -> None:
    gt, auditor = Desk(world["GT"]), Desk(world["GT"], "auditor")
    loose = ["" if each == "C-1" else each for each in QUESTION]
    for _ in range(3):
        gt.run("search", TELEPHONE, *loose, "--peer", "MX")
    text = auditor.run("ledger", "stats", "--utc-offset", "-6", wide=True)
    assert "3 searches without a case: masked-" in text
    assert "a reason to look, not a finding" in text
    assert auditor.last_reasons(1) == [("READ", "STATS")]
    found = auditor.json("ledger", "stats", "--unmask", "complaint 7")
    assert {row["officer"] for row in found["officers"]} >= {"analyst"}
    (mx,) = [row for row in found["peers"] if row["peer"] == "MX"]
    assert int(mx["asked"]) == int(mx["answered"]) >= 3
    assert not auditor.json("ledger", "stats", "--until", "2020-01-31").get("peers")
    with pytest.raises(UsageError):
        auditor.run("ledger", "stats", "--since", "2020-02", "--until", "2020-01")


def test_a_sample_is_drawn_and_anybody_draws_the_same_again(auditor: Desk) -> None:
    drawn = auditor.json("ledger", "sample", "--lines", "4")
    assert len(drawn["drawn"]) == 4
    assert max(drawn["drawn"]) < int(drawn["index"])
    assert [int(line.get("index", 0)) for line in drawn["found"]] == drawn["drawn"]
    commit, reveal, looked = auditor.last_reasons(3)
    assert (commit, reveal) == (("READ", "SAMPLE COMMIT 4"), ("READ", f"SAMPLE REVEAL {drawn['index']}"))
    assert looked == ("READ", "LINES " + ",".join(map(str, drawn["drawn"])))
    again = auditor.json("ledger", "sample", "--verify", drawn["revealed"])
    assert (again["drawn"], again["seed"]) == (drawn["drawn"], drawn["seed"])
    text = auditor.run("ledger", "sample", "--verify", drawn["revealed"], wide=True)
    assert f"reveals it: {drawn['seed']}" in text
    for arguments in ((), ("--lines", "4", "--verify", "3")):
        with pytest.raises(UsageError):
            auditor.run("ledger", "sample", *arguments)
