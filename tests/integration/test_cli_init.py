"""A country's node from nothing, with the commands alone: made, brought a directory, run, staffed, paired."""

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from node.cli.app import app
from node.cli.client import desk
from node.cli.directory_files import public_path, read_public_key
from node.cli.home import Home
from node.errors import ConfigError, DirectoryError, EnlaceError, ForbiddenError, UsageError
from node.identity.keys import generate_private_key, public_key
from node.identity.stewards import build_root
from node.policy.rulebook import parse_rulebook
from node.wire.desk_pb2 import GetStatusRequest
from tests.world import free_ports

SECRET = "drawn-by-lot-0123456789"
RULEBOOKS = Path(__file__).resolve().parents[2] / "node" / "policy" / "rulebooks"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENLACE_CA_PASSPHRASE", SECRET)
    for name in ("ENLACE_HOME", "ENLACE_OFFICER"):
        monkeypatch.delenv(name, raising=False)


def run(*words: object, status: int = 0) -> Any:  # noqa: ANN401 -- JSON
    """Run a command and return what it prints as JSON; what it raises is raised."""
    result = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert (result.return_value or 0) == status, result.stdout
    return json.loads(result.stdout)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("ana", "bea", "caro"):
        run("directory", "new-steward", "--out", tmp_path / f"{name}.pem")
    keys = [word for name in ("ana", "bea", "caro") for word in ("--steward", f"{name}={tmp_path / name}.pem.pub")]
    path = tmp_path / "root.bin"
    run("directory", "init-root", "--federation", "enlace.example", *keys, "--threshold", 2, "--out", path)
    return path


def init(root: Path, country: str, *words: object) -> Home:
    home = Home(root.parent / country.lower())
    peer, desk_port, metrics = free_ports(3)
    run(
        *("init", "--home", home.path, "--country", country, "--federation", "enlace.example"),
        *("--name", f"{country.lower()}-1", "--root", root, "--endpoint", f"127.0.0.1:{peer}"),
        *("--peer", f"127.0.0.1:{peer}", "--desk", f"127.0.0.1:{desk_port}", "--metrics", f"127.0.0.1:{metrics}"),
        *("--duty-telephone", "+502 0555 0199", *words),
    )
    return home


def compose(root: Path, *homes: Home) -> Path:
    """A directory of these countries, as their people and the stewards make it."""
    folder = root.parent
    members = []
    for home in homes:
        text = (home.path / "member.yaml").read_text()
        text = text.replace("treaties: []", "treaties: [UNTOC]").replace("accepted: []", "accepted: [NO_ONWARD]")
        (home.path / "member.yaml").write_text(text)
        passphrase = folder / "passphrase"
        passphrase.write_text(SECRET)
        out = folder / f"{home.path.name}.member"
        run(
            *("directory", "member-record", home.path / "member.yaml", "--root", root),
            *("--key", home.keys / "member-root.pem", "--passphrase-file", passphrase, "--out", out),
        )
        members += ["--member", out]
    instruments = folder / "instruments.yaml"
    parties = ", ".join(home.path.name.upper() for home in homes)
    instruments.write_text(
        "- {id: UNTOC, kind: TREATY, title: Convention, "
        f'parties: [{parties}], valid_from: "2003-09-29", valid_until: "2100-01-01"}}\n'
    )
    path = folder / "directory.bin"
    run(
        *("directory", "compose", "--root", root, "--out", path, *members, "--instruments", instruments),
        *("--floor", RULEBOOKS / "floor.yaml", "--demonstration"),
    )
    for name in ("ana", "bea"):
        run("directory", "sign", path, "--root", root, "--key", folder / f"{name}.pem")
    return path


