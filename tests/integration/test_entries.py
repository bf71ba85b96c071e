import pytest
from sqlalchemy import Connection, delete, select, text, update
from structlog.testing import capture_logs

from node.errors import DecryptionError, KeyErasedError, NotFoundError, RecordError, UsageError
from node.records.lookup import selector_tokens
from node.store.cases import Cases
from node.store.database import Database
from node.store.entries import Entries
from node.store.entry_rows import entry_context, superseded_context
from node.store.ids import new_id
from node.store.tables import bonds, entry_revisions, lookups
from node.store.tables import entries as entries_table
from node.store.vault import Vault
from node.wire.codes_pb2 import AsylumState, LinkKind, LookupKind, Role, Tri
from node.wire.entry_pb2 import Case, Entry, Link, Organisation, Person, PersonName, Protection, Telecom, Vehicle
from node.wire.exchange_pb2 import Selector
from tests.conftest import START_US

REVIEW_US = START_US + 365 * 86_400_000_000


def telephone(case: Case, number: str = "+50255500001", **parts: object) -> Entry:
    entry = Entry(case_id=case.case_id, originator="GT", unit="UIF", review_us=REVIEW_US, **parts)  # type: ignore[arg-type]
    entry.telecom.CopyFrom(Telecom(telephone=number))
    return entry


def person(case: Case, *links: Link, name: str = "Ana Invented", **parts: object) -> Entry:
    entry = Entry(case_id=case.case_id, originator="GT", unit="UIF", review_us=REVIEW_US, links=links, **parts)  # type: ignore[arg-type]
    entry.person.CopyFrom(Person(names=[PersonName(full=name)]))
    return entry


def uses(entry: Entry) -> Link:
    return Link(kind=LinkKind.LINK_KIND_USES, to_entry_id=entry.entry_id)


def tokens_of(vault: Vault, number: str = "+50255500001") -> list[bytes]:
    selector = Selector(kind=LookupKind.LOOKUP_KIND_TELEPHONE, value=number)
    return selector_tokens(selector, vault.lookup_keys(), "GT")


def edited(entry: Entry) -> Entry:
    copy = Entry()
    copy.CopyFrom(entry)
    return copy


async def found(
    database: Database, entries: Entries, tokens: list[bytes], now_us: int = START_US, limit: int = 10
) -> list[Entry]:
    return await database.look_up(entries.find, tokens, now_us, limit)


def written(database: Database, entries: Entries, *new: Entry, now_us: int = START_US) -> list[Entry]:
    with database.engine.begin() as connection:
        return entries.insert(connection, new, now_us)


# --- finding ---------------------------------------------------------------------------------------------------------


async def test_an_entry_is_found_by_its_selector_and_by_no_other(
    database: Database, entries: Entries, vault: Vault, case: Case
) -> None:
    (stored,) = written(database, entries, telephone(case))
    assert await found(database, entries, tokens_of(vault)) == [stored]
    assert await found(database, entries, tokens_of(vault, "+50255500002")) == []
    assert await found(database, entries, []) == []
    assert stored.revision == 1
    assert stored.recorded_us == START_US


async def test_any_number_of_tokens_finds_each_entry_once_in_order_up_to_the_limit(
    database: Database, entries: Entries, vault: Vault, case: Case
) -> None:
    numbers = [f"+502555{number:05}" for number in range(300)]
    stored = written(database, entries, *(telephone(case, number) for number in numbers))
    tokens = [token for number in numbers for token in tokens_of(vault, number)]
    wanted = sorted(stored, key=lambda entry: entry.entry_id)
    for count in (1, 2, 4, 5, 17, 64, 65, 256, 257, 300):
        assert len(await found(database, entries, tokens[:count], limit=1_000)) == count
    assert await found(database, entries, tokens + tokens, limit=64) == wanted[:64]


