"""Entries of other countries: kept apart, used as their terms say, gone when they are taken back."""

from collections.abc import Iterator
from functools import partial

import pytest
from sqlalchemy import Connection, select, text, update

from node.errors import DeniedError, NotFoundError, RecordError
from node.policy.received_use import Use
from node.records.lookup import selector_tokens
from node.store import withdrawals
from node.store.cases import Cases
from node.store.database import Database
from node.store.received_tables import received, received_lookups
from node.store.retention import place_hold
from node.store.tables import lookups
from node.store.vault import Vault
from node.store.writer import Writer
from node.wire import codes_pb2 as codes
from node.wire.entry_pb2 import Case, Telecom
from node.wire.exchange_pb2 import Grant, Terms
from node.wire.received_pb2 import RECEIVED_STATE_ACTIVE, RECEIVED_STATE_BARRED
from tests.conftest import START_US, Clock
from tests.integration.received_support import (
    DAY_US,
    EXCHANGE,
    HANDLE,
    SELECTOR,
    USE,
    Keeper,
    arrived,
    released,
)

OTHER = b"y" * 16


@pytest.fixture
def keeper(database: Database, vault: Vault, clock: Clock) -> Iterator[Keeper]:
    with Writer(database.engine, vault) as writer:
        yield Keeper(database, vault, writer, clock)


def with_case(keeper: Keeper, days: int = 365) -> bytes:
    case = Case(reference="GT-1", unit="UIF", review_us=keeper.clock() + days * DAY_US, open=True)
    return keeper.change(lambda connection: Cases(keeper.vault).put(connection, case, keeper.clock())).case_id


def test_what_came_is_found_by_its_selectors_and_lies_apart_from_own_records(keeper: Keeper) -> None:
    kept = keeper.kept()
    assert [each.received_id for each in keeper.found()] == [kept.received_id]
    assert keeper.listed() == keeper.found() == [kept]
    assert (kept.peer, kept.entry.telecom.telephone, kept.delete_us) == ("MX", SELECTOR.value, 0)
    assert keeper.read(lambda connection: connection.execute(select(lookups)).all()) == []
    theirs = set(keeper.read(lambda connection: connection.execute(select(received_lookups.c.token)).scalars().all()))
    assert theirs
    assert theirs.isdisjoint(selector_tokens(SELECTOR, keeper.vault.lookup_keys(), "GT"))
    tokens = selector_tokens(SELECTOR, keeper.vault.lookup_keys(), "MX")
    with keeper.database.reading() as connection:
        cursor = connection.connection.cursor()
        assert keeper.entries.find(cursor, tokens, START_US, 10) == []
        cursor.close()


def test_what_was_generalised_is_no_selector_and_what_cannot_be_normalised_is_kept(keeper: Keeper) -> None:
    grants = [
        Grant(rule="MX-1", law="x", category=codes.DATA_CATEGORY_TELECOM, outcome=codes.OUTCOME_GENERALISE),
    ]
    keeper.kept(arrived(released(grants=grants)))
    keeper.kept(arrived(released(handle=OTHER, telecom=Telecom(telephone="", email="not an address"))))
    assert len(keeper.listed()) == 2
    assert len(keeper.found()) == 1  # the second's telephone alone


def test_no_use_that_the_terms_rule_out(keeper: Keeper) -> None:
    kept = keeper.kept(arrived(released(terms=Terms(obligations=[codes.OBLIGATION_NO_IMMIGRATION_USE]))))
    use = Use(codes.PURPOSE_INVESTIGATE, codes.UNIT_TYPE_IMMIGRATION, "INM")
    assert keeper.found(use) == keeper.listed(use) == []
    assert keeper.found(USE._replace(purpose=codes.PURPOSE_IMMIGRATION_ENFORCEMENT)) == []
    with pytest.raises(DeniedError, match="NO_IMMIGRATION_USE"):
        keeper.read(lambda connection: keeper.received.get(connection, kept.received_id, use, START_US))
    assert keeper.found() == [kept]


def test_a_named_recipient_alone_uses_it(keeper: Keeper) -> None:
    kept = keeper.kept(arrived(released(caveats=[codes.CAVEAT_NAMED_RECIPIENT])))
    keep = partial(
        keeper.received.keep, received_id=kept.received_id, case_id=with_case(keeper), officer="ana", unit="UIF"
    )
    keeper.change(lambda connection: keep(connection, now_us=START_US))
    assert len(keeper.found()) == 1
    assert keeper.found(USE._replace(unit="OTHER")) == keeper.listed(USE._replace(unit="OTHER")) == []


