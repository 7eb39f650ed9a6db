"""What must hold of a consortium after whatever was done to it: the invariants, on every honest node.

``check_consortium`` waits until the honest nodes are level and take transactions (I10, within the seconds
that the caller states), then checks each one's log by the checker of invariants (I1, I2, I3, I5, I6, I9), the
logs against one another (I5), what was acknowledged against them (I3, I4), receipt files against genesis
alone (I7), and the recorded calls of CometBFT.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from node.engine.engine import Outcome
from node.genesis_file import format_genesis
from node.json_form import write_document
from node.ledger import codec
from node.ledger.types import BlockRecord, Leaf
from node.receipts import Verified, build_receipt_file, verify_receipt_file
from tests.checker import check_ledger
from tests.engine.abci_order import check_order
from tests.engine.comet_bench import Consortium, Validator, applied, until

LIVELY_SECONDS: Final = 20.0
RECEIPTS: Final = 5

_leaf: Callable[[bytes], Leaf] = codec.trusted_decoder(Leaf)


@dataclass
class Held:
    """What was looked at."""

    nodes: int = 0
    blocks: int = 0
    transactions: int = 0
    receipt_files: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.nodes} nodes, {self.blocks} blocks, {self.transactions} transactions, "
            f"{self.receipt_files} receipt files; lively and level in {self.seconds:.1f} s"
        )


async def check_consortium(
    made: Consortium,
    *,
    honest: Sequence[Validator] = (),
    seconds: float = LIVELY_SECONDS,
    acknowledged: Iterable[tuple[bytes, Outcome]] = (),
) -> Held:
    """Raises AssertionError. honest: by default all. seconds: within which new work is decided by each of
    them (I10). acknowledged: (signed bytes, outcome) that clients were told.
    """
    nodes = list(honest) or made.validators
    held = Held(len(nodes))
    began = time.monotonic()
    await check_lively(made, nodes, seconds)
    held.seconds = time.monotonic() - began
    told = list(acknowledged)
    logs = [[*node.store.blocks()] for node in nodes]
    for node, log in zip(nodes, logs, strict=True):
        checked = await asyncio.to_thread(check_ledger, log, made.genesis)
        held.blocks += checked.blocks
        held.transactions += checked.applied + checked.refused
        check_once(log, made, told)
        check_order(node.trace, committed=first_committed(node))
        held.receipt_files += len(await receipts_verified(made, node, log[-1:] + log[: RECEIPTS - 1]))
    check_same(logs)
    return held


async def check_lively(made: Consortium, nodes: Sequence[Validator], seconds: float) -> None:
    """I10: within so many seconds every node decides what is handed to it, and all are level."""
    async with asyncio.timeout(seconds):
        while True:  # a node that is not serving yet says so; the same bytes are handed in again
            raws = [made.pay() for _ in nodes]
            answers = [(await node.submit(raw))[0] for node, raw in zip(nodes, raws, strict=True)]
            if all(applied(answer) for answer in answers):
                break
            await asyncio.sleep(0.1)
        heights = [answer.receipt.height for answer in answers if answer.receipt]
        await until(lambda: min(node.ledger.info().height for node in nodes) >= max(heights), "all are level")
        await until(lambda: len({node.ledger.info().app_hash for node in nodes}) == 1, "one app hash")


def check_same(logs: Sequence[Sequence[BlockRecord]]) -> None:
    """I5: equal app hashes at every height."""
    hashes = [{record.height: record.app_hash for record in log} for log in logs]
    shortest = min(max(each) for each in hashes)
    told = [{height: value for height, value in each.items() if height <= shortest} for each in hashes]
    assert all(each == told[0] for each in told), "app hashes differ"


def check_once(
    log: Sequence[BlockRecord], made: Consortium, acknowledged: Sequence[tuple[bytes, Outcome]]
) -> None:
    """I3, I4: no transaction stands twice, and what was acknowledged stands where its receipt says."""
    places: dict[bytes, tuple[int, int]] = {}
    counted: Counter[bytes] = Counter()
    for record in log:
        for index, data in enumerate(record.leaves):
            leaf = _leaf(data)
            places[leaf.tx_id] = record.height, index
            counted[leaf.tx_id] += any(leaf.tx_id)
    assert max(counted.values()) == 1
    for raw, outcome in acknowledged:
        receipt = outcome.receipt
        if receipt:
            assert receipt.tx_id == made.validators[0].ledger.read(raw).tx_id
            assert places[receipt.tx_id] == (receipt.height, receipt.index), "acknowledged and not there"


def first_committed(node: Validator) -> int:
    """Where a recorded trace begins: what its first run's handshake told."""
    first = next((call for call in node.trace if call.name in ("finalize_block", "init_chain")), None)
    return 0 if first is None or first.name == "init_chain" else first.height - 1


async def receipts_verified(
    made: Consortium, node: Validator, blocks: Iterable[BlockRecord]
) -> list[Verified]:
    """I7: the first transaction of each block, as a receipt file that verifies with genesis alone."""
    newest = node.ledger.info().height
    await until(
        lambda: node.certificates.newest is not None and node.certificates.newest.height >= newest,
        f"validator {node.place} has a certificate",
    )
    trust = format_genesis(made.genesis)
    verified = []
    for record in blocks:
        index = next((at for at, leaf in enumerate(record.leaves) if any(_leaf(leaf).tx_id)), None)
        if index is not None:
            verified.append(verify_receipt_file(receipt_file(made, node, record.height, index), trust))
    return verified


def receipt_file(made: Consortium, node: Validator, height: int, index: int) -> bytes:
    """A receipt file as the node's service makes it."""
    members: Any = node.ledger.readers["members"]
    document = build_receipt_file(
        height,
        index,
        genesis=made.genesis,
        blocks=node.store,
        keys=members.key,
        history=node.ledger,
        certificates=node.certificates,
    )
    return write_document(document)
