"""Write the parts of docs/formats.md that the code knows best; `--check` only compares.

Records, methods, events, stored keys and refusals are read off the classes themselves, so that the document
cannot say one thing and the program another. Each part stands between two comments in the document;
everything else there is written by people.
"""

import argparse
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from contracts import assemble
from node.engine.cometbft.light import SignedHeader
from node.engine.errors import NodeError
from node.keys.custody import CustodyError
from node.ledger import snapshot, types
from node.ledger.contract import Method
from node.ledger.errors import ErrorCode, LedgerError
from node.ledger.types import Record
from node.network.entry import Entry, Proofs
from node.receipts import ReceiptProblem
from node.receipts.document import Checkpoint, ReceiptFile
from node.storage.errors import StorageCode

DOCUMENT: Final = Path(__file__).resolve().parent.parent / "docs" / "formats.md"

TRANSACTION: Final = (types.Transaction, types.SignedTransaction, types.Bundle)
BLOCK: Final = (types.Receipt, types.Leaf, types.Header)
GENESIS: Final = (types.Genesis,)
EVIDENCE: Final = (types.Evidence,)
ENTRY: Final = (Entry, Proofs)
SNAPSHOT: Final = (snapshot.Manifest, snapshot.WindowChunk, snapshot.StateChunk)


def main(arguments: Sequence[str]) -> int:
    """Write the document, or compare it. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether the document is up to date")
    options = parser.parse_args(arguments)
    old = DOCUMENT.read_text()
    new = renewed(old)
    if options.check:
        if new != old:
            print("docs/formats.md is out of date: run python3 scripts/gen_formats.py")
        return int(new != old)
    DOCUMENT.write_text(new)
    return 0


def renewed(document: str) -> str:
    """The document with every generated part written anew. Raises ValueError where a part's comments are
    missing.
    """
    for name, write in PARTS.items():
        begin, end = f"<!-- {name}: written by scripts/gen_formats.py -->\n", f"<!-- end of {name} -->\n"
        before, found, rest = document.partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise ValueError(f"docs/formats.md has no place for {name}")
        document = before + begin + "\n" + write() + "\n" + end + after
    return document


# --- types in words ----------------------------------------------------------------------------------------


def described(annotation: Any) -> str:
    """A wire type in words."""
    meta = None
    while get_origin(annotation) is Annotated:
        annotation, meta, *_ = get_args(annotation)
    if get_origin(annotation) is Literal:
        values = [f"`{value}`" for value in get_args(annotation)]
        what = "text" if isinstance(get_args(annotation)[0], str) else "integer"
        return f"{what}: {', '.join(values)}"
    if get_origin(annotation) is UnionType:
        return " or ".join([described(one) for one in get_args(annotation)])
    if annotation is int:
        return f"integer, {_number(meta.ge)} to {_number(meta.le)}" if meta else "integer"
    if get_origin(annotation) is tuple:
        return f"array of {_span(meta, 'items')}, each {described(get_args(annotation)[0])}"
    if annotation is bytes:
        return f"bytes, {_span(meta, '')}".rstrip()
    if annotation is str:
        pattern = f", matching `{meta.pattern}`" if meta and meta.pattern else ""
        return f"text, {_span(meta, 'characters')}{pattern}".replace("|", "\\|")
    return f"`{annotation.__name__}`"


def _span(meta: Any, unit: str) -> str:
    low = (meta and meta.min_length) or 0
    high = meta and meta.max_length
    if high is None:
        return f"at least {low} {unit}"
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _number(value: int) -> str:
    for base, power in ((2, 63), (2, 40), (2, 32), (2, 16)):
        if value == base**power - 1:
            return f"2^{power} - 1"
    if value == 2**40:
        return "2^40"
    return "10^18" if value == 10**18 else str(value)


def records_of(annotations: Iterable[Any]) -> list[type[Record]]:
    """Every record that the annotations name, directly or through others, in order of first mention."""
    found: dict[type[Record], None] = {}
    for annotation in annotations:
        for record in _records_in(annotation):
            if record not in found:
                found[record] = None
                fields = [field.type for field in msgspec.structs.fields(record)]
                found.update(dict.fromkeys(records_of(fields)))
    return list(found)


def _records_in(annotation: Any) -> list[type[Record]]:
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return [annotation]
    return [record for part in get_args(annotation) for record in _records_in(part)]


# --- the parts ---------------------------------------------------------------------------------------------


def fields_table(record: type[Record]) -> str:
    """A record: its name, its sentence, its fields."""
    rows = [(field.name, described(field.type)) for field in msgspec.structs.fields(record)]
    return f"**`{record.__name__}`**: {_told(record)}\n\n" + _table(("field", "type"), rows)


def records_part(*records: type[Record]) -> str:
    """Records and all that they hold."""
    return "\n".join([fields_table(record) for record in records_of(records)])


def methods_part() -> str:
    """Every contract's methods with their arguments, and the records that these hold."""
    parts = []
    for contract in assemble():
        methods = contract.methods.values()
        parts.append(f"### {contract.name}\n")
        parts.extend([_method(contract.name, method) for method in methods])
        held = records_of([annotation for method in methods for annotation in method.arguments.values()])
        parts.extend([fields_table(record) for record in held])
    return "\n".join(parts)


