"""A network of banks as real processes: founded by the commands that banks use, run, used, ended; and a bank
that joins it later.
"""

import asyncio
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from node.client import Client, load_key, operation
from node.demo.child import spawn
from node.engine.cometbft.home import Home, load_node_id
from node.engine.cometbft.rpc import RpcClient
from node.keys.keystore import COST_MIN
from node.network import processes
from node.network.bank import Particulars, make_entry, make_home
from node.network.entry import POWER, default_roles, joining, read_entry
from node.network.local import LocalBank, LocalNetwork, free_ports, make_network, read_network
from tests.certificates_kit import Pki, save
from tests.consortium_kit import (
    SMALL,
    Bank,
    children_of,
    command_of,
    consortium,
    until,
)
from tests.processes import Answer, clean_environment, networks_ended, vostro, write_passphrase

BANKS = ("bank-a", "bank-b", "bank-c", "bank-d")
SECONDS = 60.0


def as_bank(network: LocalNetwork, name: str, *words: str | Path) -> Answer:
    """Run an ordinary command as a bank of the network, at its own node."""
    bank = network.bank(name)
    return vostro(
        "--config", bank.config, "--member", bank.member, "--key", bank.officer, "-o", "json", *words,
        passphrase=bank.passphrase,
    )  # fmt: skip


def told(answer: Answer) -> Any:
    assert answer.code == 0, answer.err
    return answer.json


def family(pid: int) -> list[int]:
    """A process with all that it started, and they."""
    return [pid, *[one for child in children_of(pid) for one in family(child)]]


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if command_of(pid)]


