"""The auditing institution at the command line: its own keys and auditors, a replica, and readings that stay sealed."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey
from typer.testing import CliRunner

from node.cli.app import app
from node.cli.checkpoints import signed_checkpoint
from node.cli.directory_files import read_public_key
from node.errors import EnlaceError, ForbiddenError, UsageError
from node.identity.keys import private_key_pem, public_key
from node.identity.members import sign_member
from node.ledger.checkpoint import cosigner, origin_of
from node.ledger.note import signature_line
from node.store.database import Database
from node.store.listing import read_head
from node.wire.directory_pb2 import Audit, SignedMember
from node.wire.institution_pb2 import Release
from tests.command_line import QUESTION, TELEPHONE, Desk, new_case, running
from tests.pki import FEDERATION
from tests.world import Place, World, now_us

WHY = ("--reason", "Invented: yearly audit")


@dataclass
class Institution:
    """GT's institution: a folder with its keys, and one auditor's key."""

    world: World
    folder: Path
    status: int = 0

    @property
    def place(self) -> Place:
        return self.world["GT"]

    def run(self, *arguments: str) -> Any:  # noqa: ANN401 - whatever JSON says
        result = CliRunner().invoke(app, ["institution", *arguments, "--json"], env={"ENLACE_LANGUAGE": "en"})
        if isinstance(result.exception, EnlaceError):
            raise result.exception
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        self.status = result.exit_code
        return json.loads(result.stdout)

    def read(self, command: str, replica: Path, *more: str, auditor: str = "ombudsman-1", key: str = "one.pem") -> Any:  # noqa: ANN401
        root = ("--root", str(self.place.home.trust / "root.bin"))
        who = ("--auditor", auditor, "--key", str(self.folder / key), "--office", str(self.office))
        return self.run(command, str(replica), *root, *who, *WHY, *more)

    @property
    def office(self) -> Path:
        return self.folder / "office"

    def bring(self, *what: str) -> Any:  # noqa: ANN401
        return self.run("bring", *what, "--home", str(self.place.home.path), "--as", "administrator")

    def export(self, folder: Path) -> Any:  # noqa: ANN401
        witness(self.world)
        return Desk(self.place, "auditor").json("ledger", "export", "--replica", str(folder))


def audited(place: Place, root_key: bytes) -> None:
    """Let a country's record name its institution."""

    def member() -> SignedMember:
        record = place.record()
        audit = Audit(institution="Invented ombudsman", root_key=root_key, period_days=1_000, retention_days=700)
        record.audit.CopyFrom(audit)
        return sign_member(record, place.root_key)

    place.record_number += 1
    place.member = member  # type: ignore[method-assign]


def witness(world: World) -> None:
    """Have MX cosign GT's ledger as it is, which the nodes do by themselves once a minute."""
    place, peer = world["GT"], world["MX"]
    with Database.open_read_only(place.config.store.database) as opened, opened.reading() as connection:
        head = read_head(connection)
        note = signed_checkpoint(connection, place.config, head)
    key = SigningKey(peer.signing_key)
    by = cosigner(
        origin_of(FEDERATION, "MX", peer.name),
        public_key(peer.signing_key),
        lambda text: key.sign(text).signature,
        now_us=now_us(),
    )
    line = signature_line(note.partition(b"\n\n")[0] + b"\n", by)
    with closing(sqlite3.connect(place.home.data / "enlace.db", timeout=20)) as database:
        database.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)", (head.size, note, now_us()))
        database.execute("INSERT OR REPLACE INTO cosignatures VALUES (?, 'MX', ?, ?)", (head.size, line, now_us()))
        database.commit()


