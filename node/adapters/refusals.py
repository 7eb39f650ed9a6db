"""Why a file is refused: a line, a reason code for programs, and a sentence for people.

The codes are permanent. A reader collects what it finds and goes on, so that one run tells everything that
is to be repaired; only what makes the rest unreadable ends it at once.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PROBLEMS_MAX: Final = 1_000
"""What one refusal tells; a file with more is told up to there."""
DETAIL_MAX: Final = 200


class Reason(StrEnum):
    """Reason codes, each with the sentence that ``sentence`` gives."""

    TOO_LARGE = "TOO_LARGE"
    RECORD_TOO_LARGE = "RECORD_TOO_LARGE"
    EMPTY = "EMPTY"
    FORMAT_UNKNOWN = "FORMAT_UNKNOWN"
    VERSION_UNKNOWN = "VERSION_UNKNOWN"
    NOT_WELL_FORMED = "NOT_WELL_FORMED"
    DOCTYPE = "DOCTYPE"
    ENCODING = "ENCODING"
    ELEMENT_MISSING = "ELEMENT_MISSING"
    BAD_VALUE = "BAD_VALUE"
    BAD_AMOUNT = "BAD_AMOUNT"
    BAD_DATE = "BAD_DATE"
    BAD_IBAN = "BAD_IBAN"
    BAD_BIC = "BAD_BIC"
    BAD_LEI = "BAD_LEI"
    BAD_ISIN = "BAD_ISIN"
    BAD_UETR = "BAD_UETR"
    CURRENCY_UNKNOWN = "CURRENCY_UNKNOWN"
    CURRENCIES_DIFFER = "CURRENCIES_DIFFER"
    COUNT_DIFFERS = "COUNT_DIFFERS"
    TOTAL_DIFFERS = "TOTAL_DIFFERS"
    BALANCE_DIFFERS = "BALANCE_DIFFERS"
    DATES_OUT_OF_ORDER = "DATES_OUT_OF_ORDER"
    STATEMENT_GAP = "STATEMENT_GAP"
    DUPLICATE_ID = "DUPLICATE_ID"
    DUPLICATE_MESSAGE = "DUPLICATE_MESSAGE"
    FED_TWICE = "FED_TWICE"
    CHANGED_WHILE_READ = "CHANGED_WHILE_READ"
    UNSUPPORTED = "UNSUPPORTED"
    MAPPING = "MAPPING"


SENTENCES: Final = {
    Reason.TOO_LARGE: "The file is larger than a file may be.",
    Reason.RECORD_TOO_LARGE: "One record is larger than a record may be.",
    Reason.EMPTY: "The file holds nothing to import.",
    Reason.FORMAT_UNKNOWN: "The file is of no format that is read; --as names one.",
    Reason.VERSION_UNKNOWN: "The message is of a version that is not read.",
    Reason.NOT_WELL_FORMED: "The file is broken here.",
    Reason.DOCTYPE: "The XML declares a document type; none is accepted, and no entity.",
    Reason.ENCODING: "The bytes are no text in the encoding that the file is said to have.",
    Reason.ELEMENT_MISSING: "A part that the message must have is missing.",
    Reason.BAD_VALUE: "A value is not what stands in this place.",
    Reason.BAD_AMOUNT: "The amount is none of its currency.",
    Reason.BAD_DATE: "The date is none.",
    Reason.BAD_IBAN: "The IBAN is wrong (ISO 13616).",
    Reason.BAD_BIC: "The BIC is wrong (ISO 9362).",
    Reason.BAD_LEI: "The LEI is wrong (ISO 17442).",
    Reason.BAD_ISIN: "The ISIN is wrong (ISO 6166).",
    Reason.BAD_UETR: "The UETR is no UUID of version 4.",
    Reason.CURRENCY_UNKNOWN: "The currency is none of ISO 4217.",
    Reason.CURRENCIES_DIFFER: "Two currencies stand where there must be one.",
    Reason.COUNT_DIFFERS: "The number of records is not the one that the message states.",
    Reason.TOTAL_DIFFERS: "The amounts do not add up to the control sum.",
    Reason.BALANCE_DIFFERS: "The opening balance and the entries do not add up to the closing balance.",
    Reason.DATES_OUT_OF_ORDER: "Dates are out of order.",
    Reason.STATEMENT_GAP: "A statement is missing between this one and the one before.",
    Reason.DUPLICATE_ID: "Two records carry the same identification.",
    Reason.DUPLICATE_MESSAGE: "A message with this identification and other content was imported before.",
    Reason.FED_TWICE: "This file was imported before, completely; nothing was done again.",
    Reason.CHANGED_WHILE_READ: "The file changed while it was read.",
    Reason.UNSUPPORTED: "The message asks for something that is not carried out.",
    Reason.MAPPING: "The mapping file does not fit the file.",
}

AGAIN: Final = "Have the sender repair it, and feed the file again under the same message id."
WHOLE: Final = "Something is missing or was changed on the way: ask the bank for the statement once more."
REMEDIES: Final = dict.fromkeys(Reason, AGAIN) | {
    Reason.TOO_LARGE: "Ask the sender for several smaller files.",
    Reason.EMPTY: "Nothing is to be done if the sender had nothing to send; ask if not.",
    Reason.FORMAT_UNKNOWN: "docs/adapters.md lists what is read; CSV needs --mapping, MT950 needs --as.",
    Reason.VERSION_UNKNOWN: "Ask the sender for a version that is read.",
    Reason.NOT_WELL_FORMED: "Fetch the file again: it was cut or changed on the way; else tell the sender.",
    Reason.DOCTYPE: "No bank sends this: find out where the file comes from before you feed another.",
    Reason.ENCODING: "Name the bank's encoding: --encoding iso-8859-1, cp1250 and cp852 are usual.",
    Reason.BAD_IBAN: "Ask the customer or the bank for the right account number.",
    Reason.BALANCE_DIFFERS: WHOLE,
    Reason.COUNT_DIFFERS: WHOLE,
    Reason.TOTAL_DIFFERS: WHOLE,
    Reason.DATES_OUT_OF_ORDER: "Feed statements in the order of their days.",
    Reason.STATEMENT_GAP: "Feed the statement that is missing first; ask the bank for it if you have none.",
    Reason.DUPLICATE_MESSAGE: "If it is another message, the sender must give it an id of its own.",
    Reason.FED_TWICE: "Nothing is to be done.",
    Reason.CHANGED_WHILE_READ: "Feed it again when it has been written to its end.",
    Reason.UNSUPPORTED: "Have it done elsewhere, and taken out of the file.",
    Reason.MAPPING: "Correct the mapping file; its form stands in docs/adapters.md.",
}
"""What a clerk does about each."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file. line counts from 1; 0: the file as a whole."""

    file: str
    line: int
    reason: Reason
    detail: str

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{place}: {self.reason.value}: {SENTENCES[self.reason]}" + (
            f" {self.detail}" if self.detail else ""
        )


