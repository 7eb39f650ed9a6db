"""The rules of STYLE.md that a program can hold, each a function from source to findings.

A finding is a sentence with its place. Nothing here reads the project; test_tidy.py does, and also plants a
violation of every rule to see it caught.
"""

import ast
import re
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Final, get_type_hints

import msgspec
from msgspec import inspect as shape

FILE_LINES_MAX: Final = 500
FUNCTION_LINES_MAX: Final = 70
INTEGER_MAX: Final = 2**63 - 1

# Spelled in two halves, so that this file does not hold what it looks for.
UNFINISHED: Final = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "raise NotImplemented" + "Error")
MACHINE_PATHS: Final = ("/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/")
REGISTRY_HOSTS: Final = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "npmjs" + ".org",
    "proxy.golang" + ".org",
    "crates" + ".io",
)

BROAD: Final = frozenset({"Exception", "BaseException"})
INEXACT: Final = frozenset({"float", "complex", "round"})
UNSTABLE: Final = frozenset({"hash", "id"})
SETS: Final = frozenset({"set", "frozenset"})
ORDERED: Final = frozenset({"sorted", "min", "max", "len", "sum", "any", "all", "set", "frozenset"})
ASSERTING: Final = ("assert", "check", "raises", "warns", "expect")

Rule = Callable[[str], list[str]]


def long_file(source: str) -> list[str]:
    """A file fits a head."""
    count = len(source.splitlines())
    return [f"{count} lines, {FILE_LINES_MAX} at most"] if count > FILE_LINES_MAX else []


def long_functions(source: str) -> list[str]:
    """A function fits a screen."""
    return [
        f"line {node.lineno}: {node.name} has {size} lines, {FUNCTION_LINES_MAX} at most"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (size := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]


def missing_docstring(source: str) -> list[str]:
    """Every module says why it exists."""
    return [] if ast.get_docstring(ast.parse(source)) else ["no module docstring"]


def broad_handlers(source: str) -> list[str]:
    """A handler for everything hides what it did not expect; cleaning up and raising again hides nothing."""
    return [
        f"line {node.lineno}: catches everything"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or BROAD & _names(node.type))
        and not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)
    ]


def unfinished(text: str) -> list[str]:
    """No stub, no note to oneself."""
    return _containing(text, UNFINISHED, boundary=r"\b")


def machine_bound(text: str) -> list[str]:
    """Nothing that is true on one machine only, no address of a package registry."""
    return _containing(text, MACHINE_PATHS + REGISTRY_HOSTS)


def nondeterminism(source: str) -> list[str]:
    """The state machine is exact and the same everywhere: no float, no iteration of a set, no coroutine."""
    tree = ast.parse(source)
    sets = {target for scope in _scopes(tree) for target in _names_of_sets(scope)}
    return [
        f"line {getattr(node, 'lineno', 0)}: {what}"
        for node in ast.walk(tree)
        for what in (*_inexact(node), *_iterates_set(node, sets))
    ]


def assertless_tests(source: str) -> list[str]:
    """A test that asserts nothing cannot fail. It may leave that to a function or class of its own module."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    declared = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    asserting = {node.name for node in declared if any(map(_asserts, ast.walk(node)))}
    return [
        f"line {node.lineno}: {node.name} asserts nothing"
        for node in declared
        if node.name.startswith("test_") and node.name not in asserting and not _names(node) & asserting
    ]


def structs_of(module: types.ModuleType) -> list[type[msgspec.Struct]]:
    """The record types that a module itself declares."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, msgspec.Struct)
        and value.__module__ == module.__name__
    ]


def open_parts(annotation: object, name: str) -> list[str]:
    """Why a consensus type is not closed: an empty list if it is bounded, finite and made of closed types."""
    if (
        isinstance(annotation, type)
        and issubclass(annotation, msgspec.Struct)
        and not get_type_hints(annotation)
    ):
        return []  # a base without fields
    return list(_open(shape.type_info(annotation), name, ()))


