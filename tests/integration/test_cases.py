import pytest
from sqlalchemy import Connection, select, text

from node.errors import DecryptionError, KeyErasedError, NotFoundError, RecordError
from node.store.cases import Cases, CaseState
from node.store.tables import case_revisions
from node.store.tables import cases as cases_table
from node.store.vault import Vault
from node.wire.codes_pb2 import Crime
from node.wire.entry_pb2 import Case
from tests.conftest import START_US

NEW = Case(reference="X-2", unit="UIF", review_us=START_US + 1, crimes=[Crime.CRIME_TRAFFICKING], open=True)


def test_a_new_case_gets_an_id_and_its_day_and_what_came_is_left_as_it_is(connection: Connection, cases: Cases) -> None:
    before = NEW.SerializeToString()
    stored = cases.put(connection, NEW, START_US)
    assert NEW.SerializeToString() == before
    assert len(stored.case_id) == 16
    assert stored.opened_us == START_US
    assert cases.get(connection, stored.case_id) == stored


def test_a_changed_case_keeps_what_it_was(connection: Connection, cases: Cases) -> None:
    first = cases.put(connection, NEW, START_US)
    sealed = connection.execute(select(cases_table.c.sealed).where(cases_table.c.case_id == first.case_id)).scalar_one()
    closed = Case()
    closed.CopyFrom(first)
    closed.open = False
    assert cases.put(connection, closed, START_US + 5) == closed
    assert cases.get(connection, first.case_id) == closed
    state = connection.execute(
        select(cases_table.c.state, cases_table.c.revision).where(cases_table.c.case_id == first.case_id)
    ).one()
    assert tuple(state) == (CaseState.CLOSED, 2)
    assert connection.execute(select(case_revisions.c.sealed)).scalar_one() == sealed


def test_cases_are_listed_page_by_page(connection: Connection, cases: Cases, case: Case) -> None:
    stored = [case, *(cases.put(connection, NEW, START_US + 1_000 * number) for number in range(1, 5))]
    first = cases.list_after(connection, b"", 3)
    assert first == stored[:3]
    assert cases.list_after(connection, first[-1].case_id, 3) == stored[3:]
    assert cases.list_after(connection, stored[-1].case_id, 3) == []


@pytest.mark.parametrize(("field", "value"), [("unit", ""), ("review_us", 0), ("case_id", b"short")])
def test_a_case_without_what_the_store_needs_is_refused(
    connection: Connection, cases: Cases, field: str, value: object
) -> None:
    new = Case()
    new.CopyFrom(NEW)
    setattr(new, field, value)
    with pytest.raises(RecordError):
        cases.put(connection, new, START_US)


def test_a_case_that_is_not_there_was_erased_or_was_altered(
    connection: Connection, cases: Cases, vault: Vault, case: Case
) -> None:
    with pytest.raises(NotFoundError):
        cases.get(connection, bytes(16))
    connection.execute(text("UPDATE cases SET revision = 2"))
    with pytest.raises(DecryptionError):
        cases.get(connection, case.case_id)
    vault.erase_keys((case.case_id,), START_US)
    with pytest.raises(KeyErasedError):
        cases.get(connection, case.case_id)
    with pytest.raises(KeyErasedError):
        cases.put(connection, case, START_US)
