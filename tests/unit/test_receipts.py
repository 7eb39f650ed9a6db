"""Making receipt files and checkpoints, and what a verified one tells. (tests/vectors holds what is refused,
against two programs.)
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.transfers import Sent
from node.client.signing import operation
from node.engine.errors import Degraded, NodeError
from node.json_form import write_document
from node.ledger import codec
from node.ledger.hashing import INTERNATIONAL
from node.ledger.types import BlockRecord, Event, Operation, Receipt
from node.receipts import Verified, build_receipt_file, make_checkpoint, verify_receipt_file
from node.receipts.build import Blocks, _left_siblings
from node.receipts.explain import explain_event, explain_operation, explain_refusal
from node.storage.memory import MemoryStore
from node.storage.sharded import ShardedStore
from tests.vectors import golden


def verified(file: dict[str, Any]) -> Verified:
    return verify_receipt_file(write_document(file), (golden.FOLDER / "genesis.json").read_bytes())


class Uncertified(MemoryStore):
    """The golden chain's blocks, of which those up to a height have no certificate, as under an engine that
    certifies later.
    """

    def __init__(self, uncertified_to: int) -> None:
        super().__init__()
        self.__dict__.update(golden.golden().store.__dict__)
        self._uncertified_to = uncertified_to

    def headers(self, first: int, limit: int) -> list[BlockRecord]:
        return [
            replace(record, certificate=b"") if record.height <= self._uncertified_to else record
            for record in super().headers(first, limit)
        ]


def build(store: Blocks, height: int, index: int, certified_height: int | None = None) -> dict[str, Any]:
    world = golden.golden()
    readers: Any = world.ledger.readers
    return build_receipt_file(
        height,
        index,
        genesis=world.genesis,
        blocks=store,
        keys=readers["members"].key,
        history=world.ledger,
        certified_height=certified_height,
    )


def test_every_transaction_of_a_chain_has_a_file_that_verifies() -> None:
    world = golden.golden()
    count = 0
    for record in world.store.blocks(1):
        for index in range(len(record.leaves)):
            told = verified(world.receipt_file(record.height, index))
            assert (told.height, told.index, told.certified_height) == (record.height, index, record.height)
            count += 1
    assert count == 16


def test_the_files_of_a_store_on_disk_are_those_of_one_in_memory(tmp_path: Path) -> None:
    with ShardedStore.create(tmp_path / "data", INTERNATIONAL, shards=2) as store:
        world = golden.populate(golden.World(store=store))
        for place in ((4, 6, None), (4, 2, 9), (1, 0, 8)):
            assert world.receipt_file(*place) == golden.golden().receipt_file(*place)


def test_every_header_can_be_certified_by_every_later_one() -> None:
    world = golden.golden()
    for height in range(1, 9):
        for later in range(height + 1, 10):
            file = world.receipt_file(height, 0, later)
            assert verified(file).certified_height == later
            assert file["history_path"] or later == 1


def test_the_sides_of_a_path_are_those_of_the_tree() -> None:
    assert _left_siblings(0, 1) == []
    assert _left_siblings(0, 2) == [False]
    assert _left_siblings(2, 3) == [True]
    assert _left_siblings(4, 7) == [False, False, True]
    assert _left_siblings(6, 7) == [True, True]


def test_a_block_without_a_certificate_of_its_own_is_certified_by_the_newest_header() -> None:
    file = build(Uncertified(8), 4, 0)
    assert verified(file).certified_height == 9


def test_a_file_waits_until_there_is_a_certificate() -> None:
    with pytest.raises(Degraded) as refused:
        build(Uncertified(9), 4, 0)
    assert refused.value.error is NodeError.PROOF_PENDING
    with pytest.raises(Degraded) as refused:
        build(Uncertified(8), 4, 0, certified_height=7)
    assert refused.value.error is NodeError.PROOF_PENDING


@pytest.mark.parametrize(
    ("height", "index", "certified_height", "error"),
    [
        (77, 0, None, NodeError.BLOCK_UNKNOWN),
        (4, 7, None, NodeError.RECEIPT_UNKNOWN),
        (4, -1, None, NodeError.RECEIPT_UNKNOWN),
        (0, 0, None, NodeError.RECEIPT_UNKNOWN),
        (4, 0, 77, NodeError.BLOCK_UNKNOWN),
        (4, 0, 3, NodeError.BLOCK_UNKNOWN),
    ],
)
def test_what_is_not_there_has_no_file(
    height: int, index: int, certified_height: int | None, error: object
) -> None:
    with pytest.raises(Degraded) as refused:
        build(golden.golden().store, height, index, certified_height)
    assert refused.value.error is error


def test_a_transaction_whose_bytes_are_no_longer_kept_has_no_file() -> None:
    world = golden.populate(golden.World())
    world.store.drop_bodies(4)
    with pytest.raises(Degraded) as refused:
        world.receipt_file(4, 0)
    assert refused.value.error is NodeError.RECEIPT_UNKNOWN


def test_a_scheduled_receipt_has_no_file_since_nobody_signed_it() -> None:
    world = golden.populate(golden.World())
    expires = world.time_ms(30)
    hold = operation("transfers", "reserve", "PAYER/main", "BANK/one", "CZK", 5, expires, "hold")
    world.block(20, world.signed("PAYER", [golden.PAYER], hold, height=20))
    world.block(31)
    assert world.store.receipts(31)
    with pytest.raises(Degraded) as refused:
        world.receipt_file(31, 0)
    assert refused.value.error is NodeError.RECEIPT_UNKNOWN


def test_a_retired_key_still_stands_in_the_file_of_what_it_signed() -> None:
    world = golden.populate(golden.World())
    world.block(
        20,
        world.signed(
            "PAYER", [golden.PAYER], operation("members", "revoke_key", golden.PAYER.key_id), height=20
        ),
    )
    assert verified(world.receipt_file(4, 0)).signers[0]["public_key"] == golden.PAYER.public_key.hex()


def test_a_verified_file_tells_the_whole_story() -> None:
    told = verified(golden.golden().receipt_file(4, 6))
    assert (told.chain_name, told.trust, told.member, told.applied) == ("vectors", "genesis", "PAYER", True)
    assert (told.time_ms, told.created_ms) == (golden.BEGIN_MS + 4_000, golden.BEGIN_MS + 4_000)
    assert [signer["algorithm"] for signer in told.signers] == ["ed25519", "p256"]
    legs = [
        {"account": "BANK/one", "amount": 7, "end_to_end_id": "leg-1"},
        {"account": "BANK/two", "amount": 8, "end_to_end_id": "leg-2"},
    ]
    arguments = {
        "source": "PAYER/main",
        "asset": "CZK",
        "total": 15,
        "legs": legs,
        "uetr": bytes(range(16)).hex(),
        "purpose": "salary",
    }
    assert told.operations == ({"contract": "transfers", "method": "send_many", "arguments": arguments},)
    assert told.events[0]["fields"] == arguments
    assert json.loads(json.dumps(msgspec.to_builtins(told)))["height"] == 4


def test_a_verified_refusal_says_why_in_words() -> None:
    told = verified(golden.golden().receipt_file(4, 5))
    assert not told.applied
    assert told.events == ()
    assert told.refusal == {
        "codespace": "assets",
        "code": 14,
        "operation": 1,
        "name": "INSUFFICIENT_BALANCE",
        "category": "PRECONDITION",
        "sentence": "The account's available balance (posted less held) is too small.",
    }


def test_what_a_release_does_not_know_is_shown_as_bytes() -> None:
    unknown = explain_operation(Operation("leasing", "sign", b"\x90"))
    assert unknown == {"contract": "leasing", "method": "sign", "encoded": "90"}
    assert explain_operation(Operation("transfers", "send", b"\x90"))["encoded"] == "90"
    assert explain_event(Event("leasing", "Signed", b"\x90"))["encoded"] == "90"
    assert explain_event(Event("transfers", "Sent", b"\x90"))["encoded"] == "90"
    known = Sent("A/1", "B/1", "CZK", 1, "", b"", "")
    assert explain_event(Event("transfers", "Sent", codec.encode(known)))["fields"]["amount"] == 1
    refusal = explain_refusal(Receipt(1, bytes(32), 1, 0, "leasing", 3, 2, ()))
    assert refusal is not None
    assert (refusal["code"], refusal["operation"], refusal["name"]) == (3, 2, "")


def test_a_refusal_of_the_ledger_itself_is_explained_too() -> None:
    refusal = explain_refusal(Receipt(1, bytes(32), 1, 0, "ledger", 15, 1, ()))
    assert refusal is not None
    assert refusal["name"] == "UNKNOWN_METHOD"


def test_a_checkpoint_is_made_of_a_header_of_the_chain_only() -> None:
    world, other = golden.golden(), golden.populate(golden.World("another"))
    header = other.store.headers(9, 1)[0].header
    assert make_checkpoint(other.genesis, header)["height"] == 9
    with pytest.raises(ValueError, match="another chain"):
        make_checkpoint(world.genesis, header)
    with pytest.raises(codec.NotCanonical):
        make_checkpoint(world.genesis, header[:-1])
