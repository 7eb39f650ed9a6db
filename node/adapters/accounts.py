"""Which account of the ledger stands behind an IBAN, a bank's own number or a BIC: a mapping file (TOML) of
the bank's.

    [accounts]
    "CZ6508000000192000145399" = "PA/main"
    [banks]                              # for payments between banks: the BIC's account
    "ABABCZPP" = "AB/settlement"
    [assets]                             # currency -> asset, where the ids differ
    "CZK" = "CZK"

A number that is an account of the ledger already (``MEMBER/local``) needs no line. A statement's number is
found however its bank writes it ("1017.490.554 EUR" by "1017490554").
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from node.adapters.records import Kind, Party
from node.adapters.refusals import Problems, Reason

MAPPING_BYTES_MAX: Final = 64 << 20
TABLES: Final = frozenset({"accounts", "banks", "assets"})

_FILLERS: Final = re.compile(r"[ .-]")
_OWN: Final = re.compile(r"[A-Z0-9][A-Z0-9-]{0,15}/[A-Za-z0-9][A-Za-z0-9._-]{0,33}")


@dataclass(frozen=True, slots=True)
class Accounts:
    """The three tables of a mapping file."""

    accounts: Mapping[str, str] = field(default_factory=dict)
    banks: Mapping[str, str] = field(default_factory=dict)
    assets: Mapping[str, str] = field(default_factory=dict)

    def account_of(self, party: Party, kind: Kind) -> str:
        """The ledger's account of a party, or empty where no line and no form gives one."""
        found = self.own_of(party.account)
        if found or kind is Kind.CUSTOMER:
            return found
        return self.banks.get(party.bic) or self.banks.get(party.bic[:8]) or ""

    def own_of(self, number: str) -> str:
        """The ledger's account behind a number as a statement writes it, or empty."""
        return self.accounts.get(number) or (number if _OWN.fullmatch(number) else "")

    def of_statement(self, number: str, bank: str, currency: str) -> str:
        """The ledger's account that a statement is about, or empty. bank: the BIC of who wrote it, or empty.

        Banks write one number in many ways: with blanks or full stops, its currency behind it, a bank's code
        before it. A line for ``BIC/number`` goes before one for the number alone.
        """
        known = {_plain(key): own for key, own in self.accounts.items()}
        plain = _plain(number)
        bare = plain.removesuffix(currency).strip("/")
        for name in (f"{bank[:8]}/{bare}", plain, bare, bare.rpartition("/")[2]):
            if name in known:
                return known[name]
        return number if _OWN.fullmatch(number) else ""

    def asset_of(self, currency: str) -> str:
        """The asset that a currency is on the ledger."""
        return self.assets.get(currency, currency)

    def name_of(self, account: str) -> str:
        """The number under which the bank knows a ledger account; the account itself where no line names
        one.
        """
        return next((number for number, own in self.accounts.items() if own == account), account)


def _plain(number: str) -> str:
    return _FILLERS.sub("", number.upper())


def load_accounts(path: Path | None) -> Accounts:
    """A mapping file; without one, no lines. Raises FileRefused MAPPING, OSError."""
    if path is None:
        return Accounts()
    problems = Problems(path.name)
    raw = path.read_bytes()
    if len(raw) > MAPPING_BYTES_MAX:
        raise problems.stop(0, Reason.MAPPING, f"more than {MAPPING_BYTES_MAX:,} bytes")
    try:
        told = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise problems.stop(0, Reason.MAPPING, str(error)) from error
    for name, table in told.items():
        if name not in TABLES or not isinstance(table, dict):
            raise problems.stop(0, Reason.MAPPING, f"{name} is none of {', '.join(sorted(TABLES))}")
        for key, value in table.items():
            if not isinstance(value, str) or (name != "assets" and not _OWN.fullmatch(value)):
                raise problems.stop(0, Reason.MAPPING, f"{key} = {value!r}: the right side is MEMBER/local")
    return Accounts(**told)