def test_its_date_is_the_originators_or_the_cases_whichever_comes_first(keeper: Keeper) -> None:
    case_id, short = with_case(keeper), with_case(keeper, days=10)
    kept = keeper.kept(arrived(released(180)))
    assert kept.delete_us == START_US + 180 * DAY_US
    assert kept.review_us == START_US + 90 * DAY_US  # nobody has put it with a case

    def keep(case: bytes) -> int:
        return keeper.change(
            lambda connection: keeper.received.keep(
                connection, kept.received_id, case_id=case, officer="ana", unit="UIF", now_us=START_US
            )
        ).review_us

    assert keep(case_id) == kept.delete_us
    assert keep(short) == START_US + 10 * DAY_US
    with pytest.raises(NotFoundError):
        keep(b"no such case....")

    def review(days: float) -> int:
        until_us = START_US + round(days * DAY_US)
        return keeper.change(
            lambda connection: keeper.received.review(connection, kept.received_id, until_us, START_US)
        ).review_us

    assert review(180) == kept.delete_us
    for days in (180.1, 0, 2000):
        with pytest.raises(RecordError):
            review(days)


def test_a_date_that_is_demanded_and_not_named_is_a_near_one(keeper: Keeper) -> None:
    assert keeper.kept(arrived(released(caveats=[codes.CAVEAT_DELETE_BY]))).delete_us == START_US + 30 * DAY_US


def test_the_days_count_from_the_disclosure_however_late_it_comes(keeper: Keeper) -> None:
    late = keeper.kept(arrived(released(30), disclosed_us=START_US - 31 * DAY_US))
    assert late.review_us < START_US
    assert keeper.found() == keeper.listed() == []


def test_only_the_originators_consent_moves_its_date(keeper: Keeper) -> None:
    kept = keeper.kept(arrived(released(30)))

    def extend(days: int, at_us: int) -> bool:
        return keeper.change(
            lambda connection: keeper.received.extend(
                connection,
                peer="MX",
                exchange_id=EXCHANGE,
                handle=HANDLE,
                delete_us=START_US + days * DAY_US,
                now_us=at_us,
            )
        )

    assert extend(60, START_US)
    (moved,) = keeper.listed()
    assert (moved.delete_us, moved.review_us) == (START_US + 60 * DAY_US, START_US + 60 * DAY_US)
    assert extend(20, START_US)  # and makes it shorter
    assert keeper.listed()[0].review_us == START_US + 20 * DAY_US
    assert not extend(90, START_US + 21 * DAY_US)  # what has ended does not come back
    assert kept.received_id


def test_a_later_version_takes_the_place_of_the_earlier_and_no_older_one_does(keeper: Keeper) -> None:
    first = keeper.kept(arrived(released(handling=codes.HANDLING_CODE_H0)))
    later = arrived(released(handling=codes.HANDLING_CODE_H1), disclosed_us=START_US + 5)
    second = keeper.kept(later)
    assert second.received_id == first.received_id
    assert keeper.kept(arrived()).entry.handling == codes.HANDLING_CODE_H1
    assert len(keeper.listed()) == 1


def test_what_was_taken_back_is_of_no_use_at_once_and_never_comes_again(keeper: Keeper) -> None:
    kept = keeper.kept()
    keeper.kept(arrived(exchange_id=OTHER))
    deletion = keeper.withdraw(recalled_us=START_US + 1)
    assert keeper.found() == keeper.listed() == []
    assert (deletion.copies, deletion.deleted_us) == (2, 0)
    assert deletion.due_us == START_US + 2 * DAY_US
    assert deletion.places == ("RECEIVED_ENTRY", "LOOKUP_TOKENS")
    with pytest.raises(NotFoundError):
        keeper.read(lambda connection: keeper.received.get(connection, kept.received_id, USE, START_US))
    assert keeper.put(arrived()) is None
    assert keeper.put(arrived(disclosed_us=START_US + 99)) is None  # in that exchange, not even later
    assert keeper.put(arrived(exchange_id=b"z" * 16)) is None  # disclosed before the recall
    again = keeper.withdraw(recalled_us=START_US + 1)
    assert again == deletion
    # What the originator signs afterwards in another exchange is a disclosure of its own.
    assert keeper.put(arrived(exchange_id=b"z" * 16, disclosed_us=START_US + 2)) is not None
    # Another country's handle of the same bytes is another entry.
    assert keeper.put(arrived(peer="US")) is not None


