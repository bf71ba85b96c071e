"""Search, records and imports from the command line, against two nodes that run as in production."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from node.errors import EnlaceError, ImportFileError, UnansweredError, UsageError
from tests.command_line import INVENTED, QUESTION, TELEPHONE, Desk, new_case, running
from tests.world import World

INCIDENTS = INVENTED.with_name("incidents.csv")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def gt(world: World) -> Desk:
    return Desk(world["GT"])


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


def test_on_a_terminal_long_work_shows_how_far_it_is(gt: Desk, tmp_path: Path) -> None:
    path = written(tmp_path, *(one_case(f"T-{number}") for number in range(600)))
    assert "600" in gt.run("import", path, "--format", "entries", terminal=True)
    assert "verified" in gt.run("ledger", "verify", terminal=True)
    text = gt.run("search", TELEPHONE, *QUESTION, "--peer", "MX", terminal=True)
    assert "asked …" in text  # before the answer came
    assert "2 released" in text
