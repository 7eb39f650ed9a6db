"""What every act of the trading day works with: one connection, and each bank's own key."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from node.client import BlockingClient
from node.client.clearing import CycleLine, QueueAt
from node.client.describe import event_fields
from node.demo.consortium import ASSET, CENTRAL, ISSUING, Consortium
from node.ledger.types import Operation, Receipt

OPERATOR_ACCOUNT: Final = f"{CENTRAL}/clearing"
"""Through which net positions pass."""


@dataclass(frozen=True, slots=True)
class Desk:
    """A connection to the node, and everybody's signers."""

    client: BlockingClient
    cast: Consortium

    @property
    def banks(self) -> list[str]:
        """The participants: all but the central bank, the issuing bank first."""
        return [ISSUING, *sorted(bank for bank in self.cast.signers if bank not in {ISSUING, CENTRAL})]

    def act(self, member: str, *calls: Operation) -> Receipt:
        """Sign operations with the member's key, and wait for the decision. Raises what the client raises."""
        return self.client.submit(self.client.sign(member, calls, [self.cast.signers[member]]).raw)

    def queue(self, member: str) -> QueueAt:
        """A bank's queue in the clearing of CZK."""
        return self.client.clearing(lambda reads: reads.queue(member, ASSET))

    def line(self, member: str, cycle: int) -> CycleLine:
        """A bank's line in a cycle's report."""
        return self.client.clearing(lambda reads: reads.line(member, ASSET, cycle))

    def spendable(self, member: str, asset: str) -> int:
        """Minor units that a bank's main account can spend."""
        now = self.client.balance(main(member), asset)
        return now.posted - now.held


def main(member: str) -> str:
    """The account over which a bank settles."""
    return f"{member}/main"


def reserve(member: str) -> str:
    """An account of a bank's that no clearing reaches."""
    return f"{member}/reserve"


def events(receipt: Receipt, name: str) -> Iterator[dict[str, Any]]:
    """The facts of one kind that a transaction made, by field."""
    for event in receipt.events:
        if event.event == name:
            yield event_fields(event)
