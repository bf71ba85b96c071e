import io
import re
import tokenize
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given, settings
from hypothesis import strategies as st

from node import schema
from node.errors import PolicyError
from node.policy import generalise, treatment
from node.policy import redact as redact_module
from node.policy.decide import ENTRY, HIT, INVISIBLE, Decision, EntryOutcome, Grant, decide
from node.policy.evaluate import GENERALISE, MASK, PSEUDONYMISE, RELEASE, WITHHOLD
from node.policy.facts import PROTECTED_ROLES
from node.policy.field_copy import MASKED, Copying
from node.policy.redact import copying_of, hit_only, redact, withheld_categories
from node.policy.treatment import outcome_table, treatment_of
from node.policy.vocabulary import (
    CATEGORIES_BY_KIND,
    CATEGORY_NUMBERS,
    ENTITY_KINDS,
    ROLES,
    TIER_5,
    Category,
    Outcome,
    tier,
)
from node.wire import codes_pb2, entry_pb2, exchange_pb2, options_pb2
from tests.unit.policy.situations import ACCEPTED, NOW_US, OPEN, SUSPECT_PHONE, book, phone, plant

LEVELS: tuple[Outcome, ...] = (RELEASE, GENERALISE, PSEUDONYMISE, MASK, WITHHOLD)
HANDLE = bytes(range(16))
PURPOSE = codes_pb2.PURPOSE_INVESTIGATE
FREE_TEXTS = (
    *("handling_text", "criminal_record", "health", "sex_life", "belief_ethnicity", "communications"),
    *("distinguishing_marks", "clothing_and_effects", "description"),
)
IDENTITY = codes_pb2.DATA_CATEGORY_IDENTITY
KINDS = sorted(schema.KIND_BY_HOLDER)
INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: 20_000,
    FieldDescriptor.CPPTYPE_INT64: NOW_US,
    FieldDescriptor.CPPTYPE_UINT32: 4_711,
    FieldDescriptor.CPPTYPE_UINT64: 8_765_432,
    FieldDescriptor.CPPTYPE_ENUM: 3,
    FieldDescriptor.CPPTYPE_BOOL: True,
}


def decision(levels: dict[Category, Outcome], outcome: EntryOutcome = ENTRY) -> Decision:
    return Decision(outcome, tuple(sorted(levels.items())), (), (), (), 0, ())


def pseudonym(category: Category, value: str) -> str:
    return f"p{category}-{sum(value.encode())}"


def released(entry: entry_pb2.Entry, levels: dict[Category, Outcome]) -> exchange_pb2.ReleasedEntry:
    return redacted(entry, decision(levels))


def redacted(entry: entry_pb2.Entry, made: Decision, handle: bytes = HANDLE) -> exchange_pb2.ReleasedEntry:
    answer = exchange_pb2.Answer()
    into = answer.hits.add().entry
    redact(entry, made, into=into, purpose=PURPOSE, handle=handle, pseudonym=pseudonym)
    assert answer.hits[0].WhichOneof("kind") == "entry"
    return into


def every(level: Outcome) -> dict[Category, Outcome]:
    return dict.fromkeys(CATEGORY_NUMBERS.values(), level)


# --- whole entries ---------------------------------------------------------------------------------------------------


def fill(message: Message, tokens: Iterator[str]) -> None:
    """Give every field of a message a value of its own, at every depth; of a oneof, none."""
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is not None:
            continue
        target: Any = getattr(message, field.name)
        if field.message_type is not None:
            fill(target.add() if field.is_repeated else target, tokens)
            continue
        value: Any = INTEGERS.get(field.cpp_type)
        if field.enum_type is not None:
            value = min(value, max(field.enum_type.values_by_number))
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            token = next(tokens)
            value = token.encode() if field.type == FieldDescriptor.TYPE_BYTES else "+502 " + token
        if field.is_repeated:
            target.append(value)
        else:
            setattr(message, field.name, value)


