"""Snapshots and pruning from the command line, on the directory of a real node."""

from pathlib import Path

import pytest

from node.storage import layout
from tests.processes import RunningNode, running_node, vostro


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> RunningNode:
    """A stopped node with a few blocks."""
    with running_node(tmp_path_factory.mktemp("snapshot")) as node:
        keys: list[str | Path] = [
            "--key",
            node.folder / "administrator-1.json",
            "--key",
            node.folder / "administrator-2.json",
        ]
        for number in range(6):
            key = node.new_key(f"bank-{number}")
            admit = ("members", "admit", f"B{number}", f"Bank {number}", "--member-key", f"all={key}")
            node.json("--member", "ADMIN", *keys, *admit, "--role", "participant")
    return node


def test_a_stopped_node_is_pruned_behind_a_snapshot_verified_backed_up_and_started(
    stopped: RunningNode, tmp_path: Path
) -> None:
    node = stopped
    assert node.vostro("prune", "--keep-from", "3").code != 0
    made = node.json("snapshot", "create")
    assert [row["hash"] for row in node.json("snapshot", "list")] == [made["hash"]]
    assert node.json("snapshot", "verify")["height"] == made["height"]
    before = node.json("verify")
    assert before["recomputed_from"] == "genesis"
    pruned = node.json("prune", "--keep-from", "4")
    assert (pruned["blocks"], pruned["kept_from"]) == (4, 4)
    after = node.json("verify")
    assert after["app_hash"] == before["app_hash"]
    assert f"snapshot at height {made['height']}" in after["recomputed_from"]
    backup = tmp_path / "short.backup"
    node.json("backup", "create", backup, "--offline")
    assert node.json("backup", "verify", backup)["height"] == made["height"]
    assert node.json("backup", "restore", backup, tmp_path / "restored")["app_hash"] == before["app_hash"]
    data = next(path for path in node.folder.rglob(layout.SNAPSHOTS) if path.is_dir())
    chunk = data / str(made["height"]) / layout.chunk_name(1)
    content = bytearray(chunk.read_bytes())
    content[100] ^= 1
    chunk.write_bytes(content)
    assert node.vostro("snapshot", "verify").code == 4
    assert vostro("prune", "--help").code == 0
