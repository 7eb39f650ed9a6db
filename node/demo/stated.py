"""The trading day's books: every bank's statement in two formats, read back and matched with the ledger; and
one with ten planted differences.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.adapters.accounts import Accounts
from node.adapters.iso_write_statements import write_camt
from node.adapters.reading import Source, check_file, statement_entries
from node.cli import reconciling
from node.cli.exporting import Form, Period, export_statement
from node.cli.reconciling import Done
from node.demo.consortium import ASSET, DemoFailed
from node.demo.desk import Desk, main
from node.demo.orders import DECIMALS
from node.reconciliation.planting import Found, found_in, plant
from node.reconciliation.rules import load_rules

FORMS: Final[tuple[tuple[Form, str], ...]] = (("camt.053", "xml"), ("mt940", "sta"))
DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Stated:
    """A bank's statement as written, and what became of it when it was matched with the ledger."""

    bank: str
    form: Form
    path: Path
    sha256: str
    done: Done


def write_statements(desk: Desk, folder: Path, begins_ms: int) -> list[tuple[str, Form, Path]]:
    """Every bank's statement of its main account, in each format. Raises Failure, OSError."""
    folder.mkdir()
    period = Period(begins_ms // DAY_MS * DAY_MS, 0)
    written: list[tuple[str, Form, Path]] = []
    for bank in desk.banks:
        for form, ending in FORMS:
            path = folder / f"{bank}.{form}.{ending}"
            export_statement(desk.client, path, form, main(bank), ASSET, DECIMALS, period)
            written.append((bank, form, path))
    return written


def reconcile_all(desk: Desk, written: list[tuple[str, Form, Path]]) -> list[Stated]:
    """Read every statement back and match it. Raises: DemoFailed on any break."""
    told: list[Stated] = []
    for bank, form, path in written:
        done = _reconcile(desk, bank, path)
        if done.result.breaks or done.result.unexplained:
            raise DemoFailed(f"{path.name}: {len(done.result.breaks)} breaks: {done.result.by_kind}")
        told.append(Stated(bank, form, path, hashlib.sha256(path.read_bytes()).hexdigest(), done))
    return told


def spoil(desk: Desk, stated: Stated, path: Path) -> tuple[Done, list[Found]]:
    """Plant ten differences in a statement, write it, and match it. Raises: DemoFailed where one is missed or
    another is found.
    """
    plan = check_file(Source(stated.path))
    spoilt = plant(plan.statements[0], [entry for _, entry in statement_entries(plan)])
    with path.open("xb") as file:
        write_camt(file, spoilt.statement, spoilt.entries)
    done = _reconcile(desk, stated.bank, path)
    found, others = found_in(spoilt, done.result)
    missed = [each.planted.story for each in found if each.found is None]
    if missed or others or done.result.unexplained:
        raise DemoFailed(f"missed: {missed}; found and not planted: {[each.sentence for each in others]}")
    return done, found


def _reconcile(desk: Desk, bank: str, path: Path) -> Done:
    rules = load_rules()
    taken = reconciling.take(Source(path), rules)
    (done,) = reconciling.compare(desk.client, taken, rules, Accounts(), main(bank))
    return done
