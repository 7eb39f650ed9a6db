"""The compromise drill: a key that others know is rotated away and revoked while the node is under load with
its signatures. What it signed before stands and is proven; nothing after; every outcome is known.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import grpc
import pytest

from contracts.members import Members
from node.client.signing import new_request_id, transaction_id
from node.engine.errors import NodeError
from node.ledger import codec
from node.ledger.errors import LedgerError
from node.ledger.hashing import INTERNATIONAL
from node.ledger.types import Receipt, SignedTransaction
from node.pb.vostro.ledger.v1 import ledger_pb2
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb
from node.receipts import verify_receipt_file
from tests.fault.node_kit import (
    ACCOUNTS,
    SECONDS,
    WORLD,
    Load,
    NodeFolder,
    Stubs,
    checked,
    connected,
    transfers,
)
from tests.kit import new_key, officer, op
from tests.services_kit import read_refusal

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

OLD: Final = "PA-officer"
NEW: Final = "PA-second"
TRANSFERS: Final = 3_000
BATCH: Final = 20
CALLERS: Final = 4
PROVEN: Final = 25
_decode_signed: Final[Callable[[bytes], SignedTransaction]] = codec.decoder(SignedTransaction)
_decode_receipt: Final[Callable[[bytes], Receipt]] = codec.decoder(Receipt)


class Thief:
    """Sends what the old key signed, each once; keeps receipts, and what was refused by name."""

    def __init__(self, raws: Sequence[bytes]) -> None:
        self.open = list(raws)
        self.receipts: dict[bytes, bytes] = {}
        self.refused: dict[bytes, str] = {}

    async def run(self, stubs: Stubs) -> None:
        """Send all."""
        await asyncio.gather(*(self._call(stubs) for _ in range(CALLERS)))

    async def _call(self, stubs: Stubs) -> None:
        while self.open:
            batch, self.open = self.open[:BATCH], self.open[BATCH:]
            request = pb.SubmitBatchRequest(signed_transactions=batch)
            answer = await stubs.transactions.SubmitBatch(request, timeout=SECONDS)
            for raw, outcome in zip(batch, answer.outcomes, strict=True):
                if outcome.HasField("receipt"):
                    self.receipts[raw] = outcome.receipt.encoded
                else:
                    assert not outcome.error.decided, outcome
                    self.refused[raw] = outcome.error.name


def signed_anew(raw: bytes) -> bytes:
    """The same transaction, under the same request id, by the new key."""
    return WORLD.sign(_decode_signed(raw).transaction, NEW)


def id_of(raw: bytes) -> bytes:
    return transaction_id(INTERNATIONAL, _decode_signed(raw).transaction)


async def refusal_of(stubs: Stubs, raw: bytes) -> str:
    """Why a transaction is not taken."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stubs.submit(raw)
    return str(read_refusal(failed.value).info.reason)


@pytest.mark.evidence(
    "KEY8",
    asset="signing keys",
    threat="a stolen key signs under load",
    mitigation="revocation binds at once",
)
async def test_a_stolen_key_is_rotated_away_and_revoked_under_load(tmp_path: Path) -> None:
    folder = NodeFolder(tmp_path / "node").make()
    thief, trust = Thief(transfers(TRANSFERS, 5)), (folder.path / "genesis.json").read_bytes()
    async with connected(folder) as stubs:
        with folder.running():
            status = await stubs.status()
            stealing = asyncio.create_task(thief.run(stubs))
            rotate = op(
                "members", "rotate_key", officer(OLD).key_id, status.height + 10**6, new_key(NEW, OLD)
            )
            rotated = await stubs.submit(WORLD.make("PA", rotate, use_id=new_request_id(), officers=(OLD,)))
            async with asyncio.timeout(SECONDS):
                while len(thief.receipts) < TRANSFERS // 4:  # noqa: ASYNC110 - a count that tells nobody
                    await asyncio.sleep(0.002)
            revoke = op("members", "revoke_key", officer(OLD).key_id)
            revoked = await stubs.submit(WORLD.make("PA", revoke, use_id=new_request_id(), officers=(NEW,)))
            await stealing
            assert (rotated.code, revoked.code) == (0, 0)
            check_nothing_decided_after(thief, revoked)
            again = await sent_anew(stubs, thief)
            await check_old_key_is_dead(stubs)
            await check_receipts_verify(stubs, thief, trust)
            paid = sum([await stubs.balance(f"KB/{number}") for number in range(ACCOUNTS)])
            assert paid == len(thief.receipts) + len(again) == TRANSFERS
            assert folder.process.stop() == 0
    load = Load([])
    load.acknowledged = {**thief.receipts, **again}
    checked(folder, load)
    print(
        f"compromise drill: {TRANSFERS} transfers by the stolen key, {len(thief.receipts)} decided before "
        f"its revocation at height {revoked.height} and none after, {len(thief.refused)} refused without a "
        f"trace and signed anew, {min(PROVEN, len(thief.receipts))} old receipts verified"
    )


def check_nothing_decided_after(thief: Thief, revoked: Receipt) -> None:
    """What the old key signed was decided before the revocation, or refused because of it."""
    places = [_decode_receipt(encoded) for encoded in thief.receipts.values()]
    assert places
    assert thief.refused, "the revocation came too late to be a drill"
    assert max((place.height, place.index) for place in places) < (revoked.height, revoked.index)
    assert set(thief.refused.values()) == {LedgerError.KEY_NOT_ACTIVE.name}
    assert len(thief.receipts) + len(thief.refused) == TRANSFERS


async def sent_anew(stubs: Stubs, thief: Thief) -> dict[bytes, bytes]:
    """What was refused has no receipt and has spent no id: its owner signs it with the new key."""
    for raw in list(thief.refused)[:PROVEN]:
        request = pb.GetTransactionRequest(tx_id=id_of(raw))
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stubs.transactions.GetTransaction(request, timeout=SECONDS)
        assert read_refusal(failed.value).info.reason == NodeError.RECEIPT_UNKNOWN.name
    load = Load([signed_anew(raw) for raw in thief.refused])
    await load.run(stubs)
    assert load.codes == {}
    return load.acknowledged


async def check_old_key_is_dead(stubs: Stubs) -> None:
    """The old key changes nothing, and nobody can register it again."""
    policy = op("members", "set_policy", ())
    old = WORLD.make("PA", policy, use_id=new_request_id(), officers=(OLD,))
    assert await refusal_of(stubs, old) == LedgerError.KEY_NOT_ACTIVE.name
    register = op("members", "register_key", new_key(OLD))
    again = WORLD.make("PA", register, use_id=new_request_id(), officers=(NEW,))
    assert await refusal_of(stubs, again) == Members.KEY_KNOWN.name


async def check_receipts_verify(stubs: Stubs, thief: Thief, trust: bytes) -> None:
    """What was decided by the old key is proven by a file that names it, without the node."""
    for raw in list(thief.receipts)[:PROVEN]:
        request = ledger_pb2.GetReceiptFileRequest(tx_id=id_of(raw))
        answer = await stubs.chain.GetReceiptFile(request, timeout=SECONDS)
        verified = verify_receipt_file(answer.file, trust)
        assert verified.applied
        assert [signer["key_id"] for signer in verified.signers] == [officer(OLD).key_id.hex()]
