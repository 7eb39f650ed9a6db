"""A second opinion: assets, accounts, transfers and holds as the contracts' docstrings say, in dictionaries.

It shares no line with the contracts. A refusal is its name; the order of the checks is the public order of
precedence. A transaction that fails puts back a copy of everything: all or nothing by construction.
"""

import copy
from typing import Any

COUNT_MAX = 2**63 - 1
NINETY_DAYS_MS = 90 * 86_400_000


class Refused(Exception):
    """The name of the refusal."""


class Books:
    """Everything that the reference remembers."""

    def __init__(self, issuers: set[str]) -> None:
        self.issuers = issuers
        self.assets: dict[str, dict[str, Any]] = {}
        self.accounts: dict[str, dict[str, Any]] = {}
        self.posted: dict[tuple[str, str], int] = {}
        self.holds: dict[tuple[str, str], dict[str, Any]] = {}

    def run(self, member: str, time_ms: int, operations: list[tuple[str, dict[str, Any]]]) -> tuple[str, int]:
        """Apply all operations or none; ("", 0), or the refusal's name and the operation that failed."""
        before = copy.deepcopy(self.__dict__)
        for number, (method, arguments) in enumerate(operations, 1):
            try:
                getattr(self, method)(member, time_ms, **arguments)
            except Refused as refused:
                self.__dict__.update(before)
                return str(refused), number
        return "", 0

    def expire(self, time_ms: int) -> None:
        """Every pending hold whose time has come gives back what it held."""
        for hold in self.holds.values():
            if hold["status"] == "pending" and hold["expires_ms"] <= time_ms:
                hold["status"] = "expired"

    def held(self, account: str, asset: str) -> int:
        """Held is, by definition, what the pending holds of an account add up to."""
        return sum(
            hold["amount"]
            for (source, _), hold in self.holds.items()
            if (source, hold["asset"], hold["status"]) == (account, asset, "pending")
        )

    def balance(self, account: str, asset: str) -> tuple[int, int]:
        """(posted, held)."""
        return self.posted.get((account, asset), 0), self.held(account, asset)

    def register(self, member: str, time_ms: int, asset: str, cap: int) -> None:
        refuse("NOT_ISSUER", member not in self.issuers)
        refuse("ASSET_EXISTS", asset in self.assets)
        self.assets[asset] = {"issuer": member, "cap": cap, "frozen": False, "issued": 0, "redeemed": 0}

    def issue(self, member: str, time_ms: int, asset: str, account: str, amount: int) -> None:
        row = self._issuers_own(member, asset)
        refuse("ASSET_FROZEN", row["frozen"])
        refuse("CAP_EXCEEDED", row["issued"] - row["redeemed"] + amount > row["cap"])
        refuse("BALANCE_OVERFLOW", row["issued"] + amount > COUNT_MAX)
        self._usable(account)
        row["issued"] += amount
        self._change(account, asset, amount)

    def redeem(self, member: str, time_ms: int, asset: str, account: str, amount: int) -> None:
        row = self._issuers_own(member, asset)
        refuse("ASSET_FROZEN", row["frozen"])
        self._debitable(member, account)
        self._available(account, asset, amount)
        row["redeemed"] += amount
        self._change(account, asset, -amount)

    def freeze_asset(self, member: str, time_ms: int, asset: str) -> None:
        row = self._issuers_own(member, asset)
        refuse("STATUS_UNCHANGED", row["frozen"])
        row["frozen"] = True

    def release_asset(self, member: str, time_ms: int, asset: str) -> None:
        row = self._issuers_own(member, asset)
        refuse("STATUS_UNCHANGED", not row["frozen"])
        row["frozen"] = False

    def open_accounts(self, member: str, time_ms: int, accounts: list[str]) -> None:
        for account in accounts:
            refuse("NOT_OWN_MEMBER", account.split("/")[0] != member)
            refuse("ACCOUNT_EXISTS", account in self.accounts)
            self.accounts[account] = {"member": member, "status": "open"}

    def close_account(self, member: str, time_ms: int, account: str) -> None:
        self._set_status(member, account, "closed")

    def freeze_account(self, member: str, time_ms: int, account: str) -> None:
        self._set_status(member, account, "frozen")

    def release_account(self, member: str, time_ms: int, account: str) -> None:
        self._set_status(member, account, "open")

    def _set_status(self, member: str, account: str, status: str) -> None:
        row = self._own(member, account)
        refuse("ACCOUNT_CLOSED", row["status"] == "closed")
        refuse("STATUS_UNCHANGED", row["status"] == status)
        rest = any(amount for (name, _), amount in self.posted.items() if name == account)
        refuse("BALANCE_REMAINS", status == "closed" and rest)
        row["status"] = status

    def send(self, member: str, time_ms: int, source: str, destination: str, asset: str, amount: int) -> None:
        self._transferable(member, source, asset)
        self._pay(source, destination, asset, amount)

    def send_many(
        self, member: str, time_ms: int, source: str, asset: str, total: int, legs: list[tuple[str, int]]
    ) -> None:
        self._transferable(member, source, asset)
        refuse("TOTAL_DIFFERS", sum(amount for _, amount in legs) != total)
        for destination, amount in legs:
            self._pay(source, destination, asset, amount)

    def reserve(
        self, member: str, time_ms: int, hold: str, source: str, expires_ms: int, **rest: Any
    ) -> None:
        destination, asset, amount = rest["destination"], rest["asset"], rest["amount"]
        self._transferable(member, source, asset)
        refuse("SAME_ACCOUNT", source == destination)
        self._usable(destination)
        refuse("EXPIRY_OUT_OF_RANGE", not time_ms < expires_ms <= time_ms + NINETY_DAYS_MS)
        self._available(source, asset, amount)
        row = {"destination": destination, "asset": asset, "amount": amount, "expires_ms": expires_ms}
        self.holds[source, hold] = {**row, "status": "pending", "posted": 0}

    def post(self, member: str, time_ms: int, source: str, hold: str, amount: int) -> None:
        self._debitable(member, source)
        row = self._pending(source, hold)
        refuse("MORE_THAN_HELD", amount > row["amount"])
        refuse("ASSET_FROZEN", self.assets[row["asset"]]["frozen"])
        self._usable(row["destination"])
        row["status"], row["posted"] = "posted", amount
        self._change(source, row["asset"], -amount)
        self._change(row["destination"], row["asset"], amount)

    def void(self, member: str, time_ms: int, source: str, hold: str) -> None:
        refuse("HOLD_UNKNOWN", (source, hold) not in self.holds)
        parties = (source.split("/", maxsplit=1)[0], self.holds[source, hold]["destination"].split("/")[0])
        refuse("NOT_A_PARTY", member not in parties)
        self._pending(source, hold)["status"] = "voided"

    def _issuers_own(self, member: str, asset: str) -> dict[str, Any]:
        refuse("ASSET_UNKNOWN", asset not in self.assets)
        refuse("NOT_ISSUER", self.assets[asset]["issuer"] != member)
        return self.assets[asset]

    def _own(self, member: str, account: str) -> dict[str, Any]:
        refuse("ACCOUNT_UNKNOWN", account not in self.accounts)
        refuse("NOT_OWNER", self.accounts[account]["member"] != member)
        return self.accounts[account]

    def _usable(self, account: str) -> None:
        refuse("ACCOUNT_UNKNOWN", account not in self.accounts)
        refuse("ACCOUNT_FROZEN", self.accounts[account]["status"] == "frozen")
        refuse("ACCOUNT_CLOSED", self.accounts[account]["status"] == "closed")

    def _debitable(self, member: str, account: str) -> None:
        self._own(member, account)
        self._usable(account)

    def _transferable(self, member: str, source: str, asset: str) -> None:
        refuse("ASSET_UNKNOWN", asset not in self.assets)
        refuse("ASSET_FROZEN", self.assets[asset]["frozen"])
        self._debitable(member, source)

    def _available(self, account: str, asset: str, amount: int) -> None:
        posted, held = self.balance(account, asset)
        refuse("INSUFFICIENT_BALANCE", posted - held < amount)

    def _pending(self, source: str, hold: str) -> dict[str, Any]:
        refuse("HOLD_UNKNOWN", (source, hold) not in self.holds)
        refuse("HOLD_ENDED", self.holds[source, hold]["status"] != "pending")
        return self.holds[source, hold]

    def _pay(self, source: str, destination: str, asset: str, amount: int) -> None:
        refuse("SAME_ACCOUNT", source == destination)
        self._usable(destination)
        self._available(source, asset, amount)
        self._change(source, asset, -amount)
        self._change(destination, asset, amount)

    def _change(self, account: str, asset: str, amount: int) -> None:
        self.posted[account, asset] = self.posted.get((account, asset), 0) + amount


def refuse(name: str, when: bool) -> None:
    """Raises Refused."""
    if when:
        raise Refused(name)
