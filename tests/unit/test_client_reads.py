"""Reads through the client: contracts' own records, pages walked to their end, and the same for programs
without asyncio.
"""

import asyncio
from pathlib import Path

import pytest

from contracts.positions import Position
from node.client import BalanceAt, BlockingClient, Client, Declined, Unreachable, load_key
from node.keys.keystore import COST_MIN, PassphraseRefused, save_signer
from node.keys.signer import SoftwareSigner, generate
from tests.client_kit import FakeNode, fake_node
from tests.kit import START_MS, officer, op, pay
from tests.services_kit import Face, serving

pytestmark = pytest.mark.asyncio


def of_pa(face: Face) -> SoftwareSigner:
    """The key that signs for PA alone."""
    return officer(face.world.officers["PA"][0])


async def test_a_query_answers_with_the_contracts_own_record(tmp_path: Path) -> None:
    async with serving(tmp_path) as face, await Client.connect(f"127.0.0.1:{face.port}") as client:
        assert await client.query("assets", "get_balance", "PA/main", "CZK") == Position(1_000, 200)
        source, hold = face.world.holds["pending"]
        assert (await client.query("transfers", "get_hold", source, hold)).amount == 50
        members = await client.query("members", "list_members", "")
        assert [member.member for member in members] == ["ADMIN", "CNB", "GONE", "KB", "PA"]
        assert members[-1].keys[0].key.public_key == of_pa(face).public_key
        with pytest.raises(Declined) as caught:
            await client.query("assets", "get_balance", "PA/none", "CZK")
        with pytest.raises(TypeError):
            await client.query("assets", "get_everything")
        with pytest.raises(TypeError):
            await client.query("assets", "get_balance", "PA/main")
    assert caught.value.code == "assets/9 ACCOUNT_UNKNOWN"


async def test_a_transaction_is_submitted_found_and_listed(tmp_path: Path) -> None:
    async with serving(tmp_path) as face, await Client.connect(f"127.0.0.1:{face.port}") as client:
        call = pay("PA/main", "KB/main", 7, reference="r-1")
        request_id = face.world.new_request_id()
        signed = client.sign("PA", [call], [of_pa(face)], request_id=request_id)
        receipt = await client.submit(signed.raw)
        assert receipt.tx_id == signed.tx_id
        assert await client.wait(signed.tx_id) == receipt
        found = await client.get_transaction(signed.tx_id)
        assert found is not None
        assert (found.raw, found.member, found.receipt) == (signed.raw, "PA", receipt)
        assert await client.get_transaction(b"\x01" * 32) is None
        face.index.advance(face.world.store, blocks_max=1_000)
        moved = [
            movement async for movement in client.movements("PA/main", from_ms=START_MS, reverse=True, page=2)
        ]
        mine = [transaction.tx_id async for transaction in client.transactions(member="PA", reverse=True)]
        positions = await client.positions("PA")
    assert (moved[0].amount, moved[0].counterparty, moved[0].reference) == (-7, "KB/main", "r-1")
    assert len(moved) > 2, "more than one page was walked"
    assert mine[0] == signed.tx_id
    assert positions["CZK"] == (1_093, 250)


async def test_blocks_are_read_whole_and_headers_by_page(tmp_path: Path) -> None:
    async with serving(tmp_path) as face, await Client.connect(f"127.0.0.1:{face.port}") as client:
        stored = list(face.world.store.blocks())
        heads = await client.headers(0, 1_000)
        assert [(head.height, head.app_hash) for head in heads] == [(b.height, b.app_hash) for b in stored]
        last = await client.block(stored[-1].height)
        assert (last.leaves, last.receipts, last.bodies) == (
            stored[-1].leaves,
            stored[-1].receipts,
            stored[-1].bodies,
        )
        assert [head.height for head in await client.headers(3, 2)] == [3, 4]
        followed = client.follow_blocks(stored[-2].height)
        assert [(await anext(followed)).height, (await anext(followed)).height] == [
            b.height for b in stored[-2:]
        ]
        status = await client.status()
    assert (status.engine, status.version, status.alarms) == ("direct", "1.2.3", ("an alarm",))
    assert status.chain_id == face.world.chain_id