async def test_what_is_past_its_review_or_recalled_is_not_found(
    database: Database, entries: Entries, vault: Vault, case: Case
) -> None:
    (stored,) = written(database, entries, telephone(case))
    assert await found(database, entries, tokens_of(vault), REVIEW_US - 1) == [stored]
    assert await found(database, entries, tokens_of(vault), REVIEW_US) == []
    with database.engine.begin() as connection:
        entries.recall(connection, stored.entry_id)
        with pytest.raises(NotFoundError):
            entries.recall(connection, bytes(16))
    assert await found(database, entries, tokens_of(vault)) == []
    with database.reading() as connection:
        assert entries.get(connection, stored.entry_id) == stored


async def test_a_review_date_put_off_by_sql_revives_nothing(
    database: Database, entries: Entries, vault: Vault, case: Case
) -> None:
    written(database, entries, telephone(case))
    with database.engine.begin() as connection:
        connection.execute(update(entries_table).values(review_us=2**60))
    assert await found(database, entries, tokens_of(vault), REVIEW_US) == []


async def test_an_erased_case_is_no_more_and_the_others_are(
    database: Database, entries: Entries, cases: Cases, vault: Vault, case: Case
) -> None:
    with database.engine.begin() as connection:
        other = cases.put(connection, Case(unit="UIF", review_us=REVIEW_US), START_US)
    gone, stored = written(database, entries, telephone(case), telephone(other))
    vault.erase_keys((case.case_id,), START_US)
    assert await found(database, entries, tokens_of(vault)) == [stored]
    with database.reading() as connection, pytest.raises(KeyErasedError):
        entries.get(connection, gone.entry_id)


@pytest.mark.parametrize("change", ["case_id = :other", "revision = 2", "sealed = :swapped"])
async def test_a_record_altered_by_sql_is_passed_over_and_an_error_to_who_reads_it(
    *, database: Database, entries: Entries, cases: Cases, vault: Vault, case: Case, change: str
) -> None:
    with database.engine.begin() as connection:
        other = cases.put(connection, Case(unit="UIF", review_us=REVIEW_US), START_US)
    one, two, whole = written(
        database, entries, telephone(case), telephone(case, "+50255500002"), telephone(other, roles=[Role.ROLE_SUSPECT])
    )
    values = {"other": other.case_id, "swapped": sealed_of(database, two.entry_id), "one": one.entry_id}
    named = {name: value for name, value in values.items() if f":{name}" in f"{change} :one"}
    with database.engine.begin() as connection:
        connection.execute(text(f"UPDATE entries SET {change} WHERE entry_id = :one"), named)
    assert await found(database, entries, tokens_of(vault)) == [whole]
    with database.reading() as connection, pytest.raises(DecryptionError):
        entries.get(connection, one.entry_id)


@pytest.mark.parametrize("by", ["its own officer", "inheritance", "a confirmed change"])
async def test_a_superseded_revision_put_back_by_sql_is_passed_over_and_an_error_to_who_reads_it(
    *, database: Database, entries: Entries, vault: Vault, case: Case, by: str
) -> None:
    (first,) = written(database, entries, telephone(case))
    protected = Protection(witness_protection=Tri.TRI_YES)
    with database.engine.begin() as connection:
        if by == "inheritance":
            entries.insert(connection, [person(case, uses(first), protection=protected)], START_US)
        else:
            change = edited(first)
            change.protection.CopyFrom(protected)
            entries.update(connection, first, change, START_US, may_weaken=by == "a confirmed change")
        second = entries.get(connection, first.entry_id)
    assert second.revision == 2
    assert await found(database, entries, tokens_of(vault)) == [second]
    with database.engine.begin() as connection:
        connection.execute(text(PUT_BACK), {"one": first.entry_id})
    with capture_logs() as logs:
        assert await found(database, entries, tokens_of(vault)) == []
    assert logs == [{"event": "entries_unreadable", "count": 1, "log_level": "error"}]
    with database.engine.begin() as connection:
        with pytest.raises(DecryptionError):
            entries.get(connection, first.entry_id)
        with pytest.raises(DecryptionError):
            entries.of_case(connection, case.case_id)
        with pytest.raises(DecryptionError):
            list(entries.active(connection, START_US, 10))
        with pytest.raises(DecryptionError):  # nor is it made current by being changed
            entries.update(connection, first, first, START_US)


