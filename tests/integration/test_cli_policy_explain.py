"""Explanations and rehearsals from the command line."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.errors import ForbiddenError, UsageError
from tests.command_line import QUESTION, TELEPHONE, Desk, running
from tests.world import RULEBOOKS, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def focal(world: World) -> Desk:
    return Desk(world["MX"], "focal")


@pytest.fixture
def exchange(world: World) -> str:
    """The id of an exchange in which GT asked MX about a telephone that MX holds of a suspect, and of a victim."""
    gt = Desk(world["GT"])
    text = gt.run("search", TELEPHONE, *QUESTION, "--peer", "MX", "--json")
    found = json.loads(text)["exchange_id"]
    assert isinstance(found, str)
    return found


def test_an_answer_is_explained_in_sentences(focal: Desk, exchange: str) -> None:
    text = focal.run("policy", "explain", exchange, wide=True)
    assert text.startswith(f"Exchange {exchange}, answered to GT at ")
    assert "ENTRY" in text
    assert "To the peer it looks like a no-hit" in text
    assert "grants release: " in text
    assert "Of the subject: " not in text
    assert "Of the subject: role " in focal.run("policy", "explain", exchange, "--facts", wide=True)
    assert focal.last_reasons(1) == [("READ", "EXPLAIN")]


def test_one_entry_as_json(focal: Desk, exchange: str) -> None:
    whole = focal.json("policy", "explain", exchange)
    assert (whole["exchange_id"], whole["peer"]) == (exchange, "GT")
    assert len(whole["entries"]) > 1
    entry_id = whole["entries"][0]["entry_id"]
    one = focal.json("policy", "explain", exchange, "--entry", entry_id, "--peer", "GT")
    assert one["entries"] == [whole["entries"][0]]


def test_what_if(focal: Desk, exchange: str) -> None:
    entries = focal.json("policy", "explain", exchange)["entries"]
    seen, *_ = [each["entry_id"] for each in entries if each["logged"] == "ENTRY_OUTCOME_ENTRY"]
    asking = ("policy", "explain", "--what-if", "--peer", "gt", "--crime", "trafficking", "--entry", seen)
    text = focal.run(*asking, "--purpose", "investigate", wide=True)
    assert text.startswith("If GT asked now:")
    assert f"Entry {seen}, revision 1: ENTRY" in text
    assert ": INVISIBLE" in focal.run(*asking, "--purpose", "trend", wide=True)
    assert ": INVISIBLE" in focal.run(*asking, "--purpose", "investigate", "--fact", "role=victim,suspect", wide=True)
    assert focal.last_reasons(1) == [("READ", "WHAT_IF GT")]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--what-if",),
        ("--what-if", "--peer", "GT"),
        ("--what-if", "--peer", "GT", "--purpose", "investigate", "--fact", "role"),
    ],
)
def test_what_is_missing_is_said(focal: Desk, arguments: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        focal.run("policy", "explain", *arguments)


def test_units_are_refused(world: World, exchange: str) -> None:
    analyst = Desk(world["MX"])
    with pytest.raises(ForbiddenError):
        analyst.run("policy", "explain", exchange)
    assert analyst.last_reasons(1) == [("DENIED", "ROLE")]


def test_a_rehearsal_shows_report_digest_and_entries(focal: Desk, exchange: str, tmp_path: Path) -> None:
    file = tmp_path / "mx.yaml"
    denial = "- {id: MX-98, title: Planted, law: UNTOC art. 27(1), effect: deny, when: {role: [SUSPECT]}}\n"
    text = (RULEBOOKS / "mx.yaml").read_text().replace("\nrules:\n", f"\nrules:\n{denial}", 1)
    file.write_text(text.replace("\nversion: ", "\nversion: 99 #", 1))
    told = focal.run("policy", "rehearse", str(file), wide=True)
    report, _, digest = told.partition("\nSHA-256 of this report: ")
    assert hashlib.sha256(report.encode()).hexdigest() == digest.strip()
    assert "GT: decisions no longer leaving: " in report
    named = focal.run("policy", "rehearse", str(file), "--entries", wide=True)
    assert exchange in named
    assert "entry → invisible" in named
    document = focal.json("policy", "rehearse", str(file), "--entries")
    assert (document["report"], document["sha256"]) == (report, digest.strip())
    assert {"entry_id", "peer", "before", "after"} <= document["changed"][0].keys()