class FileRefused(ValueError):
    """Nothing of the file was imported; ``problems`` says why, in the file's order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(map(str, problems[:3])) + ("; ..." if len(problems) > 3 else ""))  # noqa: PLR2004
        self.problems = problems


class Bad(ValueError):
    """A value of a record is wrong; the reader gives it the file and, where ``line`` is 0, the record's
    line.
    """

    def __init__(self, reason: Reason, detail: str = "", line: int = 0) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail[:DETAIL_MAX]
        self.line = line


class Problems:
    """Collects what is wrong with one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Problem] = []

    def add(self, line: int, reason: Reason, detail: str = "") -> None:
        """Note a problem. Raises FileRefused once there are too many to tell."""
        self.found.append(Problem(self.file, line, reason, detail[:DETAIL_MAX]))
        if len(self.found) >= PROBLEMS_MAX:
            self.refuse()

    def note(self, bad: Bad, line: int = 0) -> None:
        """Note what a record's reading came to. line: of the record."""
        self.add(bad.line or line, bad.reason, bad.detail)

    def stop(self, line: int, reason: Reason, detail: str = "") -> FileRefused:
        """The refusal that ends the reading here, with what was found before."""
        self.found.append(Problem(self.file, line, reason, detail[:DETAIL_MAX]))
        return FileRefused(tuple(self.found))

    def refuse(self) -> None:
        """Raises FileRefused where anything was found."""
        if self.found:
            raise FileRefused(tuple(sorted(self.found, key=lambda problem: problem.line)))
