"""Deciding on one entry and redacting it, in microseconds."""

import timeit
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from node.policy.decide import Policy, decide
from node.policy.derive import derive_facts, derive_request
from node.policy.redact import redact
from node.policy.rulebook import parse_rulebook
from node.wire.codes_pb2 import InstrumentKind, Obligation, Sex
from node.wire.entry_pb2 import DateInterval, Entry, Person, PersonName
from node.wire.exchange_pb2 import ReleasedEntry
from tests.bench.search import entries
from tests.peer_simulator import telephone_query
from tests.world import RULEBOOKS, now_us

ACCEPTED = frozenset(Obligation.values()) - {Obligation.OBLIGATION_UNKNOWN}


@dataclass(frozen=True)
class Costs:
    """Microseconds: facts of an entry, decision not made before, decision remembered, redaction."""

    facts: float
    cold: float
    warm: float
    redact: float
    fields: int
    rules: int


def _us(call: Callable[[], object], number: int = 2_000) -> float:
    return min(timeit.repeat(call, number=number, repeat=5)) / number * 1e6


def measure(folder: Path = RULEBOOKS) -> dict[str, Costs]:
    """Measure a telephone and a person with about twenty fields, under the floor and a national rulebook."""
    floor = parse_rulebook((folder / "floor.yaml").read_bytes(), demonstration=True)
    release = parse_rulebook((folder / "mx.yaml").read_bytes(), demonstration=True)
    telephone = next(entries(1))[1][0]
    return {
        "telephone": _measured(telephone, Policy(floor, release, ACCEPTED)),
        "person": _measured(_person(telephone), Policy(floor, release, ACCEPTED)),
    }


def _measured(entry: Entry, policy: Policy) -> Costs:
    at_us = now_us()
    query = telephone_query()
    request = derive_request(
        recipient="GT", query=query, instruments=[InstrumentKind.INSTRUMENT_KIND_TREATY], paired=True
    )
    facts = derive_facts(request, entry, at_us)
    decision = policy.decide(facts, at_us)

    def redacted() -> None:
        redact(
            entry,
            decision,
            into=ReleasedEntry(),
            purpose=query.purpose,
            handle=b"h" * 16,
            pseudonym=lambda _category, _value: "P-1",
        )

    entity = getattr(entry, str(entry.WhichOneof("entity")))
    return Costs(
        facts=_us(lambda: derive_facts(request, entry, at_us)),
        cold=_us(lambda: decide(policy.floor, policy.release, facts, ACCEPTED, at_us), 200),
        warm=_us(lambda: policy.decide(facts, at_us)),
        redact=_us(redacted),
        fields=len(entity.ListFields()),
        rules=sum(len(book.rules) for book in (policy.floor, policy.release) if book),
    )


def _person(like: Entry) -> Entry:
    person = Entry()
    person.CopyFrom(like)
    day = DateInterval(first_day=5_000, last_day=5_000)
    person.person.CopyFrom(
        Person(
            names=[PersonName(full="Invented Person"), PersonName(full="The Invented", alias=True)],
            birth=day,
            sex=Sex.SEX_MALE,
            nationalities=["MX"],
            birth_place="Nowhere",
            telephones=["+12025550143"],
            emails=["invented@example.org"],
            address="1 Invented Street",
            last_seen_country="MX",
            last_seen_us=now_us(),
            document_numbers=["INV0001"],
            photo=b"\x00" * 64,
            criminal_record="invented",
            fingerprints=b"\x00" * 64,
            dna_profile=b"\x00" * 64,
            health="invented",
            communications="invented",
            migration_status="invented",
            distinguishing_marks="invented",
            means_of_control="invented",
        )
    )
    return person
