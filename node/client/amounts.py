"""Amounts at the edge: the one place where people's decimal text becomes an integer of minor units, and back.

Strict on purpose: ASCII digits and at most one point; no sign, exponent, blank, separator or other script's
digits, and never through a float or a Decimal (a short text can ask those for seconds of work).
"""

import re
from typing import Final

from node.ledger.types import AMOUNT_MAX

TEXT_MAX: Final = 40
_AMOUNT: Final = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,18}))?")


class BadAmount(ValueError):
    """A text that is no amount of its asset; the message says why, for people."""


def parse_amount(text: str, decimals: int) -> int:
    """Minor units of ``text`` in an asset with so many decimals: ``parse_amount("2452.5", 2) == 245250``.

    Fewer decimals than the asset has are filled with zeros, more are refused, even zeros. Raises: BadAmount.
    """
    found = _AMOUNT.fullmatch(text[:TEXT_MAX])
    if found is None or len(text) > TEXT_MAX:
        raise BadAmount(
            f"{text[:TEXT_MAX]!r} is no amount: write digits and at most one point, for example 2452.00"
        )
    whole, fraction = found.group(1), found.group(2) or ""
    if len(fraction) > decimals:
        raise BadAmount(f"{text!r} has more than the {decimals} decimals of its asset")
    minor = int(whole + fraction.ljust(decimals, "0"))
    if not 1 <= minor <= AMOUNT_MAX:
        raise BadAmount(f"{text!r} is {'zero' if minor == 0 else 'more than the largest amount'}")
    return minor


def format_amount(minor: int, decimals: int, *, group: str = "") -> str:
    """The decimal text of minor units, which may be negative: ``format_amount(245250, 2) == "2452.50"``.
    group: between thousands.
    """
    sign, digits = "-" * (minor < 0), str(abs(minor)).rjust(decimals + 1, "0")
    whole, fraction = (digits[:-decimals], "." + digits[-decimals:]) if decimals else (digits, "")
    return sign + (f"{int(whole):,}".replace(",", group) if group else whole) + fraction
