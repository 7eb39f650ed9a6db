"""The consortium of the demonstration: who takes part, their keys, and how each sets itself up on the
ledger.

Fifteen members where the day has thirteen receiving banks: those, the issuing bank PA, and the central bank
CNB that issues CZK. Each bank has its own encrypted key file and signs for itself alone; three
administrators, two of whom sign together, admit them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contracts.institutions import NewKey
from contracts.positions import ACCOUNTS_MAX
from node.cli.directory import NodeDirectory, make_directory, save_key, write_secret
from node.client import Client, Outcome, load_key, operation
from node.demo.orders import DECIMALS, Order
from node.keys.keystore import COST_MIN
from node.keys.signer import Signer, generate
from node.ledger.hashing import Suite
from node.ledger.types import AMOUNT_MAX, OPERATIONS_MAX, AdministratorKey, Operation

ADMINISTRATOR: Final = "ADMIN"
ISSUING: Final = "PA"
CENTRAL: Final = "CNB"
ASSET: Final = "CZK"
ADMINISTRATORS: Final = 3
THRESHOLD: Final = 2
ROLES: Final = {CENTRAL: ("issuer", "participant")}
PASSPHRASE: Final = b"only for a demonstration"
"""The key files are made for this run and guard nothing."""


class DemoFailed(Exception):
    """Something is not what it must be; the text says what."""


@dataclass(frozen=True, slots=True)
class Consortium:
    """The node's directory and everybody's signers, read back from their key files."""

    node: NodeDirectory
    administrators: tuple[Signer, ...]
    signers: dict[str, Signer]


def found(path: Path, banks: Sequence[str], listen: str, suite: Suite) -> Consortium:
    """Make the node's directory, a key file for every administrator and member, and load them. Raises:
    KeystoreError, OSError.
    """
    people = path / "banks"
    people.mkdir(parents=True, mode=0o700)
    passphrase = people / "passphrase"
    write_secret(passphrase, PASSPHRASE)
    algorithm = suite.algorithms[0]
    holders = [f"administrator-{number}" for number in range(1, ADMINISTRATORS + 1)]
    administrators = {
        holder: _new_key(people / f"{holder}.json", passphrase, holder, algorithm) for holder in holders
    }
    members = {
        bank: _new_key(people / f"{bank}.json", passphrase, bank, algorithm)
        for bank in (ISSUING, *banks, CENTRAL)
    }
    node = make_directory(
        path / "node",
        name="A payment day",
        administrators=[
            AdministratorKey(key.algorithm, key.public_key, holder) for holder, key in administrators.items()
        ],
        threshold=THRESHOLD,
        administrator=ADMINISTRATOR,
        settings={"listen": listen},
        cost=COST_MIN,
        suite=suite,
    )
    return Consortium(node, tuple(administrators.values())[:THRESHOLD], members)


def _new_key(path: Path, passphrase: Path, label: str, algorithm: str) -> Signer:
    save_key(path, generate(algorithm), passphrase, label=label, cost=COST_MIN)
    return load_key(path, passphrase)


def debit_account(order: Order) -> str:
    """The account that an order debits."""
    return f"{ISSUING}/{order.account_id}"


def credit_account(order: Order) -> str:
    """The account that an order credits."""
    return f"{order.bank_to}/{order.account_to}"


def payment(order: Order) -> Operation:
    """The order as PA sends it: end-to-end id is the order's, purpose what the customer told."""
    source, destination = debit_account(order), credit_account(order)
    return operation(
        "transfers", "send", source, destination, ASSET, order.amount, order.order_id, b"", order.purpose
    )


async def admit(client: Client, consortium: Consortium, roles: Mapping[str, tuple[str, ...]]) -> int:
    """Admit every member in one transaction of the administrators; CNB then registers its currency. How
    many members. roles: of those that are more than participants.
    """
    admissions = [
        operation(
            "members",
            "admit",
            member,
            f"Bank {member}" if member != CENTRAL else "Central bank",
            "",
            roles.get(member, ("participant",)),
            (NewKey(key.algorithm, key.public_key, "payments", ("*",)),),
        )
        for member, key in consortium.signers.items()
    ]
    for start in range(0, len(admissions), OPERATIONS_MAX):
        part = admissions[start : start + OPERATIONS_MAX]
        await client.submit(client.sign(ADMINISTRATOR, part, consortium.administrators).raw)
    register = operation("assets", "register", ASSET, "currency", DECIMALS, AMOUNT_MAX, bytes(32))
    await client.submit(client.sign(CENTRAL, [register], [consortium.signers[CENTRAL]]).raw)
    return len(admissions)


async def open_accounts(client: Client, consortium: Consortium, orders: Sequence[Order]) -> tuple[int, int]:
    """Every bank opens its own accounts; how many are debited and how many credited."""
    debited = dict.fromkeys(debit_account(order) for order in orders)
    credited = dict.fromkeys(credit_account(order) for order in orders)
    accounts: dict[str, list[str]] = {}
    for account in debited | credited:
        accounts.setdefault(account.partition("/")[0], []).append(account)
    transactions = [
        client.sign(member, [operation("assets", "open_accounts", part)], [consortium.signers[member]]).raw
        for member, names in accounts.items()
        for part in _parts(names)
    ]
    _check_applied(await client.submit_many(transactions), "opening accounts")
    return len(debited), len(credited)


async def fund(client: Client, consortium: Consortium, orders: Sequence[Order]) -> int:
    """CNB issues to every account of PA exactly what its orders need; the sum in hellers."""
    needs: dict[str, int] = {}
    for order in orders:
        needs[debit_account(order)] = needs.get(debit_account(order), 0) + order.amount
    issues = [
        operation("assets", "issue", ASSET, account, amount, "opening") for account, amount in needs.items()
    ]
    transactions = [
        client.sign(CENTRAL, issues[start : start + OPERATIONS_MAX], [consortium.signers[CENTRAL]]).raw
        for start in range(0, len(issues), OPERATIONS_MAX)
    ]
    _check_applied(await client.submit_many(transactions), "funding accounts")
    return sum(needs.values())


def _parts(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(names), ACCOUNTS_MAX):
        yield tuple(names[start : start + ACCOUNTS_MAX])


def _check_applied(outcomes: Sequence[Outcome], what: str) -> None:
    for outcome in outcomes:
        if not outcome.applied:
            raise DemoFailed(f"{what}: {outcome.word}: {outcome.refusal or outcome.reason}")