@st.composite
def full_entries(draw: st.DrawFn) -> tuple[entry_pb2.Entry, str, bytes]:
    """An entry of any kind with every field filled, the field of its entity, and a token planted at every depth."""
    start = draw(st.integers(0, 10**8))
    holder = draw(st.sampled_from(KINDS))
    entry = entry_pb2.Entry()
    tokens = (f"{start + number:017d}" for number in range(200))
    fill(entry, tokens)
    entry.text_reviewed = draw(st.booleans())
    getattr(entry, holder).SetInParent()
    fill(getattr(entry, holder), tokens)
    planted = b"planted" + next(tokens).encode()
    plant(entry, planted)
    return entry, holder, planted


def texts(message: Message, descriptor: Descriptor) -> Iterator[tuple[FieldDescriptor, bytes]]:
    """Texts of a message and of the parts that have categories of their own."""
    for field in descriptor.fields:
        value: Any = getattr(message, field.name)
        for each in value if field.is_repeated else [value]:
            if field.message_type is not None and not schema.is_value(field.message_type):
                yield from texts(each, field.message_type)
            elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
                yield field, each if isinstance(each, bytes) else each.removeprefix("+502 ").encode()


def unknown_fields(message: Message) -> int:
    found = len(UnknownFieldSet(message))
    for field, value in message.ListFields():
        if field.message_type is not None:
            found += sum(unknown_fields(part) for part in (value if field.is_repeated else [value]))
    return found


@settings(max_examples=300, deadline=None)
@given(full_entries(), st.dictionaries(st.sampled_from(sorted(CATEGORY_NUMBERS.values())), st.sampled_from(LEVELS)))
def test_no_byte_of_what_is_withheld_leaves(
    full: tuple[entry_pb2.Entry, str, bytes], levels: dict[Category, Outcome]
) -> None:
    entry, holder, planted = full
    assert unknown_fields(entry) > 1
    answer = released(entry, levels)
    data = answer.SerializeToString()

    assert planted not in data
    assert unknown_fields(exchange_pb2.ReleasedEntry.FromString(data)) == 0
    for field in entry_pb2.Entry.DESCRIPTOR.fields:
        if schema.is_internal(field) and field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            value = getattr(entry, field.name)
            assert (value if isinstance(value, bytes) else value.encode()) not in data, field.name
    in_entity = texts(getattr(entry, holder), getattr(entry, holder).DESCRIPTOR)
    common = [
        (field, getattr(entry, field.name).removeprefix("+502 ").encode())
        for field in schema.COMMON_FIELDS
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and not schema.is_internal(field)
    ]
    for field, value in [*in_entity, *common]:
        level = levels.get(schema.category_of(field), WITHHOLD)
        treated = treatment_of(field, level)
        same = treated == GENERALISE and schema.generaliser_of(field) == 5  # GENERALISER_SAME
        leaves = treated == RELEASE and (entry.text_reviewed or not schema.is_free_text(field))
        assert (value in data) == (leaves or same), field.full_name


@settings(max_examples=100, deadline=None)
@given(full_entries(), st.dictionaries(st.sampled_from(sorted(CATEGORY_NUMBERS.values())), st.sampled_from(LEVELS)))
def test_numbers_and_dates_stay_where_their_category_does(
    full: tuple[entry_pb2.Entry, str, bytes], levels: dict[Category, Outcome]
) -> None:
    entry, holder, _ = full
    part = getattr(released(entry, levels), holder)
    set_fields = {field.name for field, _ in part.ListFields()}
    for field in part.DESCRIPTOR.fields:
        if treatment_of(field, levels.get(schema.category_of(field), WITHHOLD)) == WITHHOLD:
            assert field.name not in set_fields


@pytest.mark.parametrize("holder", KINDS)
def test_what_is_released_is_what_is_recorded(holder: str) -> None:
    entry = entry_pb2.Entry(text_reviewed=True)
    getattr(entry, holder).SetInParent()
    fill(getattr(entry, holder), (f"{number:017d}" for number in range(100)))
    assert getattr(released(entry, every(RELEASE)), holder) == getattr(entry, holder)


@pytest.mark.parametrize("holder", KINDS)
def test_nothing_of_an_entity_leaves_withheld(holder: str) -> None:
    entry = entry_pb2.Entry(text_reviewed=True)
    getattr(entry, holder).SetInParent()
    fill(getattr(entry, holder), (f"{number:017d}" for number in range(100)))
    answer = released(entry, every(WITHHOLD))
    assert answer.WhichOneof("entity") == holder
    assert getattr(answer, holder).ByteSize() == 0


