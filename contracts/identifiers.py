"""The check digits of securities and legal entities, in whole numbers.

ISIN (ISO 6166): two letters of a country, nine characters, and a check digit by Luhn's formula over the
digits of all characters, a letter being two (A = 10 ... Z = 35). LEI (ISO 17442): eighteen characters and two
check digits by ISO 7064 MOD 97-10: the number that the characters spell leaves 1 when divided by 97.
"""

from typing import Annotated

from msgspec import Meta

from node.ledger.types import AssetId, Record

Isin = Annotated[str, Meta(max_length=12, pattern=r"\A([A-Z]{2}[A-Z0-9]{9}[0-9])?\Z")]
"""An ISIN, or empty."""
Lei = Annotated[str, Meta(max_length=20, pattern=r"\A([A-Z0-9]{18}[0-9]{2})?\Z")]
"""An LEI, or empty."""


class Taken(Record, frozen=True):
    """For which asset an identifier or a terms document is used."""

    asset: AssetId


def is_isin(text: str) -> bool:
    """Whether the check digit of an ISIN of the right shape is right (ISO 6166, annex A)."""
    total = 0
    for at, digit in enumerate(reversed(_digits(text))):
        value = int(digit) * (
            1 + at % 2
        )  # every second digit from the right, the check digit not, is doubled
        total += value // 10 + value % 10
    return total % 10 == 0


def is_lei(text: str) -> bool:
    """Whether the check digits of an LEI of the right shape are right (ISO 17442; ISO 7064 MOD 97-10)."""
    return int(_digits(text)) % 97 == 1


def _digits(text: str) -> str:
    """A letter as the two digits of its number, A being 10; a digit as itself."""
    return "".join([str(int(character, 36)) for character in text])