def test_a_recall_that_overtakes_what_it_recalls_keeps_it_out(keeper: Keeper) -> None:
    nothing = keeper.withdraw(b"")
    assert (nothing.copies, nothing.deleted_us, nothing.places) == (0, START_US, ())
    assert keeper.put(arrived()) is None
    assert keeper.read(lambda connection: withdrawals.untold(connection, START_US)) == [nothing]
    keeper.change(lambda connection: withdrawals.tell(connection, nothing.deletion_id))
    assert keeper.read(lambda connection: withdrawals.untold(connection, START_US)) == []


def test_sql_makes_nothing_current_again(keeper: Keeper) -> None:
    kept = keeper.kept()
    before = keeper.read(lambda connection: connection.execute(select(received)).one())
    keeper.withdraw()

    def revive(sealed: bytes | None) -> None:
        values = {"state": RECEIVED_STATE_ACTIVE, "review_us": kept.review_us}
        with keeper.database.engine.begin() as connection:
            connection.execute(update(received).values(**values, **({"sealed": sealed} if sealed else {})))

    revive(None)  # another seal
    assert keeper.listed() == []
    revive(before.sealed)  # the row as a backup has it: what was taken back is remembered apart
    assert keeper.listed() == []


def test_what_torture_brought_is_of_no_use_in_any_copy(keeper: Keeper) -> None:
    kept = keeper.kept()
    keeper.kept(arrived(exchange_id=OTHER))
    keeper.change(lambda connection: keeper.received.bar(connection, kept.received_id, START_US))
    assert keeper.found() == keeper.listed() == []
    assert keeper.put(arrived(exchange_id=b"z" * 16, disclosed_us=START_US + DAY_US)) is None
    state = keeper.read(lambda connection: keeper.received.state(connection, kept.received_id))
    assert state == RECEIVED_STATE_BARRED
    assert keeper.read(lambda connection: withdrawals.untold(connection, START_US)) == []  # no peer is told


def test_nothing_goes_onward_without_the_originators_consent(keeper: Keeper) -> None:
    kept = keeper.kept(arrived(released(30)))

    def onward(recipient: str, consented: list[str], now_us: int = START_US) -> None:
        keeper.read(
            lambda connection: keeper.received.for_onward(
                connection, kept.received_id, recipient=recipient, consented_to=consented, now_us=now_us
            )
        )

    with pytest.raises(DeniedError, match="MX has not consented that US"):
        onward("US", [])
    with pytest.raises(DeniedError):
        onward("US", ["CA"])
    with pytest.raises(DeniedError, match="comes from there"):
        onward("MX", ["MX"])
    onward("US", ["US"])
    with pytest.raises(NotFoundError):
        onward("US", ["US"], START_US + 30 * DAY_US)
    keeper.withdraw()
    with pytest.raises(NotFoundError):
        onward("US", ["US"])


def test_a_hold_is_told_with_its_law_and_its_end(keeper: Keeper) -> None:
    kept = keeper.kept()
    until_us = START_US + 100 * DAY_US
    keeper.change(
        lambda connection: place_hold(
            connection,
            keeper.vault,
            kept.received_id,
            law="CPP art. 150",
            until_us=until_us,
            officer="ana",
            now_us=START_US,
        )
    )
    held = keeper.withdraw()
    assert (held.deleted_us, held.held_law, held.held_until_us) == (0, "CPP art. 150", until_us)
    assert keeper.listed() == []
    assert keeper.read(lambda connection: withdrawals.untold(connection, START_US)) == [held]
    keeper.change(lambda connection: withdrawals.tell(connection, held.deletion_id))
    assert keeper.read(lambda connection: withdrawals.untold(connection, START_US)) == []


def test_nothing_but_ids_and_dates_is_in_the_clear(keeper: Keeper) -> None:
    keeper.kept(arrived(released(handling_text="Zacapa")))

    def dump(connection: Connection) -> str:
        return repr(connection.execute(text("SELECT * FROM received")).all())

    assert "Zacapa" not in keeper.read(dump)
    assert "2025550143" not in keeper.read(dump)