def test_an_enumeration_number_in_nobodys_list_stays() -> None:
    entry = phone(crimes=[codes_pb2.CRIME_TRAFFICKING, 987_654], source_grade=77)
    answer = released(entry, every(RELEASE))
    assert list(answer.crimes) == [codes_pb2.CRIME_TRAFFICKING]
    assert answer.source_grade == 0


# --- one outcome each ------------------------------------------------------------------------------------------------


def test_a_telephone_by_outcome() -> None:
    def telecom(level: Outcome) -> entry_pb2.Telecom:
        return released(phone(), every(level)).telecom

    assert telecom(RELEASE).telephone == "+525500000000"
    assert telecom(GENERALISE).telephone == "+52"
    assert telecom(GENERALISE).last_cell == entry_pb2.Coordinates(latitude_e6=19_000_000, longitude_e6=-99_000_000)
    assert telecom(GENERALISE).holder_name == ""
    assert telecom(PSEUDONYMISE).telephone == pseudonym(codes_pb2.DATA_CATEGORY_TELECOM, "+525500000000")
    assert not telecom(PSEUDONYMISE).HasField("last_cell")
    assert telecom(MASK).telephone == MASKED == "***"
    assert telecom(WITHHOLD) == entry_pb2.Telecom()


def test_names_by_outcome() -> None:
    names = [entry_pb2.PersonName(full="Invented One"), entry_pb2.PersonName(full="Two", alias=True)]
    entry = entry_pb2.Entry(person=entry_pb2.Person(names=names))

    def full(level: Outcome) -> list[str]:
        return [name.full for name in released(entry, every(level)).person.names]

    assert list(released(entry, every(RELEASE)).person.names) == names
    assert full(GENERALISE) == []
    assert full(PSEUDONYMISE) == [pseudonym(IDENTITY, "Invented One"), pseudonym(IDENTITY, "Two")]
    assert full(MASK) == [MASKED]  # not how many
    assert full(WITHHOLD) == []
    entry.person.names.insert(0, entry_pb2.PersonName())
    assert full(MASK) == [MASKED]


def test_a_list_behind_a_mask_does_not_tell_its_length() -> None:
    entry = entry_pb2.Entry(person=entry_pb2.Person(telephones=["+50255500001", "+50255500002", "none"]))
    assert list(released(entry, every(MASK)).person.telephones) == [MASKED]
    assert list(released(entry, every(GENERALISE)).person.telephones) == ["+502"]


def test_each_of_a_list_gets_a_pseudonym_once() -> None:
    numbers = ["+50255500001", "+50255500002"]
    entry = entry_pb2.Entry(person=entry_pb2.Person(telephones=[*numbers, numbers[0]]))
    told = list(released(entry, every(PSEUDONYMISE)).person.telephones)
    assert told == [pseudonym(codes_pb2.DATA_CATEGORY_CONTACT, each) for each in numbers]


def test_free_text_leaves_reviewed_and_whole_or_not_at_all() -> None:
    for reviewed in (True, False):
        entry = phone(text_reviewed=reviewed, telecom=entry_pb2.Telecom(communications="what was said"))
        for level in LEVELS:
            text = released(entry, every(level)).telecom.communications
            assert text == ("what was said" if reviewed and level == RELEASE else "")


def test_dates_of_record_are_always_coarse() -> None:
    first_of_the_month = generalise.to_month(NOW_US)
    for level in (RELEASE, GENERALISE):
        assert released(phone(recorded_us=NOW_US), every(level)).recorded_us == first_of_the_month
    assert released(phone(recorded_us=NOW_US), every(MASK)).recorded_us == 0


def test_roles_leave_with_the_identity_and_never_those_that_protect() -> None:
    entry = phone(roles=[number for number in ROLES if number] + [99])
    roles = released(entry, every(RELEASE)).roles
    assert [ROLES[role] for role in roles] == [
        "DECEASED",
        "SUSPECT",
        "ACCUSED",
        "CONVICTED",
        "ASSOCIATE",
        "OFFICIAL_SUSPECT",
        "THIRD_PARTY",
    ]
    assert not PROTECTED_ROLES & {ROLES[role] for role in roles}
    for level in LEVELS[1:]:
        assert not released(entry, every(RELEASE) | {IDENTITY: level}).roles