@contextmanager
def serving(home: Home) -> Iterator[None]:
    with (home.path / "node.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "node", "serve", "--home", home.path], stderr=log)
        try:
            while process.poll() is None:
                try:
                    with desk(home, "administrator") as stub:
                        stub.GetStatus(GetStatusRequest())
                    break
                except EnlaceError:
                    continue
            yield
        finally:
            process.terminate()
            assert process.wait(15) == 0, (home.path / "node.log").read_text()


def states(findings: list[dict[str, str]]) -> dict[str, str]:
    return {finding["what"]: finding["state"] for finding in findings}


def test_a_node_is_made_whole_and_its_secrets_are_its_owners_alone(root: Path) -> None:
    home = init(root, "GT", "--focal", "f1", "--focal", "f2", "--administrator", "a1")
    secret = {
        str(path.relative_to(home.path))
        for path in home.path.rglob("*")
        if path.is_file() and (b"PRIVATE KEY" in path.read_bytes() or path.parent.name in ("keys", "data"))
    }
    assert {"ca/root.key", "tls/key.pem", "keys/signing-key.pem", "keys/member-root.pem"} <= secret
    assert {"keys/key-encryption-key", "focal/f1.pem", "focal/f2.pem", "officers/a1/key.pem"} <= secret
    for name in secret - {"keys/signing-key.pem.pub", "keys/member-root.pem.pub"}:
        assert stat.S_IMODE((home.path / name).stat().st_mode) & 0o077 == 0, name
    for name in ("ca/root.key", "keys/member-root.pem"):
        assert b"ENCRYPTED" in (home.path / name).read_bytes()
    assert (home.rulebooks / "release.yaml").read_bytes() == (RULEBOOKS / "gt.yaml").read_bytes()
    verified = run("ledger", "verify", "--home", home.path)
    assert (verified["verified"], verified["lines"]) == (True, 3)
    kept = root.parent / "checkpoint"
    run("ledger", "checkpoint", "--home", home.path, "--out", kept)
    (finding,) = run("ledger", "verify", "--home", home.path, "--since", kept, status=1)["findings"]
    assert "signed by a key of this node in the directories" in finding  # which no directory names yet
    (home.data / "enlace.db").unlink()
    for command in ("verify", "checkpoint"):
        with pytest.raises(UsageError, match="there is no such file"):
            run("ledger", command, "--home", home.path)


def test_a_home_that_was_open_to_others_is_closed(root: Path) -> None:
    path = root.parent / "gt"
    path.mkdir()
    path.chmod(0o777)
    home = init(root, "GT")
    assert home.path == path
    folders = [path, *(each for each in path.rglob("*") if each.is_dir())]
    assert home.keys in folders
    assert {each.name: oct(stat.S_IMODE(each.stat().st_mode)) for each in folders if each.stat().st_mode & 0o077} == {}


def test_a_folder_with_anything_in_it_is_left_alone(root: Path) -> None:
    home = Home(root.parent / "gt")
    home.path.mkdir()
    (home.path / "mine").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        init(root, "GT")
    assert [path.name for path in home.path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--focal", "f1"), "two focal points"),
        (("--focal", "f1", "--focal", "f1"), "two focal points"),
        (("--administrator", "Señora X"), "can't stand in a certificate"),
        (("--database", "mysql://x"), "no database for a node"),
    ],
)
def test_what_fails_leaves_nothing_and_can_be_repeated(root: Path, words: tuple[str, ...], reason: str) -> None:
    with pytest.raises(EnlaceError, match=reason):
        init(root, "GT", *words)
    assert not (root.parent / "gt").exists()
    init(root, "GT")


def test_the_root_of_another_federation_is_refused(root: Path) -> None:
    keys = {name: public_key(generate_private_key()) for name in ("x", "y")}
    root.write_bytes(build_root(federation="other.example", version=1, threshold=2, stewards=keys))
    with pytest.raises(UsageError, match=r"is of other\.example"):
        init(root, "GT")


def test_a_short_passphrase_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENLACE_CA_PASSPHRASE", "short")
    with pytest.raises(UsageError, match="20 characters"):
        init(root, "GT")


def test_an_authority_that_exists_issues_and_stays_where_it_is(root: Path) -> None:
    authority = root.parent / "authority"
    run("pki", "init-ca", "--country", "GT", "--federation", "enlace.example", "--issuing", "--dir", authority)
    home = init(root, "GT", "--authority", authority)
    assert not home.authority.exists()
    assert [each["identity"] for each in run("pki", "show", "--dir", authority)["issued"]][1:] == [
        "node/gt-1",
        "desk/administrator",
    ]
    assert states(run("doctor", "--home", home.path, status=1))["node's certificate"] == "green"
    with pytest.raises(UsageError, match=r"of spiffe://gt\.enlace\.example, not of spiffe://mx"):
        init(root, "MX", "--authority", authority)