def _method(contract: str, method: Method) -> str:
    names = list(method.arguments)
    told = f"**`{contract}.{method.name}`**: {_told(method.function)}"
    if method.amount >= 0:
        told += f" Policy weighs `{names[method.amount]}`"
        told += f" of `{names[method.asset]}`." if method.asset >= 0 else "."
    if method.weight:
        legs = _told(method.weight)
        told += f" Policy weighs {legs[0].lower()}{legs[1:]}"
    told += f" Work: {method.work} a byte" + (f", {method.flat} a call" if method.flat else "") + ".\n\n"
    return told + _table(("argument", "type"), [(n, described(a)) for n, a in method.arguments.items()])


def events_part() -> str:
    """Every contract's events with their fields."""
    parts = []
    for contract in assemble():
        parts.append(f"### Events of {contract.name}\n")
        parts.extend([fields_table(fact) for fact in contract.facts])
    return "\n".join(parts)


def tables_part() -> str:
    """Every stored key, and the records under it."""
    rows, stored = [], []
    for contract in assemble():
        for name, table in contract.tables.items():
            key = ", ".join([f"{part}: {described(annotation)}" for part, annotation in table.parts.items()])
            rows.append((contract.name, name, key, f"`{table.record.__name__}`"))
            stored.append((contract.name, table.record))
    parts = [_table(("contract", "table", "parts of the key", "record"), rows, code=2)]
    for contract_name in dict.fromkeys(name for name, _ in stored):
        parts.append(f"### Records of {contract_name}\n")
        parts.extend([fields_table(r) for r in records_of([r for n, r in stored if n == contract_name])])
    return "\n".join(parts)


def refusals_part() -> str:
    """Every code of every codespace."""
    owners: list[Iterable[object]] = [vars(LedgerError).values()]
    owners += [contract.errors for contract in assemble()]
    owners += [vars(NodeError).values(), vars(StorageCode).values(), vars(CustodyError).values()]
    errors = [error for owner in owners for error in owner if isinstance(error, ErrorCode)]
    rows = [(e.codespace, str(e.code), f"`{e.name}`", e.category.name, e.sentence) for e in errors]
    return _table(("codespace", "code", "name", "category", "sentence"), rows)


def problems_part() -> str:
    """Why a receipt file may prove nothing."""
    rows = [(str(problem.code), f"`{problem.name}`", problem.sentence) for problem in ReceiptProblem]
    return _table(("code", "name", "sentence"), rows, code=0)


def _told(documented: object) -> str:
    """The first paragraph of a docstring, on one line."""
    paragraph = (inspect.getdoc(documented) or "").partition("\n\n")[0]
    return paragraph.replace("\n", " ").replace("``", "`")


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]], code: int = 1) -> str:
    """A table in Markdown; the first ``code`` columns in code letters."""
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for row in rows:
        cells = [f"`{cell}`" if at < code else cell for at, cell in enumerate(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" if len(lines) > len(("titles", "rule")) else "(none)\n"


PARTS: Final[dict[str, Callable[[], str]]] = {
    "transaction records": lambda: records_part(*TRANSACTION),
    "block records": lambda: records_part(*BLOCK),
    "genesis records": lambda: records_part(*GENESIS),
    "evidence record": lambda: records_part(*EVIDENCE),
    "methods": methods_part,
    "events": events_part,
    "stored records": tables_part,
    "receipt file records": lambda: records_part(ReceiptFile),
    "signed header records": lambda: records_part(SignedHeader),
    "checkpoint record": lambda: records_part(Checkpoint),
    "snapshot records": lambda: records_part(*SNAPSHOT),
    "entry records": lambda: records_part(*ENTRY),
    "receipt problems": problems_part,
    "refusals": refusals_part,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
