"""Payment orders: how a day's file is read, and a day of the same shape that the project makes itself.

A file has one line an order, ``;`` between fields, text in double quotes:

    "order_id";"account_id";"bank_to";"account_to";"amount";"k_symbol"
    29401;1;"YZ";"87144583";2452.00;"SIPO"

That is the form of the permanent orders of the PKDD'99 Discovery Challenge ("Financial Data Set", Berka and
Sochorova), of which the generated day keeps the shape and not one value. Its distribution:

* 3,758 debited accounts, of which 2,103 have one order, 949 two, 416 three, 228 four and 62 five: 6,471
  orders.
* The receiving bank is drawn evenly from thirteen. The credited account is a new number of eight digits,
  except one order in 256, which goes where an earlier order went.
* The purpose by shares of 6,471: SIPO (household) 3,502, UVER (loan) 717, POJISTNE (insurance) 532, LEASING
  341, blank 1,379.
* The amount by purpose, between the quantiles of QUANTILES (linear in between); whole crowns for all but
  loans and leasing, which go to ten hellers.

Chance is SplitMix64 (Steele, Lea and Flood 2014), integers only: one seed gives the same day on every
machine and every Python.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.client.amounts import BadAmount, format_amount, parse_amount

DECIMALS: Final = 2
ORDERS_MAX: Final = 1_000_000
BANK_CHARACTERS_MAX: Final = 16
SEED_DEFAULT: Final = 1999
COLUMNS: Final = ("order_id", "account_id", "bank_to", "account_to", "amount", "k_symbol")

BANKS: Final = ("AB", "CD", "EF", "GH", "IJ", "KL", "MN", "OP", "QR", "ST", "UV", "WX", "YZ")
ORDERS_AN_ACCOUNT: Final = ((1, 2_103), (2, 949), (3, 416), (4, 228), (5, 62))
"""(orders, debited accounts that have so many)."""
PURPOSES: Final = (("SIPO", 3_502), ("UVER", 717), ("POJISTNE", 532), ("LEASING", 341), ("", 1_379))
"""(purpose, its share)."""
QUANTILES: Final = {
    "SIPO": (1, 480, 2_000, 3_190, 5_530, 9_550, 14_900),
    "UVER": (300, 960, 2_480, 3_990, 5_900, 8_090, 9_910),
    "POJISTNE": (1, 17, 176, 629, 1_650, 5_190, 12_500),
    "LEASING": (400, 660, 1_280, 1_950, 3_070, 4_560, 4_980),
    "": (1, 44, 475, 1_340, 2_870, 6_390, 12_900),
}
"""Purpose -> crowns at the quantiles of QUANTILE_POINTS."""
QUANTILE_POINTS: Final = (0, 500, 2_500, 5_000, 7_500, 9_500, 10_000)
"""In ten-thousandths."""
TEN_HELLERS: Final = ("UVER", "LEASING")
REPEATED_ONE_IN: Final = 256


class BadOrders(ValueError):
    """The file is no file of orders; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Order:
    """One payment order. amount: in hellers. purpose: "" where the bank was told none."""

    order_id: str
    account_id: str
    bank_to: str
    account_to: str
    amount: int
    purpose: str


def read_orders(path: Path) -> list[Order]:
    """The orders of a file, in its order. Raises: BadOrders, OSError."""
    with path.open(encoding="ascii", newline="") as file:
        try:
            rows = csv.reader(file, delimiter=";", strict=True)
            if tuple(next(rows, ())) != COLUMNS:
                raise BadOrders(f"{path}: the first line must name the columns {';'.join(COLUMNS)}")
            orders = [_order(path, rows.line_num, row) for row in rows]
        except (csv.Error, UnicodeDecodeError) as error:
            raise BadOrders(f"{path}: {error}") from error
    if not 1 <= len(orders) <= ORDERS_MAX:
        raise BadOrders(f"{path}: a day has 1 to {ORDERS_MAX:,} orders, this file {len(orders):,}")
    if len({order.order_id for order in orders}) != len(orders):
        raise BadOrders(f"{path}: an order_id stands there twice")
    return orders


