"""Mutation testing: change the policy's code in one place at a time, and see whether a test notices.

`python tools/mutants.py` goes through all modules that `[tool.mutants]` in pyproject.toml names, each with the test
files that ought to notice; `python tools/mutants.py FILE …` through some, `--sample 50` through so many of each.
What no test noticed is listed; the exit status is 1 where there is any. No file is changed.

Each mutant runs in a fork of a process that has imported libraries and the wire contract alone: no test and no module
of the policy has left anything in it that a mutant would find remembered, and nothing that does not survive a fork.
"""

import argparse
import ast
import os
import signal
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from random import Random
from types import CodeType, ModuleType
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # none of them is used here
sys.path.insert(0, str(ROOT))

import google.protobuf.message  # noqa: E402, F401 -- all of these: imported once, for all forks
import hypothesis.strategies  # noqa: E402
import phonenumbers  # noqa: E402, F401
import pytest  # noqa: E402
import ruamel.yaml  # noqa: E402, F401

import node.schema  # noqa: E402, F401 -- with the wire contract, of which the policy is no part

_TIMEOUT_S: Final = 120
_EXAMPLES: Final = 25
_SWAPPED: Final[dict[type[ast.AST], tuple[str, ...]]] = {
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.And: ("or",),
    ast.Or: ("and",),
    ast.Add: ("-",),
    ast.Sub: ("+",),
    ast.Mult: ("//",),
    ast.FloorDiv: ("*",),
    ast.Div: ("*",),
    ast.BitOr: ("&",),
    ast.BitAnd: ("|",),
    ast.BitXor: ("|",),
    ast.LShift: (">>",),
    ast.RShift: ("<<",),
}
_OTHER_NAME: Final = {"any": "all", "all": "any", "min": "max", "max": "min", "sorted": "list"}


class Mutant(NamedTuple):
    """A change: characters from `start` to `end` of the text become `new`."""

    line: int
    start: int
    end: int
    new: str


# --- what is changed -------------------------------------------------------------------------------------------------