def _open(info: shape.Type, path: str, above: tuple[type, ...]) -> Iterator[str]:
    match info:
        case shape.IntType(ge=least, le=most):
            if least is None or most is None or least < 0 or most > INTEGER_MAX:
                yield f"{path}: an integer without bounds in 0 .. 2^63-1"
        case shape.StrType(max_length=most) | shape.BytesType(max_length=most):
            if most is None:
                yield f"{path}: text or bytes without a greatest length"
        case (
            shape.VarTupleType(item_type=item, max_length=most)
            | shape.ListType(item_type=item, max_length=most)
        ):
            if most is None:
                yield f"{path}: a list without a greatest length"
            yield from _open(item, f"{path}[]", above)
        case shape.TupleType(item_types=items):
            for number, item in enumerate(items):
                yield from _open(item, f"{path}[{number}]", above)
        case shape.LiteralType(values=values):
            if not all(isinstance(value, str | int) for value in values):
                yield f"{path}: a literal that is neither text nor integer"
        case shape.StructType(cls=cls):
            yield from _open_struct(info, path, above, cls)
        case _:
            yield f"{path}: {type(info).__name__} is not a type of consensus"


def _open_struct(info: shape.StructType, path: str, above: tuple[type, ...], cls: type) -> Iterator[str]:
    if cls in above:
        yield f"{path}: {cls.__name__} contains itself"
        return
    if not info.array_like or not info.forbid_unknown_fields:
        yield f"{path}: {cls.__name__} must be array_like and forbid unknown fields"
    for field in info.fields:
        yield from _open(field.type, f"{path}.{field.name}", (*above, cls))


def _containing(text: str, words: Iterable[str], boundary: str = "") -> list[str]:
    wanted = re.compile(boundary + "(" + "|".join(map(re.escape, words)) + ")" + boundary)
    return [
        f"line {number}: {found[1]}"
        for number, line in enumerate(text.splitlines(), 1)
        for found in wanted.finditer(line)
    ]


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _inexact(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Constant(value=float() | complex()):
            yield "a float"
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            yield "true division"
        case ast.Name(id=name) if name in INEXACT:
            yield name
        case ast.Call(func=ast.Name(id=name)) if name in UNSTABLE:
            yield f"{name}() differs between processes"
        case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
            yield "a coroutine"


def _iterates_set(node: ast.AST, sets: set[str]) -> Iterator[str]:
    match node:
        case ast.For(iter=source) | ast.comprehension(iter=source) if _is_set(source, sets):
            yield f"line {source.lineno}: iterates a set"
        case ast.Call(func=function, args=[source, *_]) if _is_set(source, sets):
            called = function.id if isinstance(function, ast.Name) else ""
            joins = isinstance(function, ast.Attribute) and function.attr in {"join", "extend", "fromkeys"}
            if joins or called in {"list", "tuple", "iter", "enumerate", "dict", "map", "zip", "next"}:
                yield "the order of a set"
        case ast.Starred(value=source) if _is_set(source, sets):
            yield "the order of a set"


def _is_set(node: ast.AST, sets: set[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in SETS
        case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), right=right):
            return _is_set(left, sets) or _is_set(right, sets)
        case ast.Name(id=name):
            return name in sets
    return False


def _scopes(tree: ast.Module) -> Iterator[ast.AST]:
    yield tree
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _names_of_sets(scope: ast.AST) -> Iterator[str]:
    """Names that a scope assigns a set to, or annotates as one."""
    for node in ast.walk(scope):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if _is_set(value, set()):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation) if _base(annotation) in SETS:
                yield name
            case ast.arg(arg=name, annotation=ast.AST() as annotation) if _base(annotation) in SETS:
                yield name


def _base(annotation: ast.AST) -> str:
    outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return outer.id if isinstance(outer, ast.Name) else ""


def _asserts(node: ast.AST) -> bool:
    match node:
        case ast.Assert():
            return True
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return any(word in name for word in ASSERTING)
    return False
