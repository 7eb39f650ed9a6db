"""The benchmark's case of trading: deals settled, delivery versus payment in one operation each.

The set-up, before the clock starts: a bond, one seller whose accounts hold it, one buyer whose accounts hold
money, and as many deals as will be settled, each agreed by both. Every settlement changes four balances, of
accounts taken in turn.
"""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import uvloop

from bench_load import BANK, BenchNode, Load, batched, op
from node.keys.signer import Ed25519Signer
from node.ledger import codec
from node.ledger.types import Receipt
from node.pb.vostro.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb

if TYPE_CHECKING:
    from bench import Bench

BUYER: Final = Ed25519Signer(bytes([4]) * 32)
ACCOUNTS: Final = 1_000
HOUR_MS: Final = 3_600_000
OPERATIONS: Final = 100
RATE: Final = 8_000
"""Deals a second for which deals are prepared, at most, with one signature each."""
RATE_MANY: Final = 24_000


def dvp(bench: "Bench") -> None:
    """One settle operation a deal: one signature a deal, then one for 100 deals."""
    for name, operations, rate in (("dvp", 1, RATE), ("dvp, 100 a signature", OPERATIONS, RATE_MANY)):
        node = bench.node(f"dvp-{operations}", ACCOUNTS)
        count = int(rate * bench.seconds * bench.repeats / 2) // OPERATIONS * OPERATIONS
        bench.say(f"agreeing {count:,} deals")
        deals = uvloop.run(agree(node, count))
        calls = [op("settlement", "settle", deal) for deal in deals]
        raws = [
            node.transaction(BUYER, "KB", *calls[at : at + operations])
            for at in range(0, len(calls), operations)
        ]
        size, clients = (100, 24) if operations == 1 else (4, 12)
        full = bench.load(node, batched(raws, size), lambda load: load.batch, clients)
        bench.tell(
            name,
            full.rate * operations,
            "deals/s",
            full.percentile(0.5),
            full.percentile(0.99),
            clients=clients,
            refused=full.refused,
            resident_mib=round(node.resident_mib()),
        )
        node.stop()


async def agree(node: BenchNode, count: int) -> list[bytes]:
    """Members, a bond, money and ``count`` deals; their ids. Raises RuntimeError where one is refused."""
    async with Load(node.target) as load:
        stub = load.stubs[0]

        async def must(*raws: bytes) -> list[Any]:
            answer = await stub.SubmitBatch(pb.SubmitBatchRequest(signed_transactions=raws), timeout=120)
            receipts = [outcome.receipt for outcome in answer.outcomes]
            if any(outcome.WhichOneof("outcome") != "receipt" for outcome in answer.outcomes) or any(
                receipt.code for receipt in receipts
            ):
                raise RuntimeError(f"set-up was refused: {answer.outcomes[0]}")
            return receipts

        if not (node.directory / "market").exists():
            await _open_market(node, must)
            (node.directory / "market").touch()
        status = await _status(load)
        offers = await must(*[_offer(node, number, status) for number in range(ACCOUNTS)])
        ids = [_field(receipt, "Offered", 1) for receipt in offers]
        turns = itertools.cycle(range(ACCOUNTS))
        takes = [_take(ids[number], number) for number in itertools.islice(turns, count)]
        deals: list[bytes] = []
        for batch in _cut([node.transaction(BUYER, "KB", *ops) for ops in _cut(takes, OPERATIONS)], 10):
            for receipt in await must(*batch):
                deals += _fields(receipt, "Agreed", 0)
        return deals


async def _open_market(node: BenchNode, must: Any) -> None:
    administrator = node.cast.administrator
    key = (BUYER.algorithm, BUYER.public_key, "bench", ("*",))
    admission = ("members", "admit", "KB", "Bench Buyer", "", ("participant",), (key,))
    await must(node.transaction(administrator, "ADMIN", op(*admission)))
    await must(node.transaction(BANK, "PA", op("assets", "register", "BOND", "bond", 0, 10**18, bytes(32))))
    names = tuple(f"KB/{number}" for number in range(ACCOUNTS))
    await must(node.transaction(BUYER, "KB", op("assets", "open_accounts", names)))
    for numbers in _cut(range(ACCOUNTS), OPERATIONS // 2):
        issues = [op("assets", "issue", "BOND", f"PA/{number}", 10**9, "") for number in numbers]
        money = [op("assets", "issue", "CZK", f"KB/{number}", 10**9, "") for number in numbers]
        await must(node.transaction(BANK, "PA", *issues, *money))


async def _status(load: Load) -> int:
    stub = ledger_pb2_grpc.LedgerServiceStub(load.channels[0])
    return int((await stub.GetStatus(ledger_pb2.GetStatusRequest(), timeout=10)).time_ms)


def _offer(node: BenchNode, number: int, now_ms: int) -> bytes:
    accounts = (f"PA/{number}", f"PA/{number}")
    expires = now_ms + HOUR_MS
    conditions = (0, expires + HOUR_MS, expires + 2 * HOUR_MS, 0, 0)
    terms = ("sell", "BOND", 1, 10**6, 1, "CZK", 3, accounts, (), expires, conditions)
    return node.transaction(BANK, "PA", op("trading", "make_offer", *terms))


def _take(offer: bytes, number: int) -> Any:
    accounts = (f"KB/{number}", f"KB/{number}")
    return op("trading", "take", "PA", offer, 1, "CZK", 3, accounts)


def _fields(answered: Any, event: str, at: int) -> list[bytes]:
    receipt: Receipt = codec.decoder(Receipt)(answered.encoded)
    return [codec.decoder(Any)(each.fields)[at] for each in receipt.events if each.event == event]


def _field(receipt: Any, event: str, at: int) -> bytes:
    return _fields(receipt, event, at)[0]


def _cut(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[at : at + size] for at in range(0, len(values), size)]


CASES: Final = {"dvp": dvp}
