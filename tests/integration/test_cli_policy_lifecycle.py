"""`enlace policy propose … history`: what people read before they sign, and what they can't be brought to sign."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from node.errors import EnlaceError, UsageError
from node.identity.keys import private_key_pem
from tests.command_line import Desk, running
from tests.rulebooks import read
from tests.world import FOCAL, RULEBOOKS, Place, World

GT = (RULEBOOKS / "gt.yaml").read_bytes()
RED_LINE = b"""red_lines:
- id: GT-X
  title: {en: "Nothing for commerce"}
  law: LAIP arts. 9, 30
  kind: never_release
  data: [EVERYTHING]
  when: {purpose: [COMMERCIAL]}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("policy")
    with running(folder, rulebooks={"GT": {"release": GT + RED_LINE}}) as made:
        place = made["GT"]
        for number, key in enumerate(place.focal_keys, start=1):
            (place.home.path / f"focal-{number}.pem").write_bytes(private_key_pem(key, None))
        yield made


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world["GT"], "focal")


def key(place: Place, number: int) -> tuple[str, str]:
    return "--key", str(place.home.path / f"focal-{number}.pem")


def focal(desk: Desk, number: int) -> Desk:
    """Who signs with that key."""
    return Desk(desk.place, FOCAL[number - 1])


def file(folder: Path, version: int, *, guarded: bool = True) -> tuple[str, str]:
    """A rulebook in a file, and its digest."""
    text = GT.replace(b"\nversion: 1\n", b"\nversion: %d\n" % version) + (RED_LINE if guarded else b"")
    path = folder / "release.yaml"
    path.write_bytes(text)
    return str(path), read(text).sha256.hex()


def test_people_read_what_they_sign(desk: Desk, tmp_path: Path) -> None:
    path, sha = file(tmp_path, 2)
    said = desk.run("policy", "propose", path, wide=True)
    for words in ("Proved", "enlace red lines v1", "release GT-X never_release proved", "Rehearsed", sha, "rehearsed"):
        assert words in said, words
    said = focal(desk, 1).run("policy", "approve", sha[:8], *key(desk.place, 1), wide=True)
    book = read(Path(path).read_bytes())
    effects = [rule.effect for rule in book.rules]
    for words in (
        "GT-RELEASE 2, layer release",
        f"{len(book.rules)}: {effects.count('allow')} allow",
        "GT-X",
        "author",
        "proof sha256",
        "rehearsal sha256",
        "release GT-X never_release proved",
        "another focal point approves it",
    ):
        assert words in said, words
    assert "approved" in focal(desk, 2).run("policy", "approve", sha, *key(desk.place, 2), wide=True)
    listed = desk.run("policy", "history", "--layer", "release", wide=True)
    assert [line.split()[:3] for line in listed.splitlines()[1:]] == [
        ["release", "GT-RELEASE", "1"],
        ["release", "GT-RELEASE", "2"],
    ]
    shown = desk.run("policy", "show", sha, wide=True)
    assert "Nothing for commerce" in shown
    auditor = Desk(desk.place, "auditor")
    assert auditor.json("policy", "show", sha)["stage"] == "approved"


def test_a_red_line_goes_only_if_it_is_said(desk: Desk, tmp_path: Path) -> None:
    path, sha = file(tmp_path, 3, guarded=False)
    assert desk.json("policy", "propose", path)["removes_red_lines"] is True
    with pytest.raises(UsageError, match="removes or changes red lines GT-X: if that is meant, add --remove-red-lines"):
        focal(desk, 1).run("policy", "approve", sha, *key(desk.place, 1))
    gone = ("--remove-red-lines",)
    assert focal(desk, 1).json("policy", "approve", sha, *key(desk.place, 1), *gone)["stage"] == "rehearsed"
    approved = focal(desk, 2).json("policy", "approve", sha, *key(desk.place, 2), *gone)
    assert (approved["stage"], approved["removal_signed_by"]) == ("approved", ["focal-1", "focal-2"])
    scheduled = desk.json("policy", "schedule", sha, "--at", "2030-01-01")
    assert (scheduled["stage"], scheduled["in_force_from"]) == ("scheduled", "2030-01-01T00:00:00Z")
    revoked = desk.json("policy", "revoke", sha, "--reason", "an invented mistake")
    assert (revoked["stage"], revoked["reason"]) == ("revoked", "an invented mistake")
    assert "an invented mistake" in desk.run("policy", "history", wide=True)
    with pytest.raises(EnlaceError, match="GT-RELEASE 3 was revoked"):
        desk.run("policy", "activate", sha)


def test_a_signature_is_brought_by_the_focal_point_whose_it_is(desk: Desk, tmp_path: Path) -> None:
    path, sha = file(tmp_path, 5)
    desk.run("policy", "propose", path)
    for number in (1, 2):
        with pytest.raises(EnlaceError, match="its author brings no signature on it"):
            desk.run("policy", "approve", sha, *key(desk.place, number))
    with pytest.raises(EnlaceError, match="a signature of focal-2 is brought by focal-2 alone"):
        focal(desk, 1).run("policy", "approve", sha, *key(desk.place, 2))
    assert desk.json("policy", "show", sha)["signed_by"] == []


def test_what_was_altered_behind_the_scenes_is_not_signed(desk: Desk, tmp_path: Path) -> None:
    path, sha = file(tmp_path, 4)
    desk.run("policy", "propose", path)
    engine = create_engine(desk.place.config.store.database)
    for what, table, column in (
        ("proofs", "rulebook_proposals", "proof"),
        ("rehearsal", "rulebook_proposals", "rehearsal"),
        ("rules", "rulebooks", "content"),
    ):
        with closing(engine.raw_connection()) as connection:
            cursor, which = connection.cursor(), {"sha": bytes.fromhex(sha)}
            cursor.execute(f"SELECT {column} FROM {table} WHERE sha256 = :sha", which)
            ((held,),) = cursor.fetchall()
            for value in (held + b"# changed", held):
                changed = f"UPDATE {table} SET {column} = :value WHERE sha256 = :sha"
                cursor.execute(changed, {"value": value, **which})
                connection.commit()
                if value != held:
                    words = f"other {what} signed than it shows: sign nothing, tell an auditor"
                    with pytest.raises(UsageError, match=words):
                        focal(desk, 1).run("policy", "approve", sha, *key(desk.place, 1))
    engine.dispose()
    assert focal(desk, 1).json("policy", "approve", sha, *key(desk.place, 1))["signed_by"] == ["focal-1"]


def test_who_names_no_rulebook_is_told(desk: Desk) -> None:
    for words in ("abc", "0000000", "not hexadecimal"):
        with pytest.raises(UsageError, match="no rulebook begins with"):
            desk.run("policy", "show", words)
