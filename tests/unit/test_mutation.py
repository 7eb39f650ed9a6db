"""The mutation score's faults stand where they are said to, and only in what behaves."""

import ast
import random
from collections import Counter
from pathlib import Path

import pytest

import mutants
import mutation

SOURCE = '''def f(a: int, *, b: bool = True) -> int | None:
    """More than 1 sentence."""
    if a <= 2 and not b:  # č and <
        raise ValueError(f"žádný {a + 1}")
    g(a)
    x: Final[Literal[3]] = "é" if (a) is not None else a - b
    return x
class Sum(Record, frozen=True): ...
'''


def test_every_fault_of_a_source_is_found_at_its_place_and_nothing_in_sentences_or_annotations() -> None:
    found = mutants.Finder("f.py", SOURCE.encode()).find()

    assert sorted((m.line, m.before, m.after) for m in found) == [
        (1, "True", "False"),
        (3, "2", "1"),
        (3, "2", "3"),
        (3, "<=", "<"),
        (3, "a <= 2 and not b", "not (a <= 2 and not b)"),
        (3, "and", "or"),
        (3, "not ", ""),
        (4, 'raise ValueError(f"žádný {a + 1}")', "pass"),
        (5, "g(a)", "pass"),
        (6, "-", "+"),
        (6, "is not", "is"),
        (7, "return x", "return None"),
    ]
    for mutant in found:
        source = mutant.apply(SOURCE.encode())
        assert ast.dump(ast.parse(source)) != ast.dump(ast.parse(SOURCE))
        assert SOURCE.encode()[mutant.start : mutant.end].decode() == mutant.before


def test_the_same_seed_draws_the_same_faults_and_a_longer_file_more_of_them() -> None:
    paths = ["contracts/identifiers.py", "contracts/settlement.py"]
    drawn = mutation.draw(paths, 20, random.Random(7))

    assert drawn == mutation.draw(paths, 20, random.Random(7))
    assert len(drawn) == 20
    assert sum(mutant.path == paths[1] for mutant in drawn) > 15


def test_a_file_is_seen_by_the_tests_that_name_it_in_an_import_or_as_a_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "contracts/__init__.py": "",
        "contracts/sums.py": "",
        "node/reader.py": "from importlib import import_module\nimport_module('contracts.sums')\n",
        "tests/unit/test_direct.py": "from contracts import sums\n",
        "tests/unit/test_through.py": "import node.reader\n",
        "tests/unit/test_other.py": "import contracts\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(mutation, "ROOT", tmp_path)
    mutation.judges.cache_clear()

    seeing = mutation.judges("unit", "contracts/sums.py")
    mutation.judges.cache_clear()

    assert seeing == ("tests/unit/test_direct.py", "tests/unit/test_through.py")


def test_a_fault_that_hangs_the_tests_counts_as_noticed_and_a_stopped_one_not_at_all() -> None:
    verdicts = Counter(
        {
            ("contracts", mutation.KILLED): 2,
            ("contracts", mutation.TIMED_OUT): 1,
            ("contracts", mutation.SURVIVED): 1,
            ("contracts", mutation.STOPPED): 5,
            ("node/ledger", mutation.SURVIVED): 1,
        }
    )

    assert mutation.score(verdicts).splitlines() == [
        "mutation score of contracts: 75% (4 tried, 2 killed, 1 timed out, 1 survived)",
        "mutation score of node/ledger: 0% (1 tried, 0 killed, 0 timed out, 1 survived)",
        "mutation score of both: 60% (5 tried, 2 killed, 1 timed out, 2 survived)",
    ]