def write_orders(path: Path, orders: Iterable[Order]) -> None:
    """Write a file that ``read_orders`` reads."""
    lines = [";".join(f'"{name}"' for name in COLUMNS)]
    for order in orders:
        amount = format_amount(order.amount, DECIMALS)
        purpose = order.purpose or " "
        lines.append(
            f'{order.order_id};{order.account_id};"{order.bank_to}";"{order.account_to}";{amount};"{purpose}"'
        )
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _order(path: Path, line: int, row: Sequence[str]) -> Order:
    if len(row) != len(COLUMNS):
        raise BadOrders(f"{path}, line {line}: {len(row)} fields instead of {len(COLUMNS)}")
    order_id, account_id, bank_to, account_to, amount, purpose = row
    for name, text, longest in (
        ("order_id", order_id, 20),
        ("account_id", account_id, 20),
        ("account_to", account_to, 20),
    ):
        if not (text.isalnum() and len(text) <= longest):
            raise BadOrders(
                f"{path}, line {line}: {name} must be 1 to {longest} letters and digits, not {text[:40]!r}"
            )
    if not (bank_to.isalnum() and bank_to.upper() == bank_to and len(bank_to) <= BANK_CHARACTERS_MAX):
        raise BadOrders(
            f"{path}, line {line}: bank_to must be 1 to 16 capitals and digits, not {bank_to[:40]!r}"
        )
    try:
        return Order(
            order_id, account_id, bank_to, account_to, parse_amount(amount, DECIMALS), purpose.strip()[:35]
        )
    except BadAmount as error:
        raise BadOrders(f"{path}, line {line}: {error}") from error


class Chance:
    """SplitMix64: a sequence of 64-bit integers that follows from its seed alone."""

    def __init__(self, seed: int) -> None:
        self._state = seed % 2**64

    def below(self, bound: int) -> int:
        """An integer from 0 to bound - 1; the bias of the remainder is below bound / 2^64."""
        self._state = (self._state + 0x9E3779B97F4A7C15) % 2**64
        mixed = (self._state ^ self._state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
        return (mixed ^ mixed >> 31) % bound


def generated_day(seed: int = SEED_DEFAULT) -> list[Order]:
    """A payment day of 6,471 orders; the module's docstring gives its distribution."""
    chance = Chance(seed)
    counts = [count for count, accounts in ORDERS_AN_ACCOUNT for _ in range(accounts)]
    _shuffle(chance, counts)
    orders: list[Order] = []
    taken: set[tuple[str, str]] = set()
    for account, count in enumerate(counts, 1):
        for _ in range(count):
            number = len(orders) + 1
            bank, credited = _destination(chance, orders, taken)
            purpose = _purpose(chance)
            orders.append(
                Order(str(10_000 + number), str(account), bank, credited, _amount(chance, purpose), purpose)
            )
    return orders


@dataclass(frozen=True, slots=True)
class Returned:
    """An order of a bank other than the issuing one. amount: in hellers."""

    order_id: str
    debtor: str
    creditor: str
    amount: int
    purpose: str


def returned_orders(orders: Sequence[Order], issuing: str, seed: int = SEED_DEFAULT) -> list[Returned]:
    """What the receiving banks' customers order on the same day, so that there is something to net: as many
    orders, of the amounts and purposes of ``generated_day``. Of four, three go to the issuing bank; the first
    banks of the alphabet pay most.
    """
    chance = Chance(seed + 1)
    banks = sorted({order.bank_to for order in orders})
    found: list[Returned] = []
    for number in range(1, len(orders) + 1):
        debtor = banks[min(chance.below(len(banks)), chance.below(len(banks)))]
        others = [bank for bank in banks if bank != debtor]
        to_issuing = not others or chance.below(4) > 0
        creditor = issuing if to_issuing else others[chance.below(len(others))]
        purpose = _purpose(chance)
        found.append(Returned(f"R{number}", debtor, creditor, _amount(chance, purpose), purpose))
    return found


def _shuffle(chance: Chance, values: list[int]) -> None:
    for at in range(len(values) - 1, 0, -1):
        other = chance.below(at + 1)
        values[at], values[other] = values[other], values[at]


def _destination(chance: Chance, orders: Sequence[Order], taken: set[tuple[str, str]]) -> tuple[str, str]:
    if orders and chance.below(REPEATED_ONE_IN) == 0:
        earlier = orders[chance.below(len(orders))]
        return earlier.bank_to, earlier.account_to
    while True:
        destination = BANKS[chance.below(len(BANKS))], str(10_000_000 + chance.below(90_000_000))
        if destination not in taken:
            taken.add(destination)
            return destination


def _purpose(chance: Chance) -> str:
    drawn = chance.below(sum(share for _, share in PURPOSES))
    for purpose, share in PURPOSES:
        if drawn < share:
            return purpose
        drawn -= share
    raise AssertionError("the shares add up")


def _amount(chance: Chance, purpose: str) -> int:
    """Hellers, between the two quantiles around a drawn point."""
    point = chance.below(QUANTILE_POINTS[-1])
    upper = next(at for at, limit in enumerate(QUANTILE_POINTS) if point < limit)
    low, high = QUANTILE_POINTS[upper - 1], QUANTILE_POINTS[upper]
    least, most = QUANTILES[purpose][upper - 1] * 100, QUANTILES[purpose][upper] * 100
    step = 10 if purpose in TEN_HELLERS else 100
    return max((least + (most - least) * (point - low) // (high - low)) // step * step, step)
