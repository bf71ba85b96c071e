"""Each red line of a floor and a release rulebook: it holds in every situation, or here is one in which it does not."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Literal

import msgspec
import z3

from node.errors import UsageError
from node.policy.prove.crossing import find_crossing
from node.policy.prove.lifting import find_lifting
from node.policy.prove.ranges import solution
from node.policy.prove.search import Counterexample, Search
from node.policy.rules import Layer, RedLine, RedLineKind, Rulebook
from node.policy.vocabulary import vocabulary_digest

VerdictWord = Literal["proved", "violated", "vacuous", "structural"]


class Verdict(msgspec.Struct, frozen=True):
    """What was found out about one red line.

    Attributes:
        layer: Of the rulebook that states it.
        verdict: "proved" for every situation, "violated", "vacuous" where no situation meets its conditions, or
            "structural", which is not proved here.
        test: That holds a structural one.
        counterexample: Of a violated one.
        remarks: What a reader should know of one that is proved.
    """

    layer: Layer
    line: str
    kind: RedLineKind
    verdict: VerdictWord
    test: str = ""
    counterexample: Counterexample | None = None
    remarks: tuple[str, ...] = ()


class Proof(msgspec.Struct, frozen=True):
    """Verdicts on all red lines of two rulebooks, one of which may stand for all that there can be.

    Attributes:
        floor: None: whatever the floor says.
        release: None: whatever the release rulebook says.
        vocabulary: Its digest, as rulebooks state it.
    """

    floor: Rulebook | None
    release: Rulebook | None
    vocabulary: str
    verdicts: tuple[Verdict, ...]

    def is_kept(self) -> bool:
        """Whether no red line is violated."""
        return all(each.verdict != "violated" for each in self.verdicts)

    def broken(self) -> list[str]:
        """Each violated red line, with a situation in which it is, in words."""
        return [
            f"{each.layer} red line {each.line}: {each.counterexample.sentence}"
            for each in self.verdicts
            if each.counterexample is not None
        ]

    def text(self) -> bytes:
        """What is signed: the same bytes for the same rulebooks and vocabulary, whichever solver proved them."""
        books = [
            f"{layer} {book.name} version {book.version} sha256:{book.sha256.hex()}" if book else f"{layer} any"
            for layer, book in (("floor", self.floor), ("release", self.release))
        ]
        lines = [
            " ".join(filter(None, (each.layer, each.line, each.kind, each.verdict, each.test)))
            for each in self.verdicts
        ]
        return "\n".join(["enlace red lines v1", f"vocabulary {self.vocabulary}", *books, *lines, ""]).encode()

    def sha256(self) -> bytes:
        """SHA-256 of the text."""
        return sha256(self.text()).digest()


def prove(floor: Rulebook | None, release: Rulebook | None) -> Proof:
    """Prove every red line of both rulebooks, or find where it does not hold.

    Args:
        floor: None: proved whatever the floor says.
        release: None: proved whatever the release rulebook says, by the floor alone. Of limits that what the asker
            says might lift, those of the floor alone are compared.

    Raises:
        UsageError: a rulebook is of another layer.
        ProverError: the solver gave up, or it and the evaluator disagree.
    """
    if (floor and floor.layer != "floor") or (release and release.layer != "release"):
        raise UsageError("red lines are proved of a floor and a release rulebook; an outbound one has none")
    search = Search(floor, release)
    verdicts = [_verdict(search, book, line) for book in (floor, release) if book for line in book.red_lines]
    return Proof(floor, release, vocabulary_digest(), tuple(verdicts))


def _verdict(search: Search, book: Rulebook, line: RedLine) -> Verdict:
    verdict = Verdict(book.layer, line.id, line.kind, "proved")
    if line.kind == "structural":
        return msgspec.structs.replace(verdict, verdict="structural", test=line.test)
    if solution(search.solver, search.met(line.when)) is None:
        return msgspec.structs.replace(verdict, verdict="vacuous")
    find = find_lifting if line.kind == "never_lifted_by_assertion" else find_crossing
    counterexample = find(search, line)
    if counterexample is not None:
        return msgspec.structs.replace(verdict, verdict="violated", counterexample=counterexample)
    return msgspec.structs.replace(verdict, remarks=tuple(_remarks(search, line)))


def _remarks(search: Search, line: RedLine) -> Iterator[str]:
    model = search.model
    if solution(search.solver, search.met(line.when), z3.Not(z3.Or(model.refused, model.silent))) is None:
        yield "in all its situations the node itself refuses, whatever the rules say"
    elif line.kind != "never_lifted_by_assertion":
        leaving = [model.crosses(category, line.at_most) for category in sorted(line.data)]
        if solution(search.solver, search.any_of(leaving)) is None:
            yield "no rule ever lets its data leave so, whatever the conditions"