def test_a_date_that_is_zero_is_still_a_date() -> None:
    entry = entry_pb2.Entry(person=entry_pb2.Person(birth=entry_pb2.DateInterval()))
    assert released(entry, every(RELEASE)).person.HasField("birth")
    birth = released(entry, every(GENERALISE)).person.birth
    assert (birth.first_day, birth.last_day) == (0, 364)


# --- what every recipient is told ------------------------------------------------------------------------------------


def test_terms_and_grants_go_with_the_entry() -> None:
    grant = Grant("MX-10", "UNTOC art. 27(1)", codes_pb2.DATA_CATEGORY_TELECOM, RELEASE)
    made = Decision(
        ENTRY,
        ((codes_pb2.DATA_CATEGORY_TELECOM, RELEASE),),
        (grant,),
        (),
        (codes_pb2.OBLIGATION_NO_ONWARD,),
        180,
        (),
    )
    answer = redacted(phone(), made)
    assert answer.handle == HANDLE
    assert answer.terms == exchange_pb2.Terms(obligations=[codes_pb2.OBLIGATION_NO_ONWARD], retention_days=180)
    assert list(answer.grants) == [
        exchange_pb2.Grant(
            rule="MX-10", law="UNTOC art. 27(1)", category=codes_pb2.DATA_CATEGORY_TELECOM, outcome=RELEASE
        )
    ]
    assert list(answer.withheld) == [codes_pb2.DATA_CATEGORY_COMMUNICATIONS]
    assert redacted(phone(), made, b"\x01" * 16).handle == b"\x01" * 16
    answer.terms.retention_days = 1
    answer.grants.add(rule="added")
    assert redacted(phone(), made).terms.retention_days == 180
    assert len(redacted(phone(), made).grants) == 1


def test_what_is_withheld_is_listed_alike_whatever_is_recorded_or_decided() -> None:
    bare = released(entry_pb2.Entry(person=entry_pb2.Person()), every(WITHHOLD))
    full = entry_pb2.Entry(person=entry_pb2.Person(health="h", asylum_note="a", migration_status="m"))
    assert bare.withheld == released(full, every(RELEASE)).withheld
    assert tuple(bare.withheld) == withheld_categories("PERSON", PURPOSE)


@pytest.mark.parametrize("kind", [kind for kind in ENTITY_KINDS.values() if kind != "UNKNOWN"])
def test_tier_5_is_never_named(kind: str) -> None:
    for purpose in (*codes_pb2.Purpose.values(), 77):
        listed = withheld_categories(kind, purpose)  # type: ignore[arg-type]
        assert not TIER_5 & set(listed)
        assert set(listed) <= CATEGORIES_BY_KIND[kind]


@pytest.mark.parametrize(
    ("purpose", "tiers"),
    [
        ("TREND", {2, 3, 4}),
        ("PREVENT", {2, 3, 4}),
        ("DISRUPT", {3, 4}),
        ("INVESTIGATE", {4}),
        ("VICTIM_ID", {4}),
        ("MISSING_SEARCH", {4}),
        ("REMAINS_ID", {4}),
        ("PROTECT_LIFE", {4}),
        ("EVIDENCE_MLA", {4}),
        ("UNKNOWN", {1, 2, 3, 4}),
        ("POLITICAL", {1, 2, 3, 4}),
    ],
)
def test_what_is_asked_for_separately_follows_purpose_and_tier(purpose: str, tiers: set[int]) -> None:
    number = codes_pb2.Purpose.Value(f"PURPOSE_{purpose}")
    found = set()
    for kind, own in CATEGORIES_BY_KIND.items():
        listed = withheld_categories(kind, number)
        assert list(listed) == sorted(each for each in own if tier(each) in tiers)
        found |= {tier(each) for each in listed}
    assert found == tiers


def test_what_is_remembered_of_decisions_is_bounded() -> None:
    for remembering in (redact_module._plan, redact_module._told_of_hit, redact_module._copier):
        assert (remembering.cache_info().maxsize or 10**9) <= 10_000


