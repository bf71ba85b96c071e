"""Search, records, imports and the ledger from the command line, against two nodes that run as in production."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

from node.cli.app import app
from node.errors import EnlaceError, ImportFileError, UnansweredError, UsageError
from node.ledger.chain import FIRST_LINK, link_of
from node.ledger.rfc6962 import Frontier, leaf_hash
from tests.pki import FEDERATION
from tests.world import ROLES, Place, World

INVENTED = Path(__file__).parents[2] / "node" / "cli" / "data" / "invented.json"
INCIDENTS = INVENTED.with_name("incidents.csv")
TELEPHONE = "+19565550143"  # MX holds it twice: of a suspect, and of a victim
START_S = 20


@dataclass
class Desk:
    """An officer of a country at the command line; `status` and `text` are those of the last command."""

    place: Place
    officer: str = "analyst"
    status: int = 0
    text: str = ""

    def run(self, *arguments: str, given: str | None = None, terminal: bool = False, wide: bool = False) -> str:
        known = [*arguments, "--home", str(self.place.home.path)]
        if arguments[:2] not in {("ledger", "verify"), ("ledger", "checkpoint")}:
            known += ["--as", self.officer]
        environment = {"ENLACE_LANGUAGE": "en"}
        if terminal:
            environment["FORCE_COLOR"] = "1"
        if wide:
            environment["COLUMNS"] = "240"
        result = CliRunner().invoke(app, known, input=given, env=environment)
        if isinstance(result.exception, EnlaceError):
            raise result.exception
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        self.status, self.text = result.exit_code, result.stdout
        return self.text

    def json(self, *arguments: str, given: str | None = None) -> Any:  # noqa: ANN401 - whatever JSON says
        return json.loads(self.run(*arguments, "--json", given=given))

    def lines(self) -> list[dict[str, Any]]:
        """All lines of the ledger, as its auditor reads them."""
        listed = Desk(self.place, "auditor").json("ledger", "list", "--limit", "10000")
        assert isinstance(listed, list)
        return listed

    def last(self, count: int) -> list[dict[str, Any]]:
        """The last lines but those that say that the auditor looked."""
        return [line for line in self.lines() if not line["private"].get("reason", "").startswith("LEDGER")][-count:]

    def last_reasons(self, count: int) -> list[tuple[str, str]]:
        """Kind and reason of the last lines."""
        return [
            (line["kind"].removeprefix("LEAF_KIND_"), line["private"].get("reason", "")) for line in self.last(count)
        ]


def start(place: Place) -> "subprocess.Popen[bytes]":
    for name in ROLES:
        holder, folder = place.officer(name), place.home.officer(name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "certificate.pem").write_bytes(holder.chain_pem)
        (folder / "key.pem").write_bytes(holder.key_pem)
    command = [sys.executable, "-m", "node", "serve", "--home", str(place.home.path)]
    log = (place.home.path / "log").open("wb")
    with log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def wait_until_up(place: Place, process: "subprocess.Popen[bytes]") -> None:
    host, port = place.desk.split(":")
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, (place.home.path / "log").read_text()
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"{place.code} did not start")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """GT and MX, whose nodes run, and US, whose node does not; MX keeps the invented cases."""
    made = World.make(tmp_path_factory.mktemp("world"))
    places = [made["GT"], made["MX"]]
    processes = [start(place) for place in places]
    try:
        for place, process in zip(places, processes, strict=True):
            wait_until_up(place, process)
        Desk(made["MX"]).run("import", str(INVENTED), "--format", "invented")
        yield made
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            assert process.wait(30) == 0


@pytest.fixture
def gt(world: World) -> Desk:
    return Desk(world["GT"])


QUESTION = ("--purpose", "investigate", "--crime", "trafficking", "--case", "C-1", "--instrument", "UNTOC")


# --- searching -------------------------------------------------------------------------------------------------------


def test_each_peer_shows_how_it_answered_and_what_it_released(gt: Desk) -> None:
    text = gt.run("search", TELEPHONE, *QUESTION)
    assert gt.status == 0
    assert f"telephone: {TELEPHONE} (by its form; else say --kind)" in text
    assert "MX  2 released" in text
    assert "US  unreachable" in text
    assert "MX: Telephone or online account, invented" in text
    assert "telephone: +19565550143   [Telecommunications; Release]" in text
    for part in ("originator   MX", "grading", "handling", "obligations", "granted by", "withheld"):
        assert part in text
    assert "Ana" not in text  # the victim who has the same telephone


def test_programs_get_a_line_of_json_for_each_peer(gt: Desk) -> None:
    responses = [json.loads(line) for line in gt.run("search", TELEPHONE, *QUESTION, "--json").splitlines()]
    assert {each["peer"]: each["outcome"] for each in responses} == {
        "MX": "PEER_OUTCOME_ANSWERED",
        "US": "PEER_OUTCOME_UNREACHABLE",
    }


def test_codes_are_told_in_the_officers_language(gt: Desk) -> None:
    text = gt.run("search", TELEPHONE, *QUESTION, "--peer", "MX", "--language", "es")
    assert "MX: Teléfono o cuenta en línea" in text
    assert "[Telecomunicaciones; Entregar]" in text
    listed = Desk(gt.place, "auditor")
    assert "Investigación de un caso abierto" in "".join(
        listed.run("ledger", "list", "--limit", "10000", "--language", "es", wide=True)
    )
    case_id = new_case(gt, "R-9")
    assert "crimes    Traite des personnes" in gt.run("case", "show", case_id, "--language", "fr")


def test_ids_have_one_form_on_the_screen_and_in_json(gt: Desk) -> None:
    (line,) = gt.run("search", TELEPHONE, *QUESTION, "--peer", "MX", "--json").splitlines()
    response = json.loads(line)
    (last,) = [each for each in gt.last(2) if each["kind"] == "LEAF_KIND_ASKED"]
    assert UUID(response["exchange_id"]) == UUID(last["exchange_id"])
    assert UUID(response["answer"]["hits"][0]["entry"]["handle"])
    case_id = new_case(gt, "R-10")
    assert case_id == str(UUID(case_id))
    assert case_id in gt.run("case", "show", case_id)
    assert gt.last(1)[0]["private"]["subject"] == case_id


def test_silence_is_not_shown_as_absence(gt: Desk) -> None:
    text = gt.run("search", "+19565550199", *QUESTION, "--peer", "mx")
    assert gt.status == 0
    assert "MX  nothing releasable now" in text
    assert "does not mean that nothing is there" in text
    assert "no hit" not in text.lower()


def test_without_any_answer_the_exit_status_is_1(gt: Desk) -> None:
    gt.run("search", TELEPHONE, *QUESTION, "--peer", "US")
    assert gt.status == 1
    assert "US  unreachable" in gt.text


def test_values_come_from_standard_input_where_no_shell_keeps_them(gt: Desk) -> None:
    text = gt.run("search", "-", *QUESTION, "--peer", "MX", given=f"{TELEPHONE}\n\n+19565550199\n")
    assert text.count("  telephone: +1956555") == 1  # released
    assert text.count("(by its form") == 2


def test_for_a_life_the_telephone_and_the_question_on_paper_are_at_hand(gt: Desk) -> None:
    urgent = ("--urgency", "life", "--reason", "held for ransom", "--print-request")
    text = gt.run("search", TELEPHONE, *QUESTION[2:], "--purpose", "protect-life", *urgent)
    for part in ("a human reads it by", "else call +502 2411 9911", "REQUEST FOR INFORMATION: LIFE", "held for ransom"):
        assert part in text
    assert text.count("REQUEST FOR INFORMATION") == 2


def test_who_may_betray_by_asking_chooses_whom_to_ask(gt: Desk) -> None:
    with pytest.raises(UsageError):
        gt.run("search", TELEPHONE, *QUESTION[2:], "--purpose", "missing-search")


def test_what_is_never_lawful_is_asked_of_nobody(gt: Desk) -> None:
    text = gt.run("search", TELEPHONE, *QUESTION[2:], "--purpose", "immigration-enforcement")
    assert gt.status == 1
    assert "MX  not asked" in text
    assert gt.last_reasons(1)[0][0] == "DENIED"


# --- records ---------------------------------------------------------------------------------------------------------


def new_case(desk: Desk, reference: str) -> str:
    opened = desk.json("case", "new", reference, "--title", "Invented", "--crime", "trafficking")
    case_id = opened["case"]["case_id"]
    assert isinstance(case_id, str)
    return case_id


def test_a_case_is_opened_listed_and_shown_and_each_look_is_a_line(gt: Desk) -> None:
    case_id = new_case(gt, "R-1")
    assert gt.last_reasons(1) == [("RECORD", "CASE")]
    assert "R-1" in gt.run("case", "list")
    assert gt.last_reasons(1) == [("READ", "CASES")]
    shown = gt.json("case", "show", case_id)
    assert (shown["case"]["reference"], shown["case"]["unit"], shown["case"]["open"]) == ("R-1", "UNIT-1", True)
    assert gt.last_reasons(1) == [("READ", "CASE")]
    assert gt.last(1)[0]["private"]["case_reference"] == "R-1"


def test_an_entry_gets_what_the_node_knows_and_is_shown_whole(gt: Desk) -> None:
    case_id = new_case(gt, "R-2")
    typed = json.dumps({"roles": ["witness"], "person": {"names": [{"full": "Ana Inventada"}], "birth": "1990-05"}})
    kept = gt.json("entry", "add", "-", "--case", case_id, given=typed)
    assert (kept["originator"], kept["unit"], kept["revision"]) == ("GT", "UNIT-1", 1)
    text = gt.run("entry", "show", kept["entry_id"])
    for part in ("Person", "names: Ana Inventada", "birth: 1990-05", "roles: Witness", "revision 1"):
        assert part in text
    assert gt.last_reasons(2) == [("RECORD", "ENTRY"), ("READ", "ENTRY")]
    assert "Ana Inventada" in gt.run("case", "show", case_id)


def test_protection_is_weakened_by_two_officers_or_not_at_all(gt: Desk) -> None:
    case_id = new_case(gt, "R-3")
    victim = json.dumps({"roles": ["victim"], "protection": {"victim": "yes"}, "person": {"names": [{"full": "X Y"}]}})
    kept = gt.json("entry", "add", "-", "--case", case_id, given=victim)
    assert kept["protection"]["victim_by"]["officer"] == "analyst"
    weaker = {**kept, "roles": ["third-party"], "protection": {"victim": "no"}}

    with pytest.raises(UsageError):
        gt.run("entry", "edit", "-", given=json.dumps(weaker))
    weaker["protection"]["victim_by"] = {"officer": "somebody else", "basis": "file of the court"}
    text = gt.run("entry", "edit", "-", "--reason", "acquitted", given=json.dumps(weaker))
    assert "weakens protection: roles, protection.victim" in text
    assert gt.last_reasons(1) == [("WEAKENING", "PROPOSED")]
    text = gt.run("entry", "changes")
    assert "reason    acquitted" in text
    (roles,) = [line.split() for line in text.splitlines() if "roles" in line and "≠" in line]
    assert roles == ["≠", "roles", "Victim", "Third", "party"]
    assert ("READ", "ENTRY") in gt.last_reasons(2)
    assert gt.json("entry", "show", kept["entry_id"])["roles"] == ["ROLE_VICTIM"]

    (waiting,) = [each for each in gt.json("entry", "changes") if each["entry_id"] == kept["entry_id"]]
    assert (waiting["stands"]["roles"], waiting["proposed"]["roles"]) == (["ROLE_VICTIM"], ["ROLE_THIRD_PARTY"])
    change = waiting["change_id"]
    with pytest.raises(EnlaceError, match="second officer"):
        gt.run("entry", "confirm", change)
    assert gt.last_reasons(1) == [("DENIED", "SECOND_OFFICER")]
    second = Desk(gt.place, "second")
    confirmed = second.json("entry", "confirm", change)
    assert confirmed["roles"] == ["ROLE_THIRD_PARTY"]
    by = confirmed["protection"]["victim_by"]
    assert (by["officer"], by["basis"]) == ("analyst", "file of the court")  # who proposed it, whatever they typed
    assert gt.last_reasons(2) == [("WEAKENING", "CONFIRMED"), ("RECORD", "ENTRY")]


def test_a_change_is_taken_back_and_nothing_was_weakened(gt: Desk) -> None:
    case_id = new_case(gt, "R-4")
    missing = json.dumps({"roles": ["missing"], "person": {"names": [{"full": "X Y"}]}})
    kept = gt.json("entry", "add", "-", "--case", case_id, given=missing)
    weaker = json.dumps({**kept, "roles": ["deceased"]})
    change = gt.json("entry", "edit", "-", "--reason", "a mistake", given=weaker)["pending_change"]
    assert gt.json("entry", "decline", change)["roles"] == ["ROLE_MISSING"]
    assert gt.last_reasons(1) == [("WEAKENING", "DECLINED")]
    with pytest.raises(UsageError):
        gt.run("entry", "confirm", change)
    assert "No change waits" in gt.run("entry", "changes")


def test_an_entry_changed_meanwhile_is_read_again_first(gt: Desk) -> None:
    case_id = new_case(gt, "R-5")
    kept = gt.json("entry", "add", "-", "--case", case_id, given='{"place": {"name": "Invented", "country": "GT"}}')
    kept["place"]["name"] = "Inventado"
    changed = gt.json("entry", "edit", "-", given=json.dumps(kept))["entry"]
    assert changed["revision"] == 2
    with pytest.raises(UsageError):
        gt.run("entry", "edit", "-", given=json.dumps(kept))


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (("case", "new", "R" * 65, "--title", "x", "--crime", "trafficking"), None),
        (("case", "new", "R", "--title", "x", "--crime", "rudeness"), None),
        (("case", "new", "R", "--title", "x", "--crime", "trafficking", "--review", "2099-01-01"), None),
        (("case", "show", "00000000-0000-0000-0000-000000000001"), None),
        (("entry", "show", "x"), None),
        (("entry", "show", "00000000-0000-0000-0000-000000000001"), None),
        (("entry", "add", "-"), '{"place": {}}'),
        (("entry", "add", "-", "--case", "00000000-0000-0000-0000-000000000001"), '{"place": {}}'),
        (("entry", "add", "-"), '{"entry_id": "00000000-0000-0000-0000-000000000001", "place": {}}'),
        (("entry", "add", "-"), '{"originator": "MX", "case_id": "00010203-0405-0607-0809-0a0b0c0d0e0f", "place": {}}'),
        (("entry", "edit", "-"), '{"place": {}}'),
        (("entry", "add", "/nowhere.json"), None),
        (("search", TELEPHONE, *QUESTION, "--json", "--print-request"), None),
        (("search", "Ana Inventada", *QUESTION), None),
        (("entry", "confirm", "00000000-0000-0000-0000-000000000001"), None),
    ],
)
def test_what_can_not_be_kept_or_found_is_refused(gt: Desk, arguments: tuple[str, ...], given: str | None) -> None:
    with pytest.raises(UsageError):
        gt.run(*arguments, given=given)


def test_no_node_says_how_to_start_one(world: World) -> None:
    place = world["US"]
    folder = place.home.officer("analyst")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "certificate.pem").write_bytes(place.officer("analyst").chain_pem)
    (folder / "key.pem").write_bytes(place.officer("analyst").key_pem)
    with pytest.raises(UnansweredError, match="enlace serve"):
        Desk(place).run("case", "list")


# --- importing -------------------------------------------------------------------------------------------------------


def written(folder: Path, *lines: object) -> str:
    path = folder / "cases.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return str(path)


def one_case(reference: str, **changes: object) -> dict[str, Any]:
    case = {"reference": reference, "title": "Invented", "crimes": ["trafficking"], "open": True, **changes}
    return {"case": case, "entries": [{"place": {"name": f"Invented {reference}", "country": "GT"}}]}


def test_public_incidents_of_the_own_country_are_kept_once(gt: Desk) -> None:
    done = gt.json("import", str(INCIDENTS), "--format", "incidents")
    assert gt.status == 0
    assert done["cases"] > 0
    assert done["entries"] >= done["cases"]
    assert done["of_other_countries"] > done["cases"]
    assert done["broken"] == 0
    assert [kind for kind, _ in gt.last_reasons(done["cases"])] == ["RECORD"] * done["cases"]
    again = gt.json("import", str(INCIDENTS), "--format", "incidents")
    assert (gt.status, again["cases"], again["broken"]) == (1, 0, done["cases"])
    assert "here already" in again["problems"][0]["reason"]


def test_broken_rows_are_told_by_line_and_the_good_ones_kept(gt: Desk, tmp_path: Path) -> None:
    path = written(tmp_path, one_case("I-1"), "{", one_case("I-2", crimes=[]), "", one_case("I-3"), '{"kase": {}}')
    text = gt.run("import", path, "--format", "entries")
    assert gt.status == 1
    told = [line.partition(":")[0] for line in text.splitlines() if line.startswith("line")]
    assert told == ["line 2", "line 3", "line 6"]
    assert "crimes: is missing" in text
    listed = gt.run("case", "list", "--limit", "500")
    assert "I-1" in listed
    assert "I-3" in listed
    assert "I-2" not in listed


@pytest.mark.parametrize("broken", ["{", one_case("A-3", crimes=[]), {"entries": [{"place": {}}]}])
def test_an_atomic_import_keeps_all_or_nothing(gt: Desk, tmp_path: Path, broken: object) -> None:
    before = len(gt.lines())
    text = gt.run("import", written(tmp_path, one_case("A-1"), broken), "--format", "entries", "--atomic")
    assert gt.status == 1
    assert "line 2" in text
    assert "Nothing was kept." in text
    assert "A-1" not in gt.run("case", "list", "--limit", "500")
    assert len(gt.lines()) == before + 2  # the auditor's own looks, and the list's; no record


def test_an_atomic_import_without_a_fault_is_kept(gt: Desk, tmp_path: Path) -> None:
    done = gt.json("import", written(tmp_path, one_case("B-1"), one_case("B-2")), "--format", "entries", "--atomic")
    assert (gt.status, done["cases"], done["entries"], done["broken"]) == (0, 2, 2, 0)


def test_one_message_to_blame_does_not_cost_the_others_of_its_change(gt: Desk, tmp_path: Path) -> None:
    linked = one_case("L-2")
    linked["entries"][0]["links"] = [{"kind": "uses", "to_entry_id": "00000000-0000-0000-0000-000000000001"}]
    path = written(tmp_path, one_case("L-1"), linked, one_case("L-3"))
    done = gt.json("import", path, "--format", "entries")
    assert (done["cases"], [each["place"] for each in done["problems"]]) == (2, ["line 2"])


def test_more_entries_than_one_change_takes_are_all_kept(gt: Desk, tmp_path: Path) -> None:
    path = written(tmp_path, *(one_case(f"M-{number}") for number in range(300)))
    done = gt.json("import", path, "--format", "entries")
    assert (done["cases"], done["entries"]) == (300, 300)


def test_a_file_of_another_format_or_country_is_refused(gt: Desk) -> None:
    with pytest.raises(ImportFileError, match="no column named"):
        gt.run("import", str(INCIDENTS), "--format", "iom")
    with pytest.raises(ImportFileError):
        gt.run("import", str(INCIDENTS), "--format", "invented")
    with pytest.raises(UsageError, match="No such file"):
        gt.run("import", "/nowhere.csv", "--format", "incidents")


# The columns of IOM's layout of 2026 that are read; the rows are invented.
IOM = """\
Incident ID,Region,Incident Date,Number Dead,Minimum Estimated Number of Missing,Number of Survivors,\
Number of Females,Number of Males,Number of Children,Cause of Death,Location of death,Information Source,Coordinates,\
Migration route,UNSD Geographical Grouping,Source Quality
2026.MMP99901,Central America,01/02/2026,1,,,,1,,Drowning,"Invented river, Guatemala",invented,"14.6, -92.1",,,3
2026.MMP99902,Central America,01/02/2026,many,,,,1,,Drowning,"Invented river, Guatemala",invented,"14.6, -92.1",,,3
2026.MMP99903,Central America,01/03/2026,1,,,,1,,Drowning,"Invented river, Mexico",invented,"14.6, -92.2",,,3
2026.MMP99904,Caribbean,01/03/2026,1,,,,1,,Drowning,At sea,invented,"18.6, -72.2",,,3
"""


def test_of_what_iom_publishes_the_own_countrys_is_kept_and_the_rest_accounted_for(gt: Desk, tmp_path: Path) -> None:
    path = tmp_path / "iom.csv"
    path.write_text(IOM)
    done = gt.json("import", str(path), "--format", "iom")
    assert (gt.status, done["cases"], done["of_other_countries"]) == (1, 1, 1)
    assert done["no_country_told"] == ["line 5"]
    assert [each["place"] for each in done["problems"]] == ["line 3"]
    found = gt.run("search", "2026.MMP99901", *QUESTION, "--peer", "MX")
    assert "case reference: 2026.MMP99901 (by its form" in found


def test_the_files_that_iom_publishes_are_read_whole_where_they_lie_at_hand(gt: Desk) -> None:
    folder = os.environ.get("ENLACE_SHARED_DATA")
    for path in sorted(Path(folder).glob("case-data/iom-*.csv")) if folder else ():
        done = gt.json("import", str(path), "--format", "iom")
        assert done["of_other_countries"] > 0
        assert gt.status == (1 if done["broken"] else 0)


# --- the ledger ------------------------------------------------------------------------------------------------------


def test_the_ledger_is_verified_from_its_file_while_the_node_runs(gt: Desk, world: World) -> None:
    for place in (world["GT"], world["MX"]):
        verified = Desk(place).json("ledger", "verify")
        assert verified["verified"] is True
        assert verified["signatures"] > 0
        assert len(verified["root"]) == 64
    assert gt.json("ledger", "verify")["lines"] == gt.json("ledger", "verify")["lines"]


@contextmanager
def copied(place: Place, path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(place.home.data / "enlace.db")) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
        yield target
        target.commit()


def test_signatures_by_keys_that_no_directory_names_are_a_finding(gt: Desk, tmp_path: Path) -> None:
    gt.run("search", TELEPHONE, *QUESTION, "--peer", "MX")
    with copied(gt.place, tmp_path / "copy.db") as copy:
        copy.execute("DELETE FROM directories")
    found = gt.json("ledger", "verify", "--database", str(tmp_path / "copy.db"))
    assert gt.status == 1
    assert "by keys that no directory names" in found["findings"][0]


def test_on_a_terminal_long_work_shows_how_far_it_is(gt: Desk, tmp_path: Path) -> None:
    path = written(tmp_path, *(one_case(f"T-{number}") for number in range(600)))
    assert "600" in gt.run("import", path, "--format", "entries", terminal=True)
    assert "verified" in gt.run("ledger", "verify", terminal=True)
    text = gt.run("search", TELEPHONE, *QUESTION, "--peer", "MX", terminal=True)
    assert "asked …" in text  # before the answer came
    assert "2 released" in text


def test_a_byte_changed_in_a_copy_is_found_and_its_line_named(gt: Desk, tmp_path: Path) -> None:
    with copied(gt.place, tmp_path / "copy.db") as copy:
        leaf = bytearray(copy.execute("SELECT leaf FROM ledger_lines WHERE idx = 3").fetchone()[0])
        leaf[-1] ^= 1
        copy.execute("UPDATE ledger_lines SET leaf = ? WHERE idx = 3", (bytes(leaf),))
    found = gt.json("ledger", "verify", "--database", str(tmp_path / "copy.db"))
    assert gt.status == 1
    assert found["verified"] is False
    assert "line 3" in found["findings"][0]
    assert "line 3" in gt.run("ledger", "verify", "--database", str(tmp_path / "copy.db"))


def rewritten(copy: sqlite3.Connection, lines: int) -> None:
    """Let a ledger end after so many lines, and fix all that the database says of it: what an administrator can do."""
    for table in ("ledger_lines", "ledger_openings", "ledger_bodies"):
        copy.execute(f"DELETE FROM {table} WHERE idx >= ?", (lines,))
    kept = copy.execute("SELECT leaf_hash, link FROM ledger_lines ORDER BY idx").fetchall()
    frontier = Frontier().appended(leaf_hash for leaf_hash, _ in kept)
    copy.execute(
        "UPDATE ledger_head SET size = ?, root = ?, frontier = ?, link = ?",
        (frontier.size, frontier.root, frontier.to_bytes(), kept[-1][1]),
    )


def relined(copy: sqlite3.Connection, index: int) -> None:
    """Put another leaf in a line's place, with its hash, and the links of all after it."""
    other = copy.execute("SELECT leaf FROM ledger_lines WHERE idx = ?", (index - 1,)).fetchone()[0]
    exchange = copy.execute("SELECT exchange_id FROM ledger_lines WHERE idx = ?", (index - 1,)).fetchone()[0]
    values = (other, leaf_hash(other), exchange, b"again", index)
    copy.execute(
        "UPDATE ledger_lines SET leaf = ?, leaf_hash = ?, exchange_id = ?, replay_key = ? WHERE idx = ?", values
    )
    link = FIRST_LINK
    for line, hashed in copy.execute("SELECT idx, leaf_hash FROM ledger_lines ORDER BY idx").fetchall():
        link = link_of(link, hashed)
        copy.execute("UPDATE ledger_lines SET link = ? WHERE idx = ?", (link, line))
    rewritten(copy, copy.execute("SELECT count(*) FROM ledger_lines").fetchone()[0])


