"""All situations that may differ, as a solver sees them, and how far a change reaches around one of them."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import z3

from node.errors import ProverError
from node.policy.diff_model import Topic, Versions
from node.policy.diff_ranges import Change, Range, Situation, possible_words
from node.policy.facts import UNKNOWN_AGE
from node.policy.prove.search import is_true
from node.policy.prove.variables import ACCEPTED, SETS, Value
from node.policy.vocabulary import DIMENSIONS, UNKNOWN

# What is given up first: what is recorded of the subject, last who asks. So a box tells of who asks for what.
_ORDER: Final = (ACCEPTED, *reversed(tuple(DIMENSIONS)))


class Atom(NamedTuple):
    """One thing that a box asks: any of these words of a dimension, or, negated, none of them."""

    dimension: str
    words: frozenset[str]
    negated: bool = False


class Space:
    """All situations in which rules decide, less those that boxes already cover.

    Attributes:
        questions: How often the solver was asked.
    """

    def __init__(self, versions: Versions) -> None:
        """Bind two versions."""
        self._versions: Final = versions
        self._variables: Final = versions.variables
        # Thousands of small questions about the same claims, all of which matter: other solvers take twice the time.
        self._solver: Final = z3.SimpleSolver(ctx=self._variables.context)
        self._solver.set("relevancy", 0)
        self._solver.add(versions.compared)
        self.questions = 0
        self._count = 0
        self._topics: Final = versions.topics
        self._open: Final = {topic: self._implying(differs) for topic, differs in self._topics.items()}
        self._names: dict[Atom, z3.BoolRef] = {}
        self._atoms: dict[str, Atom] = {}
        self._claims: dict[Change, tuple[z3.BoolRef, z3.BoolRef]] = {}
        self._broken: dict[Change, z3.BoolRef] = {}
        self._real: dict[Change, z3.BoolRef] = {}
        # One country stands for all that no rule names.
        told_apart = self._variables.values["recipient"]
        self._words: Final = {name: possible_words(name) for name in (*DIMENSIONS, ACCEPTED)}
        self._others: Final = frozenset(self._words["recipient"]).difference(map(str, told_apart))
        self._words["recipient"] = tuple(word for word in self._words["recipient"] if word in told_apart)
        # Words that rules name together mostly stand or fall together, and are asked about together.
        for name, words in self._words.items():
            self._words[name] = tuple(sorted(words, key=lambda word: versions.naming(name, word)))

    # --- questions ---------------------------------------------------------------------------------------------------

    def is_any(self, claims: Iterable[z3.BoolRef]) -> bool:
        """Whether one of the claims holds in some situation."""
        return self._is_possible(self._implying(self._variables.any_of(claims)))

    def find(self, topic: Topic) -> Situation | None:
        """A situation in which a topic differs, and which no box covers."""
        return self._found() if self._is_possible(self._open[topic]) else None

    def is_spoken_of(self, change: Change, situation: Situation) -> bool:
        """Whether a change can be told of a situation, with all that its claim sets aside."""
        where, takes_place = self._claim(change)
        return self._is_possible(*map(self._name, self._told(situation)), where, takes_place)

    def throughout(self, changes: Sequence[Change], atoms: Sequence[Atom]) -> list[Change]:
        """Those of some changes that take place all over a box, and really differ somewhere in it."""
        names = [self._name(atom) for atom in atoms]
        broken = {each: self._is_broken(each) for each in changes}
        while self._is_possible(*names, self._implying(self._variables.any_of(broken.values()))):
            found = self._solver.model()
            broken = {each: name for each, name in broken.items() if not is_true(found, name)}
        real = {each: self._is_real(each) for each in broken}
        seen: set[Change] = set()
        while self._is_possible(
            *names, self._implying(self._variables.any_of(name for each, name in real.items() if each not in seen))
        ):
            found = self._solver.model()
            seen |= {each for each, name in real.items() if is_true(found, name)}
        return [each for each in changes if each in seen]

    def is_left(self, change: Change, atoms: Sequence[Atom], others: Iterable[tuple[Change, Sequence[Atom]]]) -> bool:
        """Whether a change really differs somewhere in a box where other boxes do not tell of it."""
        outside = [z3.Not(z3.And(self._claim(other)[0], *map(self._name, box))) for other, box in others]
        return self._is_possible(
            *map(self._name, atoms), self._is_real(change), self._implying(self._variables.all_of(outside))
        )

    def is_firing_throughout(self, fires: z3.BoolRef, change: Change, atoms: Sequence[Atom]) -> bool:
        """Whether a rule fires wherever a change takes place in a box."""
        where, _ = self._claim(change)
        return not self._is_possible(*map(self._name, atoms), where, self._implying(z3.Not(fires)))

    def cover(self, change: Change, atoms: Sequence[Atom]) -> None:
        """Never again find a situation of a box as one in which this change takes place."""
        parts = [self._open[change.kind, change.subject], self._claim(change)[0], *map(self._name, atoms)]
        self._solver.add(z3.Or(*map(z3.Not, parts)))

    # --- how far it reaches ------------------------------------------------------------------------------------------

    def enlarged(self, situation: Situation, change: Change) -> list[Atom]:
        """The largest box around a situation throughout which a change takes place, as what it asks."""
        kept = self._needed(self._told(situation), change)
        if kept is None:
            raise ProverError(f"the solver contradicts itself on {change}")
        for atom in kept:
            if atom in kept:
                fewer = self._needed([each for each in kept if each != atom], change)
                kept = kept if fewer is None else fewer
        for place, atom in enumerate(kept):
            if not atom.negated:
                out = {
                    word for each in kept if each.negated and each.dimension == atom.dimension for word in each.words
                }
                free = [word for word in self._words[atom.dimension] if word not in atom.words | out]
                kept[place] = atom._replace(words=atom.words.union(self._free(kept, place, free, change)))
        return kept

    def _needed(self, atoms: list[Atom], change: Change) -> list[Atom] | None:
        """Those of the atoms that show a change to take place throughout; None where all together do not."""
        where, takes_place = self._claim(change)
        if self._is_possible(*map(self._name, atoms), where, z3.Not(takes_place)):
            return None
        core = {self._atoms.get(str(each)) for each in self._solver.unsat_core()}
        return [atom for atom in atoms if atom in core]

    def _free(self, atoms: Sequence[Atom], place: int, words: Sequence[str], change: Change) -> list[str]:
        """Those of some words that may stand beside an atom's own, with the change still taking place throughout.

        A situation has one word of a union exactly where it has one of a part, so halves are asked one by one.
        """
        if not words:
            return []
        wider = atoms[place]._replace(words=frozenset(words))
        if self._needed([*atoms[:place], wider, *atoms[place + 1 :]], change) is not None:
            return list(words)
        if len(words) == 1:
            return []
        half = len(words) // 2
        return [word for part in (words[:half], words[half:]) for word in self._free(atoms, place, part, change)]

    def trimmed(self, atoms: Sequence[Atom], changes: Iterable[Change]) -> list[Atom]:
        """The same box without words that occur in no situation of it in which something really differs."""
        box = [*map(self._name, atoms), self._implying(self._variables.any_of(map(self._is_real, changes)))]
        seen: dict[str, set[str]] = {}
        for atom in atoms:
            found = seen.setdefault(atom.dimension, set())
            for word in sorted(atom.words - found) if not atom.negated else ():
                if word not in found and self._is_possible(*box, self._name(Atom(atom.dimension, frozenset({word})))):
                    met = self._found()
                    for name in seen:
                        seen[name] |= met.words(name)
        return [atom if atom.negated else atom._replace(words=atom.words & seen[atom.dimension]) for atom in atoms]

    # --- words and literals ------------------------------------------------------------------------------------------

    def _told(self, situation: Situation) -> list[Atom]:
        """All that is so in a situation, in the order in which it is given up."""
        found = []
        for name in _ORDER:
            present = situation.words(name)
            absent = [word for word in self._words[name] if word not in present] if name in SETS else []
            found += [Atom(name, frozenset({word}), negated=True) for word in absent]
            found += [Atom(name, frozenset({word})) for word in self._words[name] if word in present]
        return found

    def ranges(self, atoms: Sequence[Atom]) -> tuple[Range, ...]:
        """One range for each dimension that is asked about."""
        found = []
        for name in (*DIMENSIONS, ACCEPTED):
            any_of = [each.words for each in atoms if each.dimension == name and not each.negated]
            none_of = frozenset(
                word for each in atoms if each.dimension == name and each.negated for word in each.words
            )
            if name == "recipient":
                any_of = [each | self._others if self._variables.other in each else each for each in any_of]
            if any_of or none_of:
                found.append(Range(name, tuple(any_of), none_of))
        return tuple(found)

    def _name(self, atom: Atom) -> z3.BoolRef:
        if atom not in self._names:
            name = self._new()
            self._names[atom], self._atoms[str(name)] = name, atom
            values: Iterable[Value] = sorted(atom.words)
            if atom.dimension == "record_age":
                values = [UNKNOWN_AGE if word == UNKNOWN else int(word) for word in sorted(atom.words)]
            has = self._variables.has(atom.dimension, *values)
            self._solver.add(name == (z3.Not(has) if atom.negated else has))
        return self._names[atom]

    def _claim(self, change: Change) -> tuple[z3.BoolRef, z3.BoolRef]:
        """See `Versions.claim`; each part has a name of its own, so that the solver learns them once."""
        if change not in self._claims:
            where, takes_place = self._versions.claim(change)
            names = (self._new(), self._new())
            self._solver.add(names[0] == where, names[1] == takes_place)
            self._claims[change] = names
        return self._claims[change]

    def _is_broken(self, change: Change) -> z3.BoolRef:
        """Whether a change may be spoken of, but does not take place."""
        if change not in self._broken:
            where, takes_place = self._claim(change)
            self._broken[change] = self._new()
            self._solver.add(self._broken[change] == z3.And(where, z3.Not(takes_place)))
        return self._broken[change]

    def _is_real(self, change: Change) -> z3.BoolRef:
        """Whether a change may be spoken of, and something really differs."""
        if change not in self._real:
            where = self._claim(change)[0]
            self._real[change] = self._new()
            differs = self._topics[change.kind, change.subject]
            self._solver.add(self._real[change] == z3.And(where, differs))
        return self._real[change]

    def _implying(self, claim: z3.BoolRef) -> z3.BoolRef:
        name = self._new()
        self._solver.add(z3.Implies(name, claim))
        return name

    def _new(self) -> z3.BoolRef:
        self._count += 1
        return z3.Bool(f"name {self._count}", self._variables.context)

    def _found(self) -> Situation:
        return Situation(*self._variables.situation_of(self._solver.model()))

    def _is_possible(self, *assumed: z3.BoolRef) -> bool:
        self.questions += 1
        verdict = self._solver.check(*assumed)
        if verdict == z3.unknown:
            raise ProverError(f"the solver gave up: {self._solver.reason_unknown()}")
        return bool(verdict == z3.sat)