async def test_a_backup_is_whole_or_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as face, await Client.connect(f"127.0.0.1:{face.port}") as client:
        data = b"".join([chunk async for chunk in client.backup()])
    assert data == b"".join(bytes([number]) * (1 << 20) for number in range(3))
    async with fake_node(FakeNode()) as target, await Client.connect(target) as client:
        with pytest.raises(Unreachable, match="cut short"):
            [chunk async for chunk in client.backup()]


async def test_a_position_is_the_sum_over_all_pages_of_accounts(tmp_path: Path) -> None:
    async with serving(tmp_path) as face, await Client.connect(f"127.0.0.1:{face.port}") as client:
        face.world.apply("PA", op("assets", "open_accounts", tuple(f"PA/z{n:03}" for n in range(250))))
        face.world.apply("CNB", op("assets", "issue", "CZK", "PA/z249", 5, ""))
        face.world.apply("CNB", op("assets", "issue", "CZK", "PA/z120", 3, ""))
        assert (await client.positions("PA"))["CZK"] == (1_108, 250)
        assert await client.positions("GONE") == {}


async def test_many_balances_are_of_one_block_and_what_is_not_told_says_why(tmp_path: Path) -> None:
    async with serving(tmp_path) as face:
        target = f"127.0.0.1:{face.port}"
        keys = [("PA/main", "CZK"), ("PA/no", "CZK"), ("KB/main", "CZK"), ("KB/main", "EUR")]

        def use() -> list[BalanceAt | Declined]:
            with BlockingClient.connect(target) as client:
                return client.balances(keys)

        async with await Client.connect(target) as client:
            found = await client.balances(keys)
            alone = [await client.balance(*key) for key in keys if key[0] != "PA/no"]
            with pytest.raises(Declined) as refused:
                await client.balances(keys * 251)
        blocking = await asyncio.to_thread(use)
    missing = found.pop(1)
    assert isinstance(missing, Declined)
    assert (missing.code, missing.details) == ("assets/9 ACCOUNT_UNKNOWN", {"account": "PA/no"})
    assert found == alone
    assert [each for each in blocking if isinstance(each, BalanceAt)] == found
    assert refused.value.code == "node/7 BAD_REQUEST"


async def test_the_blocking_client_does_the_same_from_any_thread(tmp_path: Path) -> None:
    async with serving(tmp_path) as face:
        request_ids = [face.world.new_request_id() for _ in range(20)]

        def use() -> tuple[Position, int, list[int], list[int]]:
            with BlockingClient.connect(f"127.0.0.1:{face.port}") as client:
                call = pay("PA/main", "KB/main", 1)
                items = [
                    client.sign("PA", [call], [of_pa(face)], request_id=each).raw for each in request_ids
                ]
                receipt = client.submit(items[0])
                indexes = [index for index, outcome in client.submit_stream(items) if outcome.applied]
                events = client.events(contract="transfers", event="Sent")
                heights = [next(events).at.height for _ in range(3)]
                events.close()  # type: ignore[attr-defined]
                position: Position = client.query("assets", "get_balance", "KB/main", "CZK")
                return position, receipt.height, indexes, heights

        position, height, indexes, heights = await asyncio.to_thread(use)
    assert position.posted == 500 + len(request_ids)
    assert sorted(indexes) == list(range(len(request_ids)))
    assert heights[0] == height


async def test_a_key_is_loaded_with_a_passphrase_or_the_name_of_its_file(tmp_path: Path) -> None:
    signer = generate("p256")
    save_signer(tmp_path / "key.json", signer, b"open", cost=COST_MIN)
    secret = tmp_path / "passphrase"
    secret.touch(mode=0o600)
    secret.write_bytes(b"open\n")
    assert load_key(tmp_path / "key.json", b"open").public_key == signer.public_key
    assert load_key(str(tmp_path / "key.json"), secret).key_id == signer.key_id
    with pytest.raises(PassphraseRefused):
        load_key(tmp_path / "key.json", b"shut")
