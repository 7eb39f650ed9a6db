"""The checker notices blocks that were altered after they were made, whatever field was touched."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from node.ledger import codec
from node.ledger.hashing import HEADER, INTERNATIONAL
from node.ledger.types import BlockRecord, Header, Receipt
from tests.checker import Violated, check_ledger
from tests.kit import Consortium, pay

WORLD = Consortium()
WORLD.apply("PA", pay("PA/main", "KB/main", 5))
WORLD.apply("PA", pay("PA/main", "KB/main", 6))
BLOCKS = WORLD.blocks()


def reheaded(record: BlockRecord, **fields: object) -> BlockRecord:
    """A block with a header that says something else and hashes right."""
    header: Header = codec.decoder(Header)(record.header)
    data = codec.encode(changed(header, **fields))
    return replace(record, header=data, app_hash=INTERNATIONAL.digest(HEADER + data))


def recoded(record: BlockRecord, **fields: object) -> BlockRecord:
    receipt: Receipt = codec.decoder(Receipt)(record.receipts[0])
    return replace(record, receipts=(codec.encode(changed(receipt, **fields)),))


ALTERED: dict[str, Callable[[BlockRecord], BlockRecord]] = {
    "height": lambda r: replace(r, height=r.height + 1),
    "time": lambda r: replace(r, time_ms=r.time_ms + 1),
    "app hash": lambda r: replace(r, app_hash=bytes(32)),
    "a leaf gone": lambda r: replace(r, leaves=()),
    "a receipt gone": lambda r: replace(r, receipts=()),
    "a body gone": lambda r: replace(r, bodies=()),
    "another body": lambda r: replace(r, bodies=(BLOCKS[-2].bodies[0],)),
    "a receipt's code": lambda r: recoded(r, code=1),
    "a receipt without events": lambda r: recoded(r, events=()),
    "a write gone": lambda r: replace(r, writes=r.writes[1:]),
    "a write deletes": lambda r: replace(r, writes=((r.writes[0][0], None), *r.writes[1:])),
    "no tree": lambda r: replace(r, tree=r.tree[:1]),
    "another history node": lambda r: replace(r, history=((0, 0, bytes(32)),)),
    "spent by another": lambda r: replace(r, spent=((*r.spent[0][:3], 7),)),
    "another chain": lambda r: reheaded(r, chain=bytes(32)),
    "another protocol": lambda r: reheaded(r, protocol=2),
    "another block before": lambda r: reheaded(r, previous_app_hash=bytes(32)),
    "another history": lambda r: reheaded(r, history_root=bytes(32)),
    "another count": lambda r: reheaded(r, transaction_count=2),
    "another state": lambda r: reheaded(r, state_root=bytes(32)),
    "another authority": lambda r: reheaded(r, authority_root=bytes(32)),
}


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_block_is_noticed(what: str) -> None:
    altered = ALTERED[what](BLOCKS[-1])
    assert altered != BLOCKS[-1]
    with pytest.raises(Violated):
        check_ledger([*BLOCKS[:-1], altered], WORLD.genesis)


def test_a_block_missing_repeated_or_exchanged_is_noticed() -> None:
    for blocks in (
        [],
        BLOCKS[1:],
        [*BLOCKS[:5], *BLOCKS[6:]],
        [*BLOCKS, BLOCKS[-1]],
        [*BLOCKS[:-2], BLOCKS[-1], BLOCKS[-2]],
    ):
        with pytest.raises(Violated):
            check_ledger(blocks, WORLD.genesis)


def test_the_blocks_as_made_and_as_the_store_keeps_them_pass() -> None:
    for blocks in (BLOCKS, list(WORLD.store.blocks())):
        checked = check_ledger(blocks, WORLD.genesis)
        assert (checked.blocks, checked.applied, checked.movements) == (len(BLOCKS), len(BLOCKS) - 1, 9)


def test_blocks_whose_bodies_were_dropped_are_checked_without_a_replay() -> None:
    dropped = [replace(record, bodies=()) for record in BLOCKS]
    with pytest.raises(Violated):
        check_ledger(dropped, WORLD.genesis)
    assert check_ledger(dropped, WORLD.genesis, replay=False).applied == len(BLOCKS) - 1
