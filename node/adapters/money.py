"""Amounts as files write them, and the currencies of ISO 4217 with their decimals.

Strict on purpose: ASCII digits and one decimal mark. Never through a float, and never through a Decimal,
whose short texts can ask for seconds of work.
"""

import re
from typing import Final

from node.adapters.records import Money
from node.adapters.refusals import Bad, Reason

DIGITS_MAX: Final = 18
"""ISO 20022 amounts have at most 18 digits."""
FRACTION_MAX: Final = 17
"""Decimals that a control sum, which adds up amounts of any currency, may have."""

_NONE: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_TWO: Final = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ
GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD
MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON
RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS
UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
"""
_THREE: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR: Final = "CLF UYW"
_FORMER: Final = "ANG CUC HRK SLL ZWL DEM NLG ATS BEF FRF ITL ESP PTE FIM GRD IEP LUF"
"""Former codes that statements of earlier years carry; read, and of two decimals."""

DECIMALS: Final = {
    code: decimals
    for decimals, codes in ((0, _NONE), (2, _TWO + _FORMER), (3, _THREE), (4, _FOUR))
    for code in codes.split()
}
"""Currency code (ISO 4217) -> decimals of its minor unit."""

_NUMBER: Final = re.compile(r"([0-9]{0,18})(?:([.,])([0-9]{0,18}))?")


def decimals_of(currency: str) -> int:
    """Decimals of a currency. Raises Bad CURRENCY_UNKNOWN."""
    found = DECIMALS.get(currency)
    if found is None:
        raise Bad(Reason.CURRENCY_UNKNOWN, repr(currency[:10]))
    return found


def parse_money(text: str, currency: str, *, mark: str = ".", line: int = 0) -> Money:
    """``parse_money("2452.5", "CZK")`` is 245250 minor units of CZK.

    mark: the decimal mark. Decimals beyond the currency's are accepted where they are zero, as schemas allow.
    Raises Bad CURRENCY_UNKNOWN, BAD_AMOUNT.
    """
    try:
        return Money(scaled(text, decimals_of(currency), mark=mark), currency)
    except Bad as bad:
        raise Bad(bad.reason, bad.detail, line) from bad


def scaled(text: str, decimals: int, *, mark: str = ".") -> int:
    """A number as an integer times 10 to the power ``decimals``. Raises Bad BAD_AMOUNT."""
    found = _NUMBER.fullmatch(text) if text and len(text) <= 2 * DIGITS_MAX + 1 else None
    if found is None or not (found[1] or found[3]) or (found[2] or mark) != mark:
        raise Bad(Reason.BAD_AMOUNT, f"{text[:40]!r} is no number with {mark!r} as its decimal mark")
    whole, fraction = found[1], found[3] or ""
    if fraction[decimals:].strip("0"):
        raise Bad(Reason.BAD_AMOUNT, f"{text!r} has more than {decimals} decimals")
    value = int((whole + fraction[:decimals].ljust(decimals, "0")) or "0")
    if len(str(value)) > DIGITS_MAX:
        raise Bad(Reason.BAD_AMOUNT, f"{text!r} has more than {DIGITS_MAX} digits")
    return value


def format_minor(minor: int, decimals: int, *, mark: str = ".") -> str:
    """The text of an amount that is not negative: ``format_minor(245250, 2) == "2452.50"``."""
    digits = str(minor).rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}{mark}{digits[-decimals:]}" if decimals else digits


def format_money(money: Money, *, mark: str = ".") -> str:
    """The text of an amount, without its sign."""
    return format_minor(abs(money.minor), decimals_of(money.currency), mark=mark)


class ControlSum:
    """Adds amounts of any currencies as the numbers that they are written with, as control sums do."""

    def __init__(self) -> None:
        self.total = 0
        self.count = 0

    def add(self, money: Money) -> None:
        """Count one amount."""
        self.total += money.minor * 10 ** (FRACTION_MAX - decimals_of(money.currency))
        self.count += 1

    def agrees(self, text: str) -> bool:
        """Whether a control sum as written is this one. Raises Bad BAD_AMOUNT."""
        whole, _, fraction = text.partition(".")
        if not (whole + fraction).isdecimal() or not text.isascii() or len(text) > 2 * DIGITS_MAX:
            raise Bad(Reason.BAD_AMOUNT, f"{text[:40]!r} is no control sum")
        return int(whole + fraction.ljust(FRACTION_MAX, "0")[:FRACTION_MAX]) == self.total

    @property
    def text(self) -> str:
        """The sum, with no more decimals than it needs but two."""
        whole, fraction = divmod(self.total, 10**FRACTION_MAX)
        return f"{whole}.{str(fraction).rjust(FRACTION_MAX, '0').rstrip('0').ljust(2, '0')}"