def test_history_that_was_rewritten_whole_is_found_by_a_checkpoint_kept_elsewhere(gt: Desk, tmp_path: Path) -> None:
    new_case(gt, "K-1")
    kept, copied_to = tmp_path / "checkpoint", str(tmp_path / "copy.db")
    made = gt.json("ledger", "checkpoint", "--out", str(kept))
    assert kept.read_text() == made["note"]
    assert made["note"].startswith(f"{FEDERATION}/GT/gt-1\n{made['lines']}\n")
    since = ("--database", copied_to, "--since", str(kept))
    new_case(gt, "K-2")
    with copied(gt.place, tmp_path / "copy.db"):
        pass
    whole = gt.json("ledger", "verify", *since)
    assert (whole["verified"], whole["lines"] > made["lines"]) == (True, True)

    with copied(gt.place, tmp_path / "copy.db") as copy:
        rewritten(copy, made["lines"] - 1)
    assert gt.json("ledger", "verify", "--database", copied_to)["lines"] == made["lines"] - 1
    found = gt.json("ledger", "verify", *since)
    assert (gt.status, found["verified"]) == (1, False)
    (finding,) = found["findings"]
    assert f"counts {made['lines']} lines, and it has {made['lines'] - 1}" in finding


def test_one_line_rewritten_with_all_that_hangs_on_it_is_found_likewise(gt: Desk, tmp_path: Path) -> None:
    new_case(gt, "K-3")
    kept, copied_to = tmp_path / "checkpoint", str(tmp_path / "copy.db")
    lines = gt.json("ledger", "checkpoint", "--out", str(kept))["lines"]
    new_case(gt, "K-4")
    with copied(gt.place, tmp_path / "copy.db") as copy:
        relined(copy, lines - 1)
    assert gt.json("ledger", "verify", "--database", copied_to)["verified"]
    found = gt.json("ledger", "verify", "--database", copied_to, "--since", str(kept))
    assert gt.status == 1
    assert found["findings"] == [
        f"history was rewritten: the first {lines} lines are not those of the checkpoint",
    ]