def test_a_node_begins_with_silence_and_the_doctor_says_so(root: Path) -> None:
    home = init(root, "BR")
    directory = compose(root, home, init(root, "GT"))
    run("directory", "import", directory, "--home", home.path, "--as", "administrator")
    findings = run("doctor", "--home", home.path, status=1)
    found = {each["what"]: (each["state"], each["finding"]) for each in findings}
    assert found["floor rulebook"][0] == "green"
    nothing = "none was approved and scheduled: {}; see `enlace policy history`"
    assert found["release rulebook"] == ("red", nothing.format("nothing is released"))
    assert found["outbound rulebook"] == ("red", nothing.format("nobody is asked"))


def test_who_has_no_shipped_rules_gets_ones_to_propose_that_deny_everything(root: Path) -> None:
    home = init(root, "HN")
    for layer in ("release", "outbound"):
        book = parse_rulebook((home.rulebooks / f"{layer}.yaml").read_bytes(), demonstration=True)
        assert (book.layer, book.country) == (layer, "HN")
        assert [rule.effect for rule in book.rules] == ["deny"]


def test_the_doctor_names_what_is_missing_while_the_node_is_down(root: Path) -> None:
    home = init(root, "GT")
    found = states(run("doctor", "--home", home.path, status=1))
    assert found["directory"] == "red"
    assert (found["node"], found["keys to take away"]) == ("yellow", "yellow")
    assert {found[what] for what in ("signing key", "TLS key", "key store", "database", "clock", "disk")} == {"green"}
    (home.keys / "signing-key.pem").chmod(0o644)
    (home.keys / "key-encryption-key").chmod(0o640)
    (home.tls / "key.pem").write_bytes((home.officer("administrator") / "key.pem").read_bytes())
    found = states(run("doctor", "--home", home.path, status=1))
    assert {found[what] for what in ("signing key", "key-encryption key", "TLS key", "key store")} == {"red"}


def test_the_age_of_backups_is_looked_at(root: Path, tmp_path: Path) -> None:
    home, folder = init(root, "GT"), tmp_path / "backups"
    folder.mkdir()
    words = ("doctor", "--home", home.path, "--keystore-backups", folder)
    assert states(run(*words, status=1))["key store's backups"] == "red"
    (folder / "today").touch()
    assert states(run(*words, status=1))["key store's backups"] == "green"
    (folder / "old").touch()
    os.utime(folder / "old", (0, 0))
    assert states(run(*words, status=1))["key store's backups"] == "red"


def test_a_directory_is_kept_with_a_line_while_the_node_is_down(root: Path) -> None:
    home = init(root, "GT")
    directory = compose(root, home, init(root, "MX"))
    words = ("directory", "import", directory, "--home", home.path, "--as", "administrator")
    assert run(*words) == {"directory_version": 1, "accepted_by": "store"}
    assert run(*words) == {"directory_version": 1, "accepted_by": "store"}
    assert run("ledger", "verify", "--home", home.path)["lines"] == 4
    directory.write_bytes(directory.read_bytes()[:-1] + b"x")
    with pytest.raises(DirectoryError):
        run(*words)


def test_a_node_is_staffed_paired_and_examined_while_it_runs(root: Path) -> None:
    home = init(root, "GT")
    directory = compose(root, home, init(root, "MX"))
    here = ("--home", home.path)
    admin = (*here, "--as", "administrator")
    with serving(home):
        assert run("directory", "import", directory, *admin) == {"directory_version": 1, "accepted_by": "running node"}
        enrol_everybody(admin)
        put_rulebooks_in_force(home, here)
        sign_by_two(home, here)
        end_and_sign_anew(home, here)
        enrol_a_third_focal_point(home, here)
        focal = (*here, "--as", "p1")
        assert run("life", "list", *focal) == run("holds", *focal) == []
        with pytest.raises(UsageError, match="no LIFE query of a peer has an exchange id that begins with AB"):
            run("life", "ack", "AB", "--telephone", "+502 0555 0199", *focal)
        with pytest.raises(ForbiddenError):
            run("holds", *admin)
        findings = run("doctor", *admin, status=1)
        found = states(findings)
        assert (found["node"], found["pairing MX"], found["peer MX"]) == ("green", "green", "red")
        assert [each["what"] for each in findings if each["state"] == "red"] == ["peer MX"]
        suspend_and_give_back(admin)
        run("pki", "revoke", "desk/p1", "--dir", home.path)
        assert run("pki", "push", *admin, status=1) == {"MX": "unreachable"}
        with pytest.raises(EnlaceError, match="certificate is not accepted"):
            run("pairing", "list", *focal)
    assert run("ledger", "verify", *here)["verified"]