def test_a_hit_tells_terms_and_rules_alone() -> None:
    hit = book(OPEN.replace("data: {EVERYTHING", "obligations: {retention_days: 90}, data: {EXISTENCE"))
    made = decide(book(OPEN, "floor"), hit, SUSPECT_PHONE, ACCEPTED, NOW_US)
    assert made.outcome == HIT
    told = exchange_pb2.HitOnly()
    hit_only(made, into=told, handle=HANDLE)
    assert told.handle == HANDLE
    assert {grant.category for grant in told.grants} == {codes_pb2.DATA_CATEGORY_EXISTENCE}
    assert told.terms == exchange_pb2.Terms(obligations=[codes_pb2.OBLIGATION_RETENTION], retention_days=90)


def test_a_decision_that_releases_nothing_builds_nothing() -> None:
    for outcome in (HIT, INVISIBLE):
        with pytest.raises(PolicyError):
            redacted(phone(), decision({}, outcome))
    with pytest.raises(PolicyError):
        redacted(entry_pb2.Entry(), decision({}))
    told = exchange_pb2.HitOnly()
    with pytest.raises(PolicyError):
        hit_only(decision({}, INVISIBLE), into=told, handle=HANDLE)
    assert told == exchange_pb2.HitOnly()


def test_the_table_covers_every_field_and_outcome_and_never_gives_more() -> None:
    rows = outcome_table()
    fields = {row.field for row in rows}
    assert len(rows) == len(fields) * len(LEVELS)
    assert {"enlace.v1.Entry.roles", "enlace.v1.PersonName.full", "enlace.v1.Telecom.telephone"} <= fields
    leaving = {name for each in entry_pb2.Entry.DESCRIPTOR.oneofs_by_name["entity"].fields for name in leaves_of(each)}
    leaving |= {each.full_name for each in schema.COMMON_FIELDS if not schema.is_internal(each)}
    assert fields == leaving
    for row in rows:
        assert row.treatment >= row.outcome
        assert bool(row.generaliser) == (row.treatment == GENERALISE)
    told = {(row.field.rpartition(".")[2], row.outcome): row for row in rows}
    assert told["telephone", GENERALISE].generaliser == options_pb2.GENERALISER_PREFIX
    assert told["recorded_us", RELEASE].generaliser == options_pb2.GENERALISER_MONTH
    reviewed = {row.field for row in rows if row.needs_review}
    assert reviewed == {row.field for row in rows if row.field.endswith(FREE_TEXTS)}
    assert all(row.outcome == RELEASE for row in rows if row.needs_review)


def leaves_of(holder: FieldDescriptor) -> set[str]:
    found = set()
    for field in schema.message_of(holder).fields:
        inner = field.message_type
        found |= {field.full_name} if inner is None or schema.is_value(inner) else leaves_of(field)
    return found


def test_the_table_goes_on_where_a_list_of_parts_follows_other_fields() -> None:
    found = [each.name for each in treatment._leaf_fields(entry_pb2.Entry.DESCRIPTOR)]
    assert found[0] == "entry_id"
    assert "telephone" in found


# --- fields as a later contract may have them ------------------------------------------------------------------------


