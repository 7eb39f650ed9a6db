"""The rules of STYLE.md, held by the build: each reads the project, then sees a planted violation caught."""

import importlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Final, Literal

import msgspec
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import evidence
from node.ledger.contract import Contract
from tests import tidy

ROOT: Final = Path(__file__).resolve().parent.parent

# The only files that may catch everything, each with its reason.
MAY_CATCH_EVERYTHING: Final = {
    "node/ledger/running.py": "contract code ends here; a fault in it becomes a receipt and an alarm",
    "node/services/interceptors.py": "the edge of the RPC server: no exception's text reaches a client",
    "node/engine/supervisor.py": "the task supervisor: a task that dies stops the node and says why",
}


def files(*patterns: str) -> list[str]:
    """Names of the project's files, tracked or about to be, generated code left out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    names = sorted({name for name in listed if (ROOT / name).is_file() and not name.startswith("node/pb/")})
    assert names, f"no file matches {patterns}"
    return names


def findings(rule: tidy.Rule, names: list[str]) -> list[str]:
    """What a rule says of these files."""
    return [
        f"{name}: {said}"
        for name in names
        for said in rule((ROOT / name).read_text(encoding="utf-8", errors="replace"))
    ]


def is_test(name: str) -> bool:
    return name.startswith("tests/")


def test_imports_point_the_way_the_architecture_says() -> None:
    tool = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [tool, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("node/ledger/planted.py", "import time"),
        ("node/ledger/planted.py", "import node.engine"),
        ("node/ledger/planted.py", "import node.storage"),
        ("node/storage/planted.py", "import node.engine"),
        ("node/engine/planted.py", "import node.services"),
        ("contracts/planted.py", "import random"),
        ("contracts/planted.py", "from node.ledger import codec"),
        ("contracts/scenarios/planted.py", "import contracts.scenarios.blacklist"),
        ("node/cli/planted.py", "import node.pb.vostro.planted_pb2"),
        ("node/receipts/planted.py", "import socket"),
        ("node/receipts/planted.py", "import node.storage"),
        ("node/engine/cometbft/light.py", "import node.receipts"),
    ],
)
def test_a_planted_import_is_caught(name: str, source: str, tmp_path: Path) -> None:
    skeleton = ["ledger", "storage", "engine", "engine/cometbft", "services", "cli", "pb", "pb/vostro"]
    skeleton += ["client", "keys", "receipts", "adapters", "network", "reconciliation"]
    for folder in ("node", "contracts", "contracts/scenarios", *(f"node/{each}" for each in skeleton)):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "__init__.py").touch()
    for empty in (
        "node/app.py",
        "node/ledger/codec.py",
        "node/pb/vostro/planted_pb2.py",
        "contracts/scenarios/blacklist.py",
    ):
        (tmp_path / empty).touch()
    configuration = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(configuration, encoding="utf-8")
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]

    before = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    (tmp_path / name).write_text(source, encoding="utf-8")
    after = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert before.returncode == 0, before.stdout + before.stderr
    assert after.returncode != 0, after.stdout
    assert name.removesuffix(".py").replace("/", ".") in after.stdout


def test_a_file_fits_a_head() -> None:
    assert findings(tidy.long_file, files("*.py")) == []
    assert tidy.long_file("x\n" * 501)
    assert not tidy.long_file("x\n" * 500)


def test_a_function_fits_a_screen() -> None:
    assert findings(tidy.long_functions, [name for name in files("*.py") if not is_test(name)]) == []
    assert tidy.long_functions("def f():\n" + "    x\n" * 70)
    assert not tidy.long_functions("def f():\n" + "    x\n" * 69)


def test_every_module_says_why_it_exists() -> None:
    assert findings(tidy.missing_docstring, files("*.py")) == []
    assert tidy.missing_docstring("x = 1\n")


def test_the_state_machine_is_exact_and_the_same_everywhere() -> None:
    assert findings(tidy.nondeterminism, files("node/ledger/*.py", "contracts/*.py")) == []


@pytest.mark.parametrize(
    "source",
    [
        "x = 0.5",
        "x = 1j",
        "x = a / b",
        "x /= 2",
        "x = float(y)",
        "x: float",
        "x = round(y)",
        "x = hash(y)",
        "x = id(y)",
        "for x in {1, 2}: pass",
        "for x in set(y): pass",
        "for x in frozenset(y): pass",
        "x = [y for y in {z for z in w}]",
        "x = list({1, 2})",
        "x = [*{1, 2}]",
        "x = ''.join({'a'})",
        "def f():\n    seen = set()\n    for x in seen: pass",
        "def f(seen: set[int]):\n    return tuple(seen)",
        "def f(a):\n    seen = set(a) - {1}\n    return [x for x in seen]",
        "async def f(): pass",
    ],
)
def test_a_planted_nondeterminism_is_caught(source: str) -> None:
    assert tidy.nondeterminism(source)


@pytest.mark.parametrize(
    "source",
    ["x = a // b", "for x in sorted({1, 2}): pass", "x = len({1})", "x = 1 in {1, 2}", "seen = set()"],
)
def test_what_is_deterministic_is_let_through(source: str) -> None:
    assert tidy.nondeterminism(source) == []


def test_nothing_catches_everything_but_the_named_few() -> None:
    names = [name for name in files("*.py") if name not in MAY_CATCH_EVERYTHING]
    assert findings(tidy.broad_handlers, names) == []
    planted = "try:\n    x\nexcept {}:\n    {}\n"
    assert tidy.broad_handlers(planted.format("Exception", "pass"))
    assert tidy.broad_handlers(planted.format("(ValueError, BaseException) as e", "raise X from e"))
    assert tidy.broad_handlers("try:\n    x\nexcept:\n    pass\n")
    assert not tidy.broad_handlers(planted.format("BaseException", "raise"))
    assert not tidy.broad_handlers(planted.format("ValueError", "pass"))


def test_nothing_is_left_unfinished() -> None:
    assert findings(tidy.unfinished, files("*.py", "*.proto", "*.toml", "*.md")) == []
    assert all(tidy.unfinished(f"x  # {word}") for word in tidy.UNFINISHED)
    assert not tidy.unfinished("bic = 'BANKCZPP" + "XX" + "X'")


def test_no_file_knows_a_machine_or_a_registry() -> None:
    assert findings(tidy.machine_bound, files()) == []
    assert all(tidy.machine_bound(f"x {word} y") for word in tidy.MACHINE_PATHS + tidy.REGISTRY_HOSTS)


def test_every_test_asserts_something() -> None:
    assert findings(tidy.assertless_tests, files("tests/*.py")) == []
    assert tidy.assertless_tests("def test_x():\n    y()\n")
    assert tidy.assertless_tests("def y():\n    z()\ndef test_x():\n    y()\n")
    assert not tidy.assertless_tests("def y():\n    assert z()\ndef test_x():\n    y()\n")
    assert not tidy.assertless_tests("class Y:\n    def z(self): assert w\ndef test_x():\n    Y().z()\n")
    assert not tidy.assertless_tests("def test_x():\n    check_y()\n")
    assert not tidy.assertless_tests("def test_x():\n    with pytest.raises(ValueError):\n        y()\n")


def test_every_consensus_type_is_closed() -> None:
    walked = list(consensus_types())
    assert len(walked) > 10, "the walk has lost its subject"
    assert [said for name, annotation in walked for said in tidy.open_parts(annotation, name)] == []


def consensus_types() -> Iterator[tuple[str, object]]:
    """Every record that node.ledger.types and the contracts declare, and every argument of every method."""
    modules = ["node.ledger.types", *contract_modules()]
    for module in map(importlib.import_module, modules):
        declared = tidy.structs_of(module)
        assert declared or declares_contract(module), f"{module.__name__} declares no record"
        yield from ((f"{module.__name__}.{each.__name__}", each) for each in declared)
    for contract in importlib.import_module("contracts").assemble():
        for method in (*contract.methods.values(), *contract.queries.values()):
            for name, annotation in method.arguments.items():
                yield f"{contract.name}.{method.name}({name})", annotation


def contract_modules() -> list[str]:
    """Every file of contracts/, as a module."""
    names = [name for name in files("contracts/*.py") if not name.endswith("__init__.py")]
    return [name.removesuffix(".py").replace("/", ".") for name in names]


def test_every_contract_file_is_registered_once() -> None:
    registered = [type(contract).__module__ for contract in importlib.import_module("contracts").assemble()]
    declaring = [name for name in contract_modules() if declares_contract(importlib.import_module(name))]
    assert sorted(registered) == sorted(declaring)


def declares_contract(module: ModuleType) -> bool:
    """Whether the file is a contract, and not the words of one."""
    own = [each for each in vars(module).values() if getattr(each, "__module__", "") == module.__name__]
    return any(isinstance(each, type) and issubclass(each, Contract) for each in own)


class Closed(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    number: Annotated[int, msgspec.Meta(ge=0, le=9)]
    word: Literal["a", "b"]
    parts: Annotated[tuple[Annotated[bytes, msgspec.Meta(max_length=3)], ...], msgspec.Meta(max_length=2)]


class AsMap(msgspec.Struct, forbid_unknown_fields=True):
    number: Annotated[int, msgspec.Meta(ge=0, le=9)]


class Tolerant(msgspec.Struct, array_like=True):
    number: Annotated[int, msgspec.Meta(ge=0, le=9)]


class Endless(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    inner: Annotated[tuple["Endless", ...], msgspec.Meta(max_length=2)]


class Nested(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    inner: Annotated[tuple[tuple[int, Closed], ...], msgspec.Meta(max_length=2)]


@pytest.mark.parametrize(
    "annotation",
    [
        int,
        Annotated[int, msgspec.Meta(ge=0)],
        Annotated[int, msgspec.Meta(ge=-1, le=9)],
        str,
        bytes,
        tuple[Closed, ...],
        Annotated[list[int], msgspec.Meta(max_length=2)],
        dict[str, int],
        float,
        bool,
        object,
        Closed | None,
        AsMap,
        Tolerant,
        Endless,
        Nested,
    ],
)
def test_a_planted_open_type_is_caught(annotation: object) -> None:
    assert tidy.open_parts(annotation, "planted")
    assert tidy.open_parts(Closed, "closed") == []


def test_the_lock_holds_what_the_project_asks_for_with_hashes_and_without_addresses() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*map(Requirement, project["dependencies"] + project["optional-dependencies"]["dev"])]
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = [entry for entry in lock.replace("\\\n", " ").splitlines() if entry.strip()]
    pinned = dict(entry.split()[0].split("==") for entry in entries)

    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in lock
    for requirement in asked:
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"the lock has {version}: run python3 scripts/lock.py"


def test_every_claim_of_security_has_a_test_and_every_marked_test_a_claim() -> None:
    claims = evidence.claims_in((ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(claims) > 30, "the document has lost its claims"
    assert evidence.discrepancies(claims, evidence.all_marks()) == []


def test_a_claim_or_a_marker_without_the_other_is_caught() -> None:
    marked = '@pytest.mark.evidence("{}", asset="a", threat="b", mitigation="c")\ndef test_x(): assert x\n'
    (claim,) = evidence.claims_in("| TX1 | Money stays. | [test_x.py](tests/test_x.py) |\n| who | can |\n")
    (mark,) = evidence.marks_in(marked.format("TX1"), "tests/test_x.py")
    assert (claim.id, claim.text, claim.files) == ("TX1", "Money stays.", ("tests/test_x.py",))
    assert evidence.discrepancies([claim], [mark]) == []
    assert evidence.discrepancies([claim], [])
    assert evidence.discrepancies([], [mark])
    assert evidence.discrepancies([claim], [*evidence.marks_in(marked.format("TX1"), "tests/test_y.py")])
    with pytest.raises(ValueError, match="twice"):
        evidence.claims_in("| TX1 | a | b |\n| TX1 | c | d |\n")
    with pytest.raises(ValueError, match="a marker is"):
        list(evidence.marks_in('@pytest.mark.evidence("TX1")\ndef test_x(): assert x\n', "x"))