def gone(pids: list[int], what: str) -> None:
    """Return once none of the processes is there."""
    deadline = time.monotonic() + SECONDS
    while left := alive(pids):
        assert time.monotonic() < deadline, f"{what}: still there: {[command_of(pid) for pid in left]}"
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a network is made; whatever runs in it is ended."""
    with networks_ended(tmp_path):
        yield tmp_path / "demo"


# --- one machine ----------------------------------------------------------------------------------------


@pytest.mark.timeout(240)
def test_two_commands_make_a_network_on_which_a_payment_is_seen_and_proven_everywhere(folder: Path) -> None:
    begin = time.monotonic()
    made = told(vostro("-o", "json", "network", "new", folder, "--members", ",".join(BANKS)))
    assert (made["banks"], made["may_fail"]) == (list(BANKS), 1)
    up = told(vostro("-o", "json", "network", "up", folder, "--detach"))
    took = time.monotonic() - begin
    assert [(row["bank"], row["state"], row["role"]) for row in up] == [
        (bank, "serving", "validator") for bank in BANKS
    ]
    assert all(row["decided"] >= 1 for row in up)
    network = read_network(folder)
    everybody = [pid for row in up for pid in family(row["pid"])]
    assert len(everybody) >= 3 * len(BANKS), "a node, its CometBFT and its workers each"

    told(as_bank(network, "bank-a", "assets", "register", "EUR", "--cap", "1000000.00"))
    told(as_bank(network, "bank-a", "accounts", "open", "BANK-A/1"))
    told(as_bank(network, "bank-d", "accounts", "open", "BANK-D/1"))
    told(as_bank(network, "bank-a", "assets", "issue", "EUR", "BANK-A/1", "100.00"))
    sent = told(as_bank(network, "bank-a", "transfer", "send", "BANK-A/1", "BANK-D/1", "12.50", "EUR"))
    asyncio.run(_same_everywhere(network, sent["height"]))

    seen = told(as_bank(network, "bank-d", "accounts", "show", "BANK-D/1"))
    assert "12.50" in json.dumps(seen)
    receipt = folder / "receipt.json"
    told(as_bank(network, "bank-c", "receipt", "export", sent["tx_id"], receipt))
    table = vostro("network", "status", folder)
    assert table.code == 0, table.err
    assert all(word in table.out for word in (*BANKS, "validator", "App hash", "tx/s", "Pending"))
    rows = told(vostro("-o", "json", "network", "status", folder))
    assert {row["app_hash"] for row in rows} == {rows[0]["app_hash"]}
    assert [row["peers"] for row in rows] == [3] * len(BANKS)
    assert all(float(row["rate"]) >= 0 for row in rows)

    down = told(vostro("-o", "json", "network", "down", folder))
    assert [row["outcome"] for row in down] == ["stopped"] * len(BANKS)
    gone(everybody, "down")
    assert vostro("network", "status", folder).code == 3
    proven = told(vostro("-o", "json", "receipt", "verify", receipt, "--trust", folder / "genesis.json"))
    assert proven["certificate"]["kind"] == "cometbft", proven["certificate"]
    assert proven["tx_id"] == sent["tx_id"]
    print(f"{took:.1f} s from `network new` to four nodes that serve; {len(everybody)} processes, none left")


async def _same_everywhere(network: LocalNetwork, height: int) -> None:
    """Every node has the header of this height, with one app hash."""
    hashes = set()
    for bank in network.banks:
        async with await Client.connect(bank.grpc, chain_id=network.assembled.network.chain) as client:

            async def there(client: Client = client) -> bool:
                return (await client.status()).height >= height

            await until(there, f"{bank.name} is at height {height}")
            (head,) = await client.headers(height, 1)
            assert head.height == height
            hashes.add(head.app_hash)
    assert len(hashes) == 1


@pytest.mark.timeout(240)
@pytest.mark.evidence(
    "CFT4",
    asset="availability",
    threat="expired certificates stop the network",
    mitigation="votes rest on no certificate",
)
def test_a_bank_can_be_away_and_comes_back_and_the_others_go_on(folder: Path) -> None:
    told(vostro("-o", "json", "network", "new", folder))
    told(vostro("-o", "json", "network", "up", folder, "--detach"))
    network = read_network(folder)
    told(vostro("-o", "json", "network", "down", folder, "bank-d"))
    rows = vostro("-o", "json", "network", "status", folder)
    assert (rows.code, [row["state"] for row in rows.json]) == (3, ["serving"] * 3 + ["stopped"])
    told(as_bank(network, "bank-a", "assets", "register", "EUR", "--cap", "1.00"))
    again = told(vostro("-o", "json", "network", "up", folder, "--detach"))
    assert [row["state"] for row in again] == ["serving"] * 4
    height = max(row["height"] for row in again)
    asyncio.run(_same_everywhere(network, height))
    killed = processes.pid_of(network, network.bank("bank-b"))
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    gone([killed], "killed")
    rows = vostro("-o", "json", "network", "status", folder)
    assert [row["state"] for row in rows.json] == ["serving", "ended", "serving", "serving"]
    assert "bank-b  {" in vostro("network", "logs", folder, "bank-b").out
    _decide_with_an_expired_certificate(network)


def _decide_with_an_expired_certificate(network: LocalNetwork) -> None:
    """With one of four killed nothing is decided without the one whose certificate has ended."""
    told(vostro("-o", "json", "network", "down", network.folder, "bank-d"))
    bank, pki = network.bank("bank-d"), Pki(network.folder / "pki")
    past = {"begins": dt.timedelta(days=-90), "ends": dt.timedelta(seconds=-1)}
    expired = pki.forged(bank.member, use=ExtendedKeyUsageOID.SERVER_AUTH, **past)
    settings = save(bank.config.parent, expired, pki.bundle, pki.crls)
    lines = "".join(f'{name} = "{value}"\n' for name, value in settings.items())
    bank.config.write_text(lines + bank.config.read_text())  # in front of the first table
    process = processes.start(network, bank, detached=True)
    told(as_bank(network, "bank-a", "assets", "register", "USD", "--cap", "1.00"))
    assert "a certificate has ended" in bank.log.read_text()
    processes.stop(network, [bank])
    process.wait(SECONDS)
    print("a validator whose certificate has ended: 1 tried, 1 voted")
    told(vostro("-o", "json", "network", "down", network.folder, "bank-d"))
    process.wait(SECONDS)


def foreground(folder: Path, log: Path) -> "subprocess.Popen[bytes]":
    """``vostro network up`` in the foreground."""
    with log.open("ab") as output:
        return spawn([sys.executable, "-P", "-m", "node.cli", "network", "up", str(folder)], output.fileno())


@pytest.mark.timeout(240)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nodes_in_the_foreground_end_with_their_parent(
    folder: Path, number: signal.Signals, tmp_path: Path
) -> None:
    small = make_network(
        folder, ["bank-a", "bank-b"], name="Test", time_ms=time.time_ns() // 1_000_000, validators=2,
        cost=COST_MIN, settings=SMALL,
    )  # fmt: skip
    log = tmp_path / "up.log"
    parent = foreground(folder, log)
    try:
        deadline = time.monotonic() + SECONDS
        while "serving" not in log.read_text():
            assert parent.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        everybody = family(parent.pid)
        assert len(everybody) >= 5
        refused = vostro("-o", "json", "network", "up", folder, "--detach")
        assert refused.code == 0, "nothing is left to start"
        parent.send_signal(number)
        code = parent.wait(SECONDS)
        gone(everybody, number.name)
        assert code == (0 if number is signal.SIGTERM else -signal.SIGKILL)
        assert "serving" in log.read_text()
        assert [processes.pid_of(small, bank) for bank in small.banks] == [None, None]
        gently = ["stopping" in bank.log.read_text() for bank in small.banks]
        assert gently == [number is signal.SIGTERM] * 2
    finally:
        parent.kill()
        parent.wait(SECONDS)


# --- many machines --------------------------------------------------------------------------------------


def machine(seed: int, *words: str | Path, passphrase: Path | None = None) -> Answer:
    """Run a command as another machine would: another order of hashes, another zone, another folder."""
    environment = clean_environment(passphrase)
    environment |= {"PYTHONHASHSEED": str(seed), "TZ": ("UTC", "Asia/Shanghai", "America/Bogota")[seed % 3]}
    done = subprocess.run(
        [sys.executable, "-m", "node.cli", *map(str, words)],
        capture_output=True, text=True, env=environment, timeout=SECONDS, check=False,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.mark.timeout(240)
@pytest.mark.evidence(
    "VAL5",
    asset="consensus",
    threat="different genesis documents",
    mitigation="one genesis of the same entries",
)
def test_every_bank_assembles_the_same_bytes_and_refuses_what_was_tampered_with(tmp_path: Path) -> None:
    passphrase = write_passphrase(tmp_path / "passphrase")
    entries = []
    for place, name in enumerate(BANKS):
        told(
            machine(
                place, "-o", "json", "--member", name.upper(), "consortium", "entry", tmp_path / name,
                "--name", "Interbank", "--full-name", f"Bank {name[-1].upper()}",
                "--address", f"127.0.0.1:{26_656 + place}", "--grpc", f"127.0.0.1:{7_600 + place}",
                passphrase=passphrase,
            )
        )  # fmt: skip
        entries.append(tmp_path / name / "entry.json")
    foundation = ("--name", "Interbank", "--time", "2026-01-05T09:00:00Z")
    made = set()
    orders = (entries, entries[::-1], [entries[2], entries[0], entries[3], entries[1]])
    for seed, order in enumerate(orders):
        out = tmp_path / f"machine-{seed}"
        answer = told(
            machine(seed, "-o", "json", "consortium", "assemble", *order, *foundation, "--out", out)
        )
        made.add(
            (answer["chain_id"], (out / "genesis.json").read_bytes(), (out / "network.json").read_bytes())
        )
    assert len(made) == 1

    tried = 0
    original = entries[3].read_text()
    for old, new, code in (
        ('"full_name": "Bank D"', '"full_name": "Bank E"', "ENTRY_SIGNATURE"),
        ("127.0.0.1:26659", "127.0.0.1:26660", "ENTRY_SIGNATURE"),
        ('"participant"', '"issuer"', "ENTRY_SIGNATURE"),
        ('"network": "Interbank"', '"network": "Other"', "ENTRY_SIGNATURE"),
        ('"member": "BANK-D"', '"member": "bank-d"', "ENTRY_MALFORMED"),
        ('"version": 1', '"version": 1, "more": 1', "ENTRY_MALFORMED"),
    ):
        assert old in original
        entries[3].write_text(original.replace(old, new, 1))
        answer = vostro(
            "-o", "json", "consortium", "assemble", *entries, *foundation, "--out", tmp_path / "no"
        )
        assert (answer.code, answer.error["code"]) == (4 if "SIGN" in code else 5, code), answer.err
        tried += 1
    entries[3].write_text(original)
    for words, code in (
        ((*entries, entries[0]), "ENTRY_MEMBER_TWICE"),
        ((*entries[:3], tmp_path / "nowhere.json"), "ENTRY_MALFORMED"),
    ):
        answer = vostro("-o", "json", "consortium", "assemble", *words, *foundation, "--out", tmp_path / "no")
        assert answer.error["code"] == code, answer.err
        tried += 1
    other = ("--name", "Test", *foundation[2:])
    answer = vostro("-o", "json", "consortium", "assemble", *entries, *other, "--out", tmp_path / "no")
    assert answer.error["code"] == "ENTRY_OTHER_NETWORK"
    assert not (tmp_path / "no").exists()
    print(f"{len(orders)} machines, one genesis; {tried + 1} entries refused")


# --- later ----------------------------------------------------------------------------------------------


def latecomer(network: LocalNetwork, name: str, *, validates: bool, guarded: bool = False) -> Bank:
    """A bank that enters a network which is there already."""
    folder = network.folder / name
    grpc, address = (f"127.0.0.1:{port}" for port in free_ports(2))
    roles = default_roles(observer=not validates)
    particulars = Particulars(
        network.assembled.network.name, name.upper(), "Late", roles, address, grpc, validates=validates
    )
    passphrase = write_passphrase(network.folder / f"{name}.passphrase")
    secret = passphrase.read_bytes().strip()
    signed = make_entry(folder, particulars, passphrase=secret, guarded=guarded, cost=COST_MIN)
    ready = make_home(folder, network.assembled, settings=SMALL)
    assert not ready.founder
    assert load_node_id(Home(folder / "comet")) == signed.peer.node_id
    local = LocalBank(name, name.upper(), folder, grpc, address, validates)
    return Bank(network, local, load_key(local.officer, passphrase), RpcClient(folder / "comet" / "rpc.sock"))


@pytest.mark.asyncio
@pytest.mark.timeout(300)
async def test_banks_join_a_network_that_runs_by_decision_of_the_others() -> None:
    async with consortium(4) as banks:
        await banks.fund({"BANK-A/1": 10_000})
        voter = latecomer(banks.network, "bank-e", validates=True, guarded=True)
        watcher = latecomer(banks.network, "bank-f", validates=False)
        late = [voter, watcher]
        try:
            for number, bank in enumerate(late, 1):
                content = joining(read_entry(bank.local.folder / "entry.json").entry)
                await banks["bank-a"].act("governance", "propose", content, "joins")
                client = await banks["bank-a"].client()  # it has what it just decided
                found = await client.query("governance", "get_proposal", number)
                for name in ("bank-b", "bank-c", "bank-d")[: number + 1]:  # the first of them votes already
                    voted = await banks[name].act(
                        "governance", "approve", number, found.proposal.content_hash
                    )
                await banks["bank-a"].wait_height(voted.height)
                ended = await client.query("governance", "get_proposal", number)
                assert ended.proposal.status == "executed", ended
                bank.start()
            banks.banks.extend(late)
            await asyncio.gather(*[bank.wait_serving() for bank in late])
            signed = await voter.sign(operation("assets", "open_accounts", ("BANK-E/1",)))
            opened = await (await voter.client()).submit(signed.raw)
            paid = await banks["bank-a"].send("BANK-A/1", "BANK-E/1", 250)
            await banks.wait_converged(paid.height)
            assert await watcher.balance("BANK-E/1") == 250

            async def votes() -> bool:
                return (await voter.rpc.status()).power == POWER

            await until(votes, "the new validator has its power")
            assert (await watcher.rpc.status()).power == 0
            validators = await (await watcher.client()).query("validators", "list_validators")
            assert len(validators) == 5
            await banks["bank-d"].kill()  # of five one may fail: the new one's votes are needed from here on
            again = await voter.act("assets", "open_accounts", ("BANK-E/2",))
            assert again.height > opened.height
            await banks.wait_converged(again.height)
            print(f"two banks joined; 5 validators, 1 follower; height {again.height} with one of them dead")
        finally:
            banks.banks[:] = [*banks.banks, *[bank for bank in late if bank not in banks.banks]]