def made_field(name: str, **options: int) -> FieldDescriptor:
    """A field of text, with these options."""
    file = descriptor_pb2.FileDescriptorProto(name="k.proto", package="k", syntax="proto3")
    made = file.message_type.add(name="Record").field.add(name=name, number=1, type="TYPE_STRING")
    stated: Any = made.options.Extensions
    for option, value in options.items():
        stated[getattr(options_pb2, option)] = value
    pool = descriptor_pool.DescriptorPool()
    for module in (descriptor_pb2, codes_pb2, options_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file.dependency.append("node/wire/options.proto")
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindMessageTypeByName("k.Record").fields[0]


def test_roles_are_never_generalised_or_masked() -> None:
    roles = made_field("roles", category=IDENTITY, generalise=options_pb2.GENERALISER_PREFIX)
    assert [treatment_of(roles, level) for level in LEVELS] == [RELEASE, *[WITHHOLD] * 4]


def test_of_reference_only_what_can_be_coarser_is() -> None:
    plain = made_field("code", category=codes_pb2.DATA_CATEGORY_REFERENCE)
    assert treatment_of(plain, RELEASE) == RELEASE
    coarse = made_field("code", category=codes_pb2.DATA_CATEGORY_REFERENCE, generalise=options_pb2.GENERALISER_PREFIX)
    assert treatment_of(coarse, RELEASE) == GENERALISE


def test_a_code_has_no_pseudonym() -> None:
    code = made_field("code", category=IDENTITY, generalise=options_pb2.GENERALISER_SAME)
    assert treatment_of(code, PSEUDONYMISE) == MASK
    assert treatment_of(made_field("name", category=IDENTITY), PSEUDONYMISE) == PSEUDONYMISE


def test_an_internal_field_stays_whatever_category_it_states() -> None:
    copying = Copying(every(RELEASE), reviewed=True)
    copying.add_fields([made_field("code", category=IDENTITY, internal=True)])
    assert "code" not in copying.source
    copying.add_fields([made_field("name", category=IDENTITY)])
    copying.add_fields([made_field("other", category=IDENTITY)])
    assert "t0.name" in copying.source
    assert "t0.other" in copying.source


def test_a_function_that_carries_fields_calls_nothing_else() -> None:
    copier: Any = copying_of("person", every(RELEASE), reviewed=True).compile()
    assert copier.__globals__["__builtins__"] == {"dict": dict}


def test_internal_fields_have_no_way_out() -> None:
    internal = [field for field in entry_pb2.Entry.DESCRIPTOR.fields if schema.is_internal(field)]
    assert {"entry_id", "case_id", "unit", "protection", "inherited", "links"} <= {field.name for field in internal}
    copying = Copying(every(RELEASE), reviewed=True)
    copying.add_fields(internal)
    assert copying.source == "def copy(s0, t0, pseudonym):\n    pass\n"
    into = exchange_pb2.ReleasedEntry()
    copying.compile()(phone(), into, pseudonym)
    assert into == exchange_pb2.ReleasedEntry()


# --- the functions that carry fields ---------------------------------------------------------------------------------

WRITTEN = {
    *("def", "copy", "pseudonym", "if", "in", "and", "is", "not", "None", "for", "else", "break", "del", "MASKED"),
    *(
        "HasField",
        "SetInParent",
        "CopyFrom",
        "ByteSize",
        "add",
        "append",
        "extend",
        "issuperset",
        "dict",
        "fromkeys",
        "v",
        "c",
        "g",
    ),
}


def field_names(descriptor: Descriptor) -> set[str]:
    found = set()
    for field in descriptor.fields:
        if not schema.is_internal(field):
            found |= {field.name, *(field_names(field.message_type) if field.message_type else ())}
    return found


@pytest.mark.parametrize("holder", KINDS)
@given(levels=st.dictionaries(st.sampled_from(sorted(CATEGORY_NUMBERS.values())), st.sampled_from(LEVELS)))
@settings(max_examples=20, deadline=None)
def test_a_function_that_carries_fields_is_written_of_field_names_and_numbers_alone(
    holder: str, levels: dict[Category, Outcome]
) -> None:
    names = field_names(entry_pb2.Entry.DESCRIPTOR)
    copying = copying_of(holder, levels, reviewed=True)
    for token in tokenize.generate_tokens(io.StringIO(copying.source).readline):
        if token.type == tokenize.NAME:
            known = token.string in WRITTEN or token.string in names or token.string in copying.constants
            assert known or re.fullmatch(r"[stlv][0-3]", token.string), token
        elif token.type == tokenize.STRING:
            assert token.string.strip("'") in names, token
        elif token.type == tokenize.NUMBER:
            assert int(token.string) in {1, *levels}, token
        else:
            assert token.type != tokenize.COMMENT
    for constant in copying.constants.values():
        known_codes = isinstance(constant, frozenset) and all(isinstance(each, int) for each in constant)
        assert constant == MASKED or known_codes or constant in generalise.GENERALISERS.values()


def test_a_field_that_python_can_not_name_fails() -> None:
    copying = Copying(every(RELEASE), reviewed=True)
    with pytest.raises(PolicyError, match="lambda"):
        copying.add_fields([made_field("lambda", category=IDENTITY)])
