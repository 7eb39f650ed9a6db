"""The small faults that scripts/mutation.py puts into a source, each at its exact place.

Left out is what changes no behaviour that a test should hold: annotations, docstrings, sentences for people,
and that a record is frozen.
"""

import ast
import itertools
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

TOKENS: Final = {  # an operator as a pattern, and what takes its place
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: (r"not\s+in", "in"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Add: (r"\+", "-"),
    ast.Sub: ("-", "+"),
}
UNSEEN: Final = {"frozen", "slots", "kw_only", "gc"}  # what a class refuses or saves, which mypy holds
OPPOSITES: Final = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)


class Mutant(NamedTuple):
    """One fault: the bytes from start to end of a file are replaced by after."""

    path: str  # from the root of the tree
    line: int
    start: int
    end: int
    before: str
    after: str

    def apply(self, source: bytes) -> bytes:
        """The file with the fault in it."""
        return source[: self.start] + self.after.encode() + source[self.end :]

    def __str__(self) -> str:
        """For the list of survivors."""
        return f"{self.path}:{self.line}: {' '.join(self.before.split())} -> {' '.join(self.after.split())}"


class Finder:
    """Finds every mutant of one source; positions are bytes, as ast counts them."""

    def __init__(self, path: str, source: bytes) -> None:
        self._path = path
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def find(self) -> list[Mutant]:
        """In the order of the source."""
        return sorted(set(self._walk(ast.parse(self._source), may_be_none=False)), key=lambda m: m[1:])

    def _walk(self, node: ast.AST, *, may_be_none: bool) -> Iterator[Mutant]:
        if isinstance(node, ast.FunctionDef):
            if any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list):
                return
            result = ast.unparse(node.returns) if node.returns else ""
            may_be_none = "None" in re.split(r"\W+", result) and result != "None"
        yield from self._of(node, may_be_none=may_be_none)
        if isinstance(node, ast.Raise | ast.JoinedStr) or (
            isinstance(node, ast.keyword) and node.arg in UNSEEN
        ):
            return
        for name, field in ast.iter_fields(node):
            if name not in {"annotation", "returns"}:
                children = field if isinstance(field, list) else [field]
                for child in children:
                    if isinstance(child, ast.AST):
                        yield from self._walk(child, may_be_none=may_be_none)

    def _of(self, node: ast.AST, *, may_be_none: bool) -> Iterator[Mutant]:  # noqa: PLR0912 - a case a kind
        """The mutants of one node, without those of its children."""
        match node:
            case ast.Compare(left=left, ops=ops, comparators=others):
                for op, before, after in zip(ops, [left, *others], others, strict=False):
                    yield from self._between(op, before, after)
            case ast.BoolOp(op=op, values=values):
                for before, after in itertools.pairwise(values):
                    yield from self._between(op, before, after)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
                if not any(_is_text(side) for side in (left, right)):
                    yield from self._between(op, left, right)
            case ast.AugAssign(target=target, op=ast.Add() | ast.Sub() as op, value=value):
                yield from self._between(op, target, value)
            case ast.UnaryOp(op=ast.Not()):
                start = self._span(node)[0]
                yield self._mutant(start, start + len("not "), "")
            case ast.Constant(value=bool(value)):
                yield self._mutant(*self._span(node), str(not value))
            case ast.Constant(value=int(value)):
                yield self._mutant(*self._span(node), str(value + 1))
                yield self._mutant(*self._span(node), str(value - 1))
            case ast.Raise() | ast.Expr(value=ast.Call()):
                yield self._mutant(*self._span(node), "pass")
            case ast.Return(value=ast.expr() as value) if may_be_none and not _is_none(value):
                yield self._mutant(*self._span(node), "return None")
            case ast.If(test=test) | ast.IfExp(test=test) if not _is_negated_elsewhere(test):
                start, end = self._span(test)
                yield self._mutant(start, end, f"not ({self._source[start:end].decode()})")

    def _between(self, op: ast.AST, left: ast.expr, right: ast.expr) -> Iterator[Mutant]:
        """The operator that stands between two expressions, other than in a comment."""
        token, other = TOKENS[type(op)]
        start, end = self._span(left)[1], self._span(right)[0]
        gap = re.sub(rb"#[^\n]*", lambda comment: b" " * len(comment[0]), self._source[start:end])
        if found := re.search(token.encode(), gap):
            yield self._mutant(start + found.start(), start + found.end(), other)

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        last = self._starts[(node.end_lineno or node.lineno) - 1]
        return self._starts[node.lineno - 1] + node.col_offset, last + (node.end_col_offset or 0)

    def _mutant(self, start: int, end: int, after: str) -> Mutant:
        line = self._source.count(b"\n", 0, start) + 1
        return Mutant(self._path, line, start, end, self._source[start:end].decode(), after)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_negated_elsewhere(test: ast.expr) -> bool:
    """Whether another mutant says the same: the `not` taken away, the operator's opposite."""
    if isinstance(test, ast.Compare):
        return len(test.ops) == 1 and isinstance(test.ops[0], OPPOSITES)
    return isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