class Mutator:
    """Finds what can be changed in the text of a module, but for annotations, docstrings and words of errors."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._lines = [line.encode() for line in text.splitlines(keepends=True)]

    def mutants(self) -> list[Mutant]:
        """All mutants, in the order of the text, each once."""
        return sorted(set(self._of(ast.parse(self._text))), key=lambda each: (each.start, each.end, each.new))

    def _offset(self, line: int, column: int) -> int:
        return self._starts[line - 1] + len(self._lines[line - 1][:column].decode())

    def _span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._offset(node.lineno, node.col_offset), self._offset(node.end_lineno, node.end_col_offset)

    def _source(self, node: ast.expr | ast.stmt | ast.keyword) -> str:
        start, end = self._span(node)
        return self._text[start:end]

    def _put(self, node: ast.expr | ast.stmt, new: str) -> Mutant:
        return Mutant(node.lineno, *self._span(node), new)

    def _of(self, node: ast.AST) -> Iterator[Mutant]:
        if isinstance(node, ast.expr):
            yield from self._of_expression(node)
        elif isinstance(node, ast.stmt):
            yield from self._of_statement(node)
        for child in self._children(node):
            yield from self._of(child)

    @staticmethod
    def _children(node: ast.AST) -> Iterator[ast.AST]:
        if isinstance(node, ast.Raise | ast.Assert | ast.Import | ast.ImportFrom | ast.JoinedStr):
            return
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if _is_of_types_or_exports(node):
            return
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns", "decorator_list", "bases"}:
                continue
            for each in value if isinstance(value, list) else [value]:
                is_text = isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)
                if isinstance(each, ast.AST) and not is_text:
                    yield each

    def _of_statement(self, node: ast.stmt) -> Iterator[Mutant]:
        if _is_of_types_or_exports(node):
            return
        match node:
            case (
                ast.Return(value=ast.expr() as given)
                | ast.Assign(value=given)
                | ast.AnnAssign(value=ast.expr() as given)
            ):
                if not isinstance(given, ast.Constant) or given.value is not None:
                    yield self._put(given, "None")
            case ast.AugAssign(op=op):
                start, end = self._span(node.target)[1], self._span(node.value)[0]
                for new in (*(f" {each}= " for each in _SWAPPED.get(type(op), ())), " = "):
                    yield Mutant(node.lineno, start, end, new)
                yield self._put(node, "pass")
            case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Continue() | ast.Delete():
                yield self._put(node, "pass")
            case ast.Break():
                yield self._put(node, "pass")
                yield self._put(node, "continue")
            case ast.If(test=test) | ast.While(test=test):
                yield from self._of_test(test)
            case _:
                pass

    def _of_test(self, test: ast.expr) -> Iterator[Mutant]:
        yield self._put(test, "False")
        if not isinstance(test, ast.Compare):
            yield self._put(test, f"(not ({self._source(test)}))")

    def _of_expression(self, node: ast.expr) -> Iterator[Mutant]:  # noqa: C901, PLR0912 -- one case for each kind
        match node:
            case ast.Constant(value=value):
                yield from self._of_constant(node, value)
            case ast.Compare(left=left, ops=ops, comparators=others):
                yield from self._operators(node.lineno, [left, *others], ops)
            case ast.BoolOp(values=values, op=op):
                yield from self._operators(node.lineno, values, [op] * (len(values) - 1))
                for operand in values:
                    yield self._put(operand, str(isinstance(op, ast.And)))
            case ast.BinOp(left=left, right=right, op=op):
                yield from self._operators(node.lineno, [left, right], [op])
            case ast.UnaryOp():
                yield self._put(node, f"({self._source(node.operand)})")
            case ast.IfExp(test=test, body=body, orelse=other):
                yield self._put(node, f"({self._source(body)})")
                yield self._put(node, f"({self._source(other)})")
                yield from self._of_test(test)
            case ast.Call(func=function):
                if isinstance(function, ast.Name) and function.id in _OTHER_NAME:
                    yield self._put(function, _OTHER_NAME[function.id])
                yield from self._without_one([*node.args, *node.keywords])
            case ast.Tuple(elts=parts) | ast.Set(elts=parts) | ast.List(elts=parts):
                yield from self._without_one(parts)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                for loop in node.generators:
                    for test in loop.ifs:
                        yield self._put(test, "True")
            case _:
                pass

    def _of_constant(self, node: ast.Constant, value: object) -> Iterator[Mutant]:
        if isinstance(value, bool):
            yield self._put(node, str(not value))
        elif isinstance(value, int):
            yield self._put(node, str(value + 1))
            if value > 1:
                yield self._put(node, str(value - 1))
        elif isinstance(value, str):
            yield self._put(node, repr(value + "X"))
        elif value is None:
            yield self._put(node, "0")

    def _operators(self, line: int, operands: Sequence[ast.expr], operators: Sequence[ast.AST]) -> Iterator[Mutant]:
        for left, right, operator in zip(operands[:-1], operands[1:], operators, strict=True):
            start, end = self._span(left)[1], self._span(right)[0]
            between = self._text[start:end]
            for new in _SWAPPED.get(type(operator), ()):
                if "(" not in between and ")" not in between and "#" not in between:
                    yield Mutant(line, start, end, f" {new} ")
                else:
                    word = between.strip(" ()\n")
                    yield Mutant(line, start, end, between.replace(word, f" {new} ", 1))

    def _without_one(self, parts: Sequence[ast.expr | ast.keyword]) -> Iterator[Mutant]:
        for part in parts:
            start, end = self._span(part)
            after = self._text[end:].lstrip()
            if after.startswith(","):
                end = self._text.index(",", end) + 1
            yield Mutant(part.lineno, start, end, "")


def _is_of_types_or_exports(node: ast.AST) -> bool:
    if isinstance(node, ast.AnnAssign):
        return "TypeAlias" in ast.unparse(node.annotation)
    return isinstance(node, ast.Assign) and "__all__" in map(ast.unparse, node.targets)


def compiling(text: str) -> list[tuple[Mutant, str]]:
    """The mutants of a text that are still Python, each with its text."""
    found = []
    for mutant in Mutator(text).mutants():
        changed = text[: mutant.start] + mutant.new + text[mutant.end :]
        try:
            if ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text)):
                found.append((mutant, changed))
        except SyntaxError:
            continue
    return found


# --- one run ---------------------------------------------------------------------------------------------------------


class Mutated(SourceFileLoader):
    """Loads one module from a changed text, and nothing from what was compiled of it before."""

    text = ""

    def get_code(self, _fullname: str) -> CodeType:
        """Compile the changed text."""
        return compile(self.text, self.path, "exec", dont_inherit=True)


class OneModule:
    """Finds the module that is changed."""

    def __init__(self, name: str, file: Path, text: str) -> None:
        self._name = name
        self._file = file
        self._text = text

    def find_spec(self, name: str, _path: object = None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """Find it, and no other."""
        if name != self._name:
            return None
        loader = Mutated(name, str(self._file))
        loader.text = self._text
        return spec_from_file_location(name, self._file, loader=loader)


class Short:
    """Makes Hypothesis's tests short, and alike in every run."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Cap the examples; nobody reads what a failure would be shrunk to."""
        for item in items:
            test = getattr(item, "obj", None)
            stated = getattr(test, "_hypothesis_internal_use_settings", None)
            if test is not None and stated is not None:
                test._hypothesis_internal_use_settings = hypothesis.settings(  # noqa: SLF001 -- there is no other way
                    stated,
                    max_examples=min(stated.max_examples, _EXAMPLES),
                    derandomize=True,
                    database=None,
                    deadline=None,
                    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
                    suppress_health_check=list(hypothesis.HealthCheck),
                )