def test_only_the_nodes_own_checkpoint_is_believed(gt: Desk, world: World, tmp_path: Path) -> None:
    note = gt.run("ledger", "checkpoint")
    for name, text in (
        ("peer", Desk(world["MX"]).run("ledger", "checkpoint")),
        ("altered", note.replace("\n", "\n1", 1)),
        ("nothing", "nothing"),
    ):
        path = tmp_path / name
        path.write_text(text)
        found = gt.json("ledger", "verify", "--since", str(path))
        assert gt.status == 1
        assert "no checkpoint of" in found["findings"][0]
    (tmp_path / "note").write_text(note)
    assert gt.json("ledger", "verify", "--since", str(tmp_path / "note"))["verified"]
    with pytest.raises(UsageError, match="No such file"):
        gt.run("ledger", "verify", "--since", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="File exists"):
        gt.run("ledger", "checkpoint", "--out", str(tmp_path / "note"))


def test_a_directory_that_was_swapped_does_not_verify_anything(gt: Desk, world: World, tmp_path: Path) -> None:
    """Who rewrites a ledger with keys of their own needs a directory that names them; the pinned root refuses it."""
    other = World.make(tmp_path / "other", ("GT", "MX"))
    shutil.copy(other["GT"].home.trust / "root.bin", tmp_path / "root.bin")
    pinned = world["MX"].home.trust / "root.bin"
    kept = pinned.read_bytes()
    pinned.write_bytes((tmp_path / "root.bin").read_bytes())
    try:
        with pytest.raises(EnlaceError):
            Desk(world["MX"]).run("ledger", "verify")
    finally:
        pinned.write_bytes(kept)
    assert gt.status == 0