def sql(place: Place, *statements: str) -> None:
    with closing(sqlite3.connect(place.home.data / "enlace.db", timeout=20)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(scope="module")
def institution(world: World, tmp_path_factory: pytest.TempPathFactory) -> Institution:
    made = Institution(world, tmp_path_factory.mktemp("institution"))
    new_case(Desk(world["GT"]), "BEFORE")
    made.run("new", str(made.office), "--country", "GT", "--federation", FEDERATION)
    audited(world["GT"], read_public_key(made.office / "root.pem.pub"))
    directory = made.folder / "directory.bin"
    directory.write_bytes(world.compose())
    with pytest.raises(UsageError, match="names no institution"):
        made.bring("--charter", str(made.office / "charter.bin"))
    for place in (world["GT"], world["MX"]):
        Desk(place, "administrator").run("directory", "import", str(directory))
    enrolled = made.run("enrol", "ombudsman-1", "--office", str(made.office), "--key-out", str(made.folder / "one.pem"))
    assert (enrolled["charter"], enrolled["auditors"]) == (2, ["ombudsman-1"])
    assert made.bring("--charter", str(made.office / "charter.bin")) == {"charter": 2, "in_force": True}
    # Ten seconds later every line must have a copy; until then, every line has one all the same.
    Desk(world["GT"]).run("search", TELEPHONE, *QUESTION, "--peer", "MX")
    return made


@pytest.fixture(scope="module")
def replica(institution: Institution, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replica") / "gt"
    institution.export(folder)
    return folder


def test_a_replica_is_verified_and_read_without_the_node(institution: Institution, replica: Path) -> None:
    verified = institution.read("verify", replica)
    assert (institution.status, verified["verified"], verified["cosigned_by"]) == (0, True, ["MX"])
    assert verified["opened"] > 0
    lines = institution.read("list", replica, "--limit", "1000")
    assert [line["kind"] for line in lines].count("LEAF_KIND_INSTITUTION") == 2
    asked = next(line for line in lines if line["kind"] == "LEAF_KIND_ASKED")
    assert (asked["private"]["officer"], asked["private"]["case_reference"]) == ("analyst", "C-1")
    assert "private" not in lines[0]  # from before there was an institution
    found = institution.read("list", replica, "--search", TELEPHONE)
    assert {line["exchange_id"] for line in found} >= {asked["exchange_id"]}
    assert institution.read("list", replica, "--search", "nobody searched for this") == []
    assert len(institution.read("sample", replica, "--lines", "3")) == 3
    counted = institution.read("stats", replica)
    assert {"officer": "analyst", "kind": "asked", "lines": 1} in counted["officers"]


def test_doctor_tells_whether_copies_are_kept(institution: Institution) -> None:
    def told(code: str) -> tuple[str, str]:
        found = [each for each in Desk(institution.world[code]).json("doctor") if each["what"] == "institution"]
        return found[0]["state"], found[0]["finding"]

    state, says = told("GT")
    assert (state, says.startswith("copies are kept for Invented ombudsman under charter 2")) == ("green", True)
    assert told("MX")[0] == "hint"


def test_the_institutions_auditors_are_its_own(institution: Institution, replica: Path, tmp_path: Path) -> None:
    (institution.folder / "other.pem").write_bytes(private_key_pem(bytes(range(32)), None))
    with pytest.raises(ForbiddenError, match="names no auditor"):
        institution.read("list", replica, key="other.pem")
    with pytest.raises(ForbiddenError, match="names no auditor"):
        institution.read("list", replica, auditor="administrator")
    forged = Institution(institution.world, tmp_path)
    forged.run("new", str(forged.office), "--country", "GT", "--federation", FEDERATION)
    forged.run("enrol", "mine", "--office", str(forged.office), "--key-out", str(tmp_path / "mine.pem"))
    with pytest.raises(EnlaceError):
        institution.bring("--charter", str(forged.office / "charter.bin"))


def test_an_export_goes_on_where_the_last_one_ended(institution: Institution, replica: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(replica, folder)
    before = institution.read("verify", folder)["lines"]
    new_case(Desk(institution.place), "AFTER")
    assert institution.export(folder)["lines"] > before
    after = institution.read("verify", folder)
    assert (after["verified"], after["lines"] > before) == (True, True)
    # What was read once must still be there: an older replica is found out by the institution's own log.
    older = institution.read("verify", replica)
    assert (institution.status, older["verified"]) == (1, False)
    assert "the ledger was cut" in older["findings"][0]


def test_what_was_withheld_from_a_replica_is_named(institution: Institution, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    institution.export(whole)

    def found(name: str, *, drop: str) -> str:
        folder = tmp_path / name
        shutil.copytree(whole, folder)
        for path in folder.glob(drop):
            path.unlink()
        result = institution.read("verify", folder)
        assert (institution.status, result["verified"]) == (1, False)
        return "; ".join(result["findings"])

    assert "the statement that left with it is missing" in found("statements", drop="statements/*")
    assert "the institution's copy" not in found("tile", drop="tile/entries/*.p/*")
    note = (whole / "checkpoint").read_bytes()
    lines = note.split(b"\n")
    (whole / "checkpoint").write_bytes(b"\n".join([*lines[:5], b""]))
    result = institution.read("verify", whole)
    assert result["findings"] == ["the checkpoint is cosigned by nobody, and 1 others should have"]


def test_readings_stay_sealed_until_the_institution_releases_them(institution: Institution, tmp_path: Path) -> None:
    home = ("--home", str(institution.place.home.path))
    committed = institution.run("commit", str(tmp_path / "one"), "--office", str(institution.office))
    assert institution.bring("--commitment", str(tmp_path / "one")) == {
        "readings": committed["readings"],
        "logged": True,
    }
    told = Desk(institution.place).lines()[-1]
    assert "Invented: yearly audit" not in json.dumps(told)
    log = (institution.office / "readings.bin").read_bytes()
    assert b"ombudsman" not in log
    assert b"yearly" not in log

    release = ("release", str(tmp_path / "release"), "--office", str(institution.office), "--until", "1")
    assert institution.run(*release)["opened"] == 1
    checked = institution.run("check-release", str(tmp_path / "release"), *home)
    assert (institution.status, checked["whole"], checked["commitments"]) == (0, True, 1)
    (opened,) = checked["opened"]
    assert (opened["auditor"], opened["what"], opened["reason"]) == ("ombudsman-1", "VERIFY", WHY[1])

    dropped = Release.FromString((tmp_path / "release").read_bytes())
    del dropped.lines[1]
    (tmp_path / "dropped").write_bytes(dropped.SerializeToString())
    result = institution.run("check-release", str(tmp_path / "dropped"), *home)
    assert (institution.status, result["whole"]) == (1, False)


def test_readings_taken_out_of_the_log_are_missed(institution: Institution, replica: Path, tmp_path: Path) -> None:
    log = institution.office / "readings.bin"
    kept = log.read_bytes()
    institution.read("stats", replica)
    institution.run("commit", str(tmp_path / "two"), "--office", str(institution.office))
    institution.bring("--commitment", str(tmp_path / "two"))
    whole = log.read_bytes()
    log.write_bytes(kept)  # the last reading never was
    institution.run("release", str(tmp_path / "release"), "--office", str(institution.office))
    home = ("--home", str(institution.place.home.path))
    result = institution.run("check-release", str(tmp_path / "release"), *home)
    assert (institution.status, result["whole"]) == (1, False)
    assert "were committed to" in result["findings"][0]
    log.write_bytes(whole)


def test_an_erasure_takes_two_focal_points_and_is_told(institution: Institution, tmp_path: Path) -> None:
    gt, place = Desk(institution.place, "focal"), institution.place
    new_case(Desk(place), "ERASE-ME")
    line = [each["index"] for each in Desk(place).lines() if each["kind"] == "LEAF_KIND_RECORD"][-1]
    for number, key in enumerate(place.focal_keys):
        (tmp_path / f"{number}.pem").write_bytes(private_key_pem(key, None))
    begun = ("--ground", "court-order", "--reference", "C 1/26", "--line", str(line), "--key", str(tmp_path / "0.pem"))
    with pytest.raises(UsageError, match="two focal points"):
        gt.run("ledger", "erase", *begun)
    gt.run("ledger", "erase", *begun, "--out", str(tmp_path / "begun"))
    again = ("--signed", str(tmp_path / "begun"), "--key", str(tmp_path / "1.pem"))
    with pytest.raises(EnlaceError, match="role"):
        Desk(place).run("ledger", "erase", *again)
    assert gt.json("ledger", "erase", *again)["erased"] == 1
    assert "private" not in next(each for each in Desk(place).lines() if each.get("index") == line)
    found = gt.json("ledger", "verify")
    assert not [text for text in found.get("findings", []) if "opens it" in text]
    with pytest.raises(UsageError, match="still to be kept"):
        gt.run("ledger", "erase", "--ground", "retention-ended", "--line", "1")

    folder = tmp_path / "replica"
    institution.export(folder)
    lines = institution.read("list", folder, "--start", str(line), "--limit", "1")
    assert lines[0]["private"]["officer"]  # the copy stays
    assert institution.read("verify", folder)["erased_at_the_node"] == 1


def test_a_dishonest_administrator_is_found_out(institution: Institution, tmp_path: Path) -> None:
    """Last: the node's database is damaged from here on."""
    place = institution.place
    auditor = Desk(place)
    last = int(auditor.lines()[-1]["index"])
    sql(place, f"DELETE FROM ledger_openings WHERE idx = {last}")
    found = "; ".join(auditor.json("ledger", "verify")["findings"])
    assert f"line {last} is damaged: what opens it is gone, and no erasure says so" in found
    sql(place, "UPDATE institution_charters SET signed = x'00'")
    found = "; ".join(auditor.json("ledger", "verify")["findings"])
    assert "no line tells of charter 2" in found
    folder = tmp_path / "replica"
    sql(place, f"DELETE FROM institution_copies WHERE first >= {last - 1}")
    institution.export(folder)
    result = institution.read("verify", folder)
    assert (institution.status, result["verified"]) == (1, False)