def run_tests(tests: Sequence[str]) -> int:
    """Run test files one after another until one fails."""
    options = ["-c", os.devnull, "--rootdir", str(ROOT), "--noconftest", "--import-mode=importlib", "-x", "-q"]
    options += ["-p", "no:cacheprovider", "-W", "error", "--tb=no"]
    for test in tests:
        status = pytest.main([*options, str(ROOT / test)], plugins=[Short()])
        if status != pytest.ExitCode.OK:
            return 1
    return 0


def outcome(file: Path, text: str, tests: Sequence[str]) -> str:
    """Run the tests in a fork, with a module's text as given: "survived", "killed" or "timeout"."""
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    child = os.fork()
    if child == 0:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        status = 1
        try:
            sys.meta_path.insert(0, OneModule(name, file, text))
            status = run_tests(tests)
        finally:
            os._exit(status)
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return "survived" if status == 0 else "killed"
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def examine(file: Path, tests: Sequence[str], sample: int) -> int:
    """Run all mutants of a module, or a sample, and print those that survive; return how many do."""
    text = file.read_text(encoding="utf-8")
    where = file.relative_to(ROOT)
    if outcome(file, text, tests) != "survived":
        sys.exit(f"{where}: the tests fail without any change")
    mutants = compiling(text)
    total = len(mutants)
    if sample and total > sample:
        mutants = sorted(Random(0).sample(mutants, sample), key=lambda each: each[0])  # noqa: S311 -- no secret
    counts = dict.fromkeys(("killed", "timeout", "survived"), 0)
    for mutant, changed in mutants:
        found = outcome(file, changed, tests)
        counts[found] += 1
        if found == "survived":
            line = text.splitlines()[mutant.line - 1].strip()
            old = text[mutant.start : mutant.end].strip()
            print(f"{where}:{mutant.line}: {old!r} -> {mutant.new.strip()!r} in: {line}", flush=True)
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(f"{where}: {len(mutants)} of {total} mutants: {told}", flush=True)
    return counts["survived"]


def main() -> None:
    """Examine what the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", help="modules; all that pyproject.toml names where none is given")
    parser.add_argument("--sample", type=int, default=0, help="at most as many mutants of each module")
    chosen = parser.parse_args()
    named = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutants"]
    folder = "tests/unit/policy/"
    survived = 0
    for file in chosen.files or named:
        survived += examine(ROOT / file, [folder + test for test in named[file]], chosen.sample)
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
