"""Decoders of bank files: ISO 20022 in XML, SWIFT MT. Each is checked as a whole, and what is right is read
again.
"""

from typing import Final

from node.adapters.iso_write_statements import write_camt
from node.adapters.reading import Source, check_file, records_of
from node.adapters.refusals import FileRefused
from tests.adapters_kit import IBAN, entry, pain, statement, written
from tests.fuzz import edge_targets
from tests.fuzz.target import Target

MT940: Final = f""":20:REF1
:25:{IBAN}
:28C:1/1
:60F:C260101CZK100,00
:61:2601310131C10,50NTRFE-1//BANK1
:86:/EREF/E-1
:62F:C260131CZK110,50
-
"""
MT103: Final = """{1:F01TESTCZPPXXXX0000000000}{2:I103TESTDEFFXXXXN}{4:
:20:REF1
:23B:CRED
:32A:260131CZK10,50
:50K:/123
PAYER
:59:/456
PAYEE
:71A:SHA
-}
"""


def iso_files() -> list[bytes]:
    """A payment and a statement."""
    return [pain().encode(), written(write_camt, statement([1_050]), [entry(1, 1_050)])]


def mt_files() -> list[bytes]:
    """A statement and a payment."""
    return [MT940.encode(), MT103.encode()]


def run_file(data: bytes) -> None:
    """A file is refused with reasons, or every record that was counted is read again."""
    source = Source(edge_targets.written(data))
    try:
        plan = check_file(source)
    except FileRefused:
        return
    counts: dict[str, int] = {}
    for record in records_of(plan):
        kind = type(record).__name__
        counts[kind] = counts.get(kind, 0) + 1
    assert counts == plan.counts


TARGETS: Final = (
    Target("iso-file", "bytes", iso_files, run_file, 16_384),
    Target("mt-file", "bytes", mt_files, run_file, 8_192),
)