def enrol_everybody(admin: tuple[object, ...]) -> None:
    unit = ("--unit", "Unit 1", "--unit-type", "police-intelligence")
    for name, role in (
        ("p1", "focal-point"),
        ("p2", "FOCAL_POINT"),
        ("focal-1", "focal-point"),
        ("focal-2", "focal-point"),
        ("analyst", "unit"),
    ):
        facts = run("officer", "enrol", name, *unit, "--role", role, *admin)
        assert facts["issued"]
        assert Path(facts["certificate"]).is_file()
    assert not run("officer", "enrol", "analyst", *unit, "--role", "unit", "--role", "supervisor", *admin)["issued"]
    with pytest.raises(UsageError, match="one of"):
        run("officer", "enrol", "x", *unit, "--role", "queen", *admin)
    with pytest.raises(ForbiddenError):
        run("officer", "enrol", "administrator", *unit, "--role", "unit", *admin)
    with pytest.raises(ConfigError, match="is nobody an officer of this node"):
        run("officer", "enrol", "x", *unit, "--role", "unit", *admin[:2], "--as", "nobody")


def suspend_and_give_back(admin: tuple[object, ...]) -> None:
    here = admin[:2]
    listed = {each["officer"]: each for each in run("officer", "list", *admin)}
    assert listed["p2"] == {
        "officer": "p2",
        "unit": "Unit 1",
        "unit_type": "police intelligence",
        "roles": ["focal point"],
        "suspended": False,
    }
    assert run("officer", "suspend", "p2", *admin)["suspended"] is True
    assert {each["officer"] for each in run("officer", "list", *admin) if each["suspended"]} == {"p2"}
    with pytest.raises(ForbiddenError):
        run("holds", *here, "--as", "p2")
    for name, error in (("nobody", UsageError), ("administrator", ForbiddenError)):
        with pytest.raises(error):
            run("officer", "suspend", name, *admin)
    with pytest.raises(ForbiddenError):
        run("officer", "list", *here, "--as", "p1")
    unit = ("--unit", "Unit 1", "--unit-type", "police-intelligence", "--role", "focal-point")
    run("officer", "enrol", "p2", *unit, *admin)
    assert run("holds", *here, "--as", "p2") == []


def end_and_sign_anew(home: Home, here: tuple[object, ...]) -> None:
    first, second = (("--key", home.focal / f"{name}.pem", *here, "--as", name) for name in ("focal-1", "focal-2"))
    end = ("pairing", "end", "mx", "--reason", "root key compared anew", *here, "--as", "p2")
    assert run(*end) == {"peer": "MX", "in_force": False}
    assert run("pairing", "list", *here, "--as", "p1")[0]["in_force"] is False
    with pytest.raises(UsageError):
        run(*end)
    assert run("pairing", "sign", "MX", *second)["in_force"] is False, "what was signed before counts no more"
    assert run("pairing", "sign", "MX", *first)["in_force"] is True
    with pytest.raises(UsageError, match="say why"):
        run(*end[:4], "x" * 41, *end[5:])