def test_what_is_no_database_is_refused(gt: Desk, tmp_path: Path) -> None:
    for nowhere in (str(tmp_path / "nothing"), f"sqlite:///{tmp_path / 'nothing'}", "mysql://x/y"):
        with pytest.raises(UsageError):
            gt.run("ledger", "verify", "--database", nowhere)
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "text").write_text("not a database")
    with pytest.raises(EnlaceError):
        gt.run("ledger", "verify", "--database", str(tmp_path / "text"))


def test_the_auditor_reads_lines_and_that_is_a_line(gt: Desk) -> None:
    gt.run("search", TELEPHONE, *QUESTION, "--peer", "MX")
    auditor = Desk(gt.place, "auditor")
    lines = auditor.json("ledger", "list", "--peer", "MX", "--limit", "10000")
    assert {line["peer"] for line in lines} == {"MX"}
    assert lines[-1]["private"]["released"] == 2
    assert "released" in auditor.run("ledger", "list", "--start", lines[-1]["index"])
    last = gt.lines()[-1]
    assert (last["kind"], last["private"]["officer"]) == ("LEAF_KIND_READ", "auditor")
    with pytest.raises(EnlaceError, match="role"):
        gt.run("ledger", "list")
    assert gt.last_reasons(1) == [("DENIED", "ROLE")]
