import re

from node.policy import vocabulary
from node.policy.outbound import CATEGORY_OF_LOOKUP
from node.wire import codes_pb2


def test_the_vocabulary_is_that_of_the_wire() -> None:
    assert set(vocabulary.DIMENSIONS["purpose"].values) == set(vocabulary.PURPOSES.values())
    assert "TRAFFICKING" in vocabulary.DIMENSIONS["crime"].values
    assert vocabulary.CATEGORY_NUMBERS["TELECOM"] == codes_pb2.DATA_CATEGORY_TELECOM
    assert vocabulary.OUTCOME_NUMBERS["release"] == codes_pb2.OUTCOME_RELEASE
    assert "UNKNOWN" not in vocabulary.CATEGORY_NUMBERS


def test_tiers_follow_the_numbers() -> None:
    names = {vocabulary.CATEGORIES[number] for number in vocabulary.TIER_5}
    assert names == {"MIGRATION_STATUS", "ASYLUM", "WITNESS_PROTECTION", "SOURCE"}
    words = ("EXISTENCE", "REFERENCE", "ROUTE", "LOCATION", "IDENTITY", "COMMUNICATIONS", "SOURCE")
    assert [vocabulary.tier(vocabulary.CATEGORY_NUMBERS[word]) for word in words] == [0, 0, 1, 2, 3, 4, 5]


def test_countries_are_those_of_iso_3166() -> None:
    assert len(vocabulary.COUNTRIES) == 249
    assert {"AR", "BZ", "BR", "CA", "CO", "CR", "DO", "EC", "SV", "GT", "HN", "JM", "MX", "NI", "PA", "PE", "US"} <= (
        vocabulary.COUNTRIES
    )


def test_never_lawful_purposes_are_sayable() -> None:
    assert set(vocabulary.PURPOSES.values()) >= vocabulary.NEVER_LAWFUL


def test_the_digest_is_stable_within_a_release() -> None:
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", vocabulary.vocabulary_digest())
    assert vocabulary.vocabulary_digest.__wrapped__() == vocabulary.vocabulary_digest()


def test_every_selector_has_a_category() -> None:
    assert set(CATEGORY_OF_LOOKUP) == set(codes_pb2.LookupKind.values()) - {codes_pb2.LOOKUP_KIND_UNKNOWN}
