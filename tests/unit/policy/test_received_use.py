"""For what an entry of another country is used, for how long, and to whom it may go on: as its terms say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import DeniedError
from node.policy.received_use import UNDATED_DAYS, Use, delete_at, is_listed, is_usable, verify_onward, verify_use
from node.wire import codes_pb2 as codes
from node.wire.exchange_pb2 import ReleasedEntry, Terms
from node.wire.received_pb2 import ReceivedEntry

DAY_US = 86_400_000_000
NOW_US = 1_790_000_000_000_000
USE = Use(codes.PURPOSE_INVESTIGATE, codes.UNIT_TYPE_POLICE_INTELLIGENCE, "UIF")


def received(**fields: object) -> ReceivedEntry:
    entry = ReleasedEntry(**fields)  # type: ignore[arg-type]
    return ReceivedEntry(peer="MX", originator="MX", review_us=NOW_US + DAY_US, entry=entry)


@pytest.mark.parametrize(
    ("fields", "use", "term"),
    [
        ({}, Use(codes.PURPOSE_IMMIGRATION_ENFORCEMENT, codes.UNIT_TYPE_POLICE_INTELLIGENCE, "UIF"), "lawful"),
        ({}, Use(codes.PURPOSE_UNKNOWN, codes.UNIT_TYPE_POLICE_INTELLIGENCE, "UIF"), "lawful"),
        ({}, Use(12345, codes.UNIT_TYPE_POLICE_INTELLIGENCE, "UIF"), "lawful"),
        (
            {"terms": Terms(obligations=[codes.OBLIGATION_NO_IMMIGRATION_USE])},
            Use(codes.PURPOSE_INVESTIGATE, codes.UNIT_TYPE_IMMIGRATION, "INM"),
            "NO_IMMIGRATION_USE",
        ),
        (
            {"caveats": [codes.CAVEAT_NO_IMMIGRATION_USE]},
            Use(codes.PURPOSE_INVESTIGATE, codes.UNIT_TYPE_UNKNOWN, "?"),
            "NO_IMMIGRATION_USE",
        ),
        (
            {"terms": Terms(obligations=[codes.OBLIGATION_POLICE_ONLY])},
            Use(codes.PURPOSE_INVESTIGATE, codes.UNIT_TYPE_PROSECUTOR, "MP"),
            "POLICE_ONLY",
        ),
        ({"terms": Terms(obligations=[codes.OBLIGATION_SEARCH_ONLY])}, USE, "SEARCH_ONLY"),
        (
            {"terms": Terms(obligations=[codes.OBLIGATION_NOT_EVIDENCE])},
            Use(codes.PURPOSE_EVIDENCE_MLA, codes.UNIT_TYPE_CENTRAL_AUTHORITY, "AC"),
            "NOT_EVIDENCE",
        ),
        (
            {"handling": codes.HANDLING_CODE_H1},
            Use(codes.PURPOSE_EVIDENCE_MLA, codes.UNIT_TYPE_CENTRAL_AUTHORITY, "AC"),
            "H1",
        ),
    ],
)
def test_no_use_that_the_terms_rule_out(fields: dict[str, object], use: Use, term: str) -> None:
    assert not is_usable(received(**fields), use)
    with pytest.raises(DeniedError, match=term):
        verify_use(received(**fields), use)
    about_unit = {"NO_IMMIGRATION_USE", "POLICE_ONLY"}
    assert is_listed(received(**fields), use) == (term not in about_unit)


def test_a_named_recipient() -> None:
    kept = received(caveats=[codes.CAVEAT_NAMED_RECIPIENT])
    assert is_usable(kept, USE)  # nobody keeps it yet
    kept.unit = "UIF"
    assert is_usable(kept, USE)
    assert not is_usable(kept, USE._replace(unit="OTHER"))


OBLIGATIONS = st.lists(st.sampled_from(codes.Obligation.values()) | st.integers(100, 200), max_size=5)
USES = st.builds(
    Use, st.sampled_from([*codes.Purpose.values(), 999]), st.sampled_from([*codes.UnitType.values(), 999]), st.just("U")
)


@given(OBLIGATIONS, OBLIGATIONS, USES)
def test_more_terms_never_allow_more(fewer: list[Any], more: list[Any], use: Use) -> None:
    few = received(terms=Terms(obligations=fewer))
    many = received(terms=Terms(obligations=[*fewer, *more]))
    assert is_usable(few, use) or not is_usable(many, use)
    assert is_listed(few, use) or not is_listed(many, use)
    assert is_listed(few, use) or not is_usable(few, use)
    if use.purpose in {codes.PURPOSE_UNKNOWN, 999, *range(90, 94)}:
        assert not is_usable(few, use)


@pytest.mark.parametrize(
    ("entry", "days"),
    [
        (ReleasedEntry(), 0),
        (ReleasedEntry(terms=Terms(retention_days=180)), 180),
        (ReleasedEntry(terms=Terms(obligations=[codes.OBLIGATION_RETENTION])), UNDATED_DAYS),
        (ReleasedEntry(caveats=[codes.CAVEAT_DELETE_BY]), UNDATED_DAYS),
        (ReleasedEntry(caveats=[codes.CAVEAT_DELETE_BY], terms=Terms(retention_days=5)), 5),
        (ReleasedEntry(terms=Terms(retention_days=2**32 - 1)), 36_600),
    ],
)
def test_when_it_is_to_be_deleted(entry: ReleasedEntry, days: int) -> None:
    assert delete_at(entry, NOW_US) == (NOW_US + days * DAY_US if days else 0)


@pytest.mark.parametrize(
    ("recipient", "consented", "at_us", "words"),
    [
        ("US", (), NOW_US, "has not consented"),
        ("US", ("CA",), NOW_US, "has not consented"),
        ("MX", ("MX",), NOW_US, "comes from there"),
        ("US", ("US",), NOW_US + DAY_US, "past its date"),
    ],
)
def test_nothing_goes_onward(recipient: str, consented: tuple[str, ...], at_us: int, words: str) -> None:
    with pytest.raises(DeniedError, match=words):
        verify_onward(received(), recipient=recipient, consented_to=consented, now_us=at_us)


def test_with_the_originators_consent_it_does() -> None:
    verify_onward(received(), recipient="US", consented_to=["US"], now_us=NOW_US)