PUT_BACK = """
UPDATE entries SET revision = 1, sealed = (SELECT sealed FROM entry_revisions WHERE entry_id = :one AND revision = 1)
WHERE entry_id = :one
"""


def test_a_current_revision_copied_by_sql_does_not_open_as_a_superseded_one(
    database: Database, entries: Entries, case: Case
) -> None:
    (first,) = written(database, entries, telephone(case))
    with database.engine.begin() as connection:
        connection.execute(text(COPY))
        with pytest.raises(DecryptionError):
            entries.revision(connection, first.entry_id, 1)
        assert entries.get(connection, first.entry_id) == first


COPY = """
INSERT INTO entry_revisions (entry_id, revision, case_id, written_us, sealed)
SELECT entry_id, revision, case_id, written_us, sealed FROM entries
"""


def test_a_key_erased_takes_superseded_revisions_along(
    database: Database, entries: Entries, vault: Vault, case: Case
) -> None:
    (first,) = written(database, entries, telephone(case))
    with database.engine.begin() as connection:
        entries.update(connection, first, first, START_US)
    vault.erase_keys((case.case_id,), START_US)
    with database.reading() as connection:
        for revision in (1, 2):
            with pytest.raises(KeyErasedError):
                entries.revision(connection, first.entry_id, revision)


