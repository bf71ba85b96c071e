"""A query is itself information: what it must look like, and whether this country may send it."""

from collections.abc import Collection
from typing import Final

from node.errors import DeniedError, MalformedError
from node.policy import vocabulary
from node.policy.derive import derive_facts, derive_request
from node.policy.evaluate import RELEASE, WITHHOLD, is_firing, join
from node.policy.rules import Rule, Rulebook
from node.policy.vocabulary import NEVER_LAWFUL, UNKNOWN, Category, InstrumentKind
from node.wire import codes_pb2, entry_pb2, exchange_pb2

MAX_SELECTORS: Final = 20
MAX_SELECTOR_BYTES: Final = 256
MAX_CRIMES: Final = len(vocabulary.CRIMES)

# Lengths in bytes of UTF-8. The first four are those of `LeafPrivate` in ledger.proto, whose size is fixed.
MAX_OFFICER_BYTES: Final = 32
MAX_UNIT_BYTES: Final = 64
MAX_INSTRUMENT_BYTES: Final = 48
MAX_CASE_REFERENCE_BYTES: Final = 64
MAX_REASON_BYTES: Final = 512
MAX_PLACE_BYTES: Final = 256
MAX_BASIS_BYTES: Final = 1024

_NAME: Final = codes_pb2.LOOKUP_KIND_NAME
# Numbers of this contract; zero, which is UNKNOWN, only where a query need not say.
_LOOKUP_KINDS: Final = frozenset(codes_pb2.LookupKind.values()) - {codes_pb2.LOOKUP_KIND_UNKNOWN}
_PURPOSES: Final = frozenset(vocabulary.PURPOSES) - {codes_pb2.PURPOSE_UNKNOWN}
_URGENCIES: Final = frozenset(vocabulary.URGENCIES) - {codes_pb2.URGENCY_UNKNOWN}
_CRIMES: Final = frozenset(vocabulary.CRIMES) - {codes_pb2.CRIME_UNKNOWN}
_UNIT_TYPES: Final = frozenset(vocabulary.UNIT_TYPES) - {codes_pb2.UNIT_TYPE_UNKNOWN}
_GROUNDS: Final = frozenset(vocabulary.GROUNDS)
_NEEDS_REASON: Final = frozenset({codes_pb2.URGENCY_LIFE, codes_pb2.URGENCY_URGENT})
_EARLIEST_BIRTH_YEAR: Final = 1880
_LATEST_BIRTH_YEAR: Final = 2100

CATEGORY_OF_LOOKUP: Final[dict[int, Category]] = {
    codes_pb2.LOOKUP_KIND_TELEPHONE: codes_pb2.DATA_CATEGORY_TELECOM,
    codes_pb2.LOOKUP_KIND_ONLINE_ACCOUNT: codes_pb2.DATA_CATEGORY_TELECOM,
    codes_pb2.LOOKUP_KIND_EMAIL: codes_pb2.DATA_CATEGORY_TELECOM,
    codes_pb2.LOOKUP_KIND_IMEI: codes_pb2.DATA_CATEGORY_TELECOM,
    codes_pb2.LOOKUP_KIND_PLATE: codes_pb2.DATA_CATEGORY_VEHICLE,
    codes_pb2.LOOKUP_KIND_VIN: codes_pb2.DATA_CATEGORY_VEHICLE,
    codes_pb2.LOOKUP_KIND_VESSEL: codes_pb2.DATA_CATEGORY_VEHICLE,
    codes_pb2.LOOKUP_KIND_DOCUMENT_NUMBER: codes_pb2.DATA_CATEGORY_DOCUMENT_NUMBER,
    codes_pb2.LOOKUP_KIND_BANK_ACCOUNT: codes_pb2.DATA_CATEGORY_FINANCE,
    codes_pb2.LOOKUP_KIND_NAME: codes_pb2.DATA_CATEGORY_IDENTITY,
    codes_pb2.LOOKUP_KIND_ORGANISATION_NAME: codes_pb2.DATA_CATEGORY_GROUP,
    codes_pb2.LOOKUP_KIND_CASE_REFERENCE: codes_pb2.DATA_CATEGORY_REFERENCE,
}
"""What a selector of each kind tells the peer that is asked."""


# --- shape -----------------------------------------------------------------------------------------------------------


def verify_query(query: exchange_pb2.Query) -> None:
    """Check that a query is complete and within the contract's bounds; both sides do, before anything else.

    A query that names a person must say why: offence, dates, place and factual basis.

    Raises:
        MalformedError: it is not. The text names the field, never its value.
    """
    selectors = query.selectors
    if not 1 <= len(selectors) <= MAX_SELECTORS:
        raise MalformedError(f"a query has 1 to {MAX_SELECTORS} selectors, this one has {len(selectors)}")
    names_person = False
    for selector in selectors:
        _verify_selector(selector)
        names_person = names_person or selector.kind == _NAME
    verify_asking(query)
    if names_person:
        _verify_basis(query.person_basis)


