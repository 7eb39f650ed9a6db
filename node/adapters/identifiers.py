"""Identifiers with check digits or a fixed shape: IBAN, BIC, LEI, ISIN, UETR. Each check returns the
identifier as it is written in messages, or raises Bad.
"""

import re
from functools import lru_cache
from typing import Final
from uuid import UUID

from schwifty import BIC, IBAN
from schwifty.exceptions import SchwiftyException

from node.adapters.refusals import Bad, Reason

TEXT_MAX: Final = 40
SEEN_MAX: Final = 100_000
"""Identifiers whose check is remembered: a salary file names its debtor a hundred thousand times."""
UUID_VERSION: Final = 4

_LEI: Final = re.compile(r"[A-Z0-9]{18}[0-9]{2}")
_ISIN: Final = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")


@lru_cache(maxsize=SEEN_MAX)
def check_iban(text: str) -> str:
    """An IBAN: country, length, shape and check digits (ISO 13616, ISO 7064). Raises Bad BAD_IBAN."""
    try:
        return str(IBAN(text[:TEXT_MAX]).compact)
    except SchwiftyException as error:
        raise Bad(Reason.BAD_IBAN, f"{text[:TEXT_MAX]!r}: {error}.") from error


def is_iban(text: str) -> bool:
    """Whether a text is a right IBAN."""
    try:
        return check_iban(text) == text
    except Bad:
        return False


@lru_cache(maxsize=SEEN_MAX)
def check_bic(text: str) -> str:
    """A BIC of 8 or 11 characters (ISO 9362). Whether a bank has it is not looked up. Raises Bad BAD_BIC."""
    try:
        return str(BIC(text[:TEXT_MAX], allow_invalid=False).compact)
    except SchwiftyException as error:
        raise Bad(Reason.BAD_BIC, f"{text[:TEXT_MAX]!r}: {error}.") from error


def is_bic(text: str) -> bool:
    """Whether a text has a BIC's shape: who sent a message may also be told by name."""
    try:
        return check_bic(text) == text
    except Bad:
        return False


def check_lei(text: str) -> str:
    """An LEI: 20 characters, remainder 1 modulo 97 (ISO 17442, ISO 7064 MOD 97-10). Raises Bad BAD_LEI."""
    if not _LEI.fullmatch(text) or int("".join(str(int(sign, 36)) for sign in text)) % 97 != 1:
        raise Bad(Reason.BAD_LEI, repr(text[:TEXT_MAX]))
    return text


def check_isin(text: str) -> str:
    """An ISIN: letters as two digits each, then the check digit by doubling (ISO 6166). Raises Bad
    BAD_ISIN.
    """
    if not _ISIN.fullmatch(text):
        raise Bad(Reason.BAD_ISIN, repr(text[:TEXT_MAX]))
    digits = "".join(str(int(sign, 36)) for sign in text)
    doubled = [int(sign) * (1 + place % 2) for place, sign in enumerate(reversed(digits))]
    if sum(value // 10 + value % 10 for value in doubled) % 10:
        raise Bad(Reason.BAD_ISIN, f"{text!r}: wrong check digit")
    return text


def check_uetr(text: str) -> str:
    """A UETR: a UUID of version 4 as text (RFC 9562), in lower case. Raises Bad BAD_UETR."""
    if not _UUID.fullmatch(text) or UUID(text).version != UUID_VERSION:
        raise Bad(Reason.BAD_UETR, repr(text[:TEXT_MAX]))
    return text.lower()