async def test_a_record_with_a_flipped_byte_answers_as_nothing_does(
    database: Database, entries: Entries, vault: Vault, case: Case
) -> None:
    (one,) = written(database, entries, telephone(case))
    sealed = bytearray(sealed_of(database, one.entry_id))
    sealed[len(sealed) // 2] ^= 1
    with database.engine.begin() as connection:
        connection.execute(update(entries_table).values(sealed=bytes(sealed)))
    assert await found(database, entries, tokens_of(vault)) == []


def sealed_of(database: Database, entry_id: bytes) -> bytes:
    with database.reading() as connection:
        query = select(entries_table.c.sealed).where(entries_table.c.entry_id == entry_id)
        sealed: bytes = connection.execute(query).scalar_one()
        return sealed


def test_nothing_of_a_record_is_in_the_clear(database: Database, entries: Entries, cases: Cases, case: Case) -> None:
    marked = person(case, name="Xochiquetzal", roles=[Role.ROLE_VICTIM], source="INFORMANTE")
    marked.person.telephones.append("+50255512345")
    marked.protection.asylum_by.basis = "ENTREVISTA"
    (stored,) = written(database, entries, marked)
    with database.engine.begin() as connection:
        entries.update(connection, stored, stored, START_US)
        cases.put(connection, Case(case_id=case.case_id, title="OPERATIVO", unit="UIF", review_us=REVIEW_US), START_US)
        rows = [
            str(row)
            for table in ("cases", "case_revisions", "entries", "entry_revisions", "lookups", "bonds")
            for row in connection.execute(text(f"SELECT * FROM {table}"))
        ]
    assert len(rows) > 6
    for secret in ("Xochi", "XOCHI", "INFORMANTE", "55512345", "ENTREVISTA", "OPERATIVO", "X-1"):
        assert not [row for row in rows if secret in row]


# --- writing ---------------------------------------------------------------------------------------------------------


def test_fields_of_a_newer_contract_survive(connection: Connection, entries: Entries, case: Case) -> None:
    newer = telephone(case)
    newer.MergeFromString(b"\xa2\x3f\x05later")  # field 1012, unknown here
    (stored,) = entries.insert(connection, [newer], START_US)
    assert b"later" in entries.get(connection, stored.entry_id).SerializeToString()
    updated = entries.update(connection, stored, stored, START_US)
    assert b"later" in entries.get(connection, updated.entry_id).SerializeToString()


def test_what_is_handed_in_is_left_as_it_is(connection: Connection, entries: Entries, case: Case) -> None:
    new = telephone(case)
    before = new.SerializeToString(deterministic=True)
    entries.insert(connection, [new], START_US)
    assert new.SerializeToString(deterministic=True) == before


def test_an_update_keeps_the_old_revision_byte_for_byte(
    connection: Connection, entries: Entries, vault: Vault, case: Case
) -> None:
    (first,) = entries.insert(connection, [telephone(case)], START_US)
    place = (first.entry_id, case.case_id, 1)
    sealed = connection.execute(select(entries_table.c.sealed)).scalar_one()
    data = vault.open(case.case_id, entry_context(*place), sealed)
    change = edited(first)
    change.telecom.platform = "Signal"
    second = entries.update(connection, first, change, START_US + 5)
    assert second.revision == 2
    assert entries.get(connection, first.entry_id) == second
    assert entries.revision(connection, first.entry_id, 1) == first
    assert entries.revision(connection, first.entry_id, 2) == second
    kept = connection.execute(select(entry_revisions.c.sealed)).scalar_one()
    assert vault.open(case.case_id, superseded_context(*place), kept) == data
    with pytest.raises(NotFoundError):
        entries.revision(connection, first.entry_id, 3)


async def test_an_update_moves_the_lookup_tokens(
    database: Database, entries: Entries, vault: Vault, case: Case
) -> None:
    (first,) = written(database, entries, telephone(case))
    change = edited(first)
    change.telecom.telephone = "+50255500002"
    with database.engine.begin() as connection:
        second = entries.update(connection, first, change, START_US)
    assert await found(database, entries, tokens_of(vault)) == []
    assert await found(database, entries, tokens_of(vault, "+50255500002")) == [second]


def test_of_two_who_change_the_same_revision_the_second_is_told(
    connection: Connection, entries: Entries, case: Case
) -> None:
    (first,) = entries.insert(connection, [telephone(case)], START_US)
    second = entries.update(connection, first, first, START_US)
    with pytest.raises(UsageError, match="read it again"):
        entries.update(connection, second, first, START_US)
    with pytest.raises(UsageError, match="read it again"):
        entries.update(connection, first, first, START_US)


@pytest.mark.parametrize(
    ("field", "value"), [("unit", ""), ("review_us", 0), ("case_id", b""), ("entry_id", b"short"), ("review_us", -1)]
)
def test_an_entry_without_what_the_store_needs_is_refused(
    connection: Connection, entries: Entries, case: Case, field: str, value: object
) -> None:
    new = telephone(case)
    setattr(new, field, value)
    with pytest.raises(RecordError):
        entries.insert(connection, [new], START_US)
    assert connection.execute(select(entries_table)).all() == []


def test_a_case_that_is_not_there_an_id_that_is_and_a_link_to_nothing(
    connection: Connection, entries: Entries, case: Case
) -> None:
    (stored,) = entries.insert(connection, [telephone(case)], START_US)
    with pytest.raises(NotFoundError, match="case"):
        entries.insert(connection, [telephone(Case(case_id=bytes(16)))], START_US)
    with pytest.raises(RecordError, match="taken"):
        entries.insert(connection, [stored], START_US)
    with pytest.raises(RecordError, match="twice"):
        entries.insert(connection, [telephone(case, entry_id=bytes(16)), telephone(case, entry_id=bytes(16))], START_US)
    with pytest.raises(NotFoundError, match="link"):
        entries.insert(connection, [person(case, Link(to_entry_id=bytes(16)))], START_US)
    change = edited(stored)
    change.case_id = new_id()
    with pytest.raises(RecordError, match="stays in its case"):
        entries.update(connection, stored, change, START_US)


def test_entries_of_a_case_are_listed_in_order(
    connection: Connection, entries: Entries, cases: Cases, case: Case
) -> None:
    other = cases.put(connection, Case(unit="UIF", review_us=REVIEW_US), START_US)
    stored = [entries.insert(connection, [telephone(case)], START_US + number)[0] for number in range(3)]
    entries.insert(connection, [telephone(other)], START_US)
    assert [entry.entry_id for entry in entries.of_case(connection, case.case_id)] == sorted(
        entry.entry_id for entry in stored
    )
    assert entries.of_case(connection, bytes(16)) == []


# --- inherited protection --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
def test_a_telephone_inherits_from_who_uses_it_in_one_import(
    connection: Connection, entries: Entries, case: Case, order: int
) -> None:
    phone = telephone(case, entry_id=new_id())
    victim = person(case, uses(phone), roles=[Role.ROLE_VICTIM], protection=Protection(victim=Tri.TRI_YES))
    entries.insert(connection, [phone, victim][::order], START_US)
    stored = entries.get(connection, phone.entry_id)
    assert stored.inherited.victim == Tri.TRI_YES
    assert Role.ROLE_VICTIM in stored.inherited_roles
    assert stored.revision == 1  # written once


def test_a_telephone_that_threatened_a_victim_inherits_nothing(
    connection: Connection, entries: Entries, case: Case
) -> None:
    (phone,) = entries.insert(connection, [telephone(case)], START_US)
    contacted = Link(kind=LinkKind.LINK_KIND_CONTACTED_BY, to_entry_id=phone.entry_id)
    entries.insert(connection, [person(case, contacted, roles=[Role.ROLE_VICTIM])], START_US)
    stored = entries.get(connection, phone.entry_id)
    assert stored == phone
    assert connection.execute(select(bonds)).all() == []


def test_a_stored_telephone_inherits_from_who_is_linked_later_and_the_old_revision_stays(
    connection: Connection, entries: Entries, case: Case
) -> None:
    (phone,) = entries.insert(connection, [telephone(case)], START_US)
    entries.insert(
        connection, [person(case, uses(phone), protection=Protection(witness_protection=Tri.TRI_YES))], START_US
    )
    stored = entries.get(connection, phone.entry_id)
    assert (stored.revision, stored.inherited.witness_protection) == (2, Tri.TRI_YES)
    assert entries.revision(connection, phone.entry_id, 1) == phone


def test_protection_added_to_a_person_reaches_what_the_persons_company_owns(
    connection: Connection, entries: Entries, case: Case
) -> None:
    lorry = Entry(
        case_id=case.case_id, unit="UIF", review_us=REVIEW_US, entry_id=new_id(), vehicle=Vehicle(plate="P 1")
    )
    company = Entry(case_id=case.case_id, unit="UIF", review_us=REVIEW_US, entry_id=new_id(), links=[uses(lorry)])
    company.organisation.CopyFrom(Organisation(name="Invented S.A."))
    owner = person(case, Link(kind=LinkKind.LINK_KIND_OWNS, to_entry_id=company.entry_id), entry_id=new_id())
    entries.insert(connection, [owner, company, lorry], START_US)
    change = entries.get(connection, owner.entry_id)
    change.protection.asylum = AsylumState.ASYLUM_STATE_CLAIMED
    entries.update(connection, entries.get(connection, owner.entry_id), change, START_US)
    assert entries.get(connection, lorry.entry_id).inherited.asylum == AsylumState.ASYLUM_STATE_CLAIMED
    assert entries.get(connection, company.entry_id).inherited.asylum == AsylumState.ASYLUM_STATE_CLAIMED


def test_what_lost_its_link_inherits_no_more_also_where_two_own_each_other(
    connection: Connection, entries: Entries, case: Case
) -> None:
    one, two = (
        Entry(
            case_id=case.case_id,
            unit="UIF",
            review_us=REVIEW_US,
            entry_id=new_id(),
            organisation=Organisation(name=name),
        )
        for name in ("One S.A.", "Two S.A.")
    )
    one.links.append(uses(two))
    two.links.append(uses(one))
    owner = person(case, uses(one), entry_id=new_id(), protection=Protection(victim=Tri.TRI_YES))
    entries.insert(connection, [one, two, owner], START_US)
    for each in (one, two):
        assert entries.get(connection, each.entry_id).inherited.victim == Tri.TRI_YES
    old = entries.get(connection, owner.entry_id)
    change = edited(old)
    del change.links[:]
    entries.update(connection, old, change, START_US, may_weaken=True)
    for each in (one, two):
        assert not entries.get(connection, each.entry_id).HasField("inherited")


def test_what_an_officer_writes_into_inherited_is_not_believed(
    connection: Connection, entries: Entries, case: Case
) -> None:
    forged = telephone(case, inherited=Protection(victim=Tri.TRI_NO), inherited_roles=[Role.ROLE_SUSPECT])
    (stored,) = entries.insert(connection, [forged], START_US)
    assert not stored.HasField("inherited")
    assert not stored.inherited_roles
    entries.insert(connection, [person(case, uses(stored), protection=Protection(victim=Tri.TRI_YES))], START_US)
    old = entries.get(connection, stored.entry_id)
    change = edited(old)
    change.inherited.victim = Tri.TRI_NO
    assert entries.update(connection, old, change, START_US).inherited.victim == Tri.TRI_YES


@pytest.mark.parametrize("edit", ["thing", "other subject", "newcomer"])
def test_a_bond_that_is_missing_takes_no_protection_away(
    connection: Connection, entries: Entries, case: Case, edit: str
) -> None:
    phone = telephone(case, entry_id=new_id())
    victim = person(case, uses(phone), roles=[Role.ROLE_VICTIM], protection=Protection(victim=Tri.TRI_YES))
    other = person(case, uses(phone), entry_id=new_id(), name="Beto Invented", roles=[Role.ROLE_SUSPECT])
    entries.insert(connection, [phone, victim, other], START_US)
    protected = entries.get(connection, phone.entry_id)
    assert protected.inherited.victim == Tri.TRI_YES
    connection.execute(delete(bonds))
    if edit == "newcomer":
        entries.insert(connection, [person(case, uses(phone), roles=[Role.ROLE_SUSPECT])], START_US)
    else:
        old = entries.get(connection, phone.entry_id if edit == "thing" else other.entry_id)
        entries.update(connection, old, old, START_US)
    stored = entries.get(connection, phone.entry_id)
    assert (stored.inherited, stored.inherited_roles) == (protected.inherited, protected.inherited_roles)


def test_a_confirmed_change_believes_the_links_and_not_the_table_of_bonds(
    connection: Connection, entries: Entries, case: Case
) -> None:
    phone = telephone(case, entry_id=new_id())
    victim = person(case, uses(phone), roles=[Role.ROLE_VICTIM], protection=Protection(victim=Tri.TRI_YES))
    other = person(case, uses(phone), entry_id=new_id(), roles=[Role.ROLE_WITNESS])
    entries.insert(connection, [phone, victim, other], START_US)
    connection.execute(delete(bonds).where(bonds.c.subject_id != other.entry_id))
    old = entries.get(connection, other.entry_id)
    change = edited(old)
    del change.links[:]
    entries.update(connection, old, change, START_US, may_weaken=True)
    stored = entries.get(connection, phone.entry_id)
    assert (stored.inherited.victim, list(stored.inherited_roles)) == (Tri.TRI_YES, [Role.ROLE_VICTIM])


def test_a_link_from_who_is_harmless_releases_nothing_that_states_a_role(
    connection: Connection, entries: Entries, case: Case
) -> None:
    (phone,) = entries.insert(connection, [telephone(case, roles=[Role.ROLE_SUSPECT])], START_US)
    harmless = Protection(victim=Tri.TRI_NO, witness_protection=Tri.TRI_NO)
    entries.insert(connection, [person(case, uses(phone), roles=[Role.ROLE_SUSPECT], protection=harmless)], START_US)
    stored = entries.get(connection, phone.entry_id)
    assert (stored.inherited.victim, stored.inherited.witness_protection) == (Tri.TRI_UNKNOWN, Tri.TRI_UNKNOWN)
    # Who confirms a change of the telephone has seen both.
    stored = entries.update(connection, stored, stored, START_US, may_weaken=True)
    assert stored.inherited.victim == Tri.TRI_NO


def test_an_index_without_its_entries_finds_nothing_and_bonds_end_at_entries(
    connection: Connection, entries: Entries, case: Case
) -> None:
    (phone,) = entries.insert(connection, [telephone(case)], START_US)
    savepoint = connection.begin_nested()
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        connection.execute(delete(entries_table).where(entries_table.c.entry_id == phone.entry_id))
    savepoint.rollback()
    assert connection.execute(select(lookups.c.entry_id)).scalars().all() == [phone.entry_id]