def enrol_a_third_focal_point(home: Home, here: tuple[object, ...]) -> None:
    own, new = home.focal / "focal-1.pem", home.focal / "p3.pem"
    words = ("--countersign", own, *here, "--as", "p1")
    enrolled = run("focal-point", "enrol", "p3", "--key-out", new, *words)
    assert (enrolled["focal_point"], stat.S_IMODE(new.stat().st_mode)) == ("p3", 0o600)
    assert read_public_key(public_path(new)).hex() == enrolled["public_key"]
    with pytest.raises(EnlaceError, match="already enrolled"):
        run("focal-point", "enrol", "p3", "--public-key", public_path(new), *words)
    run("directory", "new-steward", "--out", home.path / "stranger.pem")
    stranger = ("--public-key", home.path / "stranger.pem.pub", "--countersign", home.path / "stranger.pem")
    with pytest.raises(EnlaceError):
        run("focal-point", "enrol", "p4", *stranger, *here, "--as", "p1")
    made_elsewhere = ("--public-key", home.path / "stranger.pem.pub", "--countersign", new)
    assert run("focal-point", "enrol", "p4", *made_elsewhere, *here, "--as", "p2")["focal_point"] == "p4"
    for words in ((), ("--key-out", home.path / "k", "--public-key", public_path(new))):
        with pytest.raises(UsageError, match="give either"):
            run("focal-point", "enrol", "p5", *words, "--countersign", own, *here, "--as", "p1")
    # One that follows the pairing in force needs two signatures too, and until then the other counts.
    with pytest.raises(EnlaceError, match="a signature of p3 is brought by p3 alone"):
        run("pairing", "sign", "MX", "--key", new, *here, "--as", "p1")
    assert run("pairing", "sign", "MX", "--key", own, *here, "--as", "focal-1")["in_force"] is False
    assert run("pairing", "list", *here, "--as", "p1")[0]["in_force"] is True
    other = home.focal / "focal-2.pem"
    assert run("pairing", "sign", "MX", "--key", other, *here, "--as", "focal-2")["in_force"] is True


def put_rulebooks_in_force(home: Home, here: tuple[object, ...]) -> None:
    author, reader = (*here, "--as", "p1"), (*here, "--as", "p2")
    assert run("policy", "history", *author) == []
    for layer in ("release", "outbound"):
        proposed = run("policy", "propose", home.rulebooks / f"{layer}.yaml", *author)
        assert (proposed["layer"], proposed["stage"], proposed["author"]) == (layer, "rehearsed", "p1")
        sha = proposed["sha256"]
        with pytest.raises(EnlaceError, match="it is signed by 0 focal points, not by 2"):
            run("policy", "activate", sha, *author)
        first, second = (("--key", home.focal / f"{name}.pem", *here, "--as", name) for name in ("focal-1", "focal-2"))
        assert run("policy", "approve", sha[:8], *first)["stage"] == "rehearsed"
        with pytest.raises(EnlaceError, match="focal-1 has signed it before, and nobody counts twice"):
            run("policy", "approve", sha, *first)
        with pytest.raises(UsageError, match="removes no red line"):
            run("policy", "approve", sha, "--remove-red-lines", *second)
        approved = run("policy", "approve", sha, *second)
        assert (approved["stage"], approved["signed_by"]) == ("approved", ["focal-1", "focal-2"])
        with pytest.raises(EnlaceError, match="in the past"):
            run("policy", "schedule", sha, "--at", "2026-02-01", *reader)
        assert run("policy", "activate", sha, *reader)["stage"] == "scheduled"
    shown = run("policy", "show", sha[:12], *reader)
    assert shown["text"] == (home.rulebooks / "outbound.yaml").read_text()
    with pytest.raises(UsageError, match="no rulebook begins with 'abcd'"):
        run("policy", "show", "abcd", *reader)
    with pytest.raises(UsageError, match="layer: is release or outbound"):
        run("policy", "history", "--layer", "floor", *reader)
    deadline = time.monotonic() + 15
    while {each["stage"] for each in run("policy", "history", *reader)} != {"active"}:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def sign_by_two(home: Home, here: tuple[object, ...]) -> None:
    first, second = (("--key", home.focal / f"{name}.pem", *here, "--as", name) for name in ("focal-1", "focal-2"))
    assert run("pairing", "list", *here, "--as", "p1")[0]["in_force"] is False
    report = run("pairing", "rehearse", "MX", *here, "--as", "p1")["report"]
    assert "Rehearsal of GT towards MX" in report
    assert run("pairing", "sign", "mx", *first)["in_force"] is False
    assert run("pairing", "sign", "MX", *first)["in_force"] is False, "one focal point counts once"
    assert run("pairing", "sign", "MX", *second)["in_force"] is True
    (pairing,) = run("pairing", "list", *here, "--as", "p2")
    assert (pairing["peer"], pairing["signatures"], pairing["in_force"]) == ("MX", 2, True)
    with pytest.raises(UsageError, match="US is not in the directory; members are MX"):
        run("pairing", "sign", "US", *first)
