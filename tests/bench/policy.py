"""Deciding on one entry and redacting it, in microseconds of CPU, beside Cedar on the same rules."""

import itertools
import time
import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cedarpy
import msgspec

from node.policy import compile_check
from node.policy.compile import Compiled
from node.policy.decide import ENTRY, Policy, decide
from node.policy.derive import Request, derive_facts, derive_request
from node.policy.facts import Facts
from node.policy.redact import redact
from node.policy.rulebook import parse_rulebook
from node.policy.rules import Rulebook
from node.policy.vocabulary import COUNTRIES, DIMENSIONS
from node.wire.codes_pb2 import DataCategory, InstrumentKind, Obligation, Sex
from node.wire.entry_pb2 import DateInterval, Entry, Person, PersonName
from node.wire.exchange_pb2 import ReleasedEntry
from tests.bench.search import entries
from tests.peer_simulator import telephone_query
from tests.unit.policy.cedar import context_of, policies_of, request_of
from tests.world import RULEBOOKS, now_us

ACCEPTED: Final = frozenset(Obligation.values()) - {Obligation.OBLIGATION_UNKNOWN}
RULES: Final = 50
OTHERS: Final = 8_000  # situations that are decided alike; more than are remembered


@dataclass(frozen=True)
class Costs:
    """Microseconds of CPU, but for `compile_ms`.

    Attributes:
        facts: Facts of the entry.
        same: Decision on facts that were decided on before.
        alike: Decision on facts never seen, which differ from others in nothing that a rule asks.
        cold: Decision that was never made, nothing remembered but the tables.
        reference: The same by the naive evaluator.
        redact: Redaction by a decision.
        cedar: Cedar on one category of one of the two rulebooks, policies parsed beforehand.
        cedar_all: Cedar on all categories of both rulebooks, as the decision is, in one batch each.
        compile_ms: Both rulebooks compiled and checked against the reference, nothing remembered.
    """

    facts: float
    same: float
    alike: float
    cold: float
    reference: float
    redact: float
    cedar: float
    cedar_all: float
    compile_ms: float
    fields: int
    rules: int


def _us(call: Callable[[], object], number: int = 2_000) -> float:
    return min(timeit.repeat(call, number=number, repeat=5, timer=time.thread_time)) / number * 1e6


def measure(folder: Path = RULEBOOKS) -> dict[str, Costs]:
    """Measure a telephone and a person with about twenty fields, under the floor and `RULES` rules in all."""
    floor, *nations = (
        parse_rulebook((folder / f"{name}.yaml").read_bytes(), demonstration=True)
        for name in ("floor", "mx", "gt", "br", "ca", "us")
    )
    rules = [rule for nation in nations for rule in nation.rules]
    release = msgspec.structs.replace(nations[0], rules=tuple(rules[: RULES - len(floor.rules)]))
    telephone = next(entries(1))[1][0]
    return {
        "telephone": _measured(telephone, floor, release),
        "person": _measured(_person(telephone), floor, release),
    }


def _measured(entry: Entry, floor: Rulebook, release: Rulebook) -> Costs:
    at_us = now_us()
    request = derive_request(
        recipient="GT", query=telephone_query(), instruments=[InstrumentKind.INSTRUMENT_KIND_TREATY], paired=True
    )
    facts = derive_facts(request, entry, at_us)
    policy, forgetful = Policy(floor, release, ACCEPTED), Policy(floor, release, ACCEPTED, remembered=0)
    assert policy.decide(facts, at_us).outcome == ENTRY
    cedar, cedar_all = _cedar(facts, floor, release, [category for category, _ in policy.decide(facts, at_us).levels])
    return Costs(
        facts=_us(lambda: derive_facts(request, entry, at_us)),
        same=_us(lambda: policy.decide(facts, at_us)),
        alike=_alike(facts, policy, Compiled(floor, release), at_us),
        cold=_us(lambda: forgetful.decide(facts, at_us)),
        reference=_us(lambda: decide(floor, release, facts, ACCEPTED, at_us), 200),
        redact=_redacting(entry, policy, request, at_us),
        cedar=cedar,
        cedar_all=cedar_all,
        compile_ms=_us(lambda: _compile(floor, release), 1) / 1e3,
        fields=len(getattr(entry, str(entry.WhichOneof("entity"))).ListFields()),
        rules=len(floor.rules) + len(release.rules),
    )


def _compile(floor: Rulebook, release: Rulebook) -> None:
    compile_check.probes_of.cache_clear()
    Compiled(floor, release)


def _alike(facts: Facts, policy: Policy, tables: Compiled, at_us: int) -> float:
    boxes = tables.masks.containing(facts)
    alike = (each for each in _variants(facts) if tables.masks.containing(each) == boxes)
    others = list(itertools.islice(alike, OTHERS))
    assert len(others) == OTHERS
    policy.decide(facts, at_us)
    started = time.thread_time()
    for each in others:
        policy.decide(each, at_us)
    return (time.thread_time() - started) / OTHERS * 1e6


def _variants(facts: Facts) -> Iterator[Facts]:
    crimes = sorted(DIMENSIONS["crime"].values)
    for added in itertools.combinations(crimes, 2):
        for country in sorted(COUNTRIES):
            yield msgspec.structs.replace(facts, recipient=country, crime=facts.crime | {*added})


def _cedar(
    facts: Facts, floor: Rulebook, release: Rulebook, categories: list[DataCategory.ValueType]
) -> tuple[float, float]:
    context, policies = context_of(facts, ACCEPTED), [policies_of(each) for each in (floor, release)]
    asked = [request_of(context, category) for category in categories]
    assert cedarpy.is_authorized(asked[0], policies[0], []).allowed
    one = min(_us(lambda each=each: cedarpy.is_authorized(asked[0], each, []), 100) for each in policies)  # type: ignore[misc]
    return one, _us(lambda: [cedarpy.is_authorized_batch(asked, each, []) for each in policies], 20)


def _redacting(entry: Entry, policy: Policy, request: Request, at_us: int) -> float:
    decision = policy.decide(derive_facts(request, entry, at_us), at_us)
    purpose = telephone_query().purpose

    def redacted() -> None:
        redact(
            entry,
            decision,
            into=ReleasedEntry(),
            purpose=purpose,
            handle=b"h" * 16,
            pseudonym=lambda _category, _value: "P-1",
        )

    return _us(redacted)


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
