"""Rulebooks in the store: what is in force follows from signatures, steps and the time, whatever SQL wrote there."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from node.errors import ApprovalError, NotFoundError
from node.identity.approvals import countersign
from node.identity.keys import generate_private_key, key_id, public_key
from node.policy.rules import Layer
from node.store import focal_points, rulebook_steps, rulebooks
from node.store.database import Database
from node.store.rulebook_steps import IN_FORCE, REPLAY_KEY, REVOKED, SCHEDULED, UNDER_WAY_US, Schedule, line_id
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire.approval_pb2 import FocalEnrolment
from node.wire.rulebook_pb2 import RulebookApproval, RulebookStep, RulebookStepKind
from tests.conftest import START_US
from tests.ledger_lines import new_line
from tests.rulebooks import AUTHOR, approval_of, propose, read, schedule, sign

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
TEXT = (Path(__file__).parents[2] / "node" / "policy" / "rulebooks" / "gt.yaml").read_bytes()


def version(number: int) -> bytes:
    assert TEXT.count(b"\nversion: 1\n") == 1
    return TEXT.replace(b"\nversion: 1\n", b"\nversion: %d\n" % number)


ONE, TWO, THREE = (version(number) for number in (1, 2, 3))


@dataclass
class Shelf:
    """The rulebooks of a country whose two focal points have keys."""

    connection: Connection
    vault: Vault
    keys: dict[str, bytes] = field(default_factory=lambda: {name: generate_private_key() for name in ("luz", "mar")})

    def __post_init__(self) -> None:
        one, other = (
            FocalEnrolment(name=name, public_key=public_key(key), time_us=START_US) for name, key in self.keys.items()
        )
        luz, mar = self.keys.values()
        focal_points.found(self.connection, self.vault, (countersign(one, mar), countersign(other, luz)), START_US)

    @property
    def focal(self) -> dict[str, bytes]:
        return dict(focal_points.by_name(self.connection, self.vault))

    def approve(self, book: bytes, *names: str, **changes: object) -> None:
        propose(self.connection, book, approval_of(book, START_US, b"", **changes))
        keys = [self.keys[name] for name in names or self.keys]
        sign(self.connection, book, self.focal, keys, START_US)

    def schedule(self, book: bytes, activates_us: int, now_us: int = START_US) -> None:
        schedule(self.connection, self.vault, book, activates_us, now_us)

    def step(self, book: bytes, kind: RulebookStepKind.ValueType, now_us: int, activates_us: int = 0) -> None:
        past = rulebook_steps.history(self.connection, self.vault, read(book).layer)
        step = RulebookStep(
            layer=read(book).layer,
            kind=kind,
            rules_sha256=read(book).sha256,
            time_us=now_us,
            activates_us=activates_us,
            officer=AUTHOR,
        )
        rulebook_steps.append(self.connection, self.vault, past, step)

    def at(self, now_us: int, layer: Layer = "release", country: str = "GT") -> Schedule:
        return rulebook_steps.schedule(
            self.connection, self.vault, layer, focal=self.focal, country=country, now_us=now_us
        )

    def sql(self, statement: str, **values: object) -> int:
        """What an administrator does with a client of the database."""
        return self.connection.execute(text(statement), values).rowcount


@pytest.fixture
def shelf(connection: Connection, vault: Vault) -> Shelf:
    return Shelf(connection, vault)


def told(found: Schedule) -> list[tuple[int, bytes]]:
    """When each term begins, and which text is in force then."""
    assert not found.fault
    return [(term.begins_us, term.text) for term in found.terms]


# --- a function of the time ------------------------------------------------------------------------------------------


def test_without_a_rulebook_there_is_no_term(shelf: Shelf) -> None:
    assert shelf.at(START_US) == Schedule([], "")
    shelf.approve(ONE)
    assert shelf.at(START_US) == Schedule([], "")


def test_one_supersedes_the_other_at_its_instant(shelf: Shelf) -> None:
    first, second = START_US + DAY_US, START_US + 2 * DAY_US
    for book, instant in ((ONE, first), (TWO, second)):
        shelf.approve(book)
        shelf.schedule(book, instant)
    assert told(shelf.at(START_US)) == [(first, ONE), (second, TWO)]
    assert told(shelf.at(first)) == told(shelf.at(second - 1)) == [(0, ONE), (second, TWO)]
    # What was asked before the instant is decided under the old one, for as long as a question may be under way.
    assert told(shelf.at(second)) == [(0, TWO), (second - UNDER_WAY_US, ONE), (second, TWO)]
    assert told(shelf.at(second + UNDER_WAY_US)) == [(0, TWO)]
    assert shelf.at(second, "outbound") == Schedule([], "")


def test_what_came_into_force_is_not_undone_by_a_clock_that_goes_back(shelf: Shelf) -> None:
    instant = START_US + DAY_US
    for book, at_us in ((ONE, START_US + 1), (TWO, instant)):
        shelf.approve(book)
        shelf.schedule(book, at_us)
    assert told(shelf.at(START_US + 1)) == [(0, ONE), (instant, TWO)]
    shelf.step(TWO, IN_FORCE, instant + 2 * UNDER_WAY_US, instant)
    for now_us in (START_US + 1, START_US - DAY_US, 0):
        assert told(shelf.at(now_us)) == [(0, TWO)]


def test_a_revoked_one_leaves_its_place_empty(shelf: Shelf) -> None:
    instant = START_US + DAY_US
    for book, at_us in ((ONE, START_US + 1), (TWO, START_US + 2), (THREE, instant)):
        shelf.approve(book)
        shelf.schedule(book, at_us)
    shelf.step(TWO, REVOKED, START_US + 3)
    late = START_US + UNDER_WAY_US * 2
    found = shelf.at(late)
    assert told(found) == [(0, b""), (instant, THREE)]
    assert found.terms[0].fault == "it was revoked"
    # One that is revoked before its instant never comes, and what is in force stays.
    shelf.step(THREE, REVOKED, late)
    assert told(shelf.at(instant)) == [(0, b"")]


def test_scheduled_again_before_its_instant_the_later_word_counts(shelf: Shelf) -> None:
    shelf.approve(ONE)
    shelf.schedule(ONE, START_US + DAY_US)
    shelf.schedule(ONE, START_US + 2 * DAY_US)
    assert told(shelf.at(START_US + DAY_US)) == [(START_US + 2 * DAY_US, ONE)]


# --- approval --------------------------------------------------------------------------------------------------------


def test_scheduled_and_not_approved_is_not_in_force(shelf: Shelf) -> None:
    shelf.approve(ONE, "luz")
    shelf.schedule(ONE, START_US)
    (term,) = shelf.at(START_US).terms
    assert (term.text, term.fault) == (b"", "it is signed by 1 focal point, not by 2")
    sign(shelf.connection, ONE, shelf.focal, [shelf.keys["mar"]], START_US)
    assert told(shelf.at(START_US)) == [(0, ONE)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"country": "MX"}, "it was approved for MX"),
        ({"vocabulary": "sha256:00"}, "other meanings of its words"),
        ({"rules_sha256": bytes(32)}, "not those that were approved"),
        ({"proof_sha256": bytes(32)}, "not those that were approved"),
        ({"rehearsal_sha256": bytes(32)}, "not those that were approved"),
        ({"layer": "outbound"}, "layer outbound"),
        ({"removes_red_lines": True}, "an approval of its own"),
    ],
)
def test_approved_over_other_bytes_is_not_in_force(shelf: Shelf, changes: dict[str, object], words: str) -> None:
    shelf.approve(ONE, **changes)
    shelf.schedule(ONE, START_US)
    (term,) = shelf.at(START_US).terms
    assert term.text == b""
    assert words in term.fault


def test_the_database_itself_keeps_the_author_and_signers_apart(shelf: Shelf) -> None:
    propose(shelf.connection, ONE, approval_of(ONE, START_US, author="luz"))
    with pytest.raises(ApprovalError, match="luz is its author"):
        sign(shelf.connection, ONE, shelf.focal, [shelf.keys["luz"]], START_US)
    row = {
        "layer": "release",
        "sha256": read(ONE).sha256,
        "document": 1,
        "signature": b"",
        "signed_us": 1,
    }
    statement = (
        "INSERT INTO rulebook_signatures (layer, sha256, document, key_id, focal_point, author, signature, signed_us) "
        "VALUES (:layer, :sha256, :document, :key_id, :focal_point, :author, :signature, :signed_us)"
    )
    people = {
        "the author": [("luz", "luz", b"1")],
        "another's name as the author's": [("luz", "mar", b"1")],
        "one person twice": [("mar", "luz", b"1"), ("mar", "luz", b"2")],
        "one key twice": [("mar", "luz", b"1"), ("sol", "luz", b"1")],
    }
    for signers in people.values():
        rows = [{**row, "focal_point": name, "author": author, "key_id": key} for name, author, key in signers]
        with pytest.raises(IntegrityError), shelf.connection.begin_nested():
            shelf.connection.execute(text(statement), rows)


def test_a_version_has_one_text_for_ever(shelf: Shelf) -> None:
    shelf.approve(ONE)
    other = ONE + b"# changed\n"
    with pytest.raises(ApprovalError, match="GT-RELEASE 1 has another text already"):
        propose(shelf.connection, other, approval_of(other, START_US))
    assert rulebooks.by_digest(shelf.connection, "release", read(ONE).sha256) == ONE
    for layer, digest in (("outbound", read(ONE).sha256), ("release", read(other).sha256)):
        with pytest.raises(NotFoundError):
            rulebooks.by_digest(shelf.connection, layer, digest)  # type: ignore[arg-type]


def test_proposed_again_the_signatures_start_anew(shelf: Shelf) -> None:
    shelf.approve(ONE)
    propose(shelf.connection, ONE, approval_of(ONE, START_US + 1))
    proposal = rulebooks.found(shelf.connection, read(ONE).sha256)
    assert rulebooks.signers(proposal, shelf.focal) == ([], [])


def test_who_proposed_a_text_stays_its_author(shelf: Shelf) -> None:
    propose(shelf.connection, ONE, approval_of(ONE, START_US, author="luz"))
    with pytest.raises(ApprovalError, match="luz has proposed it and stays its author"):
        propose(shelf.connection, ONE, approval_of(ONE, START_US))


def test_a_floor_never_gets_older_nor_changes_under_its_version(shelf: Shelf) -> None:
    floor = (Path(__file__).parents[2] / "node" / "policy" / "rulebooks" / "floor.yaml").read_bytes()
    second = floor.replace(b"\nversion: 1\n", b"\nversion: 2\n")
    rulebooks.keep_floor(shelf.connection, read(second), second, START_US)
    assert rulebooks.newest(shelf.connection, "floor", "FLOOR") == read(second).sha256
    with pytest.raises(ApprovalError, match="FLOOR 1 is older"):
        rulebooks.keep_floor(shelf.connection, read(floor), floor, START_US)
    changed = second + b"# changed\n"
    with pytest.raises(ApprovalError, match="another text"):
        rulebooks.keep_floor(shelf.connection, read(changed), changed, START_US)


# --- an administrator's SQL ------------------------------------------------------------------------------------------


def an_approval_by_hand(shelf: Shelf) -> None:
    said = approval_of(ONE, START_US, proof_sha256=bytes(32)).SerializeToString()
    assert shelf.sql("UPDATE rulebook_proposals SET approval = :said", said=said)


def a_focal_point_by_hand(shelf: Shelf) -> None:
    shelf.sql("DELETE FROM rulebook_signatures WHERE focal_point = 'mar'")
    key = generate_private_key()
    shelf.sql(
        "INSERT INTO focal_points (place, name, public_key, enrolment, enrolled_us, tag) "
        "SELECT 2, 'eve', :key, enrolment, 1, tag FROM focal_points WHERE place = 1",
        key=public_key(key),
    )


def signatures_of_another(shelf: Shelf) -> None:
    """Take a true signature of the same focal point on another rulebook."""
    shelf.approve(TWO)
    assert shelf.sql(
        "UPDATE rulebook_signatures SET signature = (SELECT other.signature FROM rulebook_signatures AS other "
        "WHERE other.sha256 = :two AND other.key_id = rulebook_signatures.key_id) WHERE sha256 = :one",
        one=read(ONE).sha256,
        two=read(TWO).sha256,
    )


def a_signature_counted_twice(shelf: Shelf) -> None:
    shelf.sql("DELETE FROM rulebook_signatures WHERE focal_point = 'mar'")
    shelf.sql(
        "INSERT INTO rulebook_signatures (layer, sha256, document, key_id, focal_point, author, signature, signed_us) "
        "SELECT layer, sha256, document, :key_id, 'mar', author, signature, signed_us FROM rulebook_signatures",
        key_id=key_id(public_key(shelf.keys["mar"])),
    )


RULEBOOKS_BY_SQL: dict[str, tuple[str | Callable[[Shelf], None], str]] = {
    "another text": (
        "UPDATE rulebooks SET content = content || CAST('# x' AS {bytes})",
        "not those that were approved",
    ),
    "no text": ("UPDATE rulebooks SET content = CAST('' AS {bytes})", "not those that were approved"),
    "another proof": (
        "UPDATE rulebook_proposals SET proof = CAST('proved' AS {bytes})",
        "not those that were approved",
    ),
    "another rehearsal": (
        "UPDATE rulebook_proposals SET rehearsal = CAST('nothing leaves' AS {bytes})",
        "not those that were approved",
    ),
    "an approval by hand": (an_approval_by_hand, "not by this key over these bytes"),
    "a signature less": ("DELETE FROM rulebook_signatures WHERE focal_point = 'mar'", "signed by 1 focal point"),
    "no signature": ("UPDATE rulebook_signatures SET signature = CAST('' AS {bytes})", "its approval is not valid"),
    "signatures of another rulebook": (signatures_of_another, "not by this key over these bytes"),
    "a signature counted twice": (a_signature_counted_twice, "not by this key over these bytes"),
    "no proposal": ("DELETE FROM rulebook_signatures; DELETE FROM rulebook_proposals", "its text or its approval"),
}


@pytest.mark.parametrize("what", RULEBOOKS_BY_SQL)
def test_a_rulebook_that_sql_has_touched_is_not_in_force(shelf: Shelf, what: str) -> None:
    shelf.approve(ONE)
    shelf.schedule(ONE, START_US)
    assert told(shelf.at(START_US)) == [(0, ONE)]
    change, words = RULEBOOKS_BY_SQL[what]
    if isinstance(change, str):
        kind = "BLOB" if shelf.connection.dialect.name == "sqlite" else "BYTEA"
        for statement in change.format(bytes=kind).split("; "):
            assert shelf.sql(statement)
    else:
        change(shelf)
    (term,) = shelf.at(START_US).terms
    assert term.text == b""
    assert words in term.fault


def test_a_focal_point_that_nobody_countersigned_spoils_the_chain(shelf: Shelf) -> None:
    shelf.approve(ONE)
    a_focal_point_by_hand(shelf)
    with pytest.raises(Exception, match="enrolment 3 was not written by this node"):
        focal_points.by_name(shelf.connection, shelf.vault)


def test_dates_that_sql_wrote_count_for_nothing(shelf: Shelf) -> None:
    shelf.approve(ONE)
    shelf.schedule(ONE, START_US)
    for name in ("valid_from_us", "valid_until_us", "stored_us", "version"):
        assert shelf.sql(f"UPDATE rulebooks SET {name} = 7")
    shelf.sql("UPDATE rulebook_proposals SET proposed_us = 7")
    found = shelf.at(START_US)
    assert told(found) == [(0, ONE)]
    assert read(found.terms[0].text).valid_until_us > 7


def another_instant(shelf: Shelf) -> None:
    data = shelf.connection.execute(text("SELECT step FROM rulebook_steps WHERE place = 1")).scalar_one()
    step = RulebookStep.FromString(data)
    step.activates_us = START_US + 9
    shelf.sql("UPDATE rulebook_steps SET step = :step WHERE place = 1", step=step.SerializeToString())


def an_old_step_again(shelf: Shelf) -> None:
    """Put the first rulebook in force again, by the step that once did."""
    shelf.sql(
        "INSERT INTO rulebook_steps (layer, place, step, tag) "
        "SELECT layer, 2, step, tag FROM rulebook_steps WHERE place = 0"
    )


STEPS_BY_SQL: dict[str, tuple[str | Callable[[Shelf], None], str]] = {
    "another instant": (another_instant, "step 1 of layer release was not written by this node"),
    "another tag": ("UPDATE rulebook_steps SET tag = step WHERE place = 1", "step 1 of layer release was not written"),
    "a step less": ("DELETE FROM rulebook_steps WHERE place = 0", "does not follow the one before"),
    "places swapped": ("UPDATE rulebook_steps SET place = 7 WHERE place = 1", "does not follow the one before"),
    "an old step again": (an_old_step_again, "does not follow the one before"),
    "the last one cut off": (
        "DELETE FROM rulebook_steps WHERE place = 1",
        "step 1 of layer release is in the ledger and not in the database",
    ),
    "all cut off": ("DELETE FROM rulebook_steps", "step 0 of layer release is in the ledger"),
}


@pytest.mark.parametrize("what", STEPS_BY_SQL)
def test_a_history_that_sql_has_touched_puts_nothing_in_force(database: Database, vault: Vault, what: str) -> None:
    with database.engine.begin() as connection:
        shelf = Shelf(connection, vault)
        last = b""
        lines = []
        for book, instant in ((ONE, START_US), (TWO, START_US + 1)):
            shelf.approve(book)
            lines.append(new_line(exchange_id=line_id("release", last), replay_key=REPLAY_KEY))
            shelf.schedule(book, instant)
            last = rulebook_steps.history(connection, vault, "release").last_sha256
    with Writer(database.engine, vault) as writer:
        writer.submit(lambda _: None, lines).result()
    with database.engine.begin() as connection:
        shelf.connection = connection
        late = START_US + 1 + UNDER_WAY_US
        assert told(shelf.at(late)) == [(0, TWO)]
        change, words = STEPS_BY_SQL[what]
        if isinstance(change, str):
            assert shelf.sql(change)
        else:
            change(shelf)
        found = shelf.at(late)
        assert found.terms == ()
        assert words in found.fault
        with pytest.raises(ApprovalError):
            rulebook_steps.history(connection, vault, "release")


def test_a_step_of_another_layer_or_another_node_is_none_of_ours(shelf: Shelf, vault: Vault) -> None:
    del vault
    shelf.approve(ONE)
    shelf.schedule(ONE, START_US)
    shelf.sql("UPDATE rulebook_steps SET layer = 'outbound'")
    assert "does not follow" in shelf.at(START_US, "outbound").fault
    assert shelf.at(START_US) == Schedule(
        [], ""
    )  # as before the first one; where the ledger has its line, not even that


def test_two_who_decide_on_the_same_past_do_not_both_take_a_step(shelf: Shelf) -> None:
    for book in (ONE, TWO):
        shelf.approve(book)
    past = rulebook_steps.history(shelf.connection, shelf.vault, "release")
    steps = [
        RulebookStep(layer="release", kind=SCHEDULED, rules_sha256=read(book).sha256, time_us=1, activates_us=2)
        for book in (ONE, TWO)
    ]
    rulebook_steps.append(shelf.connection, shelf.vault, past, steps[0])
    with pytest.raises(ApprovalError, match="taken meanwhile"):
        rulebook_steps.append(shelf.connection, shelf.vault, past, steps[1])


def test_an_approval_that_names_no_rulebook_is_no_proposal(shelf: Shelf) -> None:
    with pytest.raises(Exception, match="does not name"):
        propose(shelf.connection, ONE, RulebookApproval(country="GT"))