def verify_asking(query: exchange_pb2.Query) -> None:
    """Check who asks, why and on what, but not what is looked for, as `verify_query` does.

    Raises:
        MalformedError: it is not complete or within bounds. The text names the field, never its value.
    """
    crimes, urgency, asker = query.crimes, query.urgency, query.asker
    _verify_known("purpose", query.purpose, _PURPOSES)
    _verify_known("urgency", urgency, _URGENCIES)
    if len(crimes) > MAX_CRIMES:
        raise MalformedError(f"a query has at most {MAX_CRIMES} crimes")
    for crime in crimes[:]:
        _verify_known("crime", crime, _CRIMES)
    if query.ground not in _GROUNDS:
        raise MalformedError("ground is not in this contract's list")
    _verify_known("asker.unit_type", asker.unit_type, _UNIT_TYPES)
    _verify_text("asker.officer", asker.officer, MAX_OFFICER_BYTES)
    _verify_text("asker.unit", asker.unit, MAX_UNIT_BYTES)
    _verify_length("instrument", query.instrument, MAX_INSTRUMENT_BYTES)
    _verify_length("case_reference", query.case_reference, MAX_CASE_REFERENCE_BYTES)
    _verify_length("urgency_reason", query.urgency_reason, MAX_REASON_BYTES)
    if urgency in _NEEDS_REASON and not query.urgency_reason.strip():
        raise MalformedError("LIFE and URGENT need urgency_reason")


def _verify_selector(selector: exchange_pb2.Selector) -> None:
    kind = selector.kind
    _verify_known("selector.kind", kind, _LOOKUP_KINDS)
    _verify_text("selector.value", selector.value, MAX_SELECTOR_BYTES)
    if not selector.birth_year:
        return
    if kind != _NAME or not _EARLIEST_BIRTH_YEAR <= selector.birth_year <= _LATEST_BIRTH_YEAR:
        raise MalformedError("selector.birth_year goes with a name, and is a year of four digits")


def _verify_basis(basis: exchange_pb2.PersonBasis) -> None:
    """Against pretexts: who is named must be named for something that happened, somewhere, at some time."""
    _verify_known("person_basis.offence", basis.offence, _CRIMES)
    if not basis.HasField("when") or basis.when.first_day > basis.when.last_day:
        raise MalformedError("a query that names a person needs person_basis.when, its first day not after its last")
    if basis.place_country not in vocabulary.COUNTRIES:
        raise MalformedError("person_basis.place_country is not a code of ISO 3166-1")
    _verify_text("person_basis.place", basis.place, MAX_PLACE_BYTES)
    _verify_text("person_basis.factual_basis", basis.factual_basis, MAX_BASIS_BYTES)


def _verify_known(field: str, number: int, known: frozenset[int]) -> None:
    if number not in known:
        raise MalformedError(f"{field} is missing or not in this contract's list")


def _verify_text(field: str, text: str, most: int) -> None:
    if not text.strip():
        raise MalformedError(f"{field} is empty")
    _verify_length(field, text, most)


def _verify_length(field: str, text: str, most: int) -> None:
    if len(text.encode()) > most:
        raise MalformedError(f"{field} is longer than {most} bytes")


# --- permission ------------------------------------------------------------------------------------------------------


def decide_outbound(
    rulebook: Rulebook | None,
    query: exchange_pb2.Query,
    *,
    recipient: str,
    instruments: Collection[InstrumentKind],
    paired: bool,
    now_us: int,
) -> None:
    """Check that this country's outbound rules let a query go to a peer.

    Each selector tells the peer a datum of some category; every one of them must be granted, and neither limited nor
    denied. UNKNOWN counts as in `node.policy.decide`.

    Args:
        rulebook: Of layer `outbound`; None where there is none.
        query: As it would be sent; its shape is checked by `verify_query`.
        recipient: Country to ask (ISO 3166-1 alpha-2).
        instruments: Kinds of the instruments in force between the two countries.
        paired: Two focal points of this country have signed the pairing with the recipient.
        now_us: UTC microseconds.

    Raises:
        DeniedError: they do not; the text names rule and law, or what is missing.
    """
    # Of a query alone: whatever it says of entries and subjects is UNKNOWN, and outbound rules can't ask for it.
    request = derive_request(recipient=recipient, query=query, instruments=instruments, paired=paired)
    facts = derive_facts(request, entry_pb2.Entry(), now_us)
    if facts.purpose in NEVER_LAWFUL or facts.purpose == UNKNOWN:
        raise DeniedError(f"the purpose {facts.purpose} is never lawful here")
    if facts.unit_type in {"IMMIGRATION", UNKNOWN}:
        raise DeniedError(f"no query is sent for a unit of type {facts.unit_type}")
    if not paired:
        raise DeniedError(f"no pairing with {recipient} is signed by two focal points")
    if rulebook is None or rulebook.layer != "outbound" or not rulebook.is_valid_at(now_us):
        raise DeniedError("no outbound rulebook is in force")
    fired = [rule for rule in rulebook.rules if is_firing(rule, facts)]
    for rule in fired:
        if rule.effect == "deny":
            raise DeniedError(_cited(rulebook, rule, f"forbids asking {recipient}"))
    for category in sorted({CATEGORY_OF_LOOKUP[selector.kind] for selector in query.selectors}):
        _verify_category(rulebook, fired, category, recipient)


def _verify_category(rulebook: Rulebook, fired: list[Rule], category: Category, recipient: str) -> None:
    name = vocabulary.CATEGORIES[category]
    for rule in fired:
        if rule.effect == "limit" and join(RELEASE, rule.data.get(category, RELEASE)) != RELEASE:
            raise DeniedError(_cited(rulebook, rule, f"does not let {name} go to {recipient}"))
    if not any(rule.effect == "allow" and rule.data.get(category, WITHHOLD) == RELEASE for rule in fired):
        raise DeniedError(f"no rule of {rulebook.name} lets {name} go to {recipient} for this purpose and crime")


def _cited(rulebook: Rulebook, rule: Rule, sentence: str) -> str:
    return f"rule {rule.id} of {rulebook.name} {sentence} ({rule.law})"
